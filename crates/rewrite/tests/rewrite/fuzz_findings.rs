//! Regression tests for findings of the fuzz targets.

use wpclone_rewrite::{DumpOptions, Malformed, Report, UnreplacedReason};

use crate::{assert_rewritten, assert_unchanged, default_rewriter, rewrite, rewriter};

#[test]
fn base64_continues_after_a_doubly_encoded_character() {
    assert_rewritten(&[
        (
            "aHR0cDovL2V4YW1wbGUuY29tL2Eo%252bfn5%253d",
            "aHR0cHM6Ly9uZXcuZXhhbXBsZS5vcmcvc2hvcC9hKPn5%252bQ%253d%253d%253d",
        ),
        (r"aHR0cDovL2V4YW1wbGUuY29tL2Eo\\\/fn5", r"aHR0cHM6Ly9uZXcuZXhhbXBsZS5vcmcvc2hvcC9hKP35+Q=="),
    ]);
}

#[test]
fn a_backslash_that_escapes_nothing_is_a_plain_character() {
    for value in [r"C:\sites\example.com\x", r"\example.com"] {
        assert_unchanged(&[value]);
        assert_eq!(
            rewrite(&default_rewriter(), value).1.unreplaced.into_iter().collect::<Vec<_>>(),
            [(UnreplacedReason::BareHost, 1)]
        );
    }
    assert_rewritten(&[(
        "//example.com\\ü//example.com\\@",
        "//new.example.org/shop\\ü//new.example.org/shop\\@",
    )]);
}

#[test]
fn percent_encoding_is_kept_whatever_surrounds_it() {
    let there = rewriter(&[("http://example.com", "https://a-much-longer.example.net:8443")]);
    let back = rewriter(&[("https://a-much-longer.example.net:8443", "http://example.com")]);
    for value in [
        "<a data-x=\"ISBodHRwOi8vZXhhbXBsZS5jb20vYSEgfn5%2bfg%3d%3d\">",
        "<a data-x=&quot;ISBodHRwOi8vZXhhbXBsZS5jb20vYSEgfn5%2bfg%3d%3d&quot;>",
    ] {
        let moved = there.rewrite(value.as_bytes(), &mut Report::default()).into_owned();
        assert_ne!(moved, value.as_bytes());
        let again = back.rewrite(&moved, &mut Report::default()).into_owned();
        assert_eq!(String::from_utf8_lossy(&again), value);
    }
}

#[test]
fn an_invalid_hexadecimal_literal_leaves_no_state() {
    let dump = "INSERT INTO t VALUES (0x123,0x687474703a2f2f6578616d706c652e636f6d);";
    let wanted = "INSERT INTO t VALUES (0x123,0x68747470733a2f2f6e65772e6578616d706c652e6f72672f73686f70);";
    let (mut new, mut report) = (Vec::new(), Report::default());
    let rewriter = default_rewriter();
    let mut stream = rewriter.dump_rewriter(DumpOptions::default());
    stream.push(dump.as_bytes(), &mut new, &mut report);
    stream.finish(&mut new, &mut report);
    assert_eq!(String::from_utf8_lossy(&new), wanted);
}

#[test]
fn a_delimiter_inside_a_word_ends_the_statement_at_any_chunk_boundary() {
    let dump = "DELIMITER 5a'b\nx5a'b\nINSERT INTO t VALUES ('http://example.com')5a'b\n";
    let rewriter = default_rewriter();
    let whole = |cut: usize| {
        let (mut new, mut report) = (Vec::new(), Report::default());
        let mut stream = rewriter.dump_rewriter(DumpOptions::default());
        stream.push(&dump.as_bytes()[..cut], &mut new, &mut report);
        stream.push(&dump.as_bytes()[cut..], &mut new, &mut report);
        stream.finish(&mut new, &mut report);
        (String::from_utf8(new).unwrap(), report)
    };
    let wanted = whole(0);
    assert_eq!((wanted.1.changed_values, wanted.1.malformed.len()), (1, 0), "{wanted:?}");
    for cut in 0..=dump.len() {
        assert_eq!(whole(cut), wanted, "cut at {cut}");
    }
}

#[test]
fn an_address_with_two_ports_is_not_replaced() {
    for value in ["http://example.com:80:80/x", "http://example.com:80:443:80", "http://example.com:80.:80/x"]
    {
        assert_unchanged(&[value]);
        assert_eq!(
            rewrite(&default_rewriter(), value).1.unreplaced.into_iter().collect::<Vec<_>>(),
            [(UnreplacedReason::OtherPort, 1)]
        );
    }
    assert_rewritten(&[
        ("http://example.com:80: it works", "https://new.example.org/shop: it works"),
        ("http://example.com:80.: it works", "https://new.example.org/shop.: it works"),
    ]);
}

