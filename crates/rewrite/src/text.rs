//! The descent: goes from hit to hit through a text, takes off whatever a hit is wrapped in, and writes down what is to
//! be replaced.
//!
//! Every stretch of a text is handled once, by the outermost structure that holds a hit, and then settled; and layers end
//! at [`Options::depth`](crate::Options::depth). So the work is linear in a value's length, however it is nested.

use std::borrow::Cow;
use std::ops::Range;

use crate::address::{self, Address, Look};
use crate::base64::{self, Around};
use crate::codec::Codec;
use crate::edits::Edits;
use crate::finder::{Hit, Kind};
use crate::report::{Encoding, Malformed, UnreplacedReason};
use crate::run::{Frame, Run};
use crate::span::{Broken, Found};
use crate::{json, php};

/// How far a text is.
struct Walk<'t> {
    frame: Frame<'t>,
    /// Where it begins, but for spaces.
    begins: usize,
    /// Its hits that were not looked at.
    hits: Range<usize>,
    /// Everything before is done with; edits come after it.
    settled: usize,
    /// Everything before was looked at.
    handled: usize,
    /// Up to here structures were looked for.
    searched: usize,
    /// What begins before these was read once, and is broken.
    broken_php: usize,
    broken_json: usize,
    /// What looks like base64 before this was decoded, or could not be.
    encoded: usize,
    /// Why the last one is.
    reason: Malformed,
}

/// How far before a hit it is looked for something that forbids to change it.
const BACK: usize = 4096;

