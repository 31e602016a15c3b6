//! A page of a site, parsed within bounds of time, depth and size.

use std::time::{Duration, Instant};

use html5ever::driver;
use html5ever::tendril::{StrTendril, TendrilSink as _};
use scraper::{ElementRef, Html, HtmlTreeSink, Selector};

/// Pages of wp-admin take some 20 ms. HTML can be made to cost the square of its length.
const PARSE_LIMIT: Duration = Duration::from_secs(1);
/// Looked at the clock after so many bytes.
const CHUNK: usize = 4 << 10;
/// Browsers nest no deeper than 512 elements; nor does a page that was made for them.
const MAX_DEPTH: usize = 520;
const MAX_NODES: usize = 200_000;
/// What is kept of a page's words. Cut again, after secrets were taken out.
const MAX_EVIDENCE: usize = 2000;

/// A parsed page.
pub(crate) struct Page(Html);

impl Page {
    /// `None` for what takes too long, or is nested deeper than any browser nests.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = Instant::now() + PARSE_LIMIT;
        let mut parser = driver::parse_document(HtmlTreeSink::new(Html::new_document()), Default::default());
        let mut rest = text;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK.min(rest.len())));
            parser.process(StrTendril::from_slice(chunk));
            if Instant::now() > end {
                return None;
            }
            rest = after;
        }
        let html = parser.finish();
        is_sane(&html).then_some(Self(html))
    }

    fn select(&self, css: &str) -> Option<ElementRef<'_>> {
        // Selectors are our own constants: one that does not parse finds nothing, and the tests with it.
        let selector = Selector::parse(css).ok()?;
        self.0.select(&selector).next()
    }

    pub(crate) fn has(&self, css: &str) -> bool {
        self.select(css).is_some()
    }

    /// An attribute of the first match.
    pub(crate) fn attr(&self, css: &str, name: &str) -> Option<String> {
        self.select(css)?.value().attr(name).map(str::to_owned)
    }

    /// The text of the first match, white space folded: evidence for people.
    pub(crate) fn evidence(&self, css: &str) -> Option<String> {
        let text: String = self.select(css)?.text().flat_map(str::chars).take(4 * MAX_EVIDENCE).collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_EVIDENCE).collect();
        (!text.is_empty()).then_some(text)
    }

    /// Names and values of a form's hidden fields.
    pub(crate) fn hidden_fields(&self, form: &str) -> Vec<(String, String)> {
        let Ok(selector) = Selector::parse(&format!("{form} input[type=hidden][name]")) else {
            return Vec::new();
        };
        let field = |e: ElementRef<'_>| {
            Some((e.value().attr("name")?.to_owned(), e.value().attr("value").unwrap_or_default().to_owned()))
        };
        self.0.select(&selector).take(50).filter_map(field).collect()
    }
}

/// Whether selecting in it is cheap. Looked at from leaf to root, which stops at the first that is too deep.
fn is_sane(html: &Html) -> bool {
    let nodes = html.tree.nodes();
    nodes.len() <= MAX_NODES && {
        let mut depth = 0_usize;
        for edge in html.tree.root().traverse() {
            match edge {
                ego_tree::iter::Edge::Open(_) => depth += 1,
                ego_tree::iter::Edge::Close(_) => depth -= 1,
            }
            if depth > MAX_DEPTH {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_to_be_slow_is_no_page() {
        for unit in ["<div>", "<font a1>", "<b><i>", "<ul><li>"] {
            let text: String = unit.repeat((1 << 20) / unit.len());
            assert!(Page::parse(&text).is_none(), "{unit}");
        }
        let numbered: String = (0..20_000).map(|n| format!("<font a{n}>")).collect();
        assert!(Page::parse(&numbered).is_none());
    }

    #[test]
    fn an_ordinary_page_is_read() {
        let row = "<tr class=active data-plugin='a/b.php'><td>\u{fc}ber <b>us</b></td></tr>";
        let page =
            Page::parse(&format!("<body class='wp-admin'><table>{}</table>", row.repeat(3000))).unwrap();
        assert!(page.has("tr.active[data-plugin='a/b.php']"));
        assert_eq!(page.evidence("td").unwrap(), "\u{fc}ber us");
    }
}
