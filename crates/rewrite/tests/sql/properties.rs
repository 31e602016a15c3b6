//! Property tests of dumps.

use proptest::prelude::*;
use wpclone_rewrite::{DumpOptions, Report};

use crate::{OLD, in_chunks, keeping, plain, renaming, rewriter};

/// A value and how it is written.
#[derive(Debug, Clone)]
struct Value {
    bytes: Vec<u8>,
    style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    /// The escapes of `mysql_real_escape_string`.
    Escaped,
    /// Doubled quotes and escaped backslashes only.
    Doubled,
    DoubleQuotes,
    UpperHex,
    LowerHex,
}

impl Value {
    fn write(&self, escapes: bool) -> Vec<u8> {
        let hex = |prefix: &str, upper: bool, end: &str| {
            let digit = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            let digits: String = self.bytes.iter().map(digit).collect();
            format!("{prefix}{digits}{end}").into_bytes()
        };
        match self.style {
            Style::UpperHex if !self.bytes.is_empty() => hex("0x", true, ""),
            Style::LowerHex => hex("x'", false, "'"),
            Style::DoubleQuotes => self.quoted(b'"', escapes, false),
            Style::Doubled => self.quoted(b'\'', escapes, false),
            _ => self.quoted(b'\'', escapes, true),
        }
    }

    fn quoted(&self, quote: u8, escapes: bool, all: bool) -> Vec<u8> {
        let mut text = vec![quote];
        for byte in &self.bytes {
            let escaped = match byte {
                0 => Some(b'0'),
                b'\n' => Some(b'n'),
                b'\r' => Some(b'r'),
                26 => Some(b'Z'),
                b'\'' | b'"' => Some(*byte),
                _ => None,
            };
            match escaped {
                _ if *byte == b'\\' && escapes => text.extend(b"\\\\"),
                Some(letter) if escapes && all => text.extend([b'\\', letter]),
                _ if *byte == quote => text.extend([quote, quote]),
                _ => text.push(*byte),
            }
        }
        text.push(quote);
        text
    }
}

fn dump(rows: &[Vec<Value>], escapes: bool) -> Vec<u8> {
    let mut text = b"INSERT INTO `t` VALUES ".to_vec();
    for (at, row) in rows.iter().enumerate() {
        text.extend(if at == 0 { &b"("[..] } else { b",\n(" });
        for value in row {
            text.extend(value.write(escapes));
            text.extend(b",-1,NULL,");
        }
        text.extend(b"0)");
    }
    text.extend(b";\n");
    text
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        OLD.as_bytes(),
        b"http:\\/\\/example.com\\/",
        b"//www.example.com/a",
        b"s:18:\"http://example.com\";",
        b"{\"a\":\"http:\\/\\/example.com\"}",
        b"aHR0cDovL2V4YW1wbGUuY29tLw==",
        b"bob@example.com",
        b"'",
        b"\"",
        b"\\",
        b"\0",
        b"\n",
        b"\x1a",
        b"%",
        b"_",
        b" ",
        b"it's",
        b"\xff",
        b"\xe5\x5c",
        b"\xc3\xa9",
        b"''",
        b"\\'",
        b"\\\\",
        b"--",
        b"#",
        b"/*",
        b"*/",
        b";",
        b"),(",
    ];
    let piece = prop_oneof![
        4 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let styles = [
        Style::Escaped,
        Style::Escaped,
        Style::Doubled,
        Style::DoubleQuotes,
        Style::UpperHex,
        Style::LowerHex,
    ];
    (bytes(), proptest::sample::select(styles.to_vec())).prop_map(|(bytes, style)| Value { bytes, style })
}

fn rows() -> impl Strategy<Value = Vec<Vec<Value>>> {
    proptest::collection::vec(proptest::collection::vec(value(), 1..4), 1..4)
}

