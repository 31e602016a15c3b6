//! What the targets share: the ways that addresses go, what values are put together from, and what holds for each.

pub mod node;
pub mod php;
pub mod sql;

use std::borrow::Cow;
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use wpclone_rewrite::{FolderMapping, Options, Report, Rewriter, SiteMapping};

/// The address that most values hold.
pub const OLD: &str = "http://example.com";
/// Where it moves.
pub const NEW: &str = "https://new.example.org/shop";

/// A rewriter for these pairs.
///
/// # Panics
/// When they are none.
#[must_use]
pub fn rewriter(pairs: &[(&str, &str)], options: Options) -> Rewriter {
    let pair = |(from, to): &(&str, &str)| SiteMapping::new(from, to).expect("a pair");
    let pairs: Vec<SiteMapping> = pairs.iter().map(pair).collect();
    Rewriter::new(&pairs, options).expect("pairs that do not contradict each other")
}

/// From [`OLD`] to [`NEW`].
pub static USUAL: LazyLock<Rewriter> = LazyLock::new(|| rewriter(&[(OLD, NEW)], Options::default()));

/// Which of [`WAYS`] leads deeper into its own host.
pub const DEEPER: usize = 6;

/// Other ways, so that each kind of pair and option is met.
pub static WAYS: LazyLock<Vec<Rewriter>> = LazyLock::new(|| {
    let usual = || Options { count_root_relative: true, ..Options::default() };
    let folder = |from, to| FolderMapping::new(from, to).expect("a folder");
    let folders =
        vec![folder("/var/www/html", "/srv/site/htdocs"), folder("C:\\xampp\\htdocs", "/home/u/public_html")];
    let many: Vec<String> = (0..40).map(|host| format!("http://a{host}.example.com")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|from| (from.as_str(), NEW)).collect();
    vec![
        rewriter(&[(OLD, NEW)], usual()),
        rewriter(&[(OLD, OLD)], usual()),
        rewriter(
            &[
                ("http://example.com/blog", "http://other.example.net:8080/a/b"),
                ("http://example.com", "http://b.test"),
            ],
            usual(),
        ),
        rewriter(&[("http://münchen.example", "https://zürich.example/ü")], usual()),
        rewriter(&[(OLD, NEW)], Options { match_www: false, max_depth: 2, max_samples: 1, ..usual() }),
        rewriter(&[(OLD, NEW)], Options { folders, ..usual() }),
        rewriter(&[(OLD, "http://example.com/blog")], usual()),
        rewriter(&[("http://localhost:8080", "https://x.example"), ("http://127.0.0.1", NEW)], usual()),
        rewriter(&[("http://a.b", "http://a--b.example/a--b")], usual()),
        rewriter(&many, usual()),
    ]
});

/// Rewrites a value and checks what holds for any: it comes back borrowed unless something changed, the report says so,
/// and it does not grow beyond what its addresses do.
///
/// # Panics
/// When one of that does not hold.
pub fn checked<'v>(rewriter: &Rewriter, value: &'v [u8]) -> (Cow<'v, [u8]>, Report) {
    let mut report = Report::default();
    let new = rewriter.rewrite(value, &mut report);
    assert_eq!(report.values, 1);
    assert_eq!(report.changed_values == 1, new != value, "changed is what differs: {report:?}");
    assert_eq!(report.replaced_addresses > 0, new != value, "what differs are addresses: {report:?}");
    if let Cow::Borrowed(same) = new {
        assert!(std::ptr::eq(same, value), "what is borrowed is the value");
    } else {
        assert_ne!(new, value, "only what changed is owned");
    }
    assert!(report.unreplaced_samples.len() as u64 <= report.unreplaced_total().min(100));
    assert!(
        new.len() <= most(value, &report),
        "it grows with its addresses only: {} to {}",
        value.len(),
        new.len()
    );
    (new, report)
}

/// No new address of [`WAYS`] has more bytes.
const LONGEST: usize = 40;

/// How long a text may become: four times its length together with that of new addresses, and what base64 adds to them.
#[must_use]
pub fn most(text: &[u8], report: &Report) -> usize {
    let hosts = (report.replaced_addresses + report.unreplaced_total()) as usize;
    8 * (text.len() + hosts * LONGEST).min(4 * text.len())
}

/// What values are put together from: each means something to the rewriter, so that a few of them are almost right.
pub const WORDS: [&str; 84] = [
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
];

/// A text of any words and bytes.
///
/// # Errors
/// When nothing is left to make it from.
pub fn words(u: &mut Unstructured<'_>, most: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for _ in 0..u.int_in_range(0..=most)? {
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
