//! Values that hold each other, and how each is written. Like the crate's property tests, with more encodings.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};

/// A value with places for an address.
#[derive(Debug, Clone)]
pub enum Node {
    /// Text, an address, its path and text again.
    Text(String, String),
    /// PHP's array.
    Array(Vec<(String, Node)>),
    /// An object with properties.
    Object(Vec<(String, Node)>),
    /// A class that wrote itself.
    Custom(Box<Node>),
    /// An array and an object, with slashes escaped or not, on one line or many.
    Json(Vec<(String, Node)>, Json),
    /// URL-safe without padding, or standard with it.
    Base64(Box<Node>, bool),
    /// With digits in small letters or large ones.
    Percent(Box<Node>, bool),
    /// Character references.
    Html(Box<Node>),
    /// An attribute.
    Attribute(Box<Node>),
    /// A block comment.
    Block(Vec<(String, Node)>),
    /// What `addslashes` makes of it.
    Slashes(Box<Node>),
}

/// How JSON is written.
#[derive(Debug, Clone, Copy)]
pub struct Json {
    slashes: bool,
    letters: bool,
    lines: bool,
}

/// Nodes of a value and how deep they lie, at most.
const MOST: usize = 24;
const DEPTH: usize = 6;

impl<'a> Arbitrary<'a> for Node {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        node(u, DEPTH, &mut { MOST })
    }
}

fn node(u: &mut Unstructured<'_>, depth: usize, left: &mut usize) -> Result<Node> {
    *left = left.saturating_sub(1);
    let kind = if depth == 0 || *left == 0 { 0 } else { u.int_in_range(0..=13)? };
    Ok(match kind {
        0 => Node::Text(text(u)?, text(u)?),
        1 | 2 => Node::Array(parts(u, depth, left)?),
        3 => Node::Object(parts(u, depth, left)?),
        4 | 5 => {
            let how = Json { slashes: u.arbitrary()?, letters: u.arbitrary()?, lines: u.arbitrary()? };
            Node::Json(parts(u, depth, left)?, how)
        }
        6 => Node::Custom(one(u, depth, left)?),
        7 => Node::Base64(one(u, depth, left)?, u.arbitrary()?),
        8 | 9 => Node::Percent(one(u, depth, left)?, u.arbitrary()?),
        10 => Node::Html(one(u, depth, left)?),
        11 => Node::Attribute(one(u, depth, left)?),
        12 => Node::Block(parts(u, depth, left)?),
        _ => Node::Slashes(one(u, depth, left)?),
    })
}

fn one(u: &mut Unstructured<'_>, depth: usize, left: &mut usize) -> Result<Box<Node>> {
    node(u, depth - 1, left).map(Box::new)
}

fn parts(u: &mut Unstructured<'_>, depth: usize, left: &mut usize) -> Result<Vec<(String, Node)>> {
    let count = u.int_in_range(1..=3)?;
    (0..count).map(|_| Ok((key(u)?, node(u, depth - 1, left)?))).collect()
}

fn key(u: &mut Unstructured<'_>) -> Result<String> {
    let keys = ["a", "url", "\0*\0b", "\0Foo\0c", "x_y", "Z", "http"];
    u.choose(&keys).map(|key| (*key).to_owned())
}

/// Text that is nothing but text.
fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let words = [
        "a",
        "Zürich",
        " ",
        ", ",
        "\n",
        "<p>",
        "</p>",
        "100 ",
        "(",
        ") ",
        "x=1;",
        "é",
        "日本",
        "! ",
        "- ",
        "\t",
        "\u{1f600}",
        "? ",
        "[x y=1]",
        "50 % ",
        "bob at home",
        "; ",
        "a--b ",
        "\r\n",
        "{x} ",
        "#1 ",
    ];
    let count = u.int_in_range(0..=5)?;
    (0..count).map(|_| u.choose(&words).copied()).collect()
}

/// What a value is inside of.
#[derive(Clone, Copy, Default)]
struct Inside {
    /// Layers of base64.
    base64: usize,
    /// JSON that escapes slashes. Base64 that had none before has them as they are afterwards.
    slashes: bool,
}

