//! Looks at a hit in a text: is it an address of an old site, where does it begin and end, and if not, why not.

use crate::codec::Codec;
use crate::finder::Hit;
use crate::report::UnreplacedReason;
use crate::sites::{Entry, Sites, Target, is_default};
use crate::{Rewriter, folders};

/// What a hit turned out to be.
pub(crate) enum Look<'s> {
    /// An address to replace.
    Address(Address<'s>),
    /// What is around the host is spelled in this encoding, which comes off first.
    Wrapped(Codec),
    /// An old host that stays.
    Stays(UnreplacedReason),
    /// A folder of the old machine.
    Folder { start: usize, end: usize, to: &'s [u8] },
    /// Another host, or what is at its new place already.
    Other,
}

/// An address of an old site: `http://example.com:80/blog`, without what is behind the site's own path.
pub(crate) struct Address<'s> {
    pub(crate) to: &'s Target,
    pub(crate) start: usize,
    /// Where the host begins.
    pub(crate) host: usize,
    pub(crate) end: usize,
    /// How many letters its scheme has; without one it is protocol-relative.
    pub(crate) scheme: usize,
    /// Whether it names a user before the host.
    pub(crate) user: bool,
    /// Whether the host is written in letters outside of ASCII.
    pub(crate) unicode: bool,
    /// Whether the root's dot is behind the host: `http://example.com./`.
    pub(crate) root: bool,
}

/// No host is longer.
const LONGEST_HOST: usize = 255;
/// No user and password in an address are, that anybody would write.
const LONGEST_USER: usize = 128;

/// Looks at a hit; nothing of an address lies before `from`.
pub(crate) fn look<'s>(rewriter: &'s Rewriter, text: &[u8], from: usize, hit: Hit) -> Look<'s> {
    let sites = &rewriter.sites;
    if let Some((start, end, to)) = folders::look(&rewriter.options.folders, text, from, hit) {
        return Look::Folder { start, end, to };
    }
    let before =
        text[from..hit.at].iter().rev().take(LONGEST_HOST).take_while(|byte| is_host(**byte)).count();
    let host = hit.at - before;
    let lead = match lead(text, from, host) {
        Lead::Wrapped(codec) => return Look::Wrapped(codec),
        lead => lead,
    };
    let known = known_host(sites, text, host, hit);
    let end = known.map_or_else(|| token_end(text, hit.end), |(end, _)| end);
    if let Some(codec) = spelled_after(text, end) {
        return Look::Wrapped(codec);
    }
    let Some((end, entries)) = known.filter(|(end, _)| !is_user_of_another(text, *end)) else {
        return Look::Other;
    };
    let (start, scheme, user) = match lead {
        Lead::Address { start, scheme, user } => (start, scheme, user),
        Lead::Stays(why) => return Look::Stays(why),
        Lead::Wrapped(codec) => return Look::Wrapped(codec),
    };
    let root = matches!(&text[end..], [b'.', b'/', ..] | [b'.', b':', b'0'..=b'9', ..]);
    let (port, end) = port(text, end + usize::from(root));
    let on_port = |entry: &&Entry| match (entry.port, port) {
        (None, port) => port.is_none_or(is_default),
        (wanted, port) => wanted == port,
    };
    let mut entries = entries.iter().filter(on_port).peekable();
    if entries.peek().is_none() {
        return Look::Stays(UnreplacedReason::OtherPort);
    }
    let Some((entry, end)) = entries.find_map(|entry| Some((entry, path_end(text, end, entry)?))) else {
        return Look::Stays(UnreplacedReason::OtherPath);
    };
    let unicode = !text[host..end].is_ascii();
    match &entry.to {
        Some(to) => Look::Address(Address { to, start, host, end, scheme, user, unicode, root }),
        None => Look::Other,
    }
}

/// Whether a hit is an old host, whatever is around it.
pub(crate) fn is_old(sites: &Sites, text: &[u8], hit: Hit) -> bool {
    let before = text[..hit.at].iter().rev().take(LONGEST_HOST).take_while(|byte| is_host(**byte)).count();
    known_host(sites, text, hit.at - before, hit).is_some()
}

