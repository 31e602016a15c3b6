//! Classifies a hit: whether it belongs to an address of an old site, where that address starts and ends, or why it
//! is not replaced.

use std::borrow::Cow;

use crate::codec::Codec;
use crate::edits::Edits;
use crate::hit::{Hit, HitKind};
use crate::report::UnreplacedReason;
use crate::sites::{MappedSite, MappingTable, NewAddress, is_default};
use crate::value_rewriter::Frame;
use crate::{Rewriter, folders, host_pattern};

/// The classification of a hit.
pub(crate) enum HitClass<'s> {
    /// An address to replace.
    Address(Address<'s>),
    /// The surroundings of the host are in this encoding, which has to be decoded first.
    Encoded(Codec),
    /// An old host that is not replaced.
    Unreplaced(UnreplacedReason),
    /// A folder on the old server.
    Folder { start: usize, end: usize, to: &'s [u8] },
    /// Another host, or an address that is already the new one.
    Other,
}

/// An address of an old site, up to the end of the site's own path: `http://example.com:80/blog`.
pub(crate) struct Address<'s> {
    pub(crate) to: &'s NewAddress,
    pub(crate) start: usize,
    /// Offset of the host.
    pub(crate) host_start: usize,
    pub(crate) end: usize,
    /// Length of the scheme; 0 if the address is protocol-relative.
    pub(crate) scheme_len: usize,
    /// Whether user information precedes the host.
    pub(crate) has_user: bool,
    /// Whether the host contains non-ASCII letters.
    pub(crate) is_unicode: bool,
    /// Whether a trailing dot follows the host: `http://example.com./`.
    pub(crate) has_trailing_dot: bool,
}

/// Longest host in bytes, as in DNS (RFC 1035, section 2.3.4).
pub(crate) const MAX_HOST_BYTES: usize = 255;
/// Longest user name and password that is recognised before a host.
const MAX_USER_BYTES: usize = 128;

/// Classifies a hit. The address does not start before `from`.
pub(crate) fn classify_hit<'s>(rewriter: &'s Rewriter, text: &[u8], from: usize, hit: Hit) -> HitClass<'s> {
    let mappings = &rewriter.mappings;
    if let Some((start, end, to)) = folders::find_folder(&rewriter.options.folders, text, from, hit) {
        return HitClass::Folder { start, end, to };
    }
    let before =
        text[from..hit.at].iter().rev().take(MAX_HOST_BYTES).take_while(|byte| is_host_byte(**byte)).count();
    let host = hit.at - before;
    let address_start = match address_start(text, from, host) {
        AddressStart::Encoded(codec) => return HitClass::Encoded(codec),
        address_start => address_start,
    };
    let known = find_host(mappings, text, host, hit);
    let end = known.map_or_else(|| ascii_host_end(text, hit.end), |(end, _)| end);
    if let Some(codec) = encoding_after(text, end) {
        return HitClass::Encoded(codec);
    }
    let Some((end, sites_of_host)) = known.filter(|(end, _)| !is_user_of_other_host(text, *end)) else {
        return match is_any_subdomain(mappings, text, host, hit) {
            true => HitClass::Unreplaced(UnreplacedReason::HostPattern),
            false => HitClass::Other,
        };
    };
    let (start, scheme_len, has_user) = match address_start {
        AddressStart::Address { start, scheme_len, has_user } => (start, scheme_len, has_user),
        AddressStart::Unreplaced(reason) => return HitClass::Unreplaced(reason),
        AddressStart::Encoded(codec) => return HitClass::Encoded(codec),
    };
    let has_trailing_dot = matches!(&text[end..], [b'.', b'/', ..] | [b'.', b':', b'0'..=b'9', ..]);
    let (port, end) = parse_port(text, end + usize::from(has_trailing_dot));
    let on_port = |site: &&MappedSite| match (site.port, port) {
        (None, port) => port.is_none_or(is_default),
        (wanted, port) => wanted == port,
    };
    let mut sites_of_host = sites_of_host.iter().filter(on_port).peekable();
    if sites_of_host.peek().is_none() {
        return HitClass::Unreplaced(UnreplacedReason::OtherPort);
    }
    let Some((site, end)) = sites_of_host.find_map(|site| Some((site, path_end(text, end, site)?))) else {
        return HitClass::Unreplaced(UnreplacedReason::OtherPath);
    };
    let is_unicode = !text[host..end].is_ascii();
    match &site.to {
        Some(to) => HitClass::Address(Address {
            to,
            start,
            host_start: host,
            end,
            scheme_len,
            has_user,
            is_unicode,
            has_trailing_dot,
        }),
        None => HitClass::Other,
    }
}

