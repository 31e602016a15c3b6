//! Unreplaced addresses are reported.

use wpclone_rewrite::{Encoding, Malformed, Report, UnreplacedReason};

use crate::{NEW, default_rewriter, rewrite, rewriter};

fn reasons(value: &str) -> Vec<(UnreplacedReason, u64)> {
    let (new, report) = rewrite(&default_rewriter(), value);
    assert_eq!(new, value);
    report.unreplaced.into_iter().collect()
}

#[test]
fn an_unreplaced_host_is_counted_with_its_reason() {
    let cases = [
        ("bob@example.com", UnreplacedReason::Email),
        ("bob@Example.com.", UnreplacedReason::Email),
        ("example.com", UnreplacedReason::BareHost),
        ("/srv/www.example.com/", UnreplacedReason::BareHost),
        ("ftp://example.com", UnreplacedReason::OtherScheme),
        ("http://example.com:8080/", UnreplacedReason::OtherPort),
        ("http://example.com:80a/", UnreplacedReason::OtherPort),
        (r#"a:1:{s:18:"http://example.com";N;}"#, UnreplacedReason::Key),
        (r#"{"http:\/\/example.com":1}"#, UnreplacedReason::Key),
        (r#"a:2:{i:0;s:18:"http://example.com";}"#, UnreplacedReason::Malformed),
        ("cm9vdEBleGFtcGxlLmNvbQ==", UnreplacedReason::Email),
        ("root%40example.com", UnreplacedReason::Email),
    ];
    for (value, reason) in cases {
        assert_eq!(reasons(value), [(reason, 1)], "{value}");
    }
    for other in ["http://example.com.au", "notexample.com", "shop.example.com"] {
        assert_eq!(reasons(other), []);
    }
}

#[test]
fn a_host_that_is_written_as_a_pattern_is_kept_and_counted() {
    let patterns = [
        r"example\.com",
        r"^https?://(www\.)?example\.com/(.*)$",
        r"http:\/\/EXAMPLE\.com\/old",
        r"www\.example\.com",
        r"\bexample\.com\b",
        r"^[a-z]+\.example\.com$",
        r"example\\.com",
        r"example\\\\.com",
        "example[.]com",
        "(?:http)s?://example[.]com:8080",
        r"RewriteCond %{HTTP_HOST} ^example\.com$ [NC]",
        "*.example.com",
        "https://*.example.com",
        ".example.com",
        r#"{"from":"^https?:\/\/example\\.com\/a"}"#,
        r#"a:1:{i:0;s:14:"example\.com\b";}"#,
        "<i data-x='{&quot;u&quot;:&quot;example[.]com&quot;}'>",
    ];
    for pattern in patterns {
        assert_eq!(reasons(pattern), [(UnreplacedReason::HostPattern, 1)], "{pattern}");
    }
    let others = [
        r"shop\.example\.com",
        r"example\.com\.au",
        r"example\.community",
        r"notexample\.com",
        r"not-example\.com",
        r"example\com",
        r"example\.co",
        "example[.com",
        "*.shop.example.com",
        ".example.com.au",
    ];
    for other in others {
        assert_eq!(reasons(other), [], "{other}");
    }
    assert_eq!(reasons(r#"{"example\\.com":1}"#), [(UnreplacedReason::Key, 1)]);
}

#[test]
fn patterns_of_one_host_are_found_among_many() {
    let hosts: Vec<String> = (0..20).map(|host| format!("http://shop{host}.example.com")).collect();
    let pairs: Vec<(&str, &str)> = hosts.iter().map(|from| (from.as_str(), NEW)).collect();
    let (_, report) = rewrite(&rewriter(&pairs), r"^shop7\.example\.com$ shop77\.example\.com");
    assert_eq!(report.unreplaced.into_iter().collect::<Vec<_>>(), [(UnreplacedReason::HostPattern, 1)]);
}

#[test]
fn an_unreplaced_address_is_reported_with_context() {
    let value = r#"{"a":"s:30:\"write to bob@example.com, now!\";"}"#;
    let (_, report) = rewrite(&default_rewriter(), value);
    let [left] = report.unreplaced_samples.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (left.reason, left.context.as_str()),
        (UnreplacedReason::Email, "write to bob@example.com, now!")
    );
    assert_eq!(left.encodings, [Encoding::Php, Encoding::Json]);
}

#[test]
fn samples_are_limited_and_counts_are_not() {
    let (_, report) = rewrite(&default_rewriter(), &"bob@example.com ".repeat(1000));
    assert_eq!((report.unreplaced_samples.len(), report.unreplaced_total()), (100, 1000));
}

#[test]
fn malformed_data_is_kept_and_counted_with_its_reason() {
    let cases = [
        (r#"s:17:"http://example.com";"#, Malformed::PhpLength),
        (r#"s:19:"http://example.com";"#, Malformed::PhpLength),
        (r#"s:1000000000:"http://example.com";"#, Malformed::PhpTruncated),
        (r#"s:99999999999999999:"http://example.com";"#, Malformed::PhpTruncated),
        (r#"a:1:{i:0;s:18:"http://example.com";"#, Malformed::PhpTruncated),
        (r#"a:1000000000:{i:0;s:18:"http://example.com";}"#, Malformed::PhpTruncated),
        (r#"a:2:{i:0;s:18:"http://example.com";}"#, Malformed::PhpSyntax),
        (r#"a:1:{i:0;x:18:"http://example.com";}"#, Malformed::PhpSyntax),
        (r#"a:1:{a:0:{}s:18:"http://example.com";}"#, Malformed::PhpSyntax),
        (r#"O:3:"Foo":1:{i:0;s:18:"http://example.com"}"#, Malformed::PhpSyntax),
        (r#"C:3:"Foo":17:{http://example.com}"#, Malformed::PhpLength),
        (r#"S:19:"\68ttp://example.com";"#, Malformed::PhpLength),
        (r#"S:18:"\68ttp://example.com";"#, Malformed::PhpSyntax),
        (r#"text s:17:"http://example.com";"#, Malformed::PhpLength),
        (r#"text s:99:"see http://example.com";"#, Malformed::PhpTruncated),
    ];
    for (value, reason) in cases {
        let (new, report) = rewrite(&default_rewriter(), value);
        assert_eq!(new, value);
        let reasons: Vec<Malformed> = report.malformed.keys().copied().collect();
        assert_eq!(reasons, [reason], "{value}");
        assert_eq!(report.unreplaced_total(), 1, "{value}");
    }
}

#[test]
fn malformed_data_does_not_affect_its_surroundings() {
    let value = r#"<code>s:9:"http://example.com";</code> http://example.com"#;
    let (new, _) = rewrite(&default_rewriter(), value);
    assert_eq!(new, r#"<code>s:9:"http://example.com";</code> https://new.example.org/shop"#);
    let value = r#"{"a":"http:\/\/example.com","b":"s:9:\"http:\/\/example.com\";","c"#;
    let (new, report) = rewrite(&default_rewriter(), value);
    assert_eq!(new, r#"{"a":"https:\/\/new.example.org\/shop","b":"s:9:\"http:\/\/example.com\";","c"#);
    assert_eq!(report.malformed.get(&Malformed::Json), Some(&1));
}

#[test]
fn reports_are_merged_by_addition() {
    let mut sum = Report::default();
    let mut whole = Report::default();
    for value in ["http://example.com bob@example.com", "s:1:\"http://example.com\";", "none"] {
        let mut one = Report::default();
        default_rewriter().rewrite(value.as_bytes(), &mut one);
        default_rewriter().rewrite(value.as_bytes(), &mut whole);
        sum.merge(one);
    }
    assert_eq!(sum, whole);
    assert_eq!(
        (sum.values, sum.changed_values, sum.replaced_addresses, sum.unreplaced_total()),
        (3, 1, 1, 2)
    );
}
