//! Encodings of single characters, and base64.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};

use crate::{NEW, OLD, assert_rewritten, default_rewriter, rewrite};

#[test]
fn percent_encoding_is_kept() {
    assert_rewritten(&[
        (
            "https://t.test/?u=http%3A%2F%2Fexample.com%2Fa%20b",
            "https://t.test/?u=https%3A%2F%2Fnew.example.org%2Fshop%2Fa%20b",
        ),
        ("?u=http%3a%2f%2fexample.com%2fa", "?u=https%3a%2f%2fnew.example.org%2fshop%2fa"),
        ("?u=http%253A%252F%252Fexample.com%252F", "?u=https%253A%252F%252Fnew.example.org%252Fshop%252F"),
        ("?u=http%3A//example.com/", "?u=https%3A//new.example.org/shop/"),
        ("?u=http://example.com%2Fa%22", "?u=https://new.example.org/shop%2Fa%22"),
        ("%2F%2Fexample.com%2F", "%2F%2Fnew.example.org%2Fshop%2F"),
        ("100% http%3A%2F%2Fexample.com%zz%", "100% https%3A%2F%2Fnew.example.org%2Fshop%zz%"),
        (
            "link=\"url:http%3A%2F%2Fexample.com|title:A%20B\"",
            "link=\"url:https%3A%2F%2Fnew.example.org%2Fshop|title:A%20B\"",
        ),
    ]);
}

#[test]
fn percent_encoded_structures_keep_their_lengths() {
    assert_rewritten(&[
        (
            "a%3A1%3A%7Bs%3A1%3A%22u%22%3Bs%3A18%3A%22http%3A%2F%2Fexample.com%22%3B%7D",
            "a%3A1%3A%7Bs%3A1%3A%22u%22%3Bs%3A28%3A%22https%3A%2F%2Fnew.example.org%2Fshop%22%3B%7D",
        ),
        // The output of JavaScript's `encodeURI`.
        (
            "a:1:%7Bs:1:%22u%22;s:18:%22http://example.com%22;%7D",
            "a:1:%7Bs:1:%22u%22;s:28:%22https://new.example.org/shop%22;%7D",
        ),
        (
            r#"<i data-x="%7B%22u%22%3A%22http%3A%5C%2F%5C%2Fexample.com%22%7D">"#,
            r#"<i data-x="%7B%22u%22%3A%22https%3A%5C%2F%5C%2Fnew.example.org%5C%2Fshop%22%7D">"#,
        ),
    ]);
}

#[test]
fn character_references_are_kept() {
    assert_rewritten(&[
        (
            "<p>http:&#x2F;&#x2F;example.com&#x2F;a</p>",
            "<p>https:&#x2F;&#x2F;new.example.org&#x2F;shop&#x2F;a</p>",
        ),
        ("<p>http&#58;&#47;&#47;example.com</p>", "<p>https&#58;&#47;&#47;new.example.org&#47;shop</p>"),
        ("http&colon;&sol;&sol;example.com", "https&colon;&sol;&sol;new.example.org&sol;shop"),
        ("http&#58;//example.com/", "https&#58;//new.example.org/shop/"),
        (
            "<a href=\"http://example.com/?a=1&amp;b=2\">",
            "<a href=\"https://new.example.org/shop/?a=1&amp;b=2\">",
        ),
        (
            "&lt;a href=&quot;http://example.com&quot;&gt;",
            "&lt;a href=&quot;https://new.example.org/shop&quot;&gt;",
        ),
        ("http://example.com&#8217;s", "https://new.example.org/shop&#8217;s"),
        ("&amp;http://example.com&nbsp;", "&amp;https://new.example.org/shop&nbsp;"),
    ]);
}

#[test]
fn structures_in_attributes_are_rewritten() {
    assert_rewritten(&[
        (
            r#"<i data-x="{&quot;u&quot;:&quot;http:\/\/example.com\/a&quot;,&quot;n&quot;:1}" id=a>"#,
            r#"<i data-x="{&quot;u&quot;:&quot;https:\/\/new.example.org\/shop\/a&quot;,&quot;n&quot;:1}" id=a>"#,
        ),
        (
            r#"<i data-x='{"u":"http:\/\/example.com","s":"a:1:{i:0;s:18:\"http:\/\/example.com\";}"}'>"#,
            r#"<i data-x='{"u":"https:\/\/new.example.org\/shop","s":"a:1:{i:0;s:28:\"https:\/\/new.example.org\/shop\";}"}'>"#,
        ),
        (
            r#"<input value="a:1:{i:0;s:18:&quot;http://example.com&quot;;}">"#,
            r#"<input value="a:1:{i:0;s:28:&quot;https://new.example.org/shop&quot;;}">"#,
        ),
        (
            "<input value='s:21:&#034;it&#039;s http://example.com&#034;;'>",
            "<input value='s:21:&#034;it&#039;s http://example.com&#034;;'>",
        ),
        (
            "<input value='s:23:&#034;it&#039;s http://example.com&#034;;'>",
            "<input value='s:33:&#034;it&#039;s https://new.example.org/shop&#034;;'>",
        ),
        (
            r#"<input value='a:1:{i:0;s:18:"http://example.com";}'>"#,
            r#"<input value='a:1:{i:0;s:28:"https://new.example.org/shop";}'>"#,
        ),
        (
            "{&amp;quot;u&amp;quot;:&amp;quot;s:18:\\&amp;quot;http://example.com\\&amp;quot;;&amp;quot;}",
            "{&amp;quot;u&amp;quot;:&amp;quot;s:28:\\&amp;quot;https://new.example.org/shop\\&amp;quot;;&amp;quot;}",
        ),
    ]);
}