/// Whether a hit is an old host, regardless of the text around it. One that is encoded is taken for one.
pub(crate) fn is_old_host(mappings: &MappingTable, text: &[u8], hit: Hit) -> bool {
    match hit.kind {
        HitKind::Host => {}
        HitKind::Pattern => return host_pattern::is_old_host(mappings, text, hit),
        _ => return true,
    }
    let before =
        text[..hit.at].iter().rev().take(MAX_HOST_BYTES).take_while(|byte| is_host_byte(**byte)).count();
    let start = hit.at - before;
    find_host(mappings, text, start, hit).is_some() || is_any_subdomain(mappings, text, start, hit)
}

/// Whether a host begins with a dot, as in `*.example.com` and in the domain of a cookie: it stands for all hosts below.
fn is_any_subdomain(mappings: &MappingTable, text: &[u8], start: usize, hit: Hit) -> bool {
    let dots = text[start..hit.at].iter().take_while(|byte| **byte == b'.').count();
    dots > 0 && find_host(mappings, text, start + dots, hit).is_some()
}

// --- the new address ------------------------------------------------------------------------------------------------

/// Records the new form of an address. Returns whether it differs.
pub(crate) fn write_address(frame: &Frame<'_>, address: &Address<'_>, out: &mut Edits) -> bool {
    let Address { to, start, host_start: host, end, .. } = *address;
    let (text, base) = (frame.text, frame.base);
    let scheme = start..start + address.scheme_len;
    let new_scheme = if address.scheme_len == 0 { "" } else { &to.scheme };
    let rest =
        to.unicode_host_port_path.as_ref().filter(|_| address.is_unicode).unwrap_or(&to.host_port_path);
    let rest = if address.has_trailing_dot { with_trailing_dot(rest) } else { Cow::Borrowed(rest.as_str()) };
    let same_scheme = text[scheme.clone()].eq_ignore_ascii_case(new_scheme.as_bytes());
    let same_rest = &text[host..end] == rest.as_bytes();
    if same_scheme && same_rest {
        return false;
    }
    if address.has_user {
        if !same_scheme {
            out.push(base + scheme.start..base + scheme.end, |new| {
                new.extend_from_slice(new_scheme.as_bytes())
            });
        }
        if !same_rest {
            out.push(base + host..base + end, |new| new.extend_from_slice(rest.as_bytes()));
        }
        return true;
    }
    // One edit for all of it: each surrounding encoding then sees how the old slashes were encoded.
    out.push(base + start..base + end, |new| {
        new.extend_from_slice(if same_scheme { &text[scheme.clone()] } else { new_scheme.as_bytes() });
        new.extend_from_slice(&text[scheme.end..host]);
        new.extend_from_slice(rest.as_bytes());
    });
    true
}

/// Adds a trailing dot to the host of `host:port/path`.
fn with_trailing_dot(rest: &str) -> Cow<'_, str> {
    if rest.starts_with('[') {
        return rest.into();
    }
    let (host, rest) = rest.split_at(rest.find([':', '/']).unwrap_or(rest.len()));
    format!("{host}.{rest}").into()
}

// --- before the host ------------------------------------------------------------------------------------------------

enum AddressStart {
    Address { start: usize, scheme_len: usize, has_user: bool },
    Encoded(Codec),
    Unreplaced(UnreplacedReason),
}

