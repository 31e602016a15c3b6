//! The addresses of clones: a path or a host name for each, under one base URL.

use std::fmt;
use std::net::SocketAddr;
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

    /// The clone that a request is for. `host` is the Host header; its port is ignored.
    #[must_use]
    pub fn route<'a>(&self, host: Option<&str>, path: &'a str) -> Option<Routed<'a>> {
        if let (Some(Host::Domain(base)), Some(host)) = (self.base.host(), host) {
            let host = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
            let label = host.strip_suffix(base).and_then(|rest| rest.strip_suffix('.'));
            if let Some(name) = label.and_then(|label| label.parse().ok()) {
                return Some(Routed { name, routing: Routing::Host, path });
            }
        }
        let below = path.strip_prefix(self.prefix())?.strip_prefix('/')?;
        let end = below.find('/').unwrap_or(below.len());
        let name = below[..end].parse().ok()?;
        Some(Routed { name, routing: Routing::Path, path: &below[end..] })
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
            addresses.route(Some(host), path).map(|to| (to.routing, to.path.to_owned()))
        };
        let (path, slash) = (format!("/{NAME}/a"), format!("/{NAME}"));
        let host = format!("{NAME}.localhost:8090").to_uppercase();
        let named = addresses(None, Routing::Host).unwrap();
        assert_eq!(found(&named, &host, "/a"), Some((Routing::Host, "/a".into())));
        assert_eq!(found(&named, "localhost:8090", &path), Some((Routing::Path, "/a".into())));
        assert_eq!(found(&named, "elsewhere.example", &slash), Some((Routing::Path, String::new())));
        assert_eq!(found(&named, &format!("x{NAME}.localhost"), "/a"), None);
        let numbered = addresses(None, Routing::Path).unwrap();
        assert_eq!(found(&numbered, &format!("{NAME}.127.0.0.1"), "/a"), None);
        assert_eq!(found(&numbered, "127.0.0.1:8090", &path), Some((Routing::Path, "/a".into())));
        let below = addresses(Some("http://c.example/at"), Routing::Path).unwrap();
        assert_eq!(found(&below, "c.example", &path), None);
        assert_eq!(found(&below, "c.example", &format!("/at{path}")), Some((Routing::Path, "/a".into())));
        assert_eq!(named.resolve(&format!("{NAME}.localhost")), Some("127.0.0.1:8090".parse().unwrap()));
        assert_eq!(named.resolve("notlocalhost"), None);
        assert_eq!(below.resolve("c.example"), None);
    }
}
