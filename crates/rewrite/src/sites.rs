//! The old sites: what their hosts, ports and paths may be called, and where each goes.

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
    /// A site that moves from one address to another, both `http://` or `https://`, a host, perhaps a port and a
    /// path. A slash at the end means nothing.
    ///
    /// # Errors
    /// When one of them is not such an address.
    pub fn new(from: &str, to: &str) -> Result<Self, MappingError> {
        Ok(Self { from: site(from)?, to: site(to)? })
    }

    pub(crate) fn new_len(&self) -> usize {
        self.to.as_str().len()
    }

    /// The old path, without a slash at its end, if the new one is another.
    pub(crate) fn old_path(&self) -> Option<&str> {
        let (old, new) = (path(&self.from), path(&self.to));
        (old != new).then_some(old)
    }
}

fn site(text: &str) -> Result<Url, MappingError> {
    let url = Url::parse(text.trim()).map_err(|_| MappingError::InvalidAddress(text.to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(MappingError::InvalidAddress(text.to_owned()));
    }
    let more = !url.username().is_empty() || url.password().is_some();
    if more || url.query().is_some() || url.fragment().is_some() {
        return Err(MappingError::ExtraUrlParts(text.to_owned()));
    }
    Ok(url)
}

/// Where an address goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: String,
    /// Host, port and path.
    pub(crate) rest: String,
    /// The same with the host as people write it, where that differs.
    pub(crate) unicode: Option<String>,
}

/// A site on a host.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `None`: the schemes' own.
    pub(crate) port: Option<u16>,
    /// The path without a slash at its end, in every spelling; the first is as long as any.
    pub(crate) paths: Vec<Vec<u8>>,
    /// `None`: what is at its new place already stays there.
    pub(crate) to: Option<Target>,
    /// Written in a pair, not only another spelling of one.
    explicit: bool,
}

impl Entry {
    fn path(&self) -> &[u8] {
        self.paths.first().map_or(b"", Vec::as_slice)
    }
}

/// So many hosts are compared one by one.
const FEW: usize = 8;

/// All old sites by host.
#[derive(Debug)]
pub(crate) struct Sites {
    /// Sorted by host, in ASCII and small letters; the entries with the longest path first.
    hosts: Vec<(String, Vec<Entry>)>,
    /// Whether one of them may be written in letters outside of ASCII.
    international: bool,
}