fn address_start(text: &[u8], from: usize, host: usize) -> AddressStart {
    let before = &text[from..host];
    if let Some(codec) = encoding_before(text, from, host) {
        return AddressStart::Encoded(codec);
    }
    if let Some(rest) = before.strip_suffix(b"//") {
        return parse_scheme(text, from, from + rest.len());
    }
    let Some(rest) = before.strip_suffix(b"@") else {
        return AddressStart::Unreplaced(UnreplacedReason::BareHost);
    };
    let name = rest.iter().rev().take(MAX_USER_BYTES).take_while(|byte| is_user_byte(**byte)).count();
    let (rest, name) = rest.split_at(rest.len() - name);
    let Some(rest) = rest.strip_suffix(b"//").filter(|_| is_user_info(name)) else {
        return AddressStart::Unreplaced(UnreplacedReason::Email);
    };
    match parse_scheme(text, from, from + rest.len()) {
        AddressStart::Address { start, scheme_len, .. } if scheme_len > 0 => {
            AddressStart::Address { start, scheme_len, has_user: true }
        }
        AddressStart::Address { .. } => AddressStart::Unreplaced(UnreplacedReason::Email),
        other => other,
    }
}

/// The encoding of the character before an offset: `\/`, `%2F`, `&#x2F;`. Letters that look like part of the host may
/// belong to it: in `%2Fexample.com`, the host is not `2Fexample.com`.
fn encoding_before(text: &[u8], from: usize, at: usize) -> Option<Codec> {
    let before = &text[from..at];
    match before.last()? {
        b'%' => Codec::Percent.parse_char(&text[at - 1..]).map(|_| Codec::Percent),
        b'\\' => Codec::Backslash.parse_char(&text[at - 1..]).map(|_| Codec::Backslash),
        b'/' => before.ends_with(b"\\/").then_some(Codec::Backslash),
        b';' => Codec::Html.parse_last_char(before).map(|_| Codec::Html),
        _ => None,
    }
}

/// Parses the scheme that ends at the two slashes at an offset.
fn parse_scheme(text: &[u8], from: usize, slashes: usize) -> AddressStart {
    let before = &text[from..slashes];
    let relative = AddressStart::Address { start: slashes, scheme_len: 0, has_user: false };
    let Some(last) = before.last() else { return relative };
    if *last != b':' {
        return match last {
            b'/' => AddressStart::Unreplaced(UnreplacedReason::BareHost),
            b';' if Codec::Html.parse_last_char(before).is_some() => AddressStart::Encoded(Codec::Html),
            byte if byte.is_ascii_alphanumeric() => match Codec::of_last_char(before) {
                Some(codec) => AddressStart::Encoded(codec),
                None => AddressStart::Unreplaced(UnreplacedReason::BareHost),
            },
            _ => relative,
        };
    }
    let letters = &before[..before.len() - 1];
    let ends = |word: &[u8]| {
        letters.len() >= word.len() && letters[letters.len() - word.len()..].eq_ignore_ascii_case(word)
    };
    match letters.last() {
        _ if ends(b"https") => AddressStart::Address { start: slashes - 6, scheme_len: 5, has_user: false },
        _ if ends(b"http") => AddressStart::Address { start: slashes - 5, scheme_len: 4, has_user: false },
        Some(b'\\') => AddressStart::Encoded(Codec::Backslash),
        Some(byte) if byte.is_ascii_alphanumeric() => AddressStart::Unreplaced(UnreplacedReason::OtherScheme),
        // The scheme's letters are in the part that is already done.
        None if text[..from].last().is_some_and(u8::is_ascii_alphanumeric) => {
            AddressStart::Unreplaced(UnreplacedReason::OtherScheme)
        }
        // The text holds only the end of an address; its scheme is added elsewhere.
        _ => relative,
    }
}

/// Whether this is a user name, optionally with a password, and not a host with more text after it:
/// `other.example,bob`, `other.example&quot;bob`. An encoded user name is not recognised.
fn is_user_info(text: &[u8]) -> bool {
    let name = ascii_host_end(text, 0);
    name > 0 && matches!(text.get(name), None | Some(b':'))
}

fn is_user_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&()*+,;=:%".contains(&byte)
}

// --- the host, its port and its path --------------------------------------------------------------------------------

