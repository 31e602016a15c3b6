//! The mappings of sites: the forms of an old site's host, port and path, and its new address.

use thiserror::Error;
use url::{Host, Url};

/// The old and the new address of a site.
#[derive(Debug, Clone)]
pub struct SiteMapping {
    from: Url,
    to: Url,
}

/// Why a mapping is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MappingError {
    /// Not an absolute http or https URL.
    #[error("not an http or https address: {0}")]
    InvalidAddress(String),
    /// A site's address must not have credentials, a query or a fragment.
    #[error("a site's address ends with its path and holds no credentials: {0}")]
    ExtraUrlParts(String),
    /// One old address is mapped to two new ones.
    #[error("{0} is mapped to two addresses")]
    Conflict(String),
    /// Not an absolute folder, or the root directory.
    #[error("not an absolute folder: {0}")]
    InvalidFolder(String),
    /// There is nothing to replace.
    #[error("no address to replace")]
    Empty,
}

impl SiteMapping {
    /// A site that moves from one address to another. Both consist of `http://` or `https://`, a host, an optional
    /// port and an optional path. A slash at the end is ignored.
    ///
    /// # Errors
    /// If one of them is not such an address.
    pub fn new(from: &str, to: &str) -> Result<Self, MappingError> {
        Ok(Self { from: parse_site(from)?, to: parse_site(to)? })
    }

    pub(crate) fn new_len(&self) -> usize {
        self.to.as_str().len()
    }

    /// The old path without a slash at its end, if it differs from the new one.
    pub(crate) fn old_path(&self) -> Option<&str> {
        let (old, new) = (path(&self.from), path(&self.to));
        (old != new).then_some(old)
    }
}

fn parse_site(text: &str) -> Result<Url, MappingError> {
    let url = Url::parse(text.trim()).map_err(|_| MappingError::InvalidAddress(text.to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(MappingError::InvalidAddress(text.to_owned()));
    }
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if has_credentials || url.query().is_some() || url.fragment().is_some() {
        return Err(MappingError::ExtraUrlParts(text.to_owned()));
    }
    Ok(url)
}

/// The new address of a site.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewAddress {
    pub(crate) scheme: String,
    /// Host, port and path.
    pub(crate) host_port_path: String,
    /// The same with the host in Unicode, if it is an IDN.
    pub(crate) unicode_host_port_path: Option<String>,
}

/// An old site on a host.
#[derive(Debug)]
pub(crate) struct MappedSite {
    /// `None`: the default ports of both schemes.
    pub(crate) port: Option<u16>,
    /// The path without a slash at its end, in each of its encoded forms. The first one is the longest.
    pub(crate) paths: Vec<Vec<u8>>,
    /// `None`: the address is already the new one and is not replaced.
    pub(crate) to: Option<NewAddress>,
    /// Whether it comes from a mapping itself and not from its `www.` variant.
    explicit: bool,
}

impl MappedSite {
    fn path(&self) -> &[u8] {
        self.paths.first().map_or(b"", Vec::as_slice)
    }
}

/// With at most this many hosts, they are compared one by one.
const MAX_LINEAR_HOSTS: usize = 8;

/// All old sites, by host.
#[derive(Debug)]
pub(crate) struct MappingTable {
    /// Sorted by host, in lower-case ASCII. The sites of a host are sorted by descending path length.
    hosts: Vec<(String, Vec<MappedSite>)>,
    /// Whether one of the hosts is an IDN.
    international: bool,
}

