//! What is recognised as an address: forms, boundaries, several mappings.

use crate::{
    NEW, OLD, assert_rewritten, assert_rewritten_with, assert_unchanged, default_rewriter, rewrite, rewriter,
};
use wpclone_rewrite::{MappingError, Options, Report, Rewriter, SiteMapping};

#[test]
fn all_spellings_of_a_site_are_replaced() {
    assert_rewritten(&[
        ("http://example.com", "https://new.example.org/shop"),
        ("https://example.com/", "https://new.example.org/shop/"),
        ("//example.com/a.png", "//new.example.org/shop/a.png"),
        ("HTTP://Example.COM/A", "https://new.example.org/shop/A"),
        ("HTTPS://EXAMPLE.COM/A", "HTTPS://new.example.org/shop/A"),
        ("http://www.example.com/a", "https://new.example.org/shop/a"),
        ("//WWW.example.com", "//new.example.org/shop"),
        ("http://example.com:80/a", "https://new.example.org/shop/a"),
        ("https://example.com:443/a", "https://new.example.org/shop/a"),
        ("https://example.com:80/a", "https://new.example.org/shop/a"),
        ("http://example.com./a", "https://new.example.org./shop/a"),
        ("http://www.example.com.:80/a", "https://new.example.org./shop/a"),
        ("http://me:secret@example.com/a", "https://me:secret@new.example.org/shop/a"),
    ]);
}

#[test]
fn addresses_are_found_anywhere_in_a_text() {
    assert_rewritten(&[
        (
            "See http://example.com. Or http://example.com, or",
            "See https://new.example.org/shop. Or https://new.example.org/shop, or",
        ),
        (
            "(http://example.com)[http://example.com]",
            "(https://new.example.org/shop)[https://new.example.org/shop]",
        ),
        ("http://example.com?a=1", "https://new.example.org/shop?a=1"),
        ("http://example.com#top", "https://new.example.org/shop#top"),
        ("gluedhttp://example.com/", "gluedhttps://new.example.org/shop/"),
        (
            "http://example.com|http://example.com/",
            "https://new.example.org/shop|https://new.example.org/shop/",
        ),
        ("http://example.com//example.com/", "https://new.example.org/shop//new.example.org/shop/"),
        (
            "_http://example.com_ and http://example.com-",
            "_https://new.example.org/shop_ and https://new.example.org/shop-",
        ),
        ("访问http://example.com。谢谢", "访问https://new.example.org/shop。谢谢"),
        ("http://example.com谢谢", "https://new.example.org/shop谢谢"),
        ("“http://example.com”", "“https://new.example.org/shop”"),
        ("://example.com/", "://new.example.org/shop/"),
        (
            "http://example.com/?u=http://example.com/",
            "https://new.example.org/shop/?u=https://new.example.org/shop/",
        ),
        ("https://proxy.test/http://example.com/a", "https://proxy.test/https://new.example.org/shop/a"),
    ]);
}

#[test]
fn addresses_in_html_css_and_shortcodes_are_replaced() {
    assert_rewritten(&[
        (
            r#"<a href="http://example.com/a">http://example.com</a>"#,
            r#"<a href="https://new.example.org/shop/a">https://new.example.org/shop</a>"#,
        ),
        ("<a href=http://example.com/a>", "<a href=https://new.example.org/shop/a>"),
        (
            "<img src='//example.com/a.png' alt='It\\'s'>",
            "<img src='//new.example.org/shop/a.png' alt='It\\'s'>",
        ),
        (
            r#"<img srcset="http://example.com/a.png 1x,http://example.com/b.png 2x, //example.com/c.png 3x">"#,
            r#"<img srcset="https://new.example.org/shop/a.png 1x,https://new.example.org/shop/b.png 2x, //new.example.org/shop/c.png 3x">"#,
        ),
        (
            "a{background:url(http://example.com/a.png),url('//example.com/b')}",
            "a{background:url(https://new.example.org/shop/a.png),url('//new.example.org/shop/b')}",
        ),
        (
            r#"[gallery link="http://example.com/a"][x url=http://example.com]http://example.com[/x]"#,
            r#"[gallery link="https://new.example.org/shop/a"][x url=https://new.example.org/shop]https://new.example.org/shop[/x]"#,
        ),
        (
            r#"<!-- wp:cover {"url":"http://example.com/a.png","id":1} --><p>http://example.com</p>"#,
            r#"<!-- wp:cover {"url":"https://new.example.org/shop/a.png","id":1} --><p>https://new.example.org/shop</p>"#,
        ),
        (
            "<script>var u='http://example.com',v=`//example.com`;</script>",
            "<script>var u='https://new.example.org/shop',v=`//new.example.org/shop`;</script>",
        ),
    ]);
}

