//! One value's way through the rewriter: what it needs at every depth, and the ways down.

use std::ops::Range;

use crate::codec::{Codec, Decoded, Written};
use crate::edits::Edits;
use crate::finder::{Hit, Kind};
use crate::report::{Encoding, Layers, Malformed, Replaced, Report, UnreplacedReason};
use crate::span::{Form, Found, Span};
use crate::{Rewriter, address};

/// Everything a value's layers share.
pub(crate) struct Run<'r> {
    pub(crate) rewriter: &'r Rewriter,
    pub(crate) report: &'r mut Report,
    pub(crate) hits: Vec<Hit>,
    pub(crate) found: Found,
    spare: Vec<Layer>,
    replaced: Replaced,
}

/// Scratch for the work on a value, kept for the next one. The vectors are stacks: a layer puts its own on top and takes it
/// away again.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Hits, in order and counted from the beginning of their text.
    hits: Vec<Hit>,
    found: Found,
    /// Layers that are not in use.
    spare: Vec<Layer>,
}

/// Larger buffers are dropped.
const KEPT: usize = 1 << 20;

/// What is spelled may become so many times as long as it was together with its new addresses.
const MAX_GROWTH: usize = 4;

impl Scratch {
    fn is_small(&self) -> bool {
        let layer = |layer: &Layer| layer.decoded.room() + layer.edits.room();
        self.hits.capacity() + self.found.spans.capacity() + self.spare.iter().map(layer).sum::<usize>()
            < KEPT
    }
}

/// A decoded text and what is replaced in it.
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

/// A text and where it is.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'t> {
    pub(crate) text: &'t [u8],
    /// Where it begins in the text that edits are made to.
    pub(crate) base: usize,
    pub(crate) depth: usize,
    pub(crate) within: Layers,
}

impl<'t> Frame<'t> {
    fn part(&self, part: Range<usize>, encoding: Encoding) -> Self {
        Frame { base: self.base + part.start, ..self.below(&self.text[part], encoding) }
    }

    fn below<'d>(&self, text: &'d [u8], encoding: Encoding) -> Frame<'d> {
        Frame { text, base: 0, depth: self.depth + 1, within: self.within.with(encoding) }
    }
}

impl<'r> Run<'r> {
    /// Rewrites a value; `None` when nothing in it changes.
    pub(crate) fn value(
        rewriter: &'r Rewriter,
        report: &'r mut Report,
        value: &[u8],
        first: Hit,
        scratch: Scratch,
    ) -> (Option<Vec<u8>>, Option<Scratch>) {
        Self::edited(rewriter, report, value, first, scratch, |edits| edits.apply(value, 0))
    }

    /// What `apply` makes of a value's edits; `None` when there are none.
    pub(crate) fn edited<T>(
        rewriter: &'r Rewriter,
        report: &'r mut Report,
        value: &[u8],
        first: Hit,
        scratch: Scratch,
        apply: impl FnOnce(&Edits) -> T,
    ) -> (Option<T>, Option<Scratch>) {
        let Scratch { hits, found, spare } = scratch;
        let mut run = Self { rewriter, report, hits, found, spare, replaced: Replaced::default() };
        let mut layer = run.spare.pop().unwrap_or_default();
        let frame = Frame { text: value, base: 0, depth: 0, within: Layers::default() };
        run.search(frame, Some(first), &mut layer.edits);
        let new = (!layer.edits.is_empty()).then(|| apply(&layer.edits));
        layer.clear();
        run.spare.push(layer);
        run.report.add_replaced(&run.replaced);
        let scratch = Scratch { hits: run.hits, found: run.found, spare: run.spare };
        (new, Some(scratch).filter(Scratch::is_small))
    }

    /// Finds the hits of a text, the first of which may be known, and rewrites it.
    pub(crate) fn search(&mut self, frame: Frame<'_>, first: Option<Hit>, out: &mut Edits) {
        let mark = self.hits.len();
        self.rewriter.finder.all(frame.text, first, &mut self.hits);
        self.text(frame, mark, out);
        self.hits.truncate(mark);
    }

