//! Rows of a dump: a generator, and a strict parser.

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};

use crate::words;

/// An `INSERT` statement.
#[derive(Debug, Clone)]
pub struct Insert {
    /// Whether a backslash escapes.
    pub escapes: bool,
    /// Rows with equal numbers of values.
    pub rows: Vec<Vec<Value>>,
}

/// A value and how it is written.
#[derive(Debug, Clone)]
pub struct Value {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How it is written.
    pub style: Style,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Not a string.
    Number,
    /// `'it\'s'`, or `'it''s'` without backslash escapes.
    Quoted,
    /// `'it''s'`
    Doubled,
    /// `_binary 'it\'s'`
    Binary,
    /// `0x6974`
    Hex,
    /// `X'6974'`
    QuotedHex,
}

impl<'a> Arbitrary<'a> for Insert {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let escapes = u.arbitrary()?;
        let columns: usize = u.int_in_range(1..=3)?;
        let rows = u.int_in_range(1..=3)?;
        let row = |u: &mut Unstructured<'a>| (0..columns).map(|_| value(u)).collect();
        Ok(Self { escapes, rows: (0..rows).map(|_| row(u)).collect::<Result<_>>()? })
    }
}

fn value(u: &mut Unstructured<'_>) -> Result<Value> {
    use Style::{Binary, Doubled, Hex, Number, Quoted, QuotedHex};
    let style = *u.choose(&[Number, Quoted, Quoted, Doubled, Binary, Hex, QuotedHex])?;
    let bytes = if style == Number { b"-1.5e3".to_vec() } else { words(u, 10)? };
    // `0x` without digits is not a literal.
    let style = if style == Hex && bytes.is_empty() { QuotedHex } else { style };
    Ok(Value { bytes, style })
}

impl Insert {
    /// The statement as the server writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = b"INSERT INTO `wp_x` VALUES ".to_vec();
        for (index, row) in self.rows.iter().enumerate() {
            to.extend(if index == 0 { "(" } else { ",\n(" }.bytes());
            for (index, value) in row.iter().enumerate() {
                to.extend(if index == 0 { "" } else { "," }.bytes());
                value.write(self.escapes, &mut to);
            }
            to.push(b')');
        }
        to.extend(b";\n");
        to
    }

    /// Parses a statement that differs only in its values; `None` if anything else differs.
    #[must_use]
    pub fn read(&self, text: &[u8]) -> Option<Vec<Vec<u8>>> {
        let rest = &mut &*text;
        let mut values = Vec::new();
        take(rest, b"INSERT INTO `wp_x` VALUES ")?;
        for (index, row) in self.rows.iter().enumerate() {
            take(rest, if index == 0 { b"(" } else { b",\n(" })?;
            for (index, value) in row.iter().enumerate() {
                take(rest, if index == 0 { b"" } else { b"," })?;
                values.push(value.read(self.escapes, rest)?);
            }
            take(rest, b")")?;
        }
        take(rest, b";\n")?;
        rest.is_empty().then_some(values)
    }
}

impl Value {
    fn write(&self, escapes: bool, to: &mut Vec<u8>) {
        let hex = || self.bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        match self.style {
            Style::Number => to.extend(&self.bytes),
            Style::Hex => to.extend(format!("0x{}", hex()).bytes()),
            Style::QuotedHex => to.extend(format!("X'{}'", hex()).bytes()),
            Style::Binary => {
                to.extend(b"_binary ");
                quoted(&self.bytes, escapes, false, to);
            }
            Style::Quoted | Style::Doubled => {
                quoted(&self.bytes, escapes, self.style == Style::Doubled, to);
            }
        }
    }

    fn read(&self, escapes: bool, rest: &mut &[u8]) -> Option<Vec<u8>> {
        match self.style {
            Style::Number => {
                take(rest, &self.bytes)?;
                Some(self.bytes.clone())
            }
            Style::Hex => {
                take(rest, b"0x")?;
                unhex(rest)
            }
            Style::QuotedHex => {
                take(rest, b"X'")?;
                let bytes = unhex(rest)?;
                take(rest, b"'")?;
                Some(bytes)
            }
            Style::Binary => {
                take(rest, b"_binary ")?;
                unquoted(escapes, rest)
            }
            Style::Quoted | Style::Doubled => unquoted(escapes, rest),
        }
    }
}

fn quoted(bytes: &[u8], escapes: bool, doubled: bool, to: &mut Vec<u8>) {
    to.push(b'\'');
    for byte in bytes {
        let escape = match byte {
            0 => Some(b'0'),
            b'\n' => Some(b'n'),
            b'\r' => Some(b'r'),
            26 => Some(b'Z'),
            b'\\' | b'"' => Some(*byte),
            b'\'' if !doubled => Some(b'\''),
            _ => None,
        };
        match escape {
            Some(letter) if escapes => to.extend([b'\\', letter]),
            _ if *byte == b'\'' => to.extend(b"''"),
            _ => to.push(*byte),
        }
    }
    to.push(b'\'');
}

fn unquoted(escapes: bool, rest: &mut &[u8]) -> Option<Vec<u8>> {
    take(rest, b"'")?;
    let mut bytes = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        match byte {
            b'\'' if take(rest, b"'").is_none() => return Some(bytes),
            b'\\' if escapes => {
                let (letter, after) = rest.split_first()?;
                *rest = after;
                bytes.push(match letter {
                    b'0' => 0,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'Z' => 26,
                    other => *other,
                });
            }
            byte => bytes.push(*byte),
        }
    }
}

fn unhex(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (hex, after) = rest.split_at(digits);
    *rest = after;
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.chunks(2).map(pair).collect()
}

fn take(rest: &mut &[u8], wanted: &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(wanted)?;
    Some(())
}
