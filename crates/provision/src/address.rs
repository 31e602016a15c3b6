//! The addresses of clones: a path or a host name for each, under one base URL.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::CloneName;

/// How requests are routed to clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// `https://clones.example.com/clone-…/`
    Path,
    /// `https://clone-….clones.example.com/`
    Host,
}

impl FromStr for Routing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "path" => Ok(Self::Path),
            "host" => Ok(Self::Host),
            _ => Err(format!("`{text}` is neither path nor host")),
        }
    }
}

/// Why the base URL or the routing cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The base is not a plain http or https URL.
    #[error("must be an http or https address without login, query and fragment")]
    NotABase,
    /// Routing by host below an IP address.
    #[error("must be a host name: an IP address has no names below it, so clones cannot be routed by host")]
    HostNeedsAName,
    /// Routing by host below a path.
    #[error("must have no path: clones that are routed by host have none in common")]
    HostHasNoPath,
}

/// The addresses that clones have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    base: Url,
    routing: Routing,
    listen: SocketAddr,
}

/// Why a request is for no clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It is addressed to a host that is not the clones'.
    #[error("clones are not served under this host")]
    OtherHost,
    /// The path is not that of a clone.
    #[error("there is no clone at this path")]
    NoClone,
}

/// The clone that a request is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Routed<'a> {
    /// The clone's name; whether there is such a clone is not checked.
    pub name: CloneName,
    /// The form of address that the request used.
    pub routing: Routing,
    /// The path below the clone with its leading slash; empty when the request had not even that.
    pub path: &'a str,
}

impl Addresses {
    /// Addresses under `base`. Without one, under the listener's own address, which is called `localhost` when routing
    /// needs a name.
    ///
    /// # Errors
    /// The base cannot be used with this routing.
    pub fn new(listen: SocketAddr, base: Option<&str>, routing: Routing) -> Result<Self, AddressError> {
        let derived = match routing {
            Routing::Host if listen.ip().is_loopback() => format!("http://localhost:{}", listen.port()),
            _ => format!("http://{listen}"),
        };
        let base = Url::parse(base.unwrap_or(&derived)).map_err(|_| AddressError::NotABase)?;
        let plain = base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || !plain {
            return Err(AddressError::NotABase);
        }
        if routing == Routing::Host {
            if !matches!(base.host(), Some(Host::Domain(_))) {
                return Err(AddressError::HostNeedsAName);
            }
            if base.path() != "/" {
                return Err(AddressError::HostHasNoPath);
            }
        }
        Ok(Self { base, routing, listen })
    }

    /// The addresses among which a clone has this one, and its name. It is the reverse of [`Addresses::url`].
    #[must_use]
    pub fn of_clone(listen: SocketAddr, url: &Url) -> Option<(Self, CloneName)> {
        let mut base = url.clone();
        let by_host = url.host_str().and_then(|host| host.split_once('.'));
        let by_host = by_host.and_then(|(label, rest)| Some((label.parse::<CloneName>().ok()?, rest)));
        let (name, routing) = if let Some((name, rest)) = by_host {
            base.set_host(Some(rest)).ok()?;
            (name, Routing::Host)
        } else {
            let name = url.path().trim_end_matches('/').rsplit('/').next()?.parse().ok()?;
            base.path_segments_mut().ok()?.pop_if_empty().pop();
            (name, Routing::Path)
        };
        Some((Self::new(listen, Some(base.as_str()), routing).ok()?, name))
    }

    /// Where the proxy listens.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// How requests are routed to clones.
    #[must_use]
    pub fn routing(&self) -> Routing {
        self.routing
    }

    /// The canonical address of a clone, without a slash at the end.
    #[must_use]
    pub fn url(&self, name: &CloneName) -> String {
        let port = self.base.port().map(|p| format!(":{p}")).unwrap_or_default();
        let (scheme, host) = (self.base.scheme(), self.base.host_str().unwrap_or_default());
        match self.routing {
            Routing::Path => format!("{scheme}://{host}{port}{}/{name}", self.prefix()),
            Routing::Host => format!("{scheme}://{name}.{host}{port}"),
        }
    }

