//! Serialised data whose text was converted between charsets: its lengths count the bytes that PHP has, not those of
//! the value.

use wpclone_rewrite::{Malformed, Report};

use crate::{NEW, OLD, assert_rewritten, default_rewriter, rewrite};

/// The text of UTF-8 bytes that were taken for Latin-1, as a dump over utf8mb4 writes a Latin-1 table.
fn as_latin1(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

/// A text as Latin-1 bytes, as a dump over latin1 writes a UTF-8 table.
fn to_latin1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
}

fn serialised(url: &str, title: &str) -> String {
    let value = format!("{title} {url}/{title}");
    format!("a:2:{{s:5:\"title\";s:{}:\"{value}\";s:1:\"u\";s:{}:\"{url}\";}}", value.len(), url.len())
}

#[test]
fn utf8_that_was_taken_for_latin1_keeps_consistent_lengths() {
    for title in ["Gr\u{fc}\u{df}e", "\u{20ac} \u{65e5}\u{672c}", "\u{1f680}"] {
        let (old, new) = (as_latin1(&serialised(OLD, title)), as_latin1(&serialised(NEW, title)));
        assert_rewritten(&[(&old, &new)]);
        let json = |text: &str| serde_json::to_string(&[text]).unwrap();
        assert_rewritten(&[(&json(&old), &json(&new))]);
        let twice = |text: &str| format!("s:{}:\"{text}\";", text.chars().count());
        assert_rewritten(&[(&twice(&old), &twice(&new))]);
    }
}

#[test]
fn latin1_with_the_lengths_of_utf8_keeps_consistent_lengths() {
    let rewrite_bytes = |value: &[u8]| {
        let mut report = Report::default();
        let new = default_rewriter().rewrite(value, &mut report).into_owned();
        (new, report)
    };
    let value = |url| to_latin1(&serialised(url, "Gr\u{fc}\u{df}e"));
    let (new, report) = rewrite_bytes(&value(OLD));
    assert_eq!(new.escape_ascii().to_string(), value(NEW).escape_ascii().to_string(), "{report:?}");
    assert!(report.malformed.is_empty());
    // MySQL's latin1 is Windows-1252: the euro sign has three bytes in UTF-8.
    let euro =
        |url: &str| [format!("s:{}:\"", url.len() + 4).as_bytes(), b"\x80 ", url.as_bytes(), b"\";"].concat();
    let (new, _) = rewrite_bytes(&euro(OLD));
    assert_eq!(new.escape_ascii().to_string(), euro(NEW).escape_ascii().to_string());
}

#[test]
fn lengths_that_are_wrong_in_every_way_are_left_and_counted() {
    let value = as_latin1(&serialised(OLD, "Gr\u{fc}\u{df}e")).replace("s:5:", "s:6:");
    let (new, report) = rewrite(&default_rewriter(), &value);
    assert_eq!(new, value);
    assert_eq!(report.malformed.keys().copied().collect::<Vec<_>>(), [Malformed::PhpLength]);
    assert_eq!(report.unreplaced_total(), 2);
}

#[test]
fn bytes_win_where_both_would_fit() {
    assert_rewritten(&[(
        "a:1:{i:0;s:20:\"\u{fc}http://example.com\";}",
        "a:1:{i:0;s:30:\"\u{fc}https://new.example.org/shop\";}",
    )]);
}

#[test]
fn converted_data_is_parsed_in_linear_time() {
    for open in ["s:9:\"\u{fc}", "a:1:{i:0;s:99999999:\"\u{fc}", "s:3:\"\u{fc}\";", "a:9:{i:0;s:2:\"\u{fc}"] {
        let value = format!("{}{OLD}\u{fc}", open.repeat(60_000 / open.len()));
        rewrite(&default_rewriter(), &value);
    }
}
