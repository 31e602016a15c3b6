//! Formats text for a terminal.

use std::io::Write as _;

use jiff::Timestamp;
use wpclone_task::{escaped, is_interpreted};

use crate::failure::Failure;

/// Maximum number of characters of an untrusted text.
const MAX_CHARS: usize = 2000;

/// Makes an untrusted text (it may come from a site) safe to print: one line, no control characters, limited length.
pub(crate) fn sanitize(text: &str) -> String {
    let one_line = text.split(['\n', '\r', '\t']).collect::<Vec<_>>().join(" ");
    let mut sanitized: String =
        one_line.chars().take(MAX_CHARS).map(|c| if is_interpreted(c) { '\u{fffd}' } else { c }).collect();
    if one_line.chars().nth(MAX_CHARS).is_some() {
        sanitized.push('\u{2026}');
    }
    sanitized
}

/// Formats rows as aligned columns. Cells are sanitized. The last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| sanitize(cell)).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|i| width(i).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A time in UTC, to the second.
pub(crate) fn format_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A duration in its two largest units.
pub(crate) fn format_duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A size in B, KiB or MiB, rounded down.
pub(crate) fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// Writes to standard output.
///
/// # Errors
/// Writing failed.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Formats JSON with a final line break. Characters that a terminal interprets are escaped, which JSON allows in strings.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let escaped = |c: char| match c {
        '\n' => c.to_string(),
        c if is_interpreted(c) => escaped(c),
        c => c.to_string(),
    };
    format!("{value:#}").chars().map(escaped).chain(["\n".to_owned()]).collect()
}

/// Writes JSON to standard output.
///
/// # Errors
/// Writing failed.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&json(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitized_text_has_no_control_characters_and_a_limited_length() {
        assert_eq!(sanitize("a\u{1b}[2Jb\nc\u{202e}d\u{9b}e"), "a\u{fffd}[2Jb c\u{fffd}d\u{fffd}e");
        assert_eq!(sanitize(&"x".repeat(3000)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn table_columns_are_aligned() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(table(&[row("a", "b"), row("\u{e4}\u{f6}\u{fc}", "")]), "a    b\n\u{e4}\u{f6}\u{fc}\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        assert_eq!([0, 61, 3_725, 90_000].map(format_duration), ["0 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
    }
}
