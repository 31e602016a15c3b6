//! Rewrites one value: the state shared by its nested encodings, and the steps into them.

use std::ops::Range;

use crate::codec::{Codec, Decoded, Written};
use crate::edits::Edits;
use crate::found_strings::{FoundString, FoundStrings, StringForm};
use crate::hit::{Hit, HitKind};
use crate::report::{Encoding, Layers, Malformed, Replaced, Report, UnreplacedReason};
use crate::{Rewriter, address};

/// State shared by all layers of a value.
pub(crate) struct ValueRewriter<'r> {
    pub(crate) rewriter: &'r Rewriter,
    pub(crate) report: &'r mut Report,
    pub(crate) hits: Vec<Hit>,
    pub(crate) found: FoundStrings,
    free_layers: Vec<Layer>,
    replaced: Replaced,
}

/// Buffers for rewriting a value, reused for later ones. The vectors are stacks: each layer pushes its own entries
/// and removes them again.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Hits in ascending order; offsets are relative to their text.
    hits: Vec<Hit>,
    found: FoundStrings,
    /// Unused layers.
    free_layers: Vec<Layer>,
}

/// Buffers larger than this are dropped instead of reused.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// An encoded part, together with its new addresses, may grow by at most this factor.
const MAX_GROWTH: usize = 4;

impl Scratch {
    fn is_reusable(&self) -> bool {
        let layer = |layer: &Layer| layer.decoded.capacity() + layer.edits.capacity();
        self.hits.capacity()
            + self.found.strings.capacity()
            + self.free_layers.iter().map(layer).sum::<usize>()
            < MAX_KEPT_BYTES
    }
}

/// A decoded text and its edits.
#[derive(Default)]
struct Layer {
    decoded: Decoded,
    edits: Edits,
}

impl Layer {
    fn clear(&mut self) {
        self.decoded.clear();
        self.edits.clear();
    }
}

/// A text and its position in the value.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'t> {
    pub(crate) text: &'t [u8],
    /// Offset of the text in the text that the edits apply to.
    pub(crate) base: usize,
    pub(crate) depth: usize,
    pub(crate) within: Layers,
    /// Whether the text begins where a value, a string or base64 begins, rather than anywhere in another text.
    pub(crate) is_whole: bool,
}

impl<'t> Frame<'t> {
    fn part(&self, part: Range<usize>, encoding: Encoding) -> Self {
        Frame { base: self.base + part.start, ..self.below(&self.text[part], encoding, true) }
    }

    fn below<'d>(&self, text: &'d [u8], encoding: Encoding, is_whole: bool) -> Frame<'d> {
        Frame { text, base: 0, depth: self.depth + 1, within: self.within.with(encoding), is_whole }
    }
}

impl<'r> ValueRewriter<'r> {
    /// Rewrites a value; `None` if nothing changes.
    pub(crate) fn rewrite(
        rewriter: &'r Rewriter,
        report: &'r mut Report,
        value: &[u8],
        first: Hit,
        scratch: Scratch,
    ) -> (Option<Vec<u8>>, Option<Scratch>) {
        Self::rewrite_with(rewriter, report, value, first, scratch, |edits| edits.apply(value, 0))
    }

    /// Rewrites a value and passes its edits to `apply`; `None` if there are none.
    pub(crate) fn rewrite_with<T>(
        rewriter: &'r Rewriter,
        report: &'r mut Report,
        value: &[u8],
        first: Hit,
        scratch: Scratch,
        apply: impl FnOnce(&Edits) -> T,
    ) -> (Option<T>, Option<Scratch>) {
        let Scratch { hits, found, free_layers } = scratch;
        let mut this = Self { rewriter, report, hits, found, free_layers, replaced: Replaced::default() };
        let mut layer = this.free_layers.pop().unwrap_or_default();
        let frame = Frame { text: value, base: 0, depth: 0, within: Layers::default(), is_whole: true };
        this.find_and_rewrite(frame, Some(first), &mut layer.edits);
        let new = (!layer.edits.is_empty()).then(|| apply(&layer.edits));
        layer.clear();
        this.free_layers.push(layer);
        this.report.add_replaced(&this.replaced);
        let scratch = Scratch { hits: this.hits, found: this.found, free_layers: this.free_layers };
        (new, Some(scratch).filter(Scratch::is_reusable))
    }

    /// Finds the hits of a text and rewrites it. The first hit may already be known.
    pub(crate) fn find_and_rewrite(&mut self, frame: Frame<'_>, first: Option<Hit>, out: &mut Edits) {
        let first_hit = self.hits.len();
        self.rewriter.finder.find_all(frame.text, first, &mut self.hits);
        self.rewrite_text(frame, first_hit, out);
        self.hits.truncate(first_hit);
    }