impl Run<'_> {
    /// Rewrites a text whose hits are the last ones, from `first` on.
    pub(crate) fn text(&mut self, frame: Frame<'_>, first: usize, out: &mut Edits) {
        let hits = first..self.hits.len();
        if frame.depth > self.rewriter.options.max_depth && !hits.is_empty() {
            self.report.add_malformed(Malformed::TooDeep);
            return self.leave(&frame, hits, UnreplacedReason::Malformed);
        }
        let mut walk = Walk {
            frame,
            begins: frame.text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0),
            hits,
            settled: 0,
            handled: 0,
            searched: 0,
            broken_php: 0,
            broken_json: 0,
            encoded: 0,
            reason: Malformed::PhpSyntax,
        };
        while !walk.hits.is_empty() {
            let hit = self.hits[walk.hits.start];
            if !self.structure(&mut walk, hit, out) {
                walk.hits.start += 1;
                self.hit(&mut walk, hit, out);
                walk.handled = walk.handled.max(hit.end);
            }
        }
    }

    fn settle(&self, walk: &mut Walk<'_>, end: usize) {
        walk.settled = end;
        walk.handled = end;
        walk.searched = walk.searched.max(end);
        walk.hits.start = self.hits_before(walk, end);
    }

    /// The first of the hits ahead that is not before an offset.
    fn hits_before(&self, walk: &Walk<'_>, end: usize) -> usize {
        let ahead = &self.hits[walk.hits.clone()];
        walk.hits.start + ahead.iter().take_while(|hit| hit.at < end).count()
    }

    // --- structures with lengths and names ---------------------------------------------------------------------------

    /// Looks for something serialised or JSON that begins before a hit and holds it, and rewrites it as a whole.
    fn structure(&mut self, walk: &mut Walk<'_>, hit: Hit, out: &mut Edits) -> bool {
        let text = walk.frame.text;
        while walk.searched < hit.at {
            let Some(next) = memchr::memchr3(b'{', b'[', b':', &text[walk.searched..hit.at]) else { break };
            let at = walk.searched + next;
            walk.searched = at + 1;
            let (start, kind) = match text[at] {
                b':' => (at.wrapping_sub(1), Structure::Php),
                _ => (at, Structure::Json),
            };
            if start < kind.broken(walk) || start < walk.settled || !kind.may_begin(text, start) {
                continue;
            }
            let mark = self.found.spans.len();
            match kind.read(text, start, &self.hits, walk.hits.clone(), &mut self.found) {
                Ok(end) if end <= hit.at => walk.searched = end,
                Ok(end) => {
                    for index in mark..self.found.spans.len() {
                        let span = self.found.spans[index].clone();
                        self.span(&walk.frame, &span, kind.encoding(), out);
                    }
                    self.found.spans.truncate(mark);
                    self.settle(walk, end);
                    return true;
                }
                Err(broken) => {
                    self.found.spans.truncate(mark);
                    if self.broken(walk, kind, start, broken, hit, out) {
                        return true;
                    }
                }
            }
        }
        walk.searched = walk.searched.max(hit.at);
        false
    }

    /// What looked like a structure is not one as it stands: its quotes are spelled in an encoding, or it is broken. Says
    /// whether that settled the hit.
    fn broken(
        &mut self,
        walk: &mut Walk<'_>,
        kind: Structure,
        start: usize,
        broken: Broken,
        hit: Hit,
        out: &mut Edits,
    ) -> bool {
        let text = walk.frame.text;
        if let Some(codec) = Codec::of_quote(text, start, broken.at) {
            let (codec, range) = codec.around(text, walk.handled, start);
            walk.searched = range.end;
            let holds = range.end > hit.at;
            if holds {
                self.through(walk, codec, range, out);
            }
            return holds;
        }
        let is_all = start == walk.begins;
        match kind {
            Structure::Json => {
                walk.broken_json = broken.at;
                // Shortcodes begin like a document, and CSS; they do not get far.
                if is_all && (broken.reason != Malformed::Json || broken.at > start + 8) {
                    self.report.add_malformed(broken.reason);
                }
                false
            }
            Structure::Php => {
                walk.broken_php = broken.at.max(start + 1);
                walk.reason = broken.reason;
                // A value that is broken stays as a whole. In the midst of a text, what was read of it does.
                let end = if is_all { text.len() } else { broken.at };
                let holds = end > hit.at;
                if holds {
                    self.report.add_malformed(broken.reason);
                    let inside = walk.hits.start..self.hits_before(walk, end);
                    self.leave(&walk.frame, inside, UnreplacedReason::Malformed);
                    self.settle(walk, end);
                }
                holds
            }
        }
    }

    // --- single hits -------------------------------------------------------------------------------------------------

    fn hit(&mut self, walk: &mut Walk<'_>, hit: Hit, out: &mut Edits) {
        let text = walk.frame.text;
        match hit.kind {
            Kind::Base64 { .. } if hit.at < walk.encoded => {}
            Kind::Base64 { back } => self.base64(walk, hit, back, out),
            Kind::Wrapped(codec) => self.wrapped(walk, codec, hit, out),
            Kind::Host => match address::look(self.rewriter, text, walk.settled, hit) {
                Look::Wrapped(codec) => self.wrapped(walk, codec, hit, out),
                Look::Stays(why) => self.stays(&walk.frame, hit, why),
                Look::Other => {}
                Look::Folder { start, end, to } => {
                    let base = walk.frame.base;
                    out.push(base + start..base + end, |new| new.extend_from_slice(to));
                    self.replaced(&walk.frame);
                    self.settle(walk, end);
                }
                Look::Address(address) => {
                    if walk.broken_php > 0 && is_counted(text, walk.settled, address.start) {
                        self.report.add_malformed(walk.reason);
                        self.stays(&walk.frame, hit, UnreplacedReason::Malformed);
                    } else if has_spelled_quote(text, walk.settled, address.start) {
                        self.wrapped(walk, Codec::Percent, hit, out);
                    } else {
                        if write(&walk.frame, &address, out) {
                            self.replaced(&walk.frame);
                        }
                        self.settle(walk, address.end);
                    }
                }
            },
        }
    }

    fn base64(&mut self, walk: &mut Walk<'_>, hit: Hit, back: usize, out: &mut Edits) {
        let text = walk.frame.text;
        match base64::around(text, walk.settled, hit, back) {
            Around::Nothing => {}
            Around::Wrapped(codec) => self.wrapped(walk, codec, hit, out),
            Around::Broken { end } => {
                self.report.add_malformed(Malformed::Base64);
                self.stays(&walk.frame, hit, UnreplacedReason::Malformed);
                walk.encoded = end;
            }
            Around::Run(run) => {
                let bytes = base64::decode(&text[run.data.clone()]);
                let inner = self.bytes(&walk.frame, &bytes);
                if inner.is_empty() {
                    // What only looks like base64 may end with a host: `…b2s//example.com`.
                    walk.encoded = run.end;
                } else {
                    run.write(text, walk.frame.base, &bytes, &inner, out);
                    self.begun_in(walk, run.end);
                    self.settle(walk, run.end);
                }
            }
        }
    }

    /// Tells of the hosts that begin in base64 which was rewritten, and end behind it: `…b2s/example.com`.
    fn begun_in(&mut self, walk: &Walk<'_>, end: usize) {
        for index in walk.hits.start..self.hits_before(walk, end) {
            let hit = self.hits[index];
            if hit.kind == Kind::Host && hit.end > end {
                self.leave(&walk.frame, index..index + 1, UnreplacedReason::BareHost);
            }
        }
    }

    /// Decodes what is around a hit, which was the next one.
    fn wrapped(&mut self, walk: &mut Walk<'_>, codec: Codec, hit: Hit, out: &mut Edits) {
        let extent = codec.extent(walk.frame.text, walk.handled.min(hit.at), hit.at..hit.end);
        walk.hits.start -= 1;
        self.through(walk, codec, extent, out);
    }

    /// Decodes a part that begins before the next hit, and settles it.
    fn through(&mut self, walk: &mut Walk<'_>, codec: Codec, part: Range<usize>, out: &mut Edits) {
        let hits = walk.hits.start..self.hits_before(walk, part.end);
        self.decoded(&walk.frame, codec, part.clone(), hits, codec.encoding(), out);
        self.settle(walk, part.end);
    }
}

