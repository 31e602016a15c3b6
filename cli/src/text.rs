//! Texts for a terminal.

use std::io::Write as _;

use jiff::Timestamp;

use crate::failure::Failure;

/// The most characters of a text that comes from elsewhere.
const MAX_CHARS: usize = 2000;

/// Whether a terminal would obey it: control characters, breaks of lines, changes of the writing direction.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text that comes from elsewhere, perhaps from a site, without what a terminal would obey.
pub(crate) fn clean(text: &str) -> String {
    let one_line = text.split(['\n', '\r', '\t']).collect::<Vec<_>>().join(" ");
    let mut cleaned: String =
        one_line.chars().take(MAX_CHARS).map(|c| if is_command(c) { '\u{fffd}' } else { c }).collect();
    if one_line.chars().nth(MAX_CHARS).is_some() {
        cleaned.push('\u{2026}');
    }
    cleaned
}

/// Rows in columns; cells are cleaned. The last column is not padded.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
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

/// A moment, in UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A span of time in its two largest units.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A number of bytes in the unit that suits it.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// Writes to standard output.
///
/// # Errors
/// It does not take it.
pub(crate) fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// JSON, and a line's end. What a terminal would obey is escaped: inside of strings, JSON has another spelling for it.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let escaped = |c: char| match c {
        '\n' => c.to_string(),
        c if is_command(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("{value:#}").chars().map(escaped).chain(["\n".to_owned()]).collect()
}

/// Writes JSON to standard output.
///
/// # Errors
/// It does not take it.
pub(crate) fn out_json(value: &serde_json::Value) -> Result<(), Failure> {
    out(&json(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_site_cannot_command_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d\u{9b}e"), "a\u{fffd}[2Jb c\u{fffd}d\u{fffd}e");
        assert_eq!(clean(&"x".repeat(3000)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn columns_line_up() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(columns(&[row("a", "b"), row("\u{e4}\u{f6}\u{fc}", "")]), "a    b\n\u{e4}\u{f6}\u{fc}\n");
        assert_eq!(columns(&[]), "");
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        assert_eq!([0, 61, 3_725, 90_000].map(span), ["0 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
    }
}
