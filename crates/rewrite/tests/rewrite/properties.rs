//! Property tests: rewriting an encoded value equals encoding the rewritten value, and the inverse mapping restores
//! it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;
use wpclone_rewrite::{Options, Report, Rewriter, SiteMapping};

use crate::{default_rewriter, rewriter};

/// A value with places for an address.
#[derive(Debug, Clone)]
enum Node {
    /// Text, an address with a path, and text.
    Text(String, String),
    Array(Vec<(String, Node)>),
    Object(Vec<(String, Node)>),
    Json(Vec<(String, Node)>, bool),
    Base64(Box<Node>),
    Percent(Box<Node>, bool),
    Html(Box<Node>),
    Attribute(Box<Node>),
    Slashes(Box<Node>),
}

impl Node {
    fn encode(&self, url: &str) -> String {
        self.within(url, 0)
    }

    /// The value inside this many layers of base64. Base64 nested more than twice is not searched.
    fn within(&self, url: &str, base64: usize) -> String {
        let inner = |node: &Self| node.within(url, base64);
        match self {
            Self::Text(before, after) => format!("{before}{url}/a{after}"),
            Self::Array(parts) => format!("a:{}:{{{}}}", parts.len(), serialised(parts, inner)),
            Self::Object(parts) => format!("O:3:\"Foo\":{}:{{{}}}", parts.len(), serialised(parts, inner)),
            Self::Json(parts, escape) => {
                let parts: Vec<_> = parts.iter().map(|(key, node)| (key, inner(node))).collect();
                let text = serde_json::to_string(&parts).unwrap();
                if *escape { text.replace('/', "\\/") } else { text }
            }
            Self::Base64(node) if base64 == 2 => inner(node),
            // Includes characters that show the alphabet, and has no padding: without them, the rewriter has to
            // choose a form.
            Self::Base64(node) => BASE64_URL_SAFE_NO_PAD.encode(node.within(url, base64 + 1) + "????"),
            Self::Percent(node, lowercase) => percent(&inner(node), *lowercase),
            Self::Html(node) => html(&inner(node)),
            Self::Attribute(node) => format!("<a data-x=\"{}\" href='{url}/'>It's</a>", html(&inner(node))),
            Self::Slashes(node) => {
                let text = inner(node);
                // If the backslashes escape no quote but only other backslashes, as in `&quot;\\\\u0000&quot;`, it is
                // ambiguous whether they are outside or inside the references.
                let is_unambiguous = text.contains(['"', '\'']);
                if is_unambiguous { slashed(&text) } else { text }
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

fn slashed(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "\\'")
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

/// Text without addresses, including characters that encodings consist of.
fn text() -> impl Strategy<Value = String> {
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
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..6).prop_map(|words| words.concat())
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = (text(), text()).prop_map(|(before, after)| Node::Text(before, after));
    leaf.prop_recursive(5, 24, 3, |inner| {
        let parts = proptest::collection::vec(("[a-z_\\x00]{1,6}", inner.clone()), 1..4);
        let boxed = inner.prop_map(Box::new);
        prop_oneof![
            3 => parts.clone().prop_map(Node::Array),
            1 => parts.clone().prop_map(Node::Object),
            3 => (parts, any::<bool>()).prop_map(|(parts, escape)| Node::Json(parts, escape)),
            1 => boxed.clone().prop_map(Node::Base64),
            1 => (boxed.clone(), any::<bool>()).prop_map(|(node, lowercase)| Node::Percent(node, lowercase)),
            1 => boxed.clone().prop_map(Node::Html),
            1 => boxed.clone().prop_map(Node::Attribute),
            1 => boxed.prop_map(Node::Slashes),
        ]
    })
}

/// `PROPTEST_CASES` cases, else 3,000.
fn config() -> ProptestConfig {
    let usual = ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        return usual;
    }
    ProptestConfig { cases: ProptestConfig::default().cases, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rewriting_and_encoding_commute(node in node()) {
        let mut report = Report::default();
        let is = default_rewriter().rewrite(node.encode(crate::OLD).as_bytes(), &mut report).into_owned();
        let wanted = node.encode(crate::NEW);
        prop_assert_eq!(String::from_utf8(is).unwrap(), wanted, "{:?}", report);
    }

    #[test]
    fn rewriting_there_and_back_is_the_identity(node in node()) {
        let there = rewriter(&[("http://example.com", "https://a-much-longer.example.net:8443")]);
        let back = rewriter(&[("https://a-much-longer.example.net:8443", "http://example.com")]);
        let value = node.encode("http://example.com");
        let moved = there.rewrite(value.as_bytes(), &mut Report::default()).into_owned();
        let again = back.rewrite(&moved, &mut Report::default()).into_owned();
        prop_assert_eq!(String::from_utf8(again).unwrap(), value);
    }

    #[test]
    fn an_address_mapped_to_itself_changes_nothing(node in node()) {
        let pair = SiteMapping::new("http://example.com", "http://example.com").unwrap();
        let rewriter = Rewriter::new(&[pair], Options::default()).unwrap();
        let value = node.encode("http://example.com");
        let mut report = Report::default();
        let same = rewriter.rewrite(value.as_bytes(), &mut report);
        prop_assert!(std::ptr::eq(&*same, value.as_bytes()));
        prop_assert_eq!(report.unreplaced_total(), 0);
    }

    #[test]
    fn url_safe_base64_without_padding_is_rewritten(before in text(), after in text()) {
        let encode = |url: &str| format!("x:{}:y", BASE64_URL_SAFE_NO_PAD.encode(format!("{before}{url}/{after}")));
        let decode = |text: &[u8]| BASE64_URL_SAFE_NO_PAD.decode(
            String::from_utf8_lossy(&text[2..text.len() - 2]).replace('+', "-").replace('/', "_").trim_end_matches('='),
        );
        let is = default_rewriter().rewrite(encode(crate::OLD).as_bytes(), &mut Report::default()).into_owned();
        prop_assert_eq!(decode(&is).unwrap(), decode(encode(crate::NEW).as_bytes()).unwrap());
    }
}
