//! Finds root-relative addresses, such as `href="/about/"`. They are relative to the host of the page, so they break
//! if the site's path changes. Nothing shows that such a path belongs to the site: they are counted, not replaced.

use std::ops::Range;

use memchr::memchr_iter;

use crate::sites::SiteMapping;

/// HTML attributes that hold an address, also as the end of `data-…-`.
const ATTRIBUTES: [&[u8]; 12] = [
    b"href",
    b"src",
    b"srcset",
    b"action",
    b"formaction",
    b"poster",
    b"cite",
    b"background",
    b"data",
    b"longdesc",
    b"link",
    b"url",
];
/// JSON keys that hold an address, as in the attributes of blocks.
const JSON_KEYS: [&[u8]; 4] = [b"url", b"href", b"src", b"link"];
/// A quote as a character reference.
const QUOTE_REFERENCES: [&[u8]; 7] =
    [b"&quot;", b"&#34;", b"&#034;", b"&#x22;", b"&#39;", b"&#039;", b"&apos;"];
/// Most white space that is skipped.
const MAX_WHITE_SPACE: usize = 16;

/// The old paths of sites whose path changes.
#[derive(Debug)]
pub(crate) struct RootRelativeFinder {
    /// Each starts with a slash and does not end with one; empty for the root.
    paths: Vec<Vec<u8>>,
}

impl RootRelativeFinder {
    /// Returns `None` if no path changes.
    pub(crate) fn new(pairs: &[SiteMapping]) -> Option<Self> {
        let paths: Vec<_> =
            pairs.iter().filter_map(SiteMapping::old_path).map(|path| path.as_bytes().to_vec()).collect();
        (!paths.is_empty()).then_some(Self { paths })
    }

    /// The ranges of root-relative addresses, each up to the end of the site's path, in HTML, CSS or JSON, plain or
    /// escaped.
    pub(crate) fn find<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        let may_start = |at: &usize| {
            // A cheap check first: most slashes do not follow one of these.
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            before.is_some_and(|byte| b"\"'(=;\\ ".contains(byte)) && leads_to_address(&text[..*at])
        };
        memchr_iter(b'/', text).filter(may_start).filter_map(|at| self.path_at(text, at))
    }

    /// Whether the whole text is a root-relative address.
    pub(crate) fn is_root_relative(&self, text: &[u8]) -> bool {
        text.first() == Some(&b'/') && self.path_at(text, 0).is_some()
    }

    /// The range of the site's path at an offset.
    fn path_at(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        let unescaped =
            |from: usize| text[from..].iter().position(|byte| *byte != b'\\').map(|skipped| from + skipped);
        // Two slashes start a host.
        if unescaped(at + 1).is_some_and(|next| text[next] == b'/') {
            return None;
        }
        self.paths.iter().find_map(|path| {
            let mut end = at;
            for (n, byte) in path.iter().enumerate() {
                end = if n == 0 { at } else { unescaped(end)? };
                if text.get(end) != Some(byte) {
                    return None;
                }
                end += 1;
            }
            let is_whole =
                path.is_empty() || text.get(end).is_none_or(|byte| b"/?#\"'\\&)< ,".contains(byte));
            is_whole.then_some(at..end.max(at + 1))
        })
    }
}

/// Whether an address follows: after `href="`, `url(`, `"url":"` and the like.
fn leads_to_address(before: &[u8]) -> bool {
    let unescaped = trim_end(before, |byte| byte == b'\\', usize::MAX);
    let open = trim_end_quote(unescaped);
    let quoted = open.len() < unescaped.len();
    let bare = trim_end(open, |byte| byte == b'\\', usize::MAX);
    let Some((sign, rest)) = trim_end(bare, |byte| byte.is_ascii_whitespace(), MAX_WHITE_SPACE).split_last()
    else {
        return false;
    };
    let rest = trim_end(rest, |byte| byte.is_ascii_whitespace(), MAX_WHITE_SPACE);
    match sign {
        b'(' => ends_with_name(&[b"url"], rest),
        b'=' => ends_with_name(&ATTRIBUTES, rest),
        b':' if quoted => {
            let name = trim_end_quote(rest);
            name.len() < rest.len()
                && ends_with_name(&JSON_KEYS, trim_end(name, |byte| byte == b'\\', usize::MAX))
        }
        _ => false,
    }
}

