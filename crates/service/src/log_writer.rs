//! Writes log lines so that a text of a site in them changes neither the terminal nor the line structure.

use std::fmt::Debug;
use std::io::{self, Write};

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};
use wpclone_task::{escaped, is_interpreted};

/// Formats the fields of events and spans for people, as `message name=value …`, and escapes what displays interpret.
pub(crate) fn escaped_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let format = |to: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let value: String = format!("{value:?}").chars().map(shown).collect();
        match field.name() {
            "message" => to.write_str(&value),
            name => write!(to, "{}={value}", name.trim_start_matches("r#")),
        }
    };
    debug_fn(format).delimited(" ")
}

/// A character, escaped if displays interpret it.
fn shown(c: char) -> String {
    if is_interpreted(c) { escaped(c) } else { c.to_string() }
}

/// Makes writers to standard error that escape what displays interpret, as JSON does. The formatter writes each event with
/// one call. Its colors pass; sequences in fields were escaped by [`escaped_fields`], or by JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EscapedStderr;

impl<'a> MakeWriter<'a> for EscapedStderr {
    type Writer = Escaped<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Escaped(io::stderr())
    }
}

/// Escapes each event that is written.
#[derive(Debug)]
pub(crate) struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped_event(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An event as one line.
fn escaped_event(event: &str) -> String {
    let (line, end) = event.strip_suffix('\n').map_or((event, ""), |line| (line, "\n"));
    let mut safe = String::with_capacity(event.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let length = if c == '\u{1b}' { color_length(rest) } else { 0 };
        let (taken, after) = rest.split_at(length.max(c.len_utf8()));
        if length == 0 {
            safe.push_str(&shown(c));
        } else {
            safe.push_str(taken);
        }
        rest = after;
    }
    safe + end
}

/// The length of a sequence that selects a color or a style (SGR, such as `ESC [ 2 m`) at the beginning; 0 without one.
fn color_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let digits = parameters.bytes().take(16).take_while(|b| b.is_ascii_digit() || *b == b';').count();
    if parameters.as_bytes().get(digits) == Some(&b'm') { "\u{1b}[".len() + digits + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "a\u{1b}[2J\u{1b}[31mb\u{202e}c\u{9b}1md\u{200b}e\nWARN forged\u{2028}f\u{7f}g";

    /// What an event with a hostile text in its message, a field and its span's name looks like.
    fn logged(json: bool, ansi: bool) -> String {
        let lines = Lines::default();
        let writer = {
            let lines = lines.clone();
            move || Escaped(lines.clone())
        };
        let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
        let layer = if json {
            layer.json().flatten_event(true).boxed()
        } else {
            layer.compact().fmt_fields(escaped_fields()).boxed()
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _span = tracing::info_span!("step", site = %HOSTILE).entered();
            tracing::warn!(detail = %HOSTILE, debug = ?HOSTILE, plain = HOSTILE, "it said {HOSTILE}");
        });
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_hostile_text_neither_controls_the_terminal_nor_forges_a_line() {
        for (json, ansi) in [(false, false), (true, false)] {
            let text = logged(json, ansi);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(is_interpreted), "{line:?}");
        }
        // With colors, only those of the formatter pass: it opens and closes each.
        let text = logged(false, true);
        assert!(text.contains("\u{1b}[33m WARN\u{1b}[0m"), "{text:?}");
        assert!(!text.contains("\u{1b}[2J") && !text.contains("\u{1b}[31m"), "{text:?}");
        let plain = text.strip_suffix('\n').unwrap().replace('\u{1b}', "");
        assert!(!plain.chars().any(is_interpreted), "{plain:?}");
    }

    #[test]
    fn a_line_of_json_keeps_its_texts() {
        let line: serde_json::Value = serde_json::from_str(&logged(true, false)).unwrap();
        assert_eq!(line["plain"], HOSTILE);
        assert_eq!(line["message"], format!("it said {HOSTILE}"));
    }
}
