//! Scans a text from hit to hit, decodes whatever surrounds each hit, and records the edits.
//!
//! Each part of a text is handled once, by the outermost structure that contains a hit; and the nesting is limited by
//! [`Options::max_depth`](crate::Options::max_depth). So the work is linear in the length of a value, however it is
//! nested.

use std::ops::Range;

use crate::address::{self, HitClass, write_address};
use crate::base64::{self, Base64Match};
use crate::codec::Codec;
use crate::edits::Edits;
use crate::found_strings::{FoundStrings, ParseError};
use crate::hit::{Hit, HitKind};
use crate::php::LengthUnit;
use crate::report::{Encoding, Malformed, UnreplacedReason};
use crate::value_rewriter::{Frame, ValueRewriter};
use crate::{binary, json, php};

/// How far a text has been scanned.
struct ScanState<'t> {
    frame: Frame<'t>,
    /// Offset of the first byte that is not white space.
    content_start: usize,
    /// The hits that were not examined yet.
    hits: Range<usize>,
    /// Everything before this offset is finished. Edits come after it.
    done_until: usize,
    /// Everything before this offset has been examined.
    examined_until: usize,
    /// Up to this offset, starts of structures have been searched for.
    structures_searched_until: usize,
    /// Structures that start before these offsets have been parsed once and are malformed.
    broken_php_until: usize,
    broken_json_until: usize,
    /// The same for serialised data whose lengths count something else: [`LengthUnit::CONVERTED`].
    broken_converted_until: [usize; 2],
    /// The end of the last non-ASCII letter, once it was searched for.
    non_ascii_end: Option<usize>,
    /// Base64 before this offset has been decoded, or could not be.
    base64_until: usize,
    /// Why the last serialised data is malformed.
    broken_php_reason: Malformed,
}

/// How many bytes before a hit are searched for something that forbids changing it.
const MAX_LOOKBEHIND_BYTES: usize = 4096;

