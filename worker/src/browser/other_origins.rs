//! The origins besides its own that a copy's pages request or lead to, and which of them are its source.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wpclone_task::{PreparedSite, SiteText, SiteUrl};

use super::page_origins::Origins;
use crate::net::normalize_host;

/// The default ports of http and https: a site at one of them usually redirects from the other.
const DEFAULT_PORTS: [u16; 2] = [80, 443];
/// What a result lists at most.
const MAX_HOSTS: usize = 40;

/// What the pages of a copy request from other origins, or lead to.
pub(super) struct OtherOrigins<'a> {
    source: &'a PreparedSite,
    copy: &'a SiteUrl,
    found: BTreeMap<String, OtherOrigin>,
}

struct OtherOrigin {
    /// The first page where it was seen.
    page: String,
    /// The first address that a browser requested of it.
    requested: Option<String>,
}

impl<'a> OtherOrigins<'a> {
    /// None yet of a copy of `source` at `copy`.
    pub(super) fn new(source: &'a PreparedSite, copy: &'a SiteUrl) -> Self {
        Self { source, copy, found: BTreeMap::new() }
    }

    fn entry(&mut self, origin: &str, page: &str) -> Option<&mut OtherOrigin> {
        if self.found.len() >= MAX_HOSTS && !self.found.contains_key(origin) {
            return None;
        }
        let new = || OtherOrigin { page: page.to_owned(), requested: None };
        Some(self.found.entry(origin.to_owned()).or_insert_with(new))
    }

    /// Adds the origins in a page. Of those that are only mentioned, addresses of the source count: nothing else of a site
    /// is in its copy by mistake.
    pub(super) fn add(&mut self, page: &str, origins: Origins) {
        for origin in origins.mentioned {
            if self.is_of_source(&origin) {
                self.entry(&origin, page);
            }
        }
        for origin in origins.linked {
            self.entry(&origin, page);
        }
    }

    /// Adds an address that a browser requested for a page.
    pub(super) fn add_request(&mut self, page: &str, address: &str) {
        let Ok(url) = url::Url::parse(address) else { return };
        if let Some(other) = self.entry(&url.origin().ascii_serialization(), page)
            && other.requested.is_none()
        {
            page.clone_into(&mut other.page);
            other.requested = Some(address.to_owned());
        }
    }

    /// Sentences about pages that lead to the source.
    pub(super) fn leading_to_source(&self) -> impl Iterator<Item = String> {
        let leading = self.found.iter().filter(|(origin, _)| self.is_of_source(origin));
        leading.map(|(origin, other)| {
            format!("The copy's {} leads to {origin}, which is the source.", other.page)
        })
    }

    /// A page that made a browser request something of the source, with the address.
    pub(super) fn requesting_source(&self) -> Option<(&str, &str)> {
        let of_source = self.found.iter().filter(|(origin, _)| self.is_of_source(origin));
        of_source.filter_map(|(_, other)| Some((other.page.as_str(), other.requested.as_deref()?))).next()
    }

    pub(super) fn to_json(&self) -> Value {
        let all = self.found.iter().map(|(origin, other)| {
            let mut host = json!({
                "origin": SiteText::new(origin),
                "page": SiteText::new(&other.page),
                "is_source": self.is_of_source(origin),
            });
            if let Some(address) = &other.requested {
                host["requested"] = json!(SiteText::new(address));
            }
            host
        });
        all.collect()
    }

    /// Whether an origin is the source under any of its names.
    fn is_of_source(&self, origin: &str) -> bool {
        let Ok(origin) = SiteUrl::parse(origin) else { return false };
        let (host, port) = (origin.url().host_str(), origin.url().port_or_known_default());
        let (Some(host), Some(port)) = (host, port) else { return false };
        self.is_to_source(&normalize_host(host), port)
    }

    /// Whether a connection went to the source under any of its names.
    pub(super) fn is_to_source(&self, host: &str, port: u16) -> bool {
        names(self.source).any(|name| is_to_source(&name, self.copy, (host, port)))
    }
}

/// All addresses of a source.
fn names(source: &PreparedSite) -> impl Iterator<Item = SiteUrl> {
    let aliases = source.aliases.iter().filter_map(|alias| SiteUrl::parse(alias).ok());
    [Some(source.site.clone()), source.home.clone()].into_iter().flatten().chain(aliases)
}

/// Whether a connection went to a copy's source: to its host, with `www.` or without, at its port, or at any default port
/// if its own is one. Of a copy on the same host, its own port is not the source's.
fn is_to_source(source: &SiteUrl, copy: &SiteUrl, (to, to_port): (&str, u16)) -> bool {
    let endpoint = |site: &SiteUrl| {
        (site.url().host_str().map(normalize_host).unwrap_or_default(), site.url().port_or_known_default())
    };
    let ((host, port), own) = (endpoint(source), endpoint(copy));
    if own == (to.to_owned(), Some(to_port)) {
        return false;
    }
    let is_default = |port: u16| DEFAULT_PORTS.contains(&port);
    let same_port = port.is_some_and(|port| port == to_port || is_default(port) && is_default(to_port));
    same_port && without_www(&host) == without_www(to)
}

/// A host without `www.` and without a final dot.
fn without_www(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix("www.").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connects(source: &str, copy: &str, host: &str, port: u16) -> bool {
        let site = |url| SiteUrl::parse(url).unwrap();
        is_to_source(&site(source), &site(copy), (host, port))
    }

    #[test]
    fn a_connection_to_the_source_is_recognised_by_either_scheme_and_with_www_or_without() {
        let copy = "https://clones.example/clone-1";
        for source in ["https://shop.example", "http://shop.example/blog", "https://www.shop.example"] {
            for host in ["shop.example", "www.shop.example", "shop.example."] {
                for port in [80, 443] {
                    assert!(connects(source, copy, host, port), "{source}: {host}:{port}");
                }
                assert!(!connects(source, copy, host, 8443), "{source}: {host}");
            }
            for host in ["cdn.shop.example", "myshop.example", "www.www.shop.example", "clones.example"] {
                assert!(!connects(source, copy, host, 443), "{source}: {host}");
            }
        }
    }

    #[test]
    fn a_source_on_another_port_is_recognised_on_that_port_alone() {
        let (source, copy) = ("http://127.0.0.1:8080", "http://127.0.0.1:9000/clone-1");
        assert!(connects(source, copy, "127.0.0.1", 8080));
        for port in [80, 443, 9000] {
            assert!(!connects(source, copy, "127.0.0.1", port), "{port}");
        }
        assert!(connects("http://[::1]:8080", copy, "::1", 8080));
        assert!(connects("https://[2001:DB8::0:1]", copy, "2001:db8::1", 80));
    }

    #[test]
    fn a_copy_on_the_host_of_its_source_is_not_taken_for_it() {
        let (source, copy) = ("https://shop.example", "https://shop.example/copy");
        assert!(!connects(source, copy, "shop.example", 443));
        assert!(connects(source, copy, "shop.example", 80));
        let copy = "https://www.shop.example";
        assert!(!connects(source, copy, "www.shop.example", 443));
        assert!(connects(source, copy, "shop.example", 443));
    }
}