impl Sites {
    pub(crate) fn new(pairs: &[SiteMapping], www: bool) -> Result<Self, MappingError> {
        let international = pairs.iter().any(|pair| host(&pair.from).contains("xn--"));
        let mut sites = Self { hosts: Vec::new(), international };
        for pair in pairs {
            sites.add(host(&pair.from), pair, true)?;
        }
        for pair in pairs {
            if let Some(other) = other_www(&pair.from).filter(|_| www) {
                sites.add(&other, pair, false)?;
            }
        }
        for pair in pairs {
            sites.keep_what_moved(pair, www);
        }
        for (_, entries) in &mut sites.hosts {
            // Stable: of equally long paths the first one added wins.
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.path().len()));
        }
        Ok(sites)
    }

    /// The sites of a host as it is written somewhere: any case, IDN or punycode.
    pub(crate) fn find(&self, host: &[u8]) -> Option<&[Entry]> {
        if !host.is_ascii() {
            let host = std::str::from_utf8(host).ok().filter(|_| self.international)?;
            let ascii = idna::domain_to_ascii(host).ok()?;
            return self.named(ascii.as_bytes());
        }
        if self.hosts.len() <= FEW {
            let mut hosts = self.hosts.iter();
            let found = hosts.find(|(name, _)| is_same(host, name.as_bytes()));
            return found.map(|(_, entries)| entries.as_slice());
        }
        self.named(&host.to_ascii_lowercase())
    }

    fn named(&self, host: &[u8]) -> Option<&[Entry]> {
        let place = self.hosts.binary_search_by(|(name, _)| name.as_bytes().cmp(host)).ok()?;
        self.hosts.get(place).map(|(_, entries)| entries.as_slice())
    }

    fn entries(&mut self, host: &str) -> Option<&mut Vec<Entry>> {
        let place = self.hosts.binary_search_by(|(name, _)| name.as_str().cmp(host)).ok()?;
        self.hosts.get_mut(place).map(|(_, entries)| entries)
    }

    fn add(&mut self, host: &str, pair: &SiteMapping, explicit: bool) -> Result<(), MappingError> {
        let entry = Entry {
            port: port(&pair.from),
            paths: spellings(path(&pair.from)),
            to: Some(target(&pair.to)),
            explicit,
        };
        match self.hosts.binary_search_by(|(name, _)| name.as_str().cmp(host)) {
            Err(place) => self.hosts.insert(place, (host.to_owned(), vec![entry])),
            Ok(place) => {
                let Some((_, entries)) = self.hosts.get_mut(place) else { return Ok(()) };
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

    /// A site that moves deeper into its own host, as from `/` to `/blog`: what is in `/blog` already would else move
    /// again, each time anew.
    fn keep_what_moved(&mut self, pair: &SiteMapping, www: bool) {
        let (port, paths) = (port(&pair.to), spellings(path(&pair.to)));
        let other = other_www(&pair.to).filter(|_| www);
        for host in [Some(host(&pair.to)), other.as_deref()].into_iter().flatten() {
            let Some(entries) = self.entries(host) else { continue };
            let own = |entry: &Entry| entry.explicit && entry.port == port && entry.paths == paths;
            let below = |entry: &Entry| {
                let rest = paths.first().and_then(|path| path.strip_prefix(entry.path()));
                entry.port == port && rest.is_some_and(|rest| rest.starts_with(b"/"))
            };
            if entries.iter().any(below) && !entries.iter().any(own) {
                entries.push(Entry { port, paths: paths.clone(), to: None, explicit: false });
            }
        }
    }
}

/// Whether texts are the same but for the case of their letters, which mostly is the same too.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    let same = |(one, other): (&u8, &u8)| one == other || one.eq_ignore_ascii_case(other);
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// The names by which the old sites' hosts are searched for: without `www.`, in ASCII, and as people write them.
pub(crate) fn names(pairs: &[SiteMapping]) -> Vec<String> {
    let mut names = Vec::new();
    for pair in pairs {
        let ascii = bare(host(&pair.from));
        let (unicode, _) = idna::domain_to_unicode(ascii);
        names.extend([ascii.to_owned(), unicode]);
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// The host without `www.`, where what is left is still a domain.
fn bare(host: &str) -> &str {
    host.strip_prefix("www.").filter(|rest| rest.contains('.')).unwrap_or(host)
}

fn other_www(url: &Url) -> Option<String> {
    let Some(Host::Domain(host)) = url.host() else { return None };
    let bare = bare(host);
    if bare != host { Some(bare.to_owned()) } else { host.contains('.').then(|| format!("www.{host}")) }
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// The port, unless it is one that http or https have anyway.
fn port(url: &Url) -> Option<u16> {
    url.port().filter(|port| !is_default(*port))
}

/// Sites behind a proxy also write the other scheme's.
pub(crate) fn is_default(port: u16) -> bool {
    matches!(port, 80 | 443)
}

fn path(url: &Url) -> &str {
    url.path().trim_end_matches('/')
}

/// A path with its special characters encoded in large and in small letters, and as they are.
fn spellings(path: &str) -> Vec<Vec<u8>> {
    let (mut small, mut plain) = (Vec::new(), Vec::new());
    let bytes = path.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code =
            bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some((hex, value)) = code.and_then(|hex| Some((hex, u8::from_str_radix(hex, 16).ok()?))) {
            small.push(b'%');
            small.extend(hex.bytes().map(|digit| digit.to_ascii_lowercase()));
            plain.push(value);
            at += 3;
        } else {
            small.push(byte);
            plain.push(byte);
            at += 1;
        }
    }
    let mut all = vec![bytes.to_vec()];
    all.extend([small, plain].into_iter().filter(|other| other != bytes));
    all
}

fn target(url: &Url) -> Target {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = |host: &str| format!("{host}{port}{}", path(url));
    let ascii = host(url);
    let (unicode, _) = idna::domain_to_unicode(ascii);
    Target {
        scheme: url.scheme().to_owned(),
        rest: rest(ascii),
        unicode: (unicode != ascii).then(|| rest(&unicode)),
    }
}