/// Almost valid SQL.
fn sql() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"INSERT INTO ",
        b"`wp_posts` ",
        b"wp_options ",
        b"wp_usermeta ",
        b" VALUES ",
        b"(",
        b")",
        b",",
        b";",
        b";;",
        b"'",
        b"\"",
        b"`",
        b"\\",
        b"\n",
        b"-- ",
        b"#",
        b"/*",
        b"/*!",
        b"*/",
        b"DELIMITER ",
        b"DELIMITER ;;\n",
        b"UNHEX('687474703a2f2f6578616d706c652e636f6d')",
        b"unhex(\"00687474703a2f2f6578616d706c652e636f6d\"",
        b"DELIMITER ;\n",
        b"0x",
        b"x'",
        b"68747470",
        b"CREATE TABLE ",
        b"CREATE VIEW ",
        b"DROP TABLE ",
        b"FROM ",
        b"guid ",
        b"SET ",
        b"sql_mode",
        b"=",
        b"'NO_BACKSLASH_ESCAPES'",
        b"@a",
        b"http://example.com",
        b"'http://example.com'",
        b"'wp_user_roles'",
        b"-",
        b"/",
        b"*",
        b"1",
        b".",
        b" ",
        b"\0",
        b"\xff",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewriting_a_dump_equals_dumping_rewritten_values(rows in rows(), escapes in any::<bool>()) {
        let options = if escapes { DumpOptions::default() } else { plain() };
        let (is, report) = in_chunks(&options, &dump(&rows, escapes), &[64]);
        let rewriter = rewriter();
        let mut counted = Report::default();
        let rewritten = |value: &Value, counted: &mut Report| {
            // Without a definition, hexadecimal literals are taken for binary data.
            let new = match value.style {
                Style::LowerHex => rewriter.rewrite_binary(&value.bytes, counted),
                Style::UpperHex if !value.bytes.is_empty() => rewriter.rewrite_binary(&value.bytes, counted),
                _ => rewriter.rewrite(&value.bytes, counted),
            };
            Value { bytes: new.into_owned(), ..value.clone() }
        };
        let moved: Vec<Vec<Value>> = rows.iter().map(|row| row.iter().map(|value| rewritten(value, &mut counted)).collect()).collect();
        let wanted = dump(&moved, escapes);
        prop_assert_eq!(is.escape_ascii().to_string(), wanted.escape_ascii().to_string());
        prop_assert_eq!(report, counted);
    }

    #[test]
    fn the_result_does_not_depend_on_chunk_boundaries(
        sql in sql(),
        lengths in proptest::collection::vec(1_usize..20, 1..30),
        which in 0..4,
    ) {
        let options = match which {
            0 => DumpOptions::default(),
            1 => keeping(),
            2 => renaming(),
            _ => DumpOptions { max_value_bytes: 5, ..plain() },
        };
        let (whole, once) = in_chunks(&options, &sql, &[usize::MAX]);
        let (pieces, twice) = in_chunks(&options, &sql, &lengths);
        prop_assert_eq!(pieces.escape_ascii().to_string(), whole.escape_ascii().to_string());
        prop_assert_eq!((once.values, once.changed_values, once.prefix_renames), (twice.values, twice.changed_values, twice.prefix_renames));
        prop_assert_eq!((once.malformed, once.unreplaced), (twice.malformed, twice.unreplaced));
    }

    #[test]
    fn a_mapping_to_the_same_address_changes_nothing(sql in sql()) {
        let pair = wpclone_rewrite::SiteMapping::new(OLD, OLD).unwrap();
        let rewriter = wpclone_rewrite::Rewriter::new(&[pair], wpclone_rewrite::Options::default()).unwrap();
        let (mut out, mut report) = (Vec::new(), Report::default());
        let mut dump = rewriter.dump_rewriter(keeping());
        dump.push(&sql, &mut out, &mut report);
        dump.finish(&mut out, &mut report);
        prop_assert_eq!(out, sql);
    }
}
