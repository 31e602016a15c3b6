//! Whatever is in a value: no panic, no growth, no waiting. A rewriter that took more than linear time would not end
//! within these tests.

use std::fmt::Write;

use proptest::prelude::*;
use wpclone_rewrite::{Malformed, Report};

use crate::{default_rewriter, rewrite};

const MANY: usize = 60_000;

fn reasons(value: &str) -> (Vec<Malformed>, bool) {
    let (new, report) = rewrite(&default_rewriter(), value);
    (report.malformed.into_keys().collect(), new == value)
}

#[test]
fn data_nested_too_deep_is_kept() {
    let deep = |open: &str, close: &str| {
        format!("{}s:18:\"http://example.com\";{}", open.repeat(10_000), close.repeat(10_000))
    };
    assert_eq!(reasons(&deep("a:1:{i:0;", "}")), (vec![Malformed::TooDeep], true));
    assert_eq!(reasons(&deep("O:1:\"A\":1:{i:0;", "}")), (vec![Malformed::TooDeep], true));
    let json = format!("{}\"http:\\/\\/example.com\"{}", "[".repeat(10_000), "]".repeat(10_000));
    let (new, report) = rewrite(&default_rewriter(), &json);
    assert_eq!((report.malformed.get(&Malformed::TooDeep), report.replaced_addresses), (Some(&1), 1));
    assert!(new.contains("\"https:\\/\\/new.example.org\\/shop\""), "as text it is harmless");
}

#[test]
fn nested_encodings_are_decoded_up_to_a_depth() {
    let mut value = "http://example.com".to_owned();
    for _ in 0..2_000 {
        value = format!("s:{}:\"{value}\";", value.len());
    }
    assert_eq!(reasons(&value), (vec![Malformed::TooDeep], true));
    let percent = format!("%{}", "25".repeat(100));
    let value = format!("http{percent}3A{percent}2F{percent}2Fexample.com");
    assert_eq!(reasons(&value), (vec![Malformed::TooDeep], true));
}

#[test]
fn long_repetitions_are_fast() {
    let address = "http://example.com";
    let open = [
        "a:1:{i:0;",
        "a:9:{",
        "s:5:\"",
        "s:100000:\"",
        "C:1:\"A\":900:{",
        "{\"a\":",
        "{\"a\":[",
        "[",
        "[[\"",
        "{",
        "\"",
        "'",
        "\\",
        "\\\"",
        "\\\\\"",
        "&",
        "&quot;",
        "{&quot;",
        "%",
        "%22",
        "%25",
        "%2",
        "/",
        "//",
        "@",
        ":",
        "://",
        "a:",
        "http:",
        "example.com",
        "//example.com@",
        "//example.com:1@",
        "ZXhhbXBsZS5jb2",
        "aHR0cDovL2V4YW1wbGUuY29t",
        "a",
        "A=",
        "a\n",
        "-",
        ".",
        "www.",
        "é",
        "//é",
        " ",
        "\n",
        "s:18:\\\"",
        "s:18:&quot;",
        "a:1:{s:3:\\\"",
        "{\"u\":\"a:1:{s:3:\\\"",
        "[{&quot;",
        "&#x2F;",
        "\\u002f",
        "http:\\/\\/example.com",
        "http%3A%2F%2Fexample.com",
        "http&#58;//example.com",
        "ZXhhbXBsZS5jb20x",
        "  {\"a\": [x",
        "s:18:\"http://example.com\";",
        "\"http:\\/\\/example.com\"",
        "'http:\\/\\/example.com",
        "[1,",
    ];
    for open in open {
        for (before, between) in
            [("", ""), (address, ""), ("", address), (address, " "), (address, "\\/\\/example.com ")]
        {
            let count = MANY / (open.len() + between.len());
            let mut value = before.to_owned();
            for _ in 0..count {
                write!(value, "{open}{between}").unwrap();
            }
            value.push_str(address);
            let (new, _) = rewrite(&default_rewriter(), &value);
            assert!(new.len() < value.len() * 3, "{open} {before} {between}");
        }
    }
}

/// Pieces that mean something to the rewriter, so that what is put together from them is almost something.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "http://",
        "https:",
        "//",
        "\\/\\/",
        "example.com",
        "EXAMPLE.com",
        "www.",
        ".",
        "/",
        "\\",
        "\"",
        "'",
        "\\\"",
        "&quot;",
        "&#x2F;",
        "&amp;",
        "%2F",
        "%3A",
        "%22",
        "%25",
        "%",
        "a:1:{",
        "i:0;",
        "s:18:\"",
        "s:3:",
        "O:3:\"Foo\":1:{",
        "C:3:\"Foo\":18:{",
        "N;",
        "}",
        "]",
        "{\"a\":",
        "[",
        ",",
        ":",
        ";",
        "@",
        "aHR0cDovL2V4YW1wbGUuY29t",
        "L2V4YW1wbGUuY29t",
        "=",
        "==",
        "\n",
        " ",
        "\\u002f",
        "\\u00fc",
        "ü",
        "<!-- wp:x ",
        "-->",
        "<a href=",
    ];
    let word = prop_oneof![
        12 => proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        let with = [&value[..], b"http://example.com", &value[..]].concat();
        default_rewriter().rewrite(&with, &mut Report::default());
    }

    #[test]
    fn almost_valid_data_never_panics(value in fragments()) {
        let mut report = Report::default();
        let rewriter = default_rewriter();
        let new = rewriter.rewrite(&value, &mut report);
        prop_assert_eq!(report.changed_values == 1, new != value);
    }
}