#[test]
fn backslash_escapes_are_kept() {
    assert_rewritten(&[
        (r#"var u = "http:\/\/example.com\/a";"#, r#"var u = "https:\/\/new.example.org\/shop\/a";"#),
        (r"var u = 'http:\x2f\x2fexample.com';", r"var u = 'https:\x2f\x2fnew.example.org\x2fshop';"),
        (
            r#"var u = "http:\u002F\u002Fexample.com\u002Fa";"#,
            r#"var u = "https:\u002F\u002Fnew.example.org\u002Fshop\u002Fa";"#,
        ),
        (
            r#"var u = "line\nhttp://example.com\n//example.com\n";"#,
            r#"var u = "line\nhttps://new.example.org/shop\n//new.example.org/shop\n";"#,
        ),
        (
            r#"var u = {a: "{\"u\":\"http:\\\/\\\/example.com\"}"};"#,
            r#"var u = {a: "{\"u\":\"https:\\\/\\\/new.example.org\\\/shop\"}"};"#,
        ),
        (
            r#"x = "a:1:{i:0;s:18:\"http:\/\/example.com\";}";"#,
            r#"x = "a:1:{i:0;s:28:\"https:\/\/new.example.org\/shop\";}";"#,
        ),
        (r#"a:1:{i:0;s:18:\"http://example.com\";}"#, r#"a:1:{i:0;s:28:\"https://new.example.org/shop\";}"#),
        (r"url(http\://example.com/)", r"url(https\://new.example.org/shop/)"),
    ]);
}

#[test]
fn base64_keeps_its_alphabet_and_padding() {
    let engines = [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE, &BASE64_URL_SAFE_NO_PAD];
    let texts = ["", "?", "??", "???>>>", "~~~", "a b", "\u{fe}\u{ff}"];
    for engine in engines {
        for (before, after) in texts.iter().flat_map(|one| texts.iter().map(move |two| (one, two))) {
            let encode = |url: &str| engine.encode(format!("{before}{url}/{after}"));
            let (old, new) = (encode(OLD), encode(NEW));
            // If nothing in the old text shows its alphabet or padding, the standard alphabet with padding is
            // written.
            let same = old.bytes().zip(new.bytes()).take_while(|(one, two)| one == two).count() / 4 * 4;
            let says = |text: &str| {
                text[same..].contains(['-', '_', '+', '/'])
                    && (!text.len().is_multiple_of(4) || text.contains('='))
            };
            let (is, _) = rewrite(&default_rewriter(), &format!("[raw]{old}[/raw]"));
            if says(&old) {
                assert_eq!(is, format!("[raw]{new}[/raw]"), "{before} {after}");
            }
            let data = is.strip_prefix("[raw]").and_then(|is| is.strip_suffix("[/raw]")).unwrap();
            let plain: String = data
                .chars()
                .filter(|c| *c != '=')
                .map(|c| match c {
                    '-' => '+',
                    '_' => '/',
                    c => c,
                })
                .collect();
            assert_eq!(
                BASE64_STANDARD_NO_PAD.decode(plain).unwrap(),
                format!("{before}{NEW}/{after}").as_bytes()
            );
        }
    }
}

#[test]
fn base64_is_found_anywhere_in_a_text() {
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    type Around = fn(&str) -> String;
    let cases: [(&str, Around); 9] = [
        ("data uri", |b| format!("<a href=\"data:text/html;base64,{b}\">")),
        ("glued", |b| format!("prefix-{b}")),
        ("key", |b| format!("?x={b}&y=1")),
        ("json", |b| format!("{{\"x\":\"{}\"}}", b.replace('/', "\\/"))),
        ("script", |b| format!("atob(\"{}\")", b.replace('/', "\\/"))),
        ("percent", |b| format!("x={}", b.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"))),
        ("html", |b| format!("<p>{}</p>", b.replace('/', "&#x2F;"))),
        ("php", |b| format!("a:1:{{i:0;s:{}:\"{b}\";}}", b.len())),
        ("twice", |b| BASE64_STANDARD.encode(b)),
    ];
    for text in ["URL/", "???>>> URL", "<a href=\"URL/a\">ÿÿÿ???</a>", "~~~~ // ÿ ???  URL ???>>>~~~"] {
        let (old, new) = (encode(&text.replace("URL", OLD)), encode(&text.replace("URL", NEW)));
        for (name, around) in cases {
            let (is, report) = rewrite(&default_rewriter(), &around(&old));
            assert_eq!(is, around(&new), "{name}: {text}: {report:?}");
        }
    }
}

#[test]
fn hosts_with_upper_case_letters_are_found_in_base64() {
    for host in ["http://EXAMPLE.COM/", "http://Example.com/", "http://www.Example.com/"] {
        let (is, _) = rewrite(&default_rewriter(), &BASE64_STANDARD.encode(host));
        assert_eq!(is, BASE64_STANDARD.encode(format!("{NEW}/")));
    }
}

#[test]
fn base64_that_cannot_be_re_encoded_is_kept() {
    let line = BASE64_STANDARD.encode(format!("{} {OLD} {}", "a".repeat(35), "b".repeat(60)));
    let broken = format!("{}\n{}", &line[..76], &line[76..]);
    for value in [broken, "aHR0cDovL2V4YW1wbGUuY29t/x==".into(), "aHR0cDovL2V4YW1wbGUuY29tYR==".into()] {
        let (is, report) = rewrite(&default_rewriter(), &value);
        assert_eq!(is, value);
        assert_eq!(report.malformed.values().sum::<u64>(), 1, "{value}");
    }
}