#[test]
fn an_address_before_a_mail_address_is_not_a_user_name() {
    for value in ["http://other.example&quot;bob@example.com", "http://other.example,bob@example.com"] {
        assert_unchanged(&[value]);
        assert_eq!(
            rewrite(&default_rewriter(), value).1.unreplaced.into_iter().collect::<Vec<_>>(),
            [(UnreplacedReason::Email, 1)]
        );
    }
    assert_rewritten(&[("http://bob:s,cret@example.com/x", "https://bob:s,cret@new.example.org/shop/x")]);
}

#[test]
fn another_scheme_is_recognised_after_an_encoded_part() {
    for value in ["%2Fexample.community.ftp://example.com/", "%2Fexample.communityhtp://example.com"] {
        assert_unchanged(&[value]);
        assert_eq!(
            rewrite(&default_rewriter(), value).1.unreplaced.into_iter().collect::<Vec<_>>(),
            [(UnreplacedReason::OtherScheme, 1)]
        );
    }
}

#[test]
fn long_base64_with_encoded_characters_takes_linear_time() {
    // Quadratic work takes minutes for it.
    let value = format!("//example.com aHR0cDovL2V4YW1wbGUuY29t{}", r"\/\/4W".repeat(40_000));
    let (new, report) = rewrite(&default_rewriter(), &value);
    assert_eq!((report.changed_values, report.unreplaced_total()), (1, 0));
    assert!(new.starts_with("//new.example.org/shop aHR0cHM6"), "{:.80}", new);
}

#[test]
fn a_host_directly_after_base64_is_reported() {
    let value = "YTAuZXhwbXBsZS5jb2s//example.com'";
    assert_unchanged(&[value]);
    assert_eq!(rewrite(&default_rewriter(), value).1.unreplaced_total(), 1);
}

#[test]
fn a_host_that_starts_inside_rewritten_base64_is_reported() {
    let value = "4WVRveE9udHBvdkwyVjRZVzF3YkdVdVkyOXRJ/example.com/b.png";
    let (new, report) = rewrite(&default_rewriter(), value);
    assert!(new.ends_with("/example.com/b.png"), "{new}");
    assert_eq!((report.replaced_addresses, report.unreplaced_total()), (1, 1));
}

#[test]
fn base64_with_many_double_hyphens_takes_linear_time() {
    // Once, each `--`, which block comments escape, was searched for up to the end of the text.
    let value =
        format!("//example.com aHR0cDovL2V4YW1wbGUuY29t\\/{}", "--aHR0cDovL2V4YW1wbGUuY29t".repeat(40_000));
    let (new, report) = rewrite(&default_rewriter(), &value);
    assert_eq!((report.values, report.changed_values), (1, 1));
    assert!(new.len() > value.len());
}

#[test]
fn one_slash_with_many_backslashes_does_not_change_the_others() {
    let value = format!("aHR0cDovL2V4YW1wbGUuY29t{}/{}", "\\".repeat(1023), "\\/".repeat(1000));
    let (new, report) = rewrite(&default_rewriter(), &value);
    assert!(new.len() < 4 * value.len(), "{} to {}", value.len(), new.len());
    assert_eq!(report.malformed.into_iter().collect::<Vec<_>>(), [(Malformed::EscapeOverflow, 1)]);
}

#[test]
fn a_mark_of_a_format_after_an_address_starts_no_file() {
    // Where the encoded part begins depends on the address before it, which is gone in a second run.
    let cases = [
        (
            "http://example.com%PDF-1.4%3AaHR0cDovL2V4YW1wbGUuY29t",
            "https://new.example.org/shop%PDF-1.4%3AaHR0cHM6Ly9uZXcuZXhhbXBsZS5vcmcvc2hvcA%3D%3D",
        ),
        (
            "http://example.com/UEsDBBQAaHR0cDovL2V4YW1wbGUuY29t",
            "https://new.example.org/shop/UEsDBBQAaHR0cHM6Ly9uZXcuZXhhbXBsZS5vcmcvc2hvcA==",
        ),
    ];
    assert_rewritten(&cases);
    for (_, new) in cases {
        assert_unchanged(&[new]);
    }
}
