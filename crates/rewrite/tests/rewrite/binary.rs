//! Only text is rewritten: files and other data with lengths of their own stay byte for byte, and are counted.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use wpclone_rewrite::{Report, UnreplacedReason};

use crate::{NEW, OLD, default_rewriter};

/// The value of a binary column, and the report.
fn rewrite_binary(value: &[u8]) -> (Vec<u8>, Report) {
    let mut report = Report::default();
    let new = default_rewriter().rewrite_binary(value, &mut report);
    assert_eq!(matches!(new, Cow::Owned(_)), *new != *value, "owned only when changed");
    assert_eq!(report.values, 1);
    (new.into_owned(), report)
}

#[track_caller]
fn assert_kept(value: &[u8], (new, report): (Vec<u8>, Report)) {
    assert_eq!(new.escape_ascii().to_string(), value.escape_ascii().to_string());
    let binary = report.unreplaced.get(&UnreplacedReason::Binary);
    assert_eq!((binary, report.unreplaced_total()), (Some(&1), 1), "{}: {report:?}", value.escape_ascii());
    assert_eq!((report.changed_values, report.replaced_addresses), (0, 0));
    assert_eq!(report.unreplaced_samples.len(), 1);
}

/// Files and data that begin with a mark, each with an address.
fn marked() -> Vec<Vec<u8>> {
    let starts: [&[u8]; 27] = [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xd8\xff\xe1\0\x30Exif",
        b"GIF89a\x01\0\x01\0\x80\0\0!\xfe\x12",
        b"RIFF\x24\0\0\0WEBPVP8X",
        b"\0\0\0\x18ftypheic",
        b"II*\0\x08\0\0\0",
        b"\0\0\x01\0\x01\0\x10\x10",
        b"PK\x03\x04\x14\0\0\0",
        b"PK\x05\x06\0\0",
        b"%PDF-1.4\n1 0 obj <</URI (",
        b"\x1f\x8b\x08\0",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd\x04",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\x01\0",
        b"\0\0\0\x02\x14\x01\x11\x03url\x11\x12",
        b"SQLite format 3\0",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"ID3\x03\0\0",
        b"OggS\0\x02",
        b"wOF2\0\x01\0\0",
        b"\0\x01\0\0\0\x0e",
        b"\x7fELF\x02",
        b"\0asm\x01\0\0\0",
        b"\x1a\x45\xdf\xa3",
        b"\xac\xed\0\x05sr",
    ];
    starts.iter().map(|start| [start, OLD.as_bytes(), b"/a\n"].concat()).collect()
}

#[test]
fn files_are_kept_in_every_column() {
    for file in marked() {
        assert_kept(&file, rewrite_binary(&file));
        let mut report = Report::default();
        let new = default_rewriter().rewrite(&file, &mut report).into_owned();
        assert_kept(&file, (new, report));
    }
}

#[test]
fn files_are_kept_inside_of_serialised_data_and_base64() {
    for file in marked() {
        let php = [format!("a:1:{{i:0;s:{}:\"", file.len()).as_bytes(), &file, b"\";}"].concat();
        assert_kept(&php, rewrite_binary(&php));
        let text = BASE64_STANDARD.encode(&file);
        for text in [text.clone(), format!("<img src=\"data:image/png;base64,{text}\">"), format!("x {text}")]
        {
            assert_kept(text.as_bytes(), rewrite_binary(text.as_bytes()));
        }
    }
}

#[test]
fn in_binary_columns_anything_that_is_not_text_is_kept() {
    let msgpack: &[u8] = b"\x81\xa3url\xd9\x12http://example.com";
    let values: [&[u8]; 10] = [
        msgpack,
        b"\xa1\x63url\x72http://example.com",
        b"\x2a\0\0\0\x02url\0\x13\0\0\0http://example.com\0\0",
        b"\x0a\x12http://example.com\x10\x01",
        b"http://example.com\0",
        b"http://example.com\0\0\0\0",
        b"caf\xe9 http://example.com",
        b"user|O:4:\"User\":1:{s:10:\"\0User\0site\";s:18:\"http://example.com\";}",
        b"a:1:{s:3:\"\0u\0\";s:19:\"http://example.com\";}",
        b"h\0t\0t\0p\0 http://example.com",
    ];
    for value in values {
        assert_kept(value, rewrite_binary(value));
    }
}

#[test]
fn text_in_binary_columns_is_rewritten() {
    let values: [&[u8]; 10] = [
        b"http://example.com",
        "f\u{fc}r http://example.com/\u{e4}\r\n\t".as_bytes(),
        "\u{feff}http://example.com".as_bytes(),
        b"{\"u\":\"http://example.com\"}",
        b" {\"u\":\"http://example.com\"}\n",
        b"<?xml version=\"1.0\"?><a href=\"http://example.com\"/>",
        b"siteURL|http://example.com",
        b"PK http://example.com",
        b"GIF89a is a format, see http://example.com",
        b"%PDF http://example.com",
    ];
    for value in values {
        let (new, report) = rewrite_binary(value);
        let wanted = String::from_utf8(value.to_vec()).unwrap().replace(OLD, NEW);
        assert_eq!(String::from_utf8(new).unwrap(), wanted);
        assert_eq!(report.unreplaced_total(), 0);
    }
}

#[test]
fn serialised_data_with_private_properties_is_rewritten_in_binary_columns() {
    let of = |url: &str, bytes: &str| {
        let length = url.len();
        format!("O:1:\"A\":2:{{s:4:\"\0A\0u\";s:{length}:\"{url}\";s:1:\"b\";s:3:\"{bytes}\";}}").into_bytes()
    };
    let (new, report) = rewrite_binary(&of(OLD, "\0\u{1}\0"));
    assert_eq!(new.escape_ascii().to_string(), of(NEW, "\0\u{1}\0").escape_ascii().to_string());
    assert_eq!((report.replaced_addresses, report.unreplaced_total()), (1, 0));
    let encoded = BASE64_STANDARD.encode(of(OLD, "\0\u{1}\0"));
    let (new, _) = rewrite_binary(encoded.as_bytes());
    assert_eq!(BASE64_STANDARD.decode(new).unwrap(), of(NEW, "\0\u{1}\0"));
}

#[test]
fn messages_of_protocol_buffers_are_kept_in_binary_columns_even_if_all_of_their_bytes_are_printable() {
    let url = format!("{OLD}/{}", "x".repeat(20));
    let length = u8::try_from(url.len()).unwrap();
    // A string as field 1; with a number as field 4 and a string of four letters as field 13.
    let short = [b"\n", [length].as_slice(), url.as_bytes()].concat();
    let long = [&short, b" Aj\x04name".as_slice()].concat();
    for message in [&short, &long] {
        assert_kept(message, rewrite_binary(message));
    }
    for text in [format!("\n\n{url}"), format!("\n{url}"), format!("j{url}"), url] {
        let new = text.replace(OLD, NEW);
        assert_eq!(rewrite_binary(text.as_bytes()).0, new.as_bytes(), "{text}");
    }
}
