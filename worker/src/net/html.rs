//! An HTML page of a site, parsed within bounds of time, depth and size.

use std::time::Duration;

use html5ever::driver;
use html5ever::tendril::{StrTendril, TendrilSink as _};
use rustix::time::{ClockId, clock_gettime};
use scraper::{ElementRef, Html, HtmlTreeSink, Selector};
use wpclone_task::SiteText;

/// Pages of wp-admin take some 20 ms of the processor. HTML can be made to cost the square of its length.
const MAX_PROCESSOR_TIME: Duration = Duration::from_secs(1);
/// The bounds are checked after each tag, and after so many bytes: at a tag, HTML may repeat all that is open.
const CHUNK: usize = 4 << 10;
/// Browsers nest at most 512 elements, so no page needs more.
const MAX_DEPTH: usize = 520;
const MAX_NODES: usize = 200_000;
const MAX_ATTRIBUTES: usize = 400_000;
/// The most characters of a page's text that are kept. It is cut again after it was redacted.
const MAX_TEXT: usize = 2000;
/// Elements whose text is not shown.
const HIDDEN_ELEMENTS: [&str; 6] = ["head", "noscript", "script", "style", "template", "title"];

/// A parsed page.
pub(crate) struct HtmlPage(Html);

impl HtmlPage {
    /// `None` when it takes too long, becomes too large, or is nested deeper than browsers nest.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = processor_time() + MAX_PROCESSOR_TIME;
        let mut parser = driver::parse_document(HtmlTreeSink::new(Html::new_document()), Default::default());
        let (mut rest, mut size) = (text, TreeSize::default());
        while !rest.is_empty() {
            let most = CHUNK.min(rest.len());
            let tag_end = rest.as_bytes()[..most].iter().position(|byte| *byte == b'>');
            let length = tag_end.map_or(most, |end| end + 1);
            let (chunk, after) = rest.split_at(rest.floor_char_boundary(length));
            parser.process(StrTendril::from_slice(chunk));
            size.grow(&parser.tokenizer.sink.sink.0.borrow());
            if size.is_exceeded() || processor_time() > end {
                return None;
            }
            rest = after;
        }
        let html = parser.finish();
        is_bounded(&html).then_some(Self(html))
    }

    fn select(&self, css: &str) -> Option<ElementRef<'_>> {
        // Selectors are constants of this program: one that does not parse finds nothing, and fails the tests.
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

    /// The text of the first match, for people to read.
    pub(crate) fn text(&self, css: &str) -> Option<SiteText> {
        let text: String = self.select(css)?.text().flat_map(str::chars).take(4 * MAX_TEXT).collect();
        let text = SiteText::with_limit(&text, MAX_TEXT);
        (!text.is_empty()).then_some(text)
    }

    /// The text of a piece of HTML, for people to read. Only its beginning is read.
    pub(crate) fn text_of(html: &str) -> Option<SiteText> {
        let beginning = &html[..html.floor_char_boundary(html.len().min(4 * MAX_TEXT))];
        Self::parse(beginning)?.text("body")
    }

    /// The text that a visitor sees, without its spaces.
    pub(crate) fn visible_letters(&self) -> impl Iterator<Item = char> {
        let is_shown = |parent: Option<ego_tree::NodeRef<'_, scraper::Node>>| {
            parent.is_some_and(|parent| {
                parent.value().as_element().is_some_and(|element| !HIDDEN_ELEMENTS.contains(&element.name()))
            })
        };
        let texts = self.0.tree.root().descendants().filter(move |node| is_shown(node.parent()));
        let texts = texts.filter_map(|node| node.value().as_text());
        texts.flat_map(|text| text.chars()).filter(|c| !c.is_whitespace())
    }

    /// The values of an attribute of all matches, at most so many.
    pub(crate) fn attrs(&self, css: &str, name: &str, most: usize) -> Vec<String> {
        let Ok(selector) = Selector::parse(css) else { return Vec::new() };
        let values = self.0.select(&selector).filter_map(|element| element.value().attr(name));
        values.take(most).map(str::to_owned).collect()
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

/// What a tree holds so far.
#[derive(Default)]
struct TreeSize {
    nodes: usize,
    attributes: usize,
}

impl TreeSize {
    /// Adds what is new in the tree.
    fn grow(&mut self, html: &Html) {
        let nodes = html.tree.values();
        let all = nodes.len();
        let new = nodes.rev().take(all - self.nodes);
        let attributes = new.filter_map(scraper::Node::as_element).map(|element| element.attrs.len());
        self.attributes += attributes.sum::<usize>();
        self.nodes = all;
    }

    fn is_exceeded(&self) -> bool {
        self.nodes > MAX_NODES || self.attributes > MAX_ATTRIBUTES
    }
}

/// The time that this thread has run. A busy machine makes no page slower to parse.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Whether selecting in it is cheap.
fn is_bounded(html: &Html) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_built_to_be_slow_is_not_parsed() {
        for unit in ["<div>", "<font a1>", "<b><i>", "<ul><li>"] {
            let text: String = unit.repeat((1 << 20) / unit.len());
            assert!(HtmlPage::parse(&text).is_none(), "{unit}");
        }
        let numbered: String = (0..20_000).map(|n| format!("<font a{n}>")).collect();
        assert!(HtmlPage::parse(&numbered).is_none());
    }

    #[test]
    fn a_page_that_repeats_its_open_elements_ends_at_the_bound() {
        let names = ["b", "big", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u"];
        for (attributes, elements) in [(1, 8_000), (40, 500)] {
            let element = |n: usize| {
                let list: String = (0..attributes).map(|k| format!(" a{n}-{k}")).collect();
                format!("<{}{list}>", names[n % names.len()])
            };
            let open: String = (0..elements).map(element).collect();
            let text = format!("<p>{open}{}", "<p>x".repeat(2_000));
            let mut parser =
                driver::parse_document(HtmlTreeSink::new(Html::new_document()), Default::default());
            parser.process(StrTendril::from_slice(&format!("<p>{open}<p>x<p>x")));
            let mut size = TreeSize::default();
            size.grow(&parser.finish());
            // One tag repeats them all.
            assert!(size.nodes > 2 * elements && size.attributes > 2 * elements * attributes);
            assert!(HtmlPage::parse(&text).is_none(), "{attributes}");
        }
    }

    #[test]
    fn an_ordinary_page_is_parsed() {
        let row = "<tr class=active data-plugin='a/b.php'><td>\u{fc}ber <b>us</b></td></tr>";
        let page =
            HtmlPage::parse(&format!("<body class='wp-admin'><table>{}</table>", row.repeat(3000))).unwrap();
        assert!(page.has("tr.active[data-plugin='a/b.php']"));
        assert_eq!(page.text("td").unwrap(), "\u{fc}ber us");
    }

    #[test]
    fn the_text_of_a_piece_of_html_has_no_tags() {
        assert_eq!(
            HtmlPage::text_of("<strong>Error</strong>: for <b>members</b> &amp; us").unwrap(),
            "Error: for members & us"
        );
        assert_eq!(HtmlPage::text_of(""), None);
        let long = HtmlPage::text_of(&"\u{fc}".repeat(1 << 20)).unwrap();
        assert_eq!(long.as_str().chars().count(), MAX_TEXT + 1, "it ends with an ellipsis");
    }

    #[test]
    fn the_text_of_a_page_does_not_control_a_terminal() {
        let page = HtmlPage::parse("<p>a&#27;[2J\u{9b}31mb\u{202e}c&#x200b;d&#8232;e</p>").unwrap();
        assert_eq!(page.text("p").unwrap(), "abcd e");
    }
}