impl ValueRewriter<'_> {
    /// Rewrites a text. Its hits are those in `self.hits` from `first` on.
    pub(crate) fn rewrite_text(&mut self, frame: Frame<'_>, first: usize, out: &mut Edits) {
        let hits = first..self.hits.len();
        if frame.depth > self.rewriter.options.max_depth && !hits.is_empty() {
            self.report.add_malformed(Malformed::TooDeep);
            return self.report_unreplaced_hits(&frame, hits, UnreplacedReason::Malformed);
        }
        if frame.is_whole && !hits.is_empty() && binary::has_format_mark(frame.text) {
            return self.report_unreplaced_hits(&frame, hits, UnreplacedReason::Binary);
        }
        let mut state = ScanState {
            frame,
            content_start: frame.text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0),
            hits,
            done_until: 0,
            examined_until: 0,
            structures_searched_until: 0,
            broken_php_until: 0,
            broken_json_until: 0,
            broken_converted_until: [0; 2],
            non_ascii_end: None,
            base64_until: 0,
            broken_php_reason: Malformed::PhpSyntax,
        };
        while !state.hits.is_empty() {
            let hit = self.hits[state.hits.start];
            if !self.rewrite_structure(&mut state, hit, out) {
                state.hits.start += 1;
                self.rewrite_hit(&mut state, hit, out);
                state.examined_until = state.examined_until.max(hit.end);
            }
        }
    }

    fn finish_until(&self, state: &mut ScanState<'_>, end: usize) {
        state.done_until = end;
        state.examined_until = end;
        state.structures_searched_until = state.structures_searched_until.max(end);
        state.hits.start = self.first_hit_from(state, end);
    }

    /// The index of the first remaining hit at or after an offset.
    fn first_hit_from(&self, state: &ScanState<'_>, end: usize) -> usize {
        let ahead = &self.hits[state.hits.clone()];
        state.hits.start + ahead.iter().take_while(|hit| hit.at < end).count()
    }

    // --- structures with lengths and names --------------------------------------------------------------------------

    /// Looks for serialised data or JSON that starts before a hit and contains it, and rewrites it as a whole.
    /// Returns whether it did.
    fn rewrite_structure(&mut self, state: &mut ScanState<'_>, hit: Hit, out: &mut Edits) -> bool {
        let text = state.frame.text;
        while state.structures_searched_until < hit.at {
            let Some(next) =
                memchr::memchr3(b'{', b'[', b':', &text[state.structures_searched_until..hit.at])
            else {
                break;
            };
            let at = state.structures_searched_until + next;
            state.structures_searched_until = at + 1;
            let (start, kind) = match text[at] {
                b':' => (at.wrapping_sub(1), Structure::Php),
                _ => (at, Structure::Json),
            };
            if start < kind.broken_until(state) || start < state.done_until || !kind.may_start(text, start) {
                continue;
            }
            let first_string = self.found.strings.len();
            let parsed = kind
                .parse(text, start, &self.hits, state.hits.clone(), &mut self.found)
                .or_else(|error| self.parse_converted(state, kind, start, first_string, error));
            match parsed {
                Ok(end) if end <= hit.at => state.structures_searched_until = end,
                Ok(end) => {
                    for index in first_string..self.found.strings.len() {
                        let string = self.found.strings[index].clone();
                        self.rewrite_string(&state.frame, &string, kind.encoding(), out);
                    }
                    self.found.strings.truncate(first_string);
                    self.finish_until(state, end);
                    return true;
                }
                Err(error) => {
                    self.found.strings.truncate(first_string);
                    if self.handle_parse_error(state, kind, start, error, hit, out) {
                        return true;
                    }
                }
            }
        }
        state.structures_searched_until = state.structures_searched_until.max(hit.at);
        false
    }

    /// Parses serialised data whose lengths do not count the bytes here, because its text was converted between
    /// charsets. Only non-ASCII letters can make a difference.
    #[cold]
    fn parse_converted(
        &mut self,
        state: &mut ScanState<'_>,
        kind: Structure,
        start: usize,
        first_string: usize,
        error: ParseError,
    ) -> Result<usize, ParseError> {
        let text = state.frame.text;
        let last_letter = || text.iter().rposition(|byte| !byte.is_ascii()).map_or(0, |at| at + 1);
        if matches!(kind, Structure::Json) || start >= *state.non_ascii_end.get_or_insert_with(last_letter) {
            return Err(error);
        }
        for (unit, broken_until) in LengthUnit::CONVERTED.into_iter().zip(&mut state.broken_converted_until) {
            if start < *broken_until {
                continue;
            }
            self.found.strings.truncate(first_string);
            let collector = self.found.collector(&self.hits, state.hits.clone(), start);
            match php::parse(text, start, unit, collector) {
                Ok(end) => return Ok(end),
                Err(error) => *broken_until = error.at.max(start + 1),
            }
        }
        Err(error)
    }

    /// Handles a structure that could not be parsed: its quotes are encoded, or it is malformed. Returns whether the
    /// hit is done with it.
    fn handle_parse_error(
        &mut self,
        state: &mut ScanState<'_>,
        kind: Structure,
        start: usize,
        error: ParseError,
        hit: Hit,
        out: &mut Edits,
    ) -> bool {
        let text = state.frame.text;
        if let Some(codec) = Codec::of_quote(text, start, error.at) {
            let (codec, range) = codec.enclosing_range(text, state.examined_until, start);
            state.structures_searched_until = range.end;
            let contains_hit = range.end > hit.at;
            if contains_hit {
                self.rewrite_decoded(state, codec, range, out);
            }
            return contains_hit;
        }
        let is_whole_value = start == state.content_start;
        match kind {
            Structure::Json => {
                state.broken_json_until = error.at;
                // Shortcodes and CSS start like a document, but parsing them fails within a few bytes.
                if is_whole_value && (error.reason != Malformed::Json || error.at > start + 8) {
                    self.report.add_malformed(error.reason);
                }
                false
            }
            Structure::Php => {
                state.broken_php_until = error.at.max(start + 1);
                state.broken_php_reason = error.reason;
                // A malformed value is kept as a whole; inside other text only what was parsed is kept.
                let end = if is_whole_value { text.len() } else { error.at };
                let contains_hit = end > hit.at;
                if contains_hit {
                    self.report.add_malformed(error.reason);
                    let inside = state.hits.start..self.first_hit_from(state, end);
                    self.report_unreplaced_hits(&state.frame, inside, UnreplacedReason::Malformed);
                    self.finish_until(state, end);
                }
                contains_hit
            }
        }
    }

    // --- single hits ------------------------------------------------------------------------------------------------

    fn rewrite_hit(&mut self, state: &mut ScanState<'_>, hit: Hit, out: &mut Edits) {
        let text = state.frame.text;
        match hit.kind {
            HitKind::Base64 { .. } if hit.at < state.base64_until => {}
            HitKind::Base64 { group_offset } => self.rewrite_base64_hit(state, hit, group_offset, out),
            HitKind::Encoded(codec) => self.rewrite_encoded_hit(state, codec, hit, out),
            HitKind::Pattern => {
                let index = state.hits.start - 1;
                self.report_unreplaced_hits(&state.frame, index..index + 1, UnreplacedReason::HostPattern);
            }
            HitKind::Host => match address::classify_hit(self.rewriter, text, state.done_until, hit) {
                HitClass::Encoded(codec) => self.rewrite_encoded_hit(state, codec, hit, out),
                HitClass::Unreplaced(reason) => self.report_unreplaced(&state.frame, hit, reason),
                HitClass::Other => {}
                HitClass::Folder { start, end, to } => {
                    let base = state.frame.base;
                    out.push(base + start..base + end, |new| new.extend_from_slice(to));
                    self.count_replaced(&state.frame);
                    self.finish_until(state, end);
                }
                HitClass::Address(address) => {
                    if state.broken_php_until > 0 && is_length_prefixed(text, state.done_until, address.start)
                    {
                        self.report.add_malformed(state.broken_php_reason);
                        self.report_unreplaced(&state.frame, hit, UnreplacedReason::Malformed);
                    } else if has_encoded_quote(text, state.done_until, address.start) {
                        self.rewrite_encoded_hit(state, Codec::Percent, hit, out);
                    } else {
                        if write_address(&state.frame, &address, out) {
                            self.count_replaced(&state.frame);
                        }
                        self.finish_until(state, address.end);
                    }
                }
            },
        }
    }

    fn rewrite_base64_hit(
        &mut self,
        state: &mut ScanState<'_>,
        hit: Hit,
        group_offset: usize,
        out: &mut Edits,
    ) {
        let text = state.frame.text;
        match base64::find_base64_around(text, state.done_until, hit, group_offset) {
            Base64Match::None => {}
            Base64Match::Encoded(codec) => self.rewrite_encoded_hit(state, codec, hit, out),
            Base64Match::Malformed { end } => {
                self.report.add_malformed(Malformed::Base64);
                self.report_unreplaced(&state.frame, hit, UnreplacedReason::Malformed);
                state.base64_until = end;
            }
            Base64Match::Span(span) => {
                let bytes = base64::decode(&text[span.data.clone()]);
                let is_whole = span.is_delimited(text, state.frame.is_whole);
                let inner = self.rewrite_base64(&state.frame, &bytes, is_whole);
                if inner.is_empty() {
                    // Text that only looks like base64 may end with a host: `…b2s//example.com`.
                    state.base64_until = span.end;
                } else {
                    span.write_edits(text, state.frame.base, &bytes, &inner, out);
                    self.report_hosts_started_in_base64(state, span.end);
                    self.finish_until(state, span.end);
                }
            }
        }
    }

    /// Reports the hosts that start inside rewritten base64 and end after it: `…b2s/example.com`.
    fn report_hosts_started_in_base64(&mut self, state: &ScanState<'_>, end: usize) {
        for index in state.hits.start..self.first_hit_from(state, end) {
            let hit = self.hits[index];
            if hit.kind == HitKind::Host && hit.end > end {
                self.report_unreplaced_hits(&state.frame, index..index + 1, UnreplacedReason::BareHost);
            }
        }
    }

    /// Decodes and rewrites the text around a hit, which was the next one.
    fn rewrite_encoded_hit(&mut self, state: &mut ScanState<'_>, codec: Codec, hit: Hit, out: &mut Edits) {
        let part =
            codec.range_around_hit(state.frame.text, state.examined_until.min(hit.at), hit.at..hit.end);
        state.hits.start -= 1;
        self.rewrite_decoded(state, codec, part, out);
    }

    /// Decodes and rewrites a part that starts before the next hit, and marks it as done.
    fn rewrite_decoded(
        &mut self,
        state: &mut ScanState<'_>,
        codec: Codec,
        part: Range<usize>,
        out: &mut Edits,
    ) {
        let hits = state.hits.start..self.first_hit_from(state, part.end);
        self.decode_and_rewrite(&state.frame, codec, part.clone(), hits, codec.encoding(), out);
        self.finish_until(state, part.end);
    }
}