fn trim_end(text: &[u8], of: impl Fn(u8) -> bool, limit: usize) -> &[u8] {
    let count = text.iter().rev().take(limit).take_while(|byte| of(**byte)).count();
    &text[..text.len() - count]
}

fn trim_end_quote(text: &[u8]) -> &[u8] {
    match text.last() {
        Some(b'"' | b'\'') => &text[..text.len() - 1],
        Some(b';') => QUOTE_REFERENCES.iter().find_map(|quote| text.strip_suffix(*quote)).unwrap_or(text),
        _ => text,
    }
}

/// Whether a text ends with one of these names, also as the last part of `data-…`.
fn ends_with_name(names: &[&[u8]], text: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let name = &text[trim_end(text, is_letter, 16).len()..];
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from: &str, text: &str) -> usize {
        let roots =
            RootRelativeFinder::new(&[SiteMapping::new(from, "https://clones.example/c1").unwrap()]).unwrap();
        roots.find(text.as_bytes()).count()
    }

    #[test]
    fn root_relative_addresses_are_found_where_an_address_is_expected() {
        let at_root = [
            r#"<a href="/">"#,
            r#"<a href='/about/'>"#,
            r#"<IMG data-lazy-src = "/a.png">"#,
            r#"<form action=/search>"#,
            r#"<img srcset="/a.png 1x, /b.png 2x">"#,
            "a { background: url(/a.png) }",
            "a { background: url( '/a.png' ) }",
            r#"{"url":"/a.png"}"#,
            r#"{"url":"\/uploads\/a.png"}"#,
            r#"{\"href\" : \"/a\"}"#,
            r#"s:20:\"<a href=\\\"\/about\\\">"#,
            r#"&quot;src&quot;:&quot;/a&quot;"#,
            r#"<a href=&quot;/a&quot;>"#,
        ];
        for text in at_root {
            assert_eq!(found("http://a.example", text), 1, "{text}");
        }
    }

    #[test]
    fn other_paths_are_not_counted() {
        let texts = [
            r#"<a href="//a.example/">"#,
            r#"<a href="\/\/a.example\/">"#,
            r#"<a href="http://b.example/a">"#,
            r#"<a href="about/">"#,
            "</p>/<br />",
            "either / or",
            "x = /pattern/",
            r#"{"path":"/var/www"}"#,
            "curl(/a)x",
            "",
            "/",
        ];
        for text in texts {
            assert_eq!(found("http://a.example", text), 0, "{text}");
        }
    }

    #[test]
    fn for_a_site_with_a_path_only_addresses_below_it_are_counted() {
        for (text, wanted) in [
            (r#"<a href="/blog/about">"#, 1),
            (r#"<a href="/blog">"#, 1),
            (r#"{"url":"\/blog\/a.png"}"#, 1),
            (r#"<a href="/blogs">"#, 0),
            (r#"<a href="/other/">"#, 0),
        ] {
            assert_eq!(found("http://a.example/blog", text), wanted, "{text}");
        }
        let pair = SiteMapping::new("http://a.example/x", "http://b.example/x/").unwrap();
        assert!(RootRelativeFinder::new(&[pair]).is_none(), "the path does not change");
    }

    #[test]
    fn a_whole_value_is_recognised_by_its_start() {
        let roots =
            RootRelativeFinder::new(&[SiteMapping::new("http://a.example", "http://a.example/c").unwrap()])
                .unwrap();
        assert!(roots.is_root_relative(b"/contact/") && roots.is_root_relative(b"/"));
        assert!(
            !roots.is_root_relative(b"//cdn.example/")
                && !roots.is_root_relative(b"contact/")
                && !roots.is_root_relative(b"")
        );
    }
}