impl MappingTable {
    pub(crate) fn new(pairs: &[SiteMapping], www: bool) -> Result<Self, MappingError> {
        let international = pairs.iter().any(|pair| host(&pair.from).contains("xn--"));
        let mut table = Self { hosts: Vec::new(), international };
        for pair in pairs {
            table.add(host(&pair.from), pair, true)?;
        }
        for pair in pairs {
            if let Some(other) = www_counterpart(&pair.from).filter(|_| www) {
                table.add(&other, pair, false)?;
            }
        }
        for pair in pairs {
            table.add_already_moved_entries(pair, www);
        }
        for (_, entries) in &mut table.hosts {
            // The sort is stable: among paths of the same length, the first one added wins.
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.path().len()));
        }
        Ok(table)
    }

    /// The sites of a host in any form: upper or lower case, IDN or punycode.
    pub(crate) fn find(&self, host: &[u8]) -> Option<&[MappedSite]> {
        if !host.is_ascii() {
            let host = std::str::from_utf8(host).ok().filter(|_| self.international)?;
            let ascii = idna::domain_to_ascii(host).ok()?;
            return self.by_ascii_name(ascii.as_bytes());
        }
        if self.hosts.len() <= MAX_LINEAR_HOSTS {
            let mut hosts = self.hosts.iter();
            let found = hosts.find(|(name, _)| eq_ignore_case(host, name.as_bytes()));
            return found.map(|(_, entries)| entries.as_slice());
        }
        self.by_ascii_name(&host.to_ascii_lowercase())
    }

    fn by_ascii_name(&self, host: &[u8]) -> Option<&[MappedSite]> {
        let index = self.hosts.binary_search_by(|(name, _)| name.as_bytes().cmp(host)).ok()?;
        self.hosts.get(index).map(|(_, entries)| entries.as_slice())
    }

    fn entries(&mut self, host: &str) -> Option<&mut Vec<MappedSite>> {
        let index = self.hosts.binary_search_by(|(name, _)| name.as_str().cmp(host)).ok()?;
        self.hosts.get_mut(index).map(|(_, entries)| entries)
    }

    fn add(&mut self, host: &str, pair: &SiteMapping, explicit: bool) -> Result<(), MappingError> {
        let entry = MappedSite {
            port: port(&pair.from),
            paths: path_forms(path(&pair.from)),
            to: Some(new_address(&pair.to)),
            explicit,
        };
        match self.hosts.binary_search_by(|(name, _)| name.as_str().cmp(host)) {
            Err(index) => self.hosts.insert(index, (host.to_owned(), vec![entry])),
            Ok(index) => {
                let Some((_, entries)) = self.hosts.get_mut(index) else { return Ok(()) };
                match entries.iter().find(|old| old.port == entry.port && old.path() == entry.path()) {
                    Some(old) if explicit && old.to != entry.to => {
                        return Err(MappingError::Conflict(pair.from.to_string()));
                    }
                    Some(_) => {}
                    None => entries.push(entry),
                }
            }
        }
        Ok(())
    }

    /// If a site moves deeper into its own host, as from `/` to `/blog`, adds its new address as already moved.
    /// Without it, each further run would move the addresses below `/blog` once more.
    fn add_already_moved_entries(&mut self, pair: &SiteMapping, www: bool) {
        let (port, paths) = (port(&pair.to), path_forms(path(&pair.to)));
        let other = www_counterpart(&pair.to).filter(|_| www);
        for host in [Some(host(&pair.to)), other.as_deref()].into_iter().flatten() {
            let Some(entries) = self.entries(host) else { continue };
            let own = |entry: &MappedSite| entry.explicit && entry.port == port && entry.paths == paths;
            let below = |entry: &MappedSite| {
                let rest = paths.first().and_then(|path| path.strip_prefix(entry.path()));
                entry.port == port && rest.is_some_and(|rest| rest.starts_with(b"/"))
            };
            if entries.iter().any(below) && !entries.iter().any(own) {
                entries.push(MappedSite { port, paths: paths.clone(), to: None, explicit: false });
            }
        }
    }
}

/// Compares two texts, ignoring ASCII case. Most letters are expected to be equal.
pub(crate) fn eq_ignore_case(one: &[u8], other: &[u8]) -> bool {
    let same = |(one, other): (&u8, &u8)| one == other || one.eq_ignore_ascii_case(other);
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// The host names to search for: without `www.`, in ASCII and in Unicode.
pub(crate) fn host_names(pairs: &[SiteMapping]) -> Vec<String> {
    let mut names = Vec::new();
    for pair in pairs {
        let ascii = without_www(host(&pair.from));
        let (unicode, _) = idna::domain_to_unicode(ascii);
        names.extend([ascii.to_owned(), unicode]);
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// The host without `www.`, if the rest is still a domain.
fn without_www(host: &str) -> &str {
    host.strip_prefix("www.").filter(|rest| rest.contains('.')).unwrap_or(host)
}

fn www_counterpart(url: &Url) -> Option<String> {
    let Some(Host::Domain(host)) = url.host() else { return None };
    let bare = without_www(host);
    if bare != host { Some(bare.to_owned()) } else { host.contains('.').then(|| format!("www.{host}")) }
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// The port, unless it is a default port of http or https.
fn port(url: &Url) -> Option<u16> {
    url.port().filter(|port| !is_default(*port))
}

/// Includes the default port of the other scheme: sites behind a proxy write it as well.
pub(crate) fn is_default(port: u16) -> bool {
    matches!(port, 80 | 443)
}

fn path(url: &Url) -> &str {
    url.path().trim_end_matches('/')
}

/// The forms of a path: percent-encoded in upper case, in lower case, and decoded.
fn path_forms(path: &str) -> Vec<Vec<u8>> {
    let (mut lower, mut plain) = (Vec::new(), Vec::new());
    let bytes = path.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code =
            bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some((hex, value)) = code.and_then(|hex| Some((hex, u8::from_str_radix(hex, 16).ok()?))) {
            lower.push(b'%');
            lower.extend(hex.bytes().map(|digit| digit.to_ascii_lowercase()));
            plain.push(value);
            at += 3;
        } else {
            lower.push(byte);
            plain.push(byte);
            at += 1;
        }
    }
    let mut all = vec![bytes.to_vec()];
    all.extend([lower, plain].into_iter().filter(|other| other != bytes));
    all
}

fn new_address(url: &Url) -> NewAddress {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host_port_path = |host: &str| format!("{host}{port}{}", path(url));
    let ascii = host(url);
    let (unicode, _) = idna::domain_to_unicode(ascii);
    NewAddress {
        scheme: url.scheme().to_owned(),
        host_port_path: host_port_path(ascii),
        unicode_host_port_path: (unicode != ascii).then(|| host_port_path(&unicode)),
    }
}