fn is_host_byte(byte: u8) -> bool {
    is_ascii_host_byte(byte) || !byte.is_ascii()
}

pub(crate) fn is_ascii_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The sites of the host around a hit, and where the host ends. The whole host has to match: `example.com.au` and
/// `example.community` are not `example.com`.
fn find_host<'s>(
    mappings: &'s MappingTable,
    text: &[u8],
    host: usize,
    hit: Hit,
) -> Option<(usize, &'s [MappedSite])> {
    let known = |end: usize| {
        // Punctuation that ends a sentence does not belong to the host: "See http://example.com."
        let name = &text[host..end];
        let punctuation = name.iter().rev().take_while(|byte| matches!(byte, b'.' | b'-' | b'_')).count();
        let end = end - punctuation;
        Some((end, mappings.find(&text[host..end])?))
    };
    let end = ascii_host_end(text, hit.end);
    known(end).or_else(|| {
        // Top-level domains do not mix ASCII with other letters: non-ASCII letters after an ASCII domain are not part
        // of the host. After a non-ASCII domain they are.
        let letters = text[end..].iter().take(MAX_HOST_BYTES).take_while(|byte| is_host_byte(**byte)).count();
        if letters == 0 { None } else { known(end + letters) }
    })
}

fn ascii_host_end(text: &[u8], from: usize) -> usize {
    from + text[from..].iter().take(MAX_HOST_BYTES).take_while(|byte| is_ascii_host_byte(**byte)).count()
}

/// The encoding of the character at an offset if it may belong to the host: `%2E`, `\u002d`.
fn encoding_after(text: &[u8], at: usize) -> Option<Codec> {
    let codec = match text.get(at)? {
        b'%' => Codec::Percent,
        b'\\' => Codec::Backslash,
        b'&' => Codec::Html,
        _ => return None,
    };
    let char = codec.parse_char(&text[at..])?;
    char.bytes().first().is_some_and(|byte| is_host_byte(*byte)).then_some(codec)
}

/// Whether the matched name is only the user name of another host: `http://example.com:secret@example.org/`.
fn is_user_of_other_host(text: &[u8], end: usize) -> bool {
    let name = match text.get(end) {
        Some(b':') => text[end..].iter().take(MAX_USER_BYTES).take_while(|byte| is_user_byte(**byte)).count(),
        _ => 0,
    };
    text.get(end + name) == Some(&b'@')
}

/// Parses the port after a host and returns it with its end. An invalid port is returned as 0, which matches no site.
fn parse_port(text: &[u8], end: usize) -> (Option<u16>, usize) {
    let Some((b':', rest)) = text[end..].split_first() else { return (None, end) };
    let digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return (None, end);
    }
    let continues = match &rest[digits..] {
        [b':', next, ..] | [b'.', b':', next, ..] => next.is_ascii_digit(),
        [next, ..] => next.is_ascii_alphanumeric(),
        [] => false,
    };
    let number = std::str::from_utf8(&rest[..digits]).ok().filter(|_| !continues);
    let number = number.and_then(|digits| digits.parse().ok());
    (Some(number.unwrap_or(0)), end + 1 + digits)
}

/// Where the site's own path ends, if it is there as a whole: `/blogging` does not match `/blog`.
fn path_end(text: &[u8], start: usize, site: &MappedSite) -> Option<usize> {
    let rest = &text[start..];
    let whole =
        |path: &&Vec<u8>| path.is_empty() || (rest.starts_with(path) && !path_continues(&rest[path.len()..]));
    site.paths.iter().find(whole).map(|path| start + path.len())
}

/// Whether a path segment continues.
fn path_continues(rest: &[u8]) -> bool {
    match rest {
        [b'.', next, ..] => next.is_ascii_alphanumeric(),
        [b'%', ..] => Codec::Percent.parse_char(rest).is_some_and(|char| path_continues(char.bytes())),
        [byte, ..] if byte.is_ascii() => {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'+' | b'@')
        }
        [..] => {
            let letter = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
            letter.is_some_and(char::is_alphanumeric)
        }
    }
}