/// Writes an address's new form; says whether it differs.
fn write(frame: &Frame<'_>, address: &Address<'_>, out: &mut Edits) -> bool {
    let Address { to, start, host, end, .. } = *address;
    let (text, base) = (frame.text, frame.base);
    let scheme = start..start + address.scheme;
    let new_scheme = if address.scheme == 0 { "" } else { &to.scheme };
    let rest = to.unicode.as_ref().filter(|_| address.unicode).unwrap_or(&to.rest);
    let rest = if address.root { rooted(rest) } else { Cow::Borrowed(rest.as_str()) };
    let same_scheme = text[scheme.clone()].eq_ignore_ascii_case(new_scheme.as_bytes());
    let same_rest = &text[host..end] == rest.as_bytes();
    if same_scheme && same_rest {
        return false;
    }
    if address.user {
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
    // As one, so that what its slashes are written like is seen by every encoding around it.
    out.push(base + start..base + end, |new| {
        new.extend_from_slice(if same_scheme { &text[scheme.clone()] } else { new_scheme.as_bytes() });
        new.extend_from_slice(&text[scheme.end..host]);
        new.extend_from_slice(rest.as_bytes());
    });
    true
}

/// A host, its port and path with the root's dot behind the host.
fn rooted(rest: &str) -> Cow<'_, str> {
    if rest.starts_with('[') {
        return rest.into();
    }
    let (host, rest) = rest.split_at(rest.find([':', '/']).unwrap_or(rest.len()));
    format!("{host}.{rest}").into()
}

#[derive(Clone, Copy)]
enum Structure {
    Php,
    Json,
}

impl Structure {
    fn broken(self, walk: &Walk<'_>) -> usize {
        match self {
            Self::Php => walk.broken_php,
            Self::Json => walk.broken_json,
        }
    }

    fn may_begin(self, text: &[u8], at: usize) -> bool {
        match self {
            Self::Php => php::may_begin(text, at),
            Self::Json => json::may_begin(text, at),
        }
    }

    /// Reads a structure to its end; of its strings those with a hit are added to what was found.
    fn read(
        self,
        text: &[u8],
        start: usize,
        hits: &[Hit],
        ahead: Range<usize>,
        found: &mut Found,
    ) -> Result<usize, Broken> {
        let strings = found.strings(hits, ahead, start);
        match self {
            Self::Php => php::read(text, start, strings),
            Self::Json => json::read(text, start, strings),
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Self::Php => Encoding::Php,
            Self::Json => Encoding::Json,
        }
    }
}

/// Whether a string that holds an offset has its length written before it, as in what is left of something serialised.
fn is_counted(text: &[u8], from: usize, at: usize) -> bool {
    let before = &text[from.max(at.saturating_sub(BACK))..at];
    let Some(quote) = memchr::memrchr(b'"', before) else { return false };
    let before = &before[..quote];
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
    let Some(count) = before[..before.len() - slashes].strip_suffix(b":") else { return false };
    let digits = count.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && count[..count.len() - digits].ends_with(b"s:")
}

/// Whether a percent-encoded quote is before an address whose own characters are not encoded: what `encodeURI` makes of
/// a structure.
fn has_spelled_quote(text: &[u8], from: usize, at: usize) -> bool {
    let near = &text[from.max(at.saturating_sub(BACK))..at];
    let token = near.iter().rev().take_while(|byte| !Codec::Percent.ends(**byte)).count();
    near[near.len() - token..].windows(3).any(|code| code == b"%22")
}
