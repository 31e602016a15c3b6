//! Nested values in various encodings. Like the crate's property tests, with more encodings.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};

/// A value with places for an address.
#[derive(Debug, Clone)]
pub enum Node {
    /// Text, an address with a path, and text.
    Text(String, String),
    /// A PHP array.
    Array(Vec<(String, Node)>),
    /// An object with properties.
    Object(Vec<(String, Node)>),
    /// A class with its own `serialize` method.
    Custom(Box<Node>),
    /// JSON, compact or pretty-printed, with escaped or plain slashes.
    Json(Vec<(String, Node)>, Json),
    /// Base64: standard with padding if the flag is set, else URL-safe without padding.
    Base64(Box<Node>, bool),
    /// Percent-encoding, with lower-case digits if the flag is set.
    Percent(Box<Node>, bool),
    /// HTML character references.
    Html(Box<Node>),
    /// An HTML attribute.
    Attribute(Box<Node>),
    /// A block comment.
    Block(Vec<(String, Node)>),
    /// The result of `addslashes`.
    Slashes(Box<Node>),
}

/// The style of JSON.
#[derive(Debug, Clone, Copy)]
pub struct Json {
    escape_slashes: bool,
    escape_non_ascii: bool,
    pretty: bool,
}

/// Most nodes of a value, and its greatest depth.
const MAX_NODES: usize = 24;
const MAX_DEPTH: usize = 6;

impl<'a> Arbitrary<'a> for Node {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        node(u, MAX_DEPTH, &mut { MAX_NODES })
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
            let style = Json {
                escape_slashes: u.arbitrary()?,
                escape_non_ascii: u.arbitrary()?,
                pretty: u.arbitrary()?,
            };
            Node::Json(parts(u, depth, left)?, style)
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

/// Text without encodings and addresses.
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

/// The encodings around a value.
#[derive(Clone, Copy, Default)]
struct Context {
    /// Layers of base64.
    base64: usize,
    /// Whether JSON around it escapes slashes. Base64 without slashes gets the escaping of its surroundings when it
    /// is rewritten.
    slashes_escaped: bool,
}

impl Node {
    /// The value with this address.
    #[must_use]
    pub fn encode(&self, url: &str) -> String {
        self.within(url, Context::default())
    }

    fn within(&self, url: &str, context: Context) -> String {
        let inner = |node: &Self| node.within(url, context);
        match self {
            Self::Text(before, after) => format!("{before}{url}/a{after}"),
            Self::Array(parts) => format!("a:{}:{{{}}}", parts.len(), serialised(parts, inner)),
            Self::Object(parts) => format!("O:3:\"Foo\":{}:{{{}}}", parts.len(), serialised(parts, inner)),
            Self::Custom(node) => {
                let text = inner(node);
                format!("C:3:\"Foo\":{}:{{{text}}}", text.len())
            }
            Self::Json(parts, style) => {
                let context =
                    Context { slashes_escaped: context.slashes_escaped || style.escape_slashes, ..context };
                json(parts, *style, |node| node.within(url, context))
            }
            // Base64 nested more than twice is not searched.
            Self::Base64(node, _) if context.base64 == 2 => inner(node),
            // Includes characters that show the alphabet: without them, the rewriter has to choose one.
            Self::Base64(node, standard) => {
                let text = node.within(url, Context { base64: context.base64 + 1, ..context });
                match *standard && !context.slashes_escaped {
                    true => BASE64_STANDARD.encode(text + "~~~~"),
                    false => BASE64_URL_SAFE_NO_PAD.encode(text + "????"),
                }
            }
            Self::Percent(node, lowercase) => percent(&inner(node), *lowercase),
            Self::Html(node) => html(&inner(node)),
            Self::Attribute(node) => format!("<a data-x=\"{}\" href='{url}/'>It's</a>", html(&inner(node))),
            Self::Block(parts) => {
                let style = Json { escape_slashes: false, escape_non_ascii: false, pretty: false };
                let json = json(&parts[..1], style, inner);
                let json =
                    json.replace("--", "\\u002d\\u002d").replace('<', "\\u003c").replace('>', "\\u003e");
                format!("<!-- wp:x {json} -->{url}<!-- /wp:x -->")
            }
            Self::Slashes(node) => {
                let text = inner(node);
                // Without a quote, doubled backslashes cannot be told from literal ones.
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

fn json(parts: &[(String, Node)], style: Json, encode: impl Fn(&Node) -> String) -> String {
    let list: Vec<_> = parts.iter().map(|(key, node)| serde_json::json!({ key: encode(node) })).collect();
    let all = serde_json::json!({ "list": list, "n": [1.5, null, true, {}, []] });
    let text = if style.pretty { serde_json::to_string_pretty(&all) } else { serde_json::to_string(&all) };
    let mut text = text.unwrap_or_default();
    if style.escape_slashes {
        text = text.replace('/', "\\/");
    }
    if style.escape_non_ascii {
        let unit = |unit: &mut u16| format!("\\u{unit:04x}");
        let one = |letter: char| match letter.is_ascii() {
            true => letter.to_string(),
            false => letter.encode_utf16(&mut [0; 2]).iter_mut().map(unit).collect(),
        };
        text = text.chars().map(one).collect();
    }
    text
}

fn percent(text: &str, lowercase: bool) -> String {
    let code = |byte: u8| if lowercase { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
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