#[derive(Clone, Copy)]
enum Structure {
    Php,
    Json,
}

impl Structure {
    fn broken_until(self, state: &ScanState<'_>) -> usize {
        match self {
            Self::Php => state.broken_php_until,
            Self::Json => state.broken_json_until,
        }
    }

    fn may_start(self, text: &[u8], at: usize) -> bool {
        match self {
            Self::Php => php::may_start(text, at),
            Self::Json => json::may_start(text, at),
        }
    }

    /// Parses a structure and returns its end. Its strings with hits are added to `found`.
    fn parse(
        self,
        text: &[u8],
        start: usize,
        hits: &[Hit],
        ahead: Range<usize>,
        found: &mut FoundStrings,
    ) -> Result<usize, ParseError> {
        let collector = found.collector(hits, ahead, start);
        match self {
            Self::Php => php::parse(text, start, LengthUnit::Bytes, collector),
            Self::Json => json::parse(text, start, collector),
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Self::Php => Encoding::Php,
            Self::Json => Encoding::Json,
        }
    }
}

/// Whether the string around an offset has a length before it, as in the rest of malformed serialised data.
fn is_length_prefixed(text: &[u8], from: usize, at: usize) -> bool {
    let before = &text[from.max(at.saturating_sub(MAX_LOOKBEHIND_BYTES))..at];
    let Some(quote) = memchr::memrchr(b'"', before) else { return false };
    let before = &before[..quote];
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
    let Some(count) = before[..before.len() - slashes].strip_suffix(b":") else { return false };
    let digits = count.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && count[..count.len() - digits].ends_with(b"s:")
}

/// Whether a percent-encoded quote precedes an address that is not percent-encoded itself, as in the output of
/// JavaScript's `encodeURI`.
fn has_encoded_quote(text: &[u8], from: usize, at: usize) -> bool {
    let near = &text[from.max(at.saturating_sub(MAX_LOOKBEHIND_BYTES))..at];
    let token = near.iter().rev().take_while(|byte| !Codec::Percent.is_terminator(**byte)).count();
    near[near.len() - token..].windows(3).any(|code| code == b"%22")
}
