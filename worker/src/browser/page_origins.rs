//! The origins in a page, other than its own.

use std::collections::BTreeSet;

use url::Url;

use crate::net::SiteResponse;

/// The links of a page whose hosts are noted, and the addresses in its text whose hosts are.
const MAX_LINKS: usize = 500;
const MAX_MENTIONS: usize = 5000;
/// The most bytes of the host and port of an address.
const MAX_HOST_BYTES: usize = 262;
/// Elements whose addresses a page loads or leads to.
const ADDRESSES: [(&str, &str); 4] = [
    ("a[href], area[href], link[href]", "href"),
    ("img[src], script[src], iframe[src], source[src], video[src], audio[src], embed[src]", "src"),
    ("form[action]", "action"),
    ("object[data]", "data"),
];

/// Origins in a page, other than its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origins {
    /// Those that its elements load from or lead to.
    pub(super) linked: BTreeSet<String>,
    /// Those of addresses anywhere in its text, as in scripts, styles and attributes that scripts read.
    pub(super) mentioned: BTreeSet<String>,
}

/// The other origins in a page.
pub(super) fn origins(response: &SiteResponse) -> Origins {
    let own = response.url.origin();
    let addresses = response.page(|page| {
        let all = ADDRESSES.iter().flat_map(|(css, name)| page.attrs(css, name, MAX_LINKS));
        all.collect::<Vec<_>>()
    });
    let urls = addresses.iter().filter_map(|address| response.url.join(address).ok());
    let urls = urls.chain(response.location.clone());
    let others = |url: Url| {
        (matches!(url.scheme(), "http" | "https") && url.origin() != own)
            .then(|| url.origin().ascii_serialization())
    };
    Origins {
        linked: urls.filter_map(others).collect(),
        mentioned: mentioned(&response.text(), &response.url).into_iter().filter_map(others).collect(),
    }
}

/// The origins of addresses in a text at `base`: with a scheme or without, also escaped for JSON and scripts, and encoded
/// for the query of another address.
fn mentioned(text: &str, base: &Url) -> Vec<Url> {
    let plain = text.replace("\\/", "/").replace("%3A", ":").replace("%2F", "/");
    let addresses = plain.match_indices("//").take(MAX_MENTIONS).filter_map(|(at, slashes)| {
        let before = plain[..at].strip_suffix(':').unwrap_or_default();
        let ends_with = |scheme: &str| {
            before
                .len()
                .checked_sub(scheme.len())
                .and_then(|at| before.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(scheme))
        };
        let scheme = ["https", "http"].into_iter().find(|scheme| ends_with(scheme));
        let host = &plain[at + slashes.len()..];
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        let host = &host[..host.find(|c| !is_host(c)).unwrap_or(host.len())];
        if host.is_empty() || host.len() > MAX_HOST_BYTES {
            return None;
        }
        Url::parse(&format!(
            "{}://{}",
            scheme.unwrap_or(base.scheme()),
            host.trim_end_matches(['.', ':', '-'])
        ))
        .ok()
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_anywhere_in_a_page_have_their_origins_found() {
        let base = Url::parse("https://copy.example/a").unwrap();
        let found = |text: &str| -> Vec<String> {
            mentioned(text, &base).iter().map(|url| url.origin().ascii_serialization()).collect()
        };
        for text in [
            "<img srcset='http://shop.example/a.png 2x'>",
            "fetch(\"http:\\/\\/shop.example\\/x\")",
            "url(HTTP://shop.example)",
            "?u=http%3A%2F%2Fshop.example%2Fa",
            "\u{e4}http://shop.example.",
        ] {
            assert_eq!(found(text), ["http://shop.example"], "{text}");
        }
        assert_eq!(found("url(//shop.example:8080/a)"), ["https://shop.example:8080"]);
        assert_eq!(found("// a comment, a//, /* // */ http:// x"), [""; 0]);
    }
}