// --- before the host ---------------------------------------------------------------------------------------------

enum Lead {
    Address { start: usize, scheme: usize, user: bool },
    Wrapped(Codec),
    Stays(UnreplacedReason),
}

fn lead(text: &[u8], from: usize, host: usize) -> Lead {
    let before = &text[from..host];
    if let Some(codec) = spelled_before(text, from, host) {
        return Lead::Wrapped(codec);
    }
    if let Some(rest) = before.strip_suffix(b"//") {
        return scheme(text, from, from + rest.len());
    }
    let Some(rest) = before.strip_suffix(b"@") else { return Lead::Stays(UnreplacedReason::BareHost) };
    let name = rest.iter().rev().take(LONGEST_USER).take_while(|byte| is_user(**byte)).count();
    let (rest, name) = rest.split_at(rest.len() - name);
    let Some(rest) = rest.strip_suffix(b"//").filter(|_| is_login(name)) else {
        return Lead::Stays(UnreplacedReason::Email);
    };
    match scheme(text, from, from + rest.len()) {
        Lead::Address { start, scheme, .. } if scheme > 0 => Lead::Address { start, scheme, user: true },
        Lead::Address { .. } => Lead::Stays(UnreplacedReason::Email),
        other => other,
    }
}

/// The encoding of what is before an offset: `\/`, `%2F`, `&#x2F;`. A host's own letters may belong to it: those of
/// `%2Fexample.com` are `2Fexample.com`.
fn spelled_before(text: &[u8], from: usize, at: usize) -> Option<Codec> {
    let before = &text[from..at];
    match before.last()? {
        b'%' => Codec::Percent.unit(&text[at - 1..]).map(|_| Codec::Percent),
        b'\\' => Codec::Backslash.unit(&text[at - 1..]).map(|_| Codec::Backslash),
        b'/' => before.ends_with(b"\\/").then_some(Codec::Backslash),
        b';' => Codec::Html.last_unit(before).map(|_| Codec::Html),
        _ => None,
    }
}

/// What is before the two slashes at an offset.
fn scheme(text: &[u8], from: usize, slashes: usize) -> Lead {
    let before = &text[from..slashes];
    let relative = Lead::Address { start: slashes, scheme: 0, user: false };
    let Some(last) = before.last() else { return relative };
    if *last != b':' {
        return match last {
            b'/' => Lead::Stays(UnreplacedReason::BareHost),
            b';' if Codec::Html.last_unit(before).is_some() => Lead::Wrapped(Codec::Html),
            byte if byte.is_ascii_alphanumeric() => match Codec::of_end(before) {
                Some(codec) => Lead::Wrapped(codec),
                None => Lead::Stays(UnreplacedReason::BareHost),
            },
            _ => relative,
        };
    }
    let letters = &before[..before.len() - 1];
    let ends = |word: &[u8]| {
        letters.len() >= word.len() && letters[letters.len() - word.len()..].eq_ignore_ascii_case(word)
    };
    match letters.last() {
        _ if ends(b"https") => Lead::Address { start: slashes - 6, scheme: 5, user: false },
        _ if ends(b"http") => Lead::Address { start: slashes - 5, scheme: 4, user: false },
        Some(b'\\') => Lead::Wrapped(Codec::Backslash),
        Some(byte) if byte.is_ascii_alphanumeric() => Lead::Stays(UnreplacedReason::OtherScheme),
        // What is settled ends with a scheme's letters.
        None if text[..from].last().is_some_and(u8::is_ascii_alphanumeric) => {
            Lead::Stays(UnreplacedReason::OtherScheme)
        }
        // Half an address: the scheme is put before it elsewhere.
        _ => relative,
    }
}

/// Whether this is a name, or a name and a password, and not a host with more behind it: `other.example,bob`,
/// `other.example&quot;bob`. A name that is spelled is not known as one.
fn is_login(text: &[u8]) -> bool {
    let name = token_end(text, 0);
    name > 0 && matches!(text.get(name), None | Some(b':'))
}