#[test]
fn other_hosts_are_kept() {
    assert_unchanged(&[
        "http://example.com.au/",
        "http://example.community/",
        "http://example.com-shop.test/",
        "http://example.company",
        "http://notexample.com/",
        "http://shop.example.com/",
        "http://wwww.example.com/",
        "http://my-example.com/",
        "http://example.com_a/",
        "http://example.comhttp",
        "http://example.com@evil.test/",
        "http://example.com:pw@evil.test/",
        "http://example.com:80@evil.test/",
        "http://exämple.com/",
        "http://éexample.com/",
        "http://example.com.Then/",
        "https%3A%2F%2Fexample.com%2Eau%2F",
    ]);
}

#[test]
fn other_text_with_the_host_is_kept() {
    assert_unchanged(&[
        "bob@example.com",
        "mailto:bob@example.com",
        "//bob@example.com",
        "example.com/path",
        "/home/example.com/htdocs",
        "ftp://example.com/",
        "wss://example.com/",
        "http://example.com:8080/",
        "http://example.com:800/",
        "a//example.com",
        "file:///example.com/",
        "https://mastodon.test/@example.com",
    ]);
}

#[test]
fn international_hosts_are_found_in_unicode_and_punycode() {
    let rewriter = rewriter(&[("https://münchen.example", "https://bücher.test")]);
    assert_rewritten_with(
        &rewriter,
        &[
            ("http://münchen.example/a", "https://bücher.test/a"),
            ("https://MÜNCHEN.example/a", "https://bücher.test/a"),
            ("https://xn--mnchen-3ya.example/a", "https://xn--bcher-kva.test/a"),
            ("https://XN--MNCHEN-3YA.EXAMPLE/a", "https://xn--bcher-kva.test/a"),
            ("//www.münchen.example/a", "//bücher.test/a"),
            (r#"["https:\/\/m\u00fcnchen.example\/a"]"#, r#"["https:\/\/b\u00fccher.test\/a"]"#),
            ("https%3A%2F%2Fm%C3%BCnchen.example%2F", "https%3A%2F%2Fb%C3%BCcher.test%2F"),
            ("https://m%c3%bcnchen.example/", "https://b%c3%bccher.test/"),
            ("https://m&#252;nchen.example/", "https://b&#252;cher.test/"),
            (
                r#"{"u":"https://xn\u002d\u002dmnchen-3ya.example/"}"#,
                r#"{"u":"https://xn\u002d\u002dbcher-kva.test/"}"#,
            ),
        ],
    );
}

#[test]
fn hosts_without_ascii_letters_are_found() {
    let rewriter = rewriter(&[("https://例え.jp", "https://new.test")]);
    assert_rewritten_with(
        &rewriter,
        &[
            ("http://例え.jp/a", "https://new.test/a"),
            ("https://xn--r8jz45g.jp/a", "https://new.test/a"),
            (r#"["https:\/\/\u4f8b\u3048.jp\/a"]"#, r#"["https:\/\/new.test\/a"]"#),
            (r#"["https:\/\/\u4F8B\u3048.jp\/a"]"#, r#"["https:\/\/new.test\/a"]"#),
            ("https%3A%2F%2F%E4%BE%8B%E3%81%88.jp%2F", "https%3A%2F%2Fnew.test%2F"),
            ("https://&#20363;&#12360;.jp/", "https://new.test/"),
        ],
    );
}

#[test]
fn ip_addresses_and_local_names_with_ports_can_be_hosts() {
    let cases = [
        ("http://localhost:8080", "a http://localhost:8080/x", "a https://n.test/x"),
        ("http://localhost", "a http://localhost/x", "a https://n.test/x"),
        ("http://10.0.0.1", "a http://10.0.0.1/x http://10.0.0.10/", "a https://n.test/x http://10.0.0.10/"),
        ("http://[::1]", "a http://[::1]:80/x", "a https://n.test/x"),
        (
            "http://wp",
            "a http://wp/x http://wpx/ https://wp.test",
            "a https://n.test/x http://wpx/ https://wp.test",
        ),
        ("http://a--b.de", "a http://a--b.de/x", "a https://n.test/x"),
        ("http://t.co", "a http://t.co/x http://at.co/", "a https://n.test/x http://at.co/"),
        (
            "http://old.test:81",
            "http://old.test/ http://old.test:81/ http://old.test:80/",
            "http://old.test/ https://n.test/ http://old.test:80/",
        ),
    ];
    for (from, value, wanted) in cases {
        assert_rewritten_with(&rewriter(&[(from, "https://n.test")]), &[(value, wanted)]);
    }
}

#[test]
fn the_path_is_part_of_the_site() {
    let rewriter = rewriter(&[("https://example.com/blog/", "http://new.test:8080/")]);
    assert_rewritten_with(
        &rewriter,
        &[
            ("https://example.com/blog", "http://new.test:8080"),
            ("http://example.com/blog/a", "http://new.test:8080/a"),
            ("//example.com/blog?x", "//new.test:8080?x"),
            ("https://example.com/blog. Next", "http://new.test:8080. Next"),
            ("https://example.com/blogging", "https://example.com/blogging"),
            ("https://example.com/blog.html", "https://example.com/blog.html"),
            ("https://example.com/blog-2/", "https://example.com/blog-2/"),
            ("https://example.com/Blog/", "https://example.com/Blog/"),
            ("https://example.com/blogé", "https://example.com/blogé"),
            ("https://example.com/", "https://example.com/"),
            (r#"{"u":"https:\/\/example.com\/blog\/a"}"#, r#"{"u":"http:\/\/new.test:8080\/a"}"#),
            ("https%3A%2F%2Fexample.com%2Fblog%2Fa", "http%3A%2F%2Fnew.test%3A8080%2Fa"),
            ("https%3a%2f%2fexample.com%2fblog%2fa", "http%3a%2f%2fnew.test%3a8080%2fa"),
            ("%2F%2Fexample.com%2Fblog", "%2F%2Fnew.test%3A8080"),
        ],
    );
}

#[test]
fn paths_are_matched_in_every_encoding() {
    let rewriter = rewriter(&[("https://example.com/bücher", "https://example.com/b")]);
    assert_rewritten_with(
        &rewriter,
        &[
            ("https://example.com/b%C3%BCcher/", "https://example.com/b/"),
            ("https://example.com/b%c3%bccher/", "https://example.com/b/"),
            ("https://example.com/bücher/", "https://example.com/b/"),
        ],
    );
}

#[test]
fn the_longest_matching_site_wins() {
    let rewriter = rewriter(&[
        ("https://example.com", "https://a.test"),
        ("https://example.com/blog", "https://b.test"),
        ("https://example.com/blog/en", "https://c.test"),
        ("https://shop.example.com", "https://d.test"),
        ("https://www.example.com", "https://e.test"),
        ("https://other.test", "https://example.com"),
    ]);
    assert_rewritten_with(
        &rewriter,
        &[
            ("https://example.com/x", "https://a.test/x"),
            ("https://example.com/blog/x", "https://b.test/x"),
            ("https://example.com/blog/en/x", "https://c.test/x"),
            ("https://example.com/blogs/x", "https://a.test/blogs/x"),
            ("https://shop.example.com/x", "https://d.test/x"),
            ("https://www.shop.example.com/x", "https://d.test/x"),
            ("https://www.example.com/x", "https://e.test/x"),
            ("https://www.example.com/blog/x", "https://b.test/x"),
            ("https://other.test/x", "https://example.com/x"),
        ],
    );
}

#[test]
fn many_sites_are_replaced_in_one_pass() {
    let pairs: Vec<(String, String)> =
        (0..300).map(|n| (format!("https://site{n}.old{n}.test"), format!("https://new{n}.test"))).collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let rewriter = rewriter(&pairs);
    assert_rewritten_with(
        &rewriter,
        &[
            ("https://site299.old299.test/ http://SITE7.old7.test", "https://new299.test/ https://new7.test"),
            ("aHR0cHM6Ly9zaXRlNy5vbGQ3LnRlc3QvYQ==", "aHR0cHM6Ly9uZXc3LnRlc3QvYQ=="),
        ],
    );
}

#[test]
fn addresses_that_are_already_new_are_kept() {
    let deeper = rewriter(&[(OLD, "http://example.com/wp")]);
    assert_rewritten_with(
        &deeper,
        &[
            (
                "http://example.com/a http://example.com/wp/a",
                "http://example.com/wp/a http://example.com/wp/a",
            ),
            (
                "http://example.com/wp http://example.com/wpa",
                "http://example.com/wp http://example.com/wp/wpa",
            ),
        ],
    );
    let secure = rewriter(&[(OLD, "https://example.com")]);
    assert_rewritten_with(
        &secure,
        &[("https://example.com/a http://example.com", "https://example.com/a https://example.com")],
    );
    let (same, report) = rewrite(&secure, "https://example.com/a");
    assert_eq!(
        (same.as_str(), report.replaced_addresses, report.changed_values),
        ("https://example.com/a", 0, 0)
    );
}

#[test]
fn two_sites_can_be_swapped() {
    let rewriter = rewriter(&[("http://a.test", "http://b.test"), ("http://b.test", "http://a.test")]);
    assert_rewritten_with(
        &rewriter,
        &[("http://a.test/1 http://b.test/2", "http://b.test/1 http://a.test/2")],
    );
}

#[test]
fn www_can_be_a_separate_site() {
    let pairs = [SiteMapping::new(OLD, NEW).unwrap()];
    let rewriter = Rewriter::new(&pairs, Options { match_www: false, ..Options::default() }).unwrap();
    assert_rewritten_with(
        &rewriter,
        &[(
            "http://www.example.com http://example.com",
            "http://www.example.com https://new.example.org/shop",
        )],
    );
}

#[test]
fn a_mapping_needs_two_site_addresses() {
    let refused = |from: &str| SiteMapping::new(from, NEW).unwrap_err();
    assert_eq!(refused("example.com"), MappingError::InvalidAddress("example.com".into()));
    assert_eq!(refused("ftp://example.com"), MappingError::InvalidAddress("ftp://example.com".into()));
    assert_eq!(refused("http://a@example.com"), MappingError::ExtraUrlParts("http://a@example.com".into()));
    assert_eq!(refused("http://example.com/?a"), MappingError::ExtraUrlParts("http://example.com/?a".into()));
    let both = [SiteMapping::new(OLD, NEW).unwrap(), SiteMapping::new("https://example.com/", OLD).unwrap()];
    assert!(matches!(Rewriter::new(&both, Options::default()), Err(MappingError::Conflict(_))));
    assert!(matches!(Rewriter::new(&[], Options::default()), Err(MappingError::Empty)));
}

#[test]
fn one_rewriter_serves_many_threads() {
    let rewriter = default_rewriter();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    assert_rewritten_with(
                        &rewriter,
                        &[(r#"["http:\/\/example.com"]"#, r#"["https:\/\/new.example.org\/shop"]"#)],
                    );
                }
            });
        }
    });
}

#[test]
fn a_value_without_an_old_host_is_borrowed() {
    let rewriter = default_rewriter();
    let mut report = Report::default();
    for value in [&b""[..], b"yes", b"a:1:{i:0;s:3:\"abc\";}", b"exam ple.co", b"example.co", &[0, 255, 254]]
    {
        let same = rewriter.rewrite(value, &mut report);
        assert!(std::ptr::eq(&*same, value));
    }
    assert_eq!((report.values, report.changed_values, report.replaced_addresses), (6, 0, 0));
}
