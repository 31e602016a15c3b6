//! Root-relative addresses, such as `href="/about/"`. They name a path of whatever host they are on, so that they lead
//! elsewhere where a site's path changes. Nothing in them tells that they mean the site: they are counted, and stay.

use std::ops::Range;

use memchr::memchr_iter;

use crate::sites::SiteMapping;

/// Attributes of HTML that hold an address, also behind `data-…-`.
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
/// Members of JSON that hold one, as in the attributes of blocks.
const MEMBERS: [&[u8]; 4] = [b"url", b"href", b"src", b"link"];
/// A quote as a character reference.
const REFERENCES: [&[u8]; 7] = [b"&quot;", b"&#34;", b"&#034;", b"&#x22;", b"&#39;", b"&#039;", b"&apos;"];
/// White space that is passed over.
const MOST_SPACE: usize = 16;

/// The old paths of sites whose path changes.
#[derive(Debug)]
pub(crate) struct RootRelativeFinder {
    /// Each with a slash before it and none behind it; empty for the root.
    paths: Vec<Vec<u8>>,
}

impl RootRelativeFinder {
    /// `None` where no path changes.
    pub(crate) fn new(pairs: &[SiteMapping]) -> Option<Self> {
        let paths: Vec<_> =
            pairs.iter().filter_map(SiteMapping::old_path).map(|path| path.as_bytes().to_vec()).collect();
        (!paths.is_empty()).then_some(Self { paths })
    }

    /// Where in a text, be it HTML, CSS or JSON, plain or escaped, a root-relative address begins and its path ends.
    pub(crate) fn find<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        let begins = |at: &usize| {
            // Most slashes are inside of something.
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            before.is_some_and(|byte| b"\"'(=;\\ ".contains(byte)) && leads_to_address(&text[..*at])
        };
        memchr_iter(b'/', text).filter(begins).filter_map(|at| self.path(text, at))
    }

    /// Whether a text is such an address as a whole.
    pub(crate) fn is_one(&self, text: &[u8]) -> bool {
        text.first() == Some(&b'/') && self.path(text, 0).is_some()
    }

    /// The path of a site that begins here.
    fn path(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        let unescaped =
            |from: usize| text[from..].iter().position(|byte| *byte != b'\\').map(|skipped| from + skipped);
        // Two slashes are followed by a host.
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
            let ends = path.is_empty() || text.get(end).is_none_or(|byte| b"/?#\"'\\&)< ,".contains(byte));
            ends.then_some(at..end.max(at + 1))
        })
    }
}

/// Whether what comes next is an address: behind `href="`, `url(`, `"url":"` and the like.
fn leads_to_address(before: &[u8]) -> bool {
    let unescaped = without_end(before, |byte| byte == b'\\', usize::MAX);
    let open = without_quote(unescaped);
    let quoted = open.len() < unescaped.len();
    let bare = without_end(open, |byte| byte == b'\\', usize::MAX);
    let Some((sign, rest)) = without_end(bare, |byte| byte.is_ascii_whitespace(), MOST_SPACE).split_last()
    else {
        return false;
    };
    let rest = without_end(rest, |byte| byte.is_ascii_whitespace(), MOST_SPACE);
    match sign {
        b'(' => is_one_of(&[b"url"], rest),
        b'=' => is_one_of(&ATTRIBUTES, rest),
        b':' if quoted => {
            let name = without_quote(rest);
            name.len() < rest.len()
                && is_one_of(&MEMBERS, without_end(name, |byte| byte == b'\\', usize::MAX))
        }
        _ => false,
    }
}

fn without_end(text: &[u8], of: impl Fn(u8) -> bool, most: usize) -> &[u8] {
    let count = text.iter().rev().take(most).take_while(|byte| of(**byte)).count();
    &text[..text.len() - count]
}

fn without_quote(text: &[u8]) -> &[u8] {
    match text.last() {
        Some(b'"' | b'\'') => &text[..text.len() - 1],
        Some(b';') => REFERENCES.iter().find_map(|quote| text.strip_suffix(*quote)).unwrap_or(text),
        _ => text,
    }
}

/// Whether a text ends with one of these names, also as the last part of `data-…`.
fn is_one_of(names: &[&[u8]], text: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let name = &text[without_end(text, is_letter, 16).len()..];
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
    fn addresses_without_a_host_are_found_where_addresses_stand() {
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
    fn what_is_none_is_not_counted() {
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
    fn of_a_site_below_a_path_only_its_own_are() {
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
        assert!(RootRelativeFinder::new(&[pair]).is_none(), "the path stays");
    }

    #[test]
    fn a_whole_value_is_one_when_it_begins_like_one() {
        let roots =
            RootRelativeFinder::new(&[SiteMapping::new("http://a.example", "http://a.example/c").unwrap()])
                .unwrap();
        assert!(roots.is_one(b"/contact/") && roots.is_one(b"/"));
        assert!(!roots.is_one(b"//cdn.example/") && !roots.is_one(b"contact/") && !roots.is_one(b""));
    }
}