fn is_user(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&()*+,;=:%".contains(&byte)
}

// --- the host and what follows -----------------------------------------------------------------------------------

fn is_host(byte: u8) -> bool {
    is_ascii_host(byte) || !byte.is_ascii()
}

fn is_ascii_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The old sites of the host around a hit, and where it ends. It has to be the whole host: neither `example.com.au` nor
/// `example.community` is `example.com`.
fn known_host<'s>(sites: &'s Sites, text: &[u8], host: usize, hit: Hit) -> Option<(usize, &'s [Entry])> {
    let known = |end: usize| {
        // What ends a sentence does not belong to a host: "See http://example.com."
        let name = &text[host..end];
        let junk = name.iter().rev().take_while(|byte| matches!(byte, b'.' | b'-' | b'_')).count();
        let end = end - junk;
        Some((end, sites.find(&text[host..end])?))
    };
    let end = token_end(text, hit.end);
    known(end).or_else(|| {
        // No top-level domain mixes ASCII with other letters, so that those after one are not the host's; those of a
        // host that is written in them are.
        let letters = text[end..].iter().take(LONGEST_HOST).take_while(|byte| is_host(**byte)).count();
        if letters == 0 { None } else { known(end + letters) }
    })
}

fn token_end(text: &[u8], from: usize) -> usize {
    from + text[from..].iter().take(LONGEST_HOST).take_while(|byte| is_ascii_host(**byte)).count()
}

/// The encoding of a character after an offset that may belong to the host: `%2E`, `\u002d`.
fn spelled_after(text: &[u8], at: usize) -> Option<Codec> {
    let codec = match text.get(at)? {
        b'%' => Codec::Percent,
        b'\\' => Codec::Backslash,
        b'&' => Codec::Html,
        _ => return None,
    };
    let unit = codec.unit(&text[at..])?;
    unit.bytes().first().is_some_and(|byte| is_host(*byte)).then_some(codec)
}

/// Whether a host is only somebody's name: `http://example.com:secret@example.org/`.
fn is_user_of_another(text: &[u8], end: usize) -> bool {
    let name = match text.get(end) {
        Some(b':') => text[end..].iter().take(LONGEST_USER).take_while(|byte| is_user(**byte)).count(),
        _ => 0,
    };
    text.get(end + name) == Some(&b'@')
}

/// The port after a host, and where it ends. One that is none is one nobody has.
fn port(text: &[u8], end: usize) -> (Option<u16>, usize) {
    let Some((b':', rest)) = text[end..].split_first() else { return (None, end) };
    let digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return (None, end);
    }
    let goes_on = match &rest[digits..] {
        [b':', next, ..] | [b'.', b':', next, ..] => next.is_ascii_digit(),
        [next, ..] => next.is_ascii_alphanumeric(),
        [] => false,
    };
    let number = std::str::from_utf8(&rest[..digits]).ok().filter(|_| !goes_on);
    let number = number.and_then(|digits| digits.parse().ok());
    (Some(number.unwrap_or(0)), end + 1 + digits)
}

/// Where a site's own path ends, if it is there as a whole: `/blogging` is not in `/blog`.
fn path_end(text: &[u8], start: usize, entry: &Entry) -> Option<usize> {
    let rest = &text[start..];
    let whole =
        |path: &&Vec<u8>| path.is_empty() || (rest.starts_with(path) && !goes_on(&rest[path.len()..]));
    entry.paths.iter().find(whole).map(|path| start + path.len())
}

/// Whether a part of a path goes on.
fn goes_on(rest: &[u8]) -> bool {
    match rest {
        [b'.', next, ..] => next.is_ascii_alphanumeric(),
        [b'%', ..] => Codec::Percent.unit(rest).is_some_and(|unit| goes_on(unit.bytes())),
        [byte, ..] if byte.is_ascii() => {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'+' | b'@')
        }
        [..] => {
            let letter = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
            letter.is_some_and(char::is_alphanumeric)
        }
    }
}
