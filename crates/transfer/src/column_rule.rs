//! How the values of a column are transformed, by its type and charset.

use std::borrow::Cow;

use wpclone_migrator::{Column, Table};
use wpclone_rewrite::{Report, Rewriter, UnreplacedReason};

use crate::wide_charset::WideCharset;

/// Unreplaced addresses of a table that are reported with their context.
const MAX_SAMPLES: usize = 100;

/// How the values of a column are transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnRule {
    /// Not at all: the column holds no text.
    Copy,
    /// Not at all, and old addresses are counted.
    Count(UnreplacedReason),
    /// Addresses are replaced, unless the new value is longer than the column allows.
    Text(MaxLength),
    /// The same, if the value is text or a structure as a whole.
    Binary(MaxLength),
    /// Text whose ASCII characters have more than one byte.
    Wide(WideCharset, MaxLength),
    /// Option names and keys of user metadata follow the table prefix.
    OptionName,
    UserMetaKey,
}

/// The longest value that a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxLength {
    Bytes(u64),
    /// Characters; how many bytes they have depends on the charset.
    Characters {
        most: u64,
        utf8: bool,
    },
}

impl MaxLength {
    fn fits(self, value: &[u8]) -> bool {
        match self {
            Self::Bytes(most) => value.len() as u64 <= most,
            Self::Characters { most, utf8 } => {
                // In UTF-8 every byte that is not a continuation byte begins a character.
                let letters = if utf8 {
                    value.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
                } else {
                    value.len()
                };
                letters as u64 <= most
            }
        }
    }
}

impl ColumnRule {
    /// The rule for a column. Only text and binary types, and MySQL's `json`, can hold addresses.
    pub(crate) fn of(column: &Column, table: &Table, rewriter: &Rewriter) -> Self {
        let kind = column.kind.to_ascii_lowercase();
        let name = kind.split(['(', ' ']).next().unwrap_or_default();
        let declared = kind.split(['(', ')']).nth(1).and_then(|number| number.parse().ok());
        let charset = column.charset.as_deref().unwrap_or(&table.charset);
        let wide = WideCharset::of(charset);
        let max = match name {
            "char" | "varchar" => MaxLength::Characters {
                most: declared.unwrap_or(1),
                utf8: wide.is_some() || charset.starts_with("utf8"),
            },
            "varbinary" => MaxLength::Bytes(declared.unwrap_or(1)),
            "tinytext" | "tinyblob" => MaxLength::Bytes((1 << 8) - 1),
            "text" | "blob" => MaxLength::Bytes((1 << 16) - 1),
            "mediumtext" | "mediumblob" => MaxLength::Bytes((1 << 24) - 1),
            "longtext" | "longblob" | "json" => MaxLength::Bytes((1 << 32) - 1),
            // Values of a fixed length, filled up with NULs.
            "binary" => return Self::Count(UnreplacedReason::Binary),
            // Their values are part of the definition.
            "enum" | "set" => {
                let mut report = Report::default();
                rewriter.count_unreplaced(column.kind.as_bytes(), UnreplacedReason::OutsideRows, &mut report);
                return match report.unreplaced_total() {
                    0 => Self::Copy,
                    _ => Self::Count(UnreplacedReason::OutsideRows),
                };
            }
            _ => return Self::Copy,
        };
        match wide {
            _ if name.ends_with("blob") || name == "varbinary" => Self::Binary(max),
            Some(charset) if name != "json" => Self::Wide(charset, max),
            _ => Self::Text(max),
        }
    }

    /// Whether a column of this rule holds ASCII text as it is, and has room for `value`.
    pub(crate) fn holds(self, value: &[u8]) -> bool {
        matches!(self, Self::Text(max) | Self::Binary(max) if max.fits(value))
    }

    /// The new value; borrowed if it did not change. Names are not changed here.
    pub(crate) fn rewrite<'v>(
        self,
        rewriter: &Rewriter,
        value: &'v [u8],
        report: &mut Report,
    ) -> Cow<'v, [u8]> {
        let mut own = Report::default();
        let (new, fits) = match self {
            Self::Text(max) => fitting(rewriter.rewrite(value, &mut own), max),
            Self::Binary(max) => fitting(rewriter.rewrite_binary(value, &mut own), max),
            Self::Wide(charset, max) => rewrite_wide(charset, max, rewriter, value, &mut own),
            Self::Count(reason) => {
                own.values += 1;
                rewriter.count_unreplaced(value, reason, &mut own);
                (Cow::Borrowed(value), true)
            }
            Self::Copy | Self::OptionName | Self::UserMetaKey => return Cow::Borrowed(value),
        };
        if !fits {
            // The column would truncate it: an old address is better than half a new one.
            *report.unreplaced.entry(UnreplacedReason::ColumnTooShort).or_default() += own.replaced_addresses;
            report.values += 1;
            return Cow::Borrowed(value);
        }
        own.unreplaced_samples.truncate(MAX_SAMPLES.saturating_sub(report.unreplaced_samples.len()));
        report.merge(own);
        new
    }
}

