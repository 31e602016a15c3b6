//! PHP values: a generator, and a strict parser like `unserialize`.

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};

use crate::words;

/// A PHP value.
#[derive(Debug, Clone, PartialEq)]
pub enum Php {
    /// A scalar in serialised form, with its semicolon.
    Scalar(String),
    /// Any bytes.
    String(Vec<u8>),
    /// Keys and values.
    Array(Vec<(Php, Php)>),
    /// A class name and properties.
    Object(Vec<u8>, Vec<(Php, Php)>),
    /// A class name and the output of its `serialize` method.
    Custom(Vec<u8>, Vec<u8>),
}

const SCALARS: [&str; 9] =
    ["N;", "b:0;", "b:1;", "i:-7;", "d:0.1;", "d:-INF;", "d:1.0E+25;", "R:1;", "E:6:\"Suit:H\";"];

impl<'a> Arbitrary<'a> for Php {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        value(u, 4)
    }
}

fn value(u: &mut Unstructured<'_>, depth: usize) -> Result<Php> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Php::Scalar((*u.choose(&SCALARS)?).to_owned()),
        1 | 2 if depth > 0 => Php::Array(parts(u, depth)?),
        3 if depth > 0 => Php::Object(name(u)?, parts(u, depth)?),
        4 => Php::Custom(name(u)?, words(u, 12)?),
        // Serialised data in a string.
        5 if depth > 0 => Php::String(value(u, depth - 1)?.encode()),
        _ => Php::String(words(u, 12)?),
    })
}

fn parts(u: &mut Unstructured<'_>, depth: usize) -> Result<Vec<(Php, Php)>> {
    let count = u.int_in_range(0..=4)?;
    (0..count).map(|_| Ok((key(u)?, value(u, depth - 1)?))).collect()
}

fn key(u: &mut Unstructured<'_>) -> Result<Php> {
    let number: i8 = u.arbitrary()?;
    Ok(if number < 0 { Php::Scalar(format!("i:{number};")) } else { Php::String(words(u, 3)?) })
}

fn name(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    u.choose(&["Foo", "stdClass", "A\\B"]).map(|name| name.as_bytes().to_vec())
}

impl Php {
    /// The value in serialised form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.write(&mut text);
        text
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Scalar(text) => to.extend(text.bytes()),
            Self::String(text) => {
                counted("s", text, to);
                to.push(b';');
            }
            Self::Array(parts) => list("a", parts, to),
            Self::Object(class, parts) => {
                counted("O", class, to);
                list("", parts, to);
            }
            Self::Custom(class, text) => {
                counted("C", class, to);
                to.extend(format!(":{}:{{", text.len()).bytes());
                to.extend(text);
                to.push(b'}');
            }
        }
    }

    /// Applies a function to each string except names, including the data of custom classes.
    #[must_use]
    pub fn map(&self, change: &impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let all = |parts: &[(Self, Self)]| {
            parts.iter().map(|(key, value)| (key.clone(), value.map(change))).collect()
        };
        match self {
            Self::Scalar(_) => self.clone(),
            Self::String(text) => Self::String(change(text)),
            Self::Array(parts) => Self::Array(all(parts)),
            Self::Object(class, parts) => Self::Object(class.clone(), all(parts)),
            Self::Custom(class, text) => Self::Custom(class.clone(), change(text)),
        }
    }

    /// Parses serialised data; `None` if the whole text is not valid.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut rest = text;
        let value = read(&mut rest, 64)?;
        rest.is_empty().then_some(value)
    }
}

fn counted(letter: &str, text: &[u8], to: &mut Vec<u8>) {
    to.extend(format!("{letter}:{}:\"", text.len()).bytes());
    to.extend(text);
    to.push(b'"');
}

fn list(letter: &str, parts: &[(Php, Php)], to: &mut Vec<u8>) {
    to.extend(format!("{letter}:{}:{{", parts.len()).bytes());
    for (key, value) in parts {
        key.write(to);
        value.write(to);
    }
    to.push(b'}');
}

// --- reading --------------------------------------------------------------------------------------------------------

fn read(rest: &mut &[u8], depth: usize) -> Option<Php> {
    let depth = depth.checked_sub(1)?;
    let scalar = SCALARS.iter().find(|scalar| rest.starts_with(scalar.as_bytes()));
    if let Some(scalar) = scalar {
        take(rest, scalar)?;
        return Some(Php::Scalar((*scalar).to_owned()));
    }
    let letter = *rest.first()?;
    *rest = rest.get(1..)?;
    take(rest, ":")?;
    match letter {
        b'i' => {
            let sign = if take(rest, "-").is_some() { "-" } else { "" };
            let number = number(rest)?;
            take(rest, ";")?;
            Some(Php::Scalar(format!("i:{sign}{number};")))
        }
        b's' => {
            let text = quoted(rest)?;
            take(rest, ";")?;
            Some(Php::String(text))
        }
        b'a' => read_list(rest, depth).map(Php::Array),
        b'O' => {
            let class = quoted(rest)?;
            take(rest, ":")?;
            Some(Php::Object(class, read_list(rest, depth)?))
        }
        b'C' => {
            let class = quoted(rest)?;
            take(rest, ":")?;
            let length = number(rest)?;
            take(rest, ":{")?;
            let text = bytes(rest, length)?;
            take(rest, "}")?;
            Some(Php::Custom(class, text))
        }
        _ => None,
    }
}

fn read_list(rest: &mut &[u8], depth: usize) -> Option<Vec<(Php, Php)>> {
    let count = number(rest)?;
    take(rest, ":{")?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let key = read(rest, depth)?;
        let is_key = match &key {
            Php::Scalar(text) => text.starts_with('i'),
            Php::String(_) => true,
            _ => false,
        };
        parts.push((key, is_key.then(|| read(rest, depth))??));
    }
    take(rest, "}")?;
    Some(parts)
}

fn quoted(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = number(rest)?;
    take(rest, ":\"")?;
    let text = bytes(rest, length)?;
    take(rest, "\"")?;
    Some(text)
}

fn bytes(rest: &mut &[u8], length: usize) -> Option<Vec<u8>> {
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text.to_vec())
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    *rest = &rest[digits..];
    Some(number)
}

fn take(rest: &mut &[u8], wanted: &str) -> Option<()> {
    *rest = rest.strip_prefix(wanted.as_bytes())?;
    Some(())
}