    /// Rewrites a string inside JSON or serialised data.
    pub(crate) fn rewrite_string(
        &mut self,
        frame: &Frame<'_>,
        string: &FoundString,
        encoding: Encoding,
        out: &mut Edits,
    ) {
        let FoundString { content, hits, .. } = string.clone();
        match &string.form {
            StringForm::Name => self.report_unreplaced_hits(frame, hits, UnreplacedReason::Key),
            StringForm::Unwritable(reason) => {
                self.report.add_malformed(*reason);
                self.report_unreplaced_hits(frame, hits, UnreplacedReason::Malformed);
            }
            StringForm::Plain => self.rewrite_part(frame, content, hits, encoding, out),
            StringForm::Escaped => {
                self.decode_and_rewrite(frame, Codec::Backslash, content, hits, encoding, out)
            }
            StringForm::Counted(digits, unit) => {
                let placeholder = out.reserve(frame.base + digits.start..frame.base + digits.end);
                let length = unit.measure(&frame.text[content.clone()]);
                self.rewrite_part(frame, content, hits, encoding, out);
                let old = |range: Range<usize>| &frame.text[range.start - frame.base..range.end - frame.base];
                match out.growth_after(
                    &placeholder,
                    |range| unit.measure(old(range)),
                    |new| unit.measure(new),
                ) {
                    None => out.cancel(placeholder),
                    Some(growth) => out.set(placeholder, length.saturating_add_signed(growth)),
                }
            }
        }
    }

    /// Rewrites a part of a text that is not encoded.
    fn rewrite_part(
        &mut self,
        frame: &Frame<'_>,
        part: Range<usize>,
        hits: Range<usize>,
        encoding: Encoding,
        out: &mut Edits,
    ) {
        let first_hit = self.hits.len();
        for index in hits {
            let hit = self.hits[index];
            self.hits.push(Hit { at: hit.at - part.start, end: hit.end - part.start, ..hit });
        }
        self.rewrite_text(frame.part(part, encoding), first_hit, out);
        self.hits.truncate(first_hit);
    }

    /// Decodes and rewrites a part of a text. Its hits are mapped to the decoded text instead of searched for again:
    /// encoding makes a text longer, but does not change what the finder searches for.
    pub(crate) fn decode_and_rewrite(
        &mut self,
        frame: &Frame<'_>,
        codec: Codec,
        part: Range<usize>,
        hits: Range<usize>,
        encoding: Encoding,
        out: &mut Edits,
    ) {
        let raw = &frame.text[part.clone()];
        let mut layer = self.free_layers.pop().unwrap_or_default();
        codec.decode(raw, &mut layer.decoded);
        let (first, before, replaced) = (self.hits.len(), out.len(), self.replaced);
        for index in hits.clone() {
            let hit = self.hits[index];
            let range = layer.decoded.decoded_offset(hit.at - part.start)
                ..layer.decoded.decoded_offset(hit.end - part.start);
            let kind = if hit.kind == HitKind::Encoded(codec) { HitKind::Host } else { hit.kind };
            let is_same = kind != hit.kind
                || kind == HitKind::Pattern
                || layer.decoded.bytes.get(range.clone())
                    == Some(&raw[hit.at - part.start..hit.end - part.start]);
            if is_same && self.hits[first..].last().is_none_or(|last| last.end <= range.start) {
                self.hits.push(Hit { at: range.start, end: range.end, kind });
            }
        }
        // Only a string begins at a certain offset: other encoded parts begin after the last hit.
        let is_string = matches!(encoding, Encoding::Php | Encoding::Json);
        self.rewrite_text(frame.below(&layer.decoded.bytes, encoding, is_string), first, &mut layer.edits);
        self.hits.truncate(first);
        let written = Written { text: frame.text, range: part, base: frame.base };
        codec.write_edits(written, &layer.decoded, &layer.edits, out);
        // Each layer encodes a character like the one it replaces; together the layers can multiply the length.
        if out.bytes_added_since(&before) > MAX_GROWTH * (raw.len() + hits.len() * self.rewriter.max_new_len)
        {
            out.truncate_to(before);
            self.replaced = replaced;
            self.report.add_malformed(Malformed::EscapeOverflow);
            self.report_unreplaced_hits(frame, hits, UnreplacedReason::Malformed);
        }
        layer.clear();
        self.free_layers.push(layer);
    }

    /// Rewrites decoded base64 and returns its edits. `is_whole`: it begins where the data does.
    pub(crate) fn rewrite_base64(&mut self, frame: &Frame<'_>, bytes: &[u8], is_whole: bool) -> Edits {
        let mut edits = Edits::default();
        self.find_and_rewrite(frame.below(bytes, Encoding::Base64, is_whole), None, &mut edits);
        edits
    }

    /// Counts a replaced address.
    pub(crate) fn count_replaced(&mut self, frame: &Frame<'_>) {
        self.replaced.add(frame.within);
    }

    /// Reports an old host that is not replaced.
    pub(crate) fn report_unreplaced(&mut self, frame: &Frame<'_>, hit: Hit, reason: UnreplacedReason) {
        let limit = self.rewriter.options.max_samples;
        self.report.add_unreplaced(reason, frame.text, hit.at..hit.end, frame.within, limit);
    }

    /// Reports the old hosts among hits in a part that is not rewritten.
    pub(crate) fn report_unreplaced_hits(
        &mut self,
        frame: &Frame<'_>,
        hits: Range<usize>,
        reason: UnreplacedReason,
    ) {
        for index in hits {
            let hit = self.hits[index];
            if address::is_old_host(&self.rewriter.mappings, frame.text, hit) {
                self.report_unreplaced(frame, hit, reason);
            }
        }
    }
}
