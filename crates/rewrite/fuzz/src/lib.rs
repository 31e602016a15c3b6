//! Shared by all targets: mappings, words to build values from, and the invariants of every rewrite.

pub mod node;
pub mod php;
pub mod sql;

use std::borrow::Cow;
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use wpclone_rewrite::{FolderMapping, Options, Report, Rewriter, SiteMapping};

/// The old address in most values.
pub const OLD: &str = "http://example.com";
/// The new address of [`OLD`].
pub const NEW: &str = "https://new.example.org/shop";

/// A rewriter for these mappings.
///
/// # Panics
/// If they are invalid.
#[must_use]
pub fn rewriter(pairs: &[(&str, &str)], options: Options) -> Rewriter {
    let pair = |(from, to): &(&str, &str)| SiteMapping::new(from, to).expect("a valid mapping");
    let pairs: Vec<SiteMapping> = pairs.iter().map(pair).collect();
    Rewriter::new(&pairs, options).expect("mappings without conflicts")
}

/// Maps [`OLD`] to [`NEW`].
pub static REWRITER: LazyLock<Rewriter> = LazyLock::new(|| rewriter(&[(OLD, NEW)], Options::default()));

/// Index of the rewriter in [`MAPPINGS`] whose new address is below the old one.
pub const NESTED_MAPPING: usize = 6;

/// Rewriters with each kind of mapping and option.
pub static MAPPINGS: LazyLock<Vec<Rewriter>> = LazyLock::new(|| {
    let options = || Options { count_root_relative: true, ..Options::default() };
    let folder = |from, to| FolderMapping::new(from, to).expect("a valid folder");
    let folders =
        vec![folder("/var/www/html", "/srv/site/htdocs"), folder("C:\\xampp\\htdocs", "/home/u/public_html")];
    let many: Vec<String> = (0..40).map(|host| format!("http://a{host}.example.com")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|from| (from.as_str(), NEW)).collect();
    vec![
        rewriter(&[(OLD, NEW)], options()),
        rewriter(&[(OLD, OLD)], options()),
        rewriter(
            &[
                ("http://example.com/blog", "http://other.example.net:8080/a/b"),
                ("http://example.com", "http://b.test"),
            ],
            options(),
        ),
        rewriter(&[("http://münchen.example", "https://zürich.example/ü")], options()),
        rewriter(&[(OLD, NEW)], Options { match_www: false, max_depth: 2, max_samples: 1, ..options() }),
        rewriter(&[(OLD, NEW)], Options { folders, ..options() }),
        rewriter(&[(OLD, "http://example.com/blog")], options()),
        rewriter(&[("http://localhost:8080", "https://x.example"), ("http://127.0.0.1", NEW)], options()),
        rewriter(&[("http://a.b", "http://a--b.example/a--b")], options()),
        rewriter(&many, options()),
    ]
});

/// Rewrites a value and checks the invariants: an unchanged value is returned borrowed, the report agrees with the
/// result, and the value grows only with its addresses.
///
/// # Panics
/// If an invariant does not hold.
pub fn check_invariants<'v>(rewriter: &Rewriter, value: &'v [u8]) -> (Cow<'v, [u8]>, Report) {
    let mut report = Report::default();
    let new = rewriter.rewrite(value, &mut report);
    assert_eq!(report.values, 1);
    assert_eq!(
        report.changed_values == 1,
        new != value,
        "changed_values disagrees with the result: {report:?}"
    );
    assert_eq!(
        report.replaced_addresses > 0,
        new != value,
        "replaced_addresses disagrees with the result: {report:?}"
    );
    if let Cow::Borrowed(same) = new {
        assert!(std::ptr::eq(same, value), "a borrowed result is the value itself");
    } else {
        assert_ne!(new, value, "an owned result differs from the value");
    }
    assert!(report.unreplaced_samples.len() as u64 <= report.unreplaced_total().min(100));
    assert!(
        new.len() <= max_len(value, &report),
        "grows by more than its addresses: {} to {}",
        value.len(),
        new.len()
    );
    (new, report)
}

/// Longest new address in [`MAPPINGS`], in bytes.
const MAX_NEW_ADDRESS_BYTES: usize = 40;

/// The longest result for a text: a generous bound of four times its length including its new addresses, and the
/// overhead of base64.
#[must_use]
pub fn max_len(text: &[u8], report: &Report) -> usize {
    let hosts = (report.replaced_addresses + report.unreplaced_total()) as usize;
    8 * (text.len() + hosts * MAX_NEW_ADDRESS_BYTES).min(4 * text.len())
}

/// Words to build values from. Each has a meaning for the rewriter, so that combinations of them are nearly valid.
pub const WORDS: [&str; 92] = [
    "http://example.com",
    "https://www.example.com",
    "http:",
    "https:",
    "//",
    "\\/\\/",
    "\\/",
    "example.com",
    "EXAMPLE.com",
    "www.",
    ".",
    "/",
    "\\",
    "\"",
    "'",
    "\\\"",
    "\\\\\"",
    "&quot;",
    "&#x2F;",
    "&#47;",
    "&amp;",
    "%2F",
    "%2f",
    "%3A",
    "%22",
    "%25",
    "%",
    "a:1:{",
    "a:2:{",
    "i:0;",
    "s:18:\"",
    "s:1:\"",
    "S:18:\"",
    "O:3:\"Foo\":1:{",
    "C:3:\"Foo\":18:{",
    "E:3:\"A:b\";",
    "N;",
    "}",
    "]",
    "{\"a\":",
    "{",
    "[",
    ",",
    ":",
    ";",
    "@",
    "bob@",
    ":80",
    ":8080",
    "aHR0cDovL2V4YW1wbGUuY29t",
    "L2V4YW1wbGUuY29t",
    "ZXhhbXBsZS5jb20",
    "=",
    "==",
    "-",
    "--",
    "_",
    "\n",
    "\r\n",
    " ",
    "\t",
    "+",
    "\\u002f",
    "\\u002d",
    "\\u00fc",
    "\\n",
    "ü",
    "münchen.example",
    "m%C3%BCnchen.example",
    "xn--mnchen-3ya.example",
    "<!-- wp:x ",
    "-->",
    "<a href=",
    "</a>",
    "srcset=\"",
    " 2x, ",
    "url(",
    ")",
    "[x a=",
    "/var/www/html",
    "C:\\xampp\\htdocs",
    "/blog",
    "localhost:8080",
    "127.0.0.1",
    "example\\.com",
    "example[.]com",
    "\\.",
    "*.",
    "GIF89a\u{1}",
    "PK\x03\x04",
    "%PDF-1.",
    "\0",
];

/// A text of arbitrary words and bytes.
///
/// # Errors
/// If the input is exhausted.
pub fn words(u: &mut Unstructured<'_>, max_words: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for _ in 0..u.int_in_range(0..=max_words)? {
        if u.is_empty() {
            break;
        }
        match u.arbitrary::<u8>()? {
            byte if usize::from(byte) < WORDS.len() => text.extend(WORDS[usize::from(byte)].bytes()),
            _ => text.push(u.arbitrary()?),
        }
    }
    Ok(text)
}