    /// Rewrites a string of a structure.
    pub(crate) fn span(&mut self, frame: &Frame<'_>, span: &Span, encoding: Encoding, out: &mut Edits) {
        let Span { content, hits, .. } = span.clone();
        match &span.form {
            Form::Name => self.leave(frame, hits, UnreplacedReason::Key),
            Form::Foreign(reason) => {
                self.report.add_malformed(*reason);
                self.leave(frame, hits, UnreplacedReason::Malformed);
            }
            Form::Plain => self.part(frame, content, hits, encoding, out),
            Form::Escaped => self.decoded(frame, Codec::Backslash, content, hits, encoding, out),
            Form::Counted(digits) => {
                let slot = out.reserve(frame.base + digits.start..frame.base + digits.end);
                let length = content.len();
                self.part(frame, content, hits, encoding, out);
                match out.growth_after(&slot) {
                    None => out.withdraw(slot),
                    Some(growth) => out.fill(slot, length.saturating_add_signed(growth)),
                }
            }
        }
    }

    /// Goes into a part of a text that is written as it is.
    fn part(
        &mut self,
        frame: &Frame<'_>,
        part: Range<usize>,
        hits: Range<usize>,
        encoding: Encoding,
        out: &mut Edits,
    ) {
        let mark = self.hits.len();
        for index in hits {
            let hit = self.hits[index];
            self.hits.push(Hit { at: hit.at - part.start, end: hit.end - part.start, ..hit });
        }
        self.text(frame.part(part, encoding), mark, out);
        self.hits.truncate(mark);
    }

    /// Goes into a part of a text that is spelled in some encoding. Its hits are where they were before, in other words:
    /// spelling makes texts longer, but neither makes nor breaks what is searched for.
    pub(crate) fn decoded(
        &mut self,
        frame: &Frame<'_>,
        codec: Codec,
        part: Range<usize>,
        hits: Range<usize>,
        encoding: Encoding,
        out: &mut Edits,
    ) {
        let raw = &frame.text[part.clone()];
        let mut layer = self.spare.pop().unwrap_or_default();
        codec.decode(raw, &mut layer.decoded);
        let (mark, before, replaced) = (self.hits.len(), out.mark(), self.replaced);
        for index in hits.clone() {
            let hit = self.hits[index];
            let kind = if hit.kind == Kind::Wrapped(codec) { Kind::Host } else { hit.kind };
            let place = layer.decoded.place(hit.at - part.start)..layer.decoded.place(hit.end - part.start);
            let same = kind != hit.kind
                || layer.decoded.bytes.get(place.clone())
                    == Some(&raw[hit.at - part.start..hit.end - part.start]);
            if same && self.hits[mark..].last().is_none_or(|last| last.end <= place.start) {
                self.hits.push(Hit { at: place.start, end: place.end, kind });
            }
        }
        self.text(frame.below(&layer.decoded.bytes, encoding), mark, &mut layer.edits);
        self.hits.truncate(mark);
        let written = Written { whole: frame.text, range: part, base: frame.base };
        codec.write(written, &layer.decoded, &layer.edits, out);
        // A character takes the spelling of the one before it, in each layer: together they can multiply the length.
        if out.since(&before) > MAX_GROWTH * (raw.len() + hits.len() * self.rewriter.longest) {
            out.back_to(before);
            self.replaced = replaced;
            self.report.add_malformed(Malformed::EscapeOverflow);
            self.leave(frame, hits, UnreplacedReason::Malformed);
        }
        layer.clear();
        self.spare.push(layer);
    }

    /// Goes into what some base64 stands for.
    pub(crate) fn bytes(&mut self, frame: &Frame<'_>, bytes: &[u8]) -> Edits {
        let mut edits = Edits::default();
        self.search(frame.below(bytes, Encoding::Base64), None, &mut edits);
        edits
    }

    /// Notes an address that was replaced.
    pub(crate) fn replaced(&mut self, frame: &Frame<'_>) {
        self.replaced.add(frame.within);
    }

    /// Notes an old host that stays.
    pub(crate) fn stays(&mut self, frame: &Frame<'_>, hit: Hit, why: UnreplacedReason) {
        let limit = self.rewriter.options.max_samples;
        self.report.add_unreplaced(why, frame.text, hit.at..hit.end, frame.within, limit);
    }

    /// Notes the old hosts among hits that are not looked into.
    pub(crate) fn leave(&mut self, frame: &Frame<'_>, hits: Range<usize>, why: UnreplacedReason) {
        for index in hits {
            let hit = self.hits[index];
            if hit.kind != Kind::Host || address::is_old(&self.rewriter.sites, frame.text, hit) {
                self.stays(frame, hit, why);
            }
        }
    }
}