/// A new value, and whether the column can hold it. What is not new is as long as it was.
fn fitting(new: Cow<'_, [u8]>, max: MaxLength) -> (Cow<'_, [u8]>, bool) {
    let fits = matches!(new, Cow::Borrowed(_)) || max.fits(&new);
    (new, fits)
}

fn rewrite_wide<'v>(
    charset: WideCharset,
    max: MaxLength,
    rewriter: &Rewriter,
    value: &'v [u8],
    report: &mut Report,
) -> (Cow<'v, [u8]>, bool) {
    let unchanged = (Cow::Borrowed(value), true);
    let Some(text) = charset.decode(value) else { return unchanged };
    let Cow::Owned(new) = rewriter.rewrite(text.as_bytes(), report) else { return unchanged };
    let Ok(text) = std::str::from_utf8(&new) else { return (Cow::Borrowed(value), false) };
    let encoded = charset.encode(text);
    let fits = match max {
        MaxLength::Bytes(_) => max.fits(&encoded),
        MaxLength::Characters { .. } => max.fits(&new),
    };
    (Cow::Owned(encoded), fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row_transformer::tests::{rewriter, table};

    const OLD: &str = "http://a.example/\u{fc}";
    const NEW: &str = "https://a-longer-name.example/\u{fc}";

    fn rule(kind: &str, charset: &str) -> ColumnRule {
        let table = table(&[("c", kind, charset)]);
        ColumnRule::of(&table.columns[0], &table, &rewriter())
    }

    #[test]
    fn text_follows_the_charset_of_its_column() {
        for charset in ["utf16", "utf16le", "ucs2", "utf32"] {
            let wide = WideCharset::of(charset).unwrap();
            let rule = rule("varchar(60)", charset);
            let mut report = Report::default();
            let old = wide.encode(OLD);
            let new = rule.rewrite(&rewriter(), &old, &mut report);
            assert_eq!(*new, *wide.encode(NEW), "{charset}");
            assert_eq!((report.replaced_addresses, report.changed_values), (1, 1));
            // PHP reads it as UTF-8, whose bytes the lengths count.
            let php = |url: &str| wide.encode(&format!("s:{}:\"{url}\";", url.len()));
            assert_eq!(*rule.rewrite(&rewriter(), &php(OLD), &mut report), *php(NEW));
            assert_eq!(*rule.rewrite(&rewriter(), &old[1..], &mut report), old[1..], "no text");
        }
        let short = rule("varchar(30)", "utf16");
        let (old, mut report) = (WideCharset::Utf16.encode(OLD), Report::default());
        assert_eq!(*short.rewrite(&rewriter(), &old, &mut report), *old);
        assert_eq!(report.unreplaced[&UnreplacedReason::ColumnTooShort], 1);
    }

    #[test]
    fn binary_columns_are_rewritten_only_if_they_hold_text() {
        for kind in ["tinyblob", "blob", "mediumblob", "LONGBLOB", "varbinary(200)"] {
            let rule = rule(kind, "binary");
            let mut report = Report::default();
            assert_eq!(*rule.rewrite(&rewriter(), OLD.as_bytes(), &mut report), *NEW.as_bytes());
            let data = [b"\x81\xa3url", OLD.as_bytes()].concat();
            assert_eq!(*rule.rewrite(&rewriter(), &data, &mut report), *data);
            assert_eq!((report.values, report.changed_values), (2, 1));
            assert_eq!(report.unreplaced[&UnreplacedReason::Binary], 1);
        }
    }

    #[test]
    fn values_that_cannot_change_are_counted() {
        let mut report = Report::default();
        let value = b"http://a.example\0\0";
        assert_eq!(*rule("binary(18)", "binary").rewrite(&rewriter(), value, &mut report), *value);
        let (kind, value) = ("enum('http://a.example','b')", b"http://a.example");
        assert_eq!(*rule(kind, "utf8mb4").rewrite(&rewriter(), value, &mut report), *value);
        assert_eq!(rule("set('a','b')", "utf8mb4"), ColumnRule::Copy);
        let reasons: Vec<_> = report.unreplaced.into_iter().collect();
        assert_eq!(reasons, [(UnreplacedReason::Binary, 1), (UnreplacedReason::OutsideRows, 1)]);
    }
}