    /// Where to connect to for a host that the name service may not know: names below a base of this machine
    /// (`localhost`) lead to the listener.
    #[must_use]
    pub fn resolve(&self, host: &str) -> Option<SocketAddr> {
        let base = self.base.host_str()?;
        let local = base == "localhost" || base.ends_with(".localhost");
        let below = host.strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        (local && below).then_some(self.listen)
    }

    fn prefix(&self) -> &str {
        self.base.path().trim_end_matches('/')
    }

    /// The clone that a request is for. `host` is what the request is addressed to, without a port.
    ///
    /// # Errors
    /// The host is not the clones', or the path is no clone's.
    pub fn route<'a>(&self, host: &str, path: &'a str) -> Result<Routed<'a>, RouteError> {
        let host = host.to_ascii_lowercase();
        if let Some(Host::Domain(base)) = self.base.host() {
            let label = host.strip_suffix(base).and_then(|rest| rest.strip_suffix('.'));
            if let Some(name) = label.and_then(|label| label.parse().ok()) {
                return Ok(Routed { name, routing: Routing::Host, path });
            }
        }
        if !self.is_own_host(&host) {
            return Err(RouteError::OtherHost);
        }
        let below = path.strip_prefix(self.prefix()).and_then(|rest| rest.strip_prefix('/'));
        let below = below.ok_or(RouteError::NoClone)?;
        let end = below.find('/').unwrap_or(below.len());
        let name = below[..end].parse().map_err(|_| RouteError::NoClone)?;
        Ok(Routed { name, routing: Routing::Path, path: &below[end..] })
    }

    /// Whether a request may be addressed to this host: that of the base, or the listener's own address. Any other name
    /// may be a stranger's that leads to the listener (DNS rebinding): pages of that name could then read the clones.
    fn is_own_host(&self, host: &str) -> bool {
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let listener = self.listen.ip().to_canonical();
        let is_listener = match ip.map(|ip| ip.to_canonical()) {
            Ok(ip) => {
                ip == listener || listener.is_unspecified() || (ip.is_loopback() && listener.is_loopback())
            }
            Err(_) => host == "localhost" && (listener.is_loopback() || listener.is_unspecified()),
        };
        is_listener || self.base.host_str() == Some(host)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "clone-20261123-163105-abcdef";

    fn addresses(base: Option<&str>, routing: Routing) -> Result<Addresses, AddressError> {
        Addresses::new("127.0.0.1:8090".parse().unwrap(), base, routing)
    }

    #[test]
    fn a_clone_has_one_canonical_address() {
        let name: CloneName = NAME.parse().unwrap();
        for (base, routing, url) in [
            (None, Routing::Path, format!("http://127.0.0.1:8090/{NAME}")),
            (None, Routing::Host, format!("http://{NAME}.localhost:8090")),
            (Some("https://c.example/"), Routing::Path, format!("https://c.example/{NAME}")),
            (Some("https://c.example/at/"), Routing::Path, format!("https://c.example/at/{NAME}")),
            (Some("https://c.example:444"), Routing::Host, format!("https://{NAME}.c.example:444")),
        ] {
            assert_eq!(addresses(base, routing).unwrap().url(&name), url);
        }
    }

    #[test]
    fn the_address_of_a_clone_leads_back_to_the_addresses_that_it_is_among() {
        let name: CloneName = NAME.parse().unwrap();
        for (base, routing) in [
            ("https://c.example/", Routing::Path),
            ("https://c.example/at", Routing::Path),
            ("http://127.0.0.1:8090", Routing::Path),
            ("https://c.example:444", Routing::Host),
            ("http://localhost:8090", Routing::Host),
        ] {
            let url = addresses(Some(base), routing).unwrap().url(&name);
            let listen = "0.0.0.0:8080".parse().unwrap();
            let (found, of) = Addresses::of_clone(listen, &Url::parse(&url).unwrap()).unwrap();
            assert_eq!((found.url(&name), found.routing(), of), (url, routing, name.clone()));
        }
        for url in ["https://c.example", "https://c.example/shop", "https://shop.c.example/"] {
            assert_eq!(Addresses::of_clone("0.0.0.0:80".parse().unwrap(), &Url::parse(url).unwrap()), None);
        }
    }

    #[test]
    fn unusable_base_urls_are_rejected() {
        for (base, routing, why) in [
            ("ftp://c.example", Routing::Path, AddressError::NotABase),
            ("https://me@c.example", Routing::Path, AddressError::NotABase),
            ("https://c.example/?a", Routing::Path, AddressError::NotABase),
            ("http://127.0.0.1:80", Routing::Host, AddressError::HostNeedsAName),
            ("http://[::1]:80", Routing::Host, AddressError::HostNeedsAName),
            ("https://c.example/at", Routing::Host, AddressError::HostHasNoPath),
        ] {
            assert_eq!(addresses(Some(base), routing), Err(why), "{base}");
        }
    }

    #[test]
    fn both_forms_are_routed_under_a_name_and_only_paths_under_an_ip() {
        let found = |addresses: &Addresses, host: &str, path: &str| {
            addresses.route(host, path).map(|to| (to.routing, to.path.to_owned()))
        };
        let (path, slash) = (format!("/{NAME}/a"), format!("/{NAME}"));
        let host = format!("{NAME}.localhost").to_uppercase();
        let named = addresses(None, Routing::Host).unwrap();
        assert_eq!(found(&named, &host, "/a"), Ok((Routing::Host, "/a".into())));
        assert_eq!(found(&named, "localhost", &path), Ok((Routing::Path, "/a".into())));
        assert_eq!(found(&named, "localhost", &slash), Ok((Routing::Path, String::new())));
        assert_eq!(found(&named, &format!("x{NAME}.localhost"), "/a"), Err(RouteError::OtherHost));
        let numbered = addresses(None, Routing::Path).unwrap();
        assert_eq!(found(&numbered, &format!("{NAME}.127.0.0.1"), "/a"), Err(RouteError::OtherHost));
        assert_eq!(found(&numbered, "127.0.0.1", &path), Ok((Routing::Path, "/a".into())));
        let below = addresses(Some("http://c.example/at"), Routing::Path).unwrap();
        assert_eq!(found(&below, "c.example", &path), Err(RouteError::NoClone));
        assert_eq!(found(&below, "c.example", &format!("/at{path}")), Ok((Routing::Path, "/a".into())));
        assert_eq!(named.resolve(&format!("{NAME}.localhost")), Some("127.0.0.1:8090".parse().unwrap()));
        assert_eq!(named.resolve("notlocalhost"), None);
        assert_eq!(below.resolve("c.example"), None);
    }

    #[test]
    fn only_the_bases_host_and_the_listeners_address_are_served() {
        let path = format!("/{NAME}/");
        let serves = |listen: &str, base: Option<&str>, host: &str| {
            let addresses = Addresses::new(listen.parse().unwrap(), base, Routing::Path).unwrap();
            addresses.route(host, &path).is_ok()
        };
        for (listen, base, own, others) in [
            (
                "127.0.0.1:8090",
                None,
                &["127.0.0.1", "127.0.0.9", "localhost", "LocalHost", "[::1]"][..],
                &[
                    "evil.example",
                    "localhost.evil.example",
                    "127.0.0.1.evil.example",
                    "10.0.0.1",
                    "localhost.",
                    "",
                ][..],
            ),
            (
                "127.0.0.1:8090",
                Some("https://c.example"),
                &["c.example", "C.EXAMPLE", "127.0.0.1"],
                &["c.example.", "evil.c.example", "xc.example", "evil.example"],
            ),
            (
                "0.0.0.0:80",
                Some("https://c.example"),
                &["c.example", "10.0.0.1", "localhost"],
                &["evil.example"],
            ),
            ("10.0.0.1:80", None, &["10.0.0.1"], &["10.0.0.2", "localhost", "127.0.0.1", "evil.example"]),
            ("[::1]:80", None, &["[::1]", "localhost"], &["evil.example", "[2001:db8::1]"]),
        ] {
            for host in own {
                assert!(serves(listen, base, host), "{listen} {base:?} {host:?}");
            }
            for host in others {
                assert!(!serves(listen, base, host), "{listen} {base:?} {host:?}");
            }
        }
    }
}