impl Node {
    /// The value with this address.
    #[must_use]
    pub fn encode(&self, url: &str) -> String {
        self.within(url, Inside::default())
    }

    fn within(&self, url: &str, inside: Inside) -> String {
        let inner = |node: &Self| node.within(url, inside);
        match self {
            Self::Text(before, after) => format!("{before}{url}/a{after}"),
            Self::Array(parts) => format!("a:{}:{{{}}}", parts.len(), serialised(parts, inner)),
            Self::Object(parts) => format!("O:3:\"Foo\":{}:{{{}}}", parts.len(), serialised(parts, inner)),
            Self::Custom(node) => {
                let text = inner(node);
                format!("C:3:\"Foo\":{}:{{{text}}}", text.len())
            }
            Self::Json(parts, how) => {
                let inside = Inside { slashes: inside.slashes || how.slashes, ..inside };
                json(parts, *how, |node| node.within(url, inside))
            }
            // More than two layers of it are not looked for.
            Self::Base64(node, _) if inside.base64 == 2 => inner(node),
            // With something in it that tells the alphabet: what was not there cannot be kept as it was.
            Self::Base64(node, standard) => {
                let text = node.within(url, Inside { base64: inside.base64 + 1, ..inside });
                match *standard && !inside.slashes {
                    true => BASE64_STANDARD.encode(text + "~~~~"),
                    false => BASE64_URL_SAFE_NO_PAD.encode(text + "????"),
                }
            }
            Self::Percent(node, small) => percent(&inner(node), *small),
            Self::Html(node) => html(&inner(node)),
            Self::Attribute(node) => format!("<a data-x=\"{}\" href='{url}/'>It's</a>", html(&inner(node))),
            Self::Block(parts) => {
                let how = Json { slashes: false, letters: false, lines: false };
                let json = json(&parts[..1], how, inner);
                let json =
                    json.replace("--", "\\u002d\\u002d").replace('<', "\\u003c").replace('>', "\\u003e");
                format!("<!-- wp:x {json} -->{url}<!-- /wp:x -->")
            }
            Self::Slashes(node) => {
                let text = inner(node);
                // Where no quote has one, nothing tells doubled backslashes from such as are meant.
                if text.contains(['"', '\'']) { slashed(&text) } else { text }
            }
        }
    }
}

fn serialised(parts: &[(String, Node)], encode: impl Fn(&Node) -> String) -> String {
    let part = |(key, node): &(String, Node)| {
        let value = encode(node);
        format!("s:{}:\"{key}\";s:{}:\"{value}\";", key.len(), value.len())
    };
    parts.iter().map(part).collect()
}

fn json(parts: &[(String, Node)], how: Json, encode: impl Fn(&Node) -> String) -> String {
    let list: Vec<_> = parts.iter().map(|(key, node)| serde_json::json!({ key: encode(node) })).collect();
    let all = serde_json::json!({ "list": list, "n": [1.5, null, true, {}, []] });
    let text = if how.lines { serde_json::to_string_pretty(&all) } else { serde_json::to_string(&all) };
    let mut text = text.unwrap_or_default();
    if how.slashes {
        text = text.replace('/', "\\/");
    }
    if how.letters {
        let unit = |unit: &mut u16| format!("\\u{unit:04x}");
        let one = |letter: char| match letter.is_ascii() {
            true => letter.to_string(),
            false => letter.encode_utf16(&mut [0; 2]).iter_mut().map(unit).collect(),
        };
        text = text.chars().map(one).collect();
    }
    text
}

fn percent(text: &str, small: bool) -> String {
    let code = |byte: u8| if small { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
    let one = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).into()
        } else {
            code(byte)
        }
    };
    text.bytes().map(one).collect()
}

fn slashed(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "\\'")
}

fn html(text: &str) -> String {
    let one = |letter: char| match letter {
        '&' => "&amp;".into(),
        '"' => "&quot;".into(),
        '\'' => "&#039;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        letter => letter.to_string(),
    };
    text.chars().map(one).collect()
}
