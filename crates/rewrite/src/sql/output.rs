//! Copies a part of a dump from input to output, with replacements.

use std::ops::Range;

use crate::edits::Edits;
use crate::hit::Hit;
use crate::report::{Layers, Report, UnreplacedReason};
use crate::{Rewriter, address};

/// An input text and its output.
pub(super) struct Output<'w> {
    rewriter: &'w Rewriter,
    pub(super) text: &'w [u8],
    out: &'w mut Vec<u8>,
    pub(super) report: &'w mut Report,
    /// How much of the text is written.
    written: usize,
    next_hit: NextHit,
}

/// The next hit.
#[derive(Clone, Copy)]
enum NextHit {
    /// To be searched for from this offset on.
    SearchFrom(usize),
    At(Hit),
    None,
}

impl<'w> Output<'w> {
    pub(super) fn new(
        rewriter: &'w Rewriter,
        text: &'w [u8],
        out: &'w mut Vec<u8>,
        report: &'w mut Report,
    ) -> Self {
        Self { rewriter, text, out, report, written: 0, next_hit: NextHit::SearchFrom(0) }
    }

    /// Replaces a range.
    pub(super) fn replace(&mut self, old: Range<usize>, new: &[u8]) {
        self.out.extend_from_slice(&self.text[self.written..old.start]);
        self.out.extend_from_slice(new);
        self.written = old.end;
    }

    /// Applies the edits of a part of the text.
    pub(super) fn apply(&mut self, part: &Range<usize>, edits: &Edits) {
        for (range, new) in edits.iter() {
            self.replace(part.start + range.start..part.start + range.end, new);
        }
    }

    /// Copies the text up to an offset.
    pub(super) fn copy_until(&mut self, to: usize) {
        self.out.extend_from_slice(&self.text[self.written..to]);
        self.written = to;
    }

    // --- hits -------------------------------------------------------------------------------------------------------

    fn next_hit(&mut self) -> Option<Hit> {
        if let NextHit::SearchFrom(from) = self.next_hit {
            let hit = self.rewriter.finder.find(self.text, from);
            self.next_hit = hit.map_or(NextHit::None, NextHit::At);
        }
        match self.next_hit {
            NextHit::At(hit) => Some(hit),
            _ => None,
        }
    }

    /// The start of the next hit; `usize::MAX` without one.
    pub(super) fn next_hit_start(&mut self) -> usize {
        self.next_hit().map_or(usize::MAX, |hit| hit.at)
    }

    /// Reports the old hosts in a part that is not rewritten.
    pub(super) fn report_unreplaced(&mut self, part: Range<usize>, reason: UnreplacedReason) {
        self.skip_hits_before(part.start);
        while let Some(hit) = self.next_hit().filter(|hit| hit.at < part.end) {
            self.next_hit = NextHit::SearchFrom(hit.end);
            if !address::is_old_host(&self.rewriter.mappings, self.text, hit) {
                continue;
            }
            if reason == UnreplacedReason::Guid {
                *self.report.unreplaced.entry(reason).or_default() += 1;
            } else {
                let limit = self.rewriter.options.max_samples;
                self.report.add_unreplaced(reason, self.text, hit.at..hit.end, Layers::default(), limit);
            }
        }
    }

    /// Whether a part contains a hit. Hits before it are skipped.
    pub(super) fn contains_hit(&mut self, part: &Range<usize>) -> bool {
        self.skip_hits_before(part.start);
        self.next_hit().is_some_and(|hit| hit.at < part.end)
    }

    /// Skips the hits before an offset: they are already handled.
    pub(super) fn skip_hits_before(&mut self, to: usize) {
        match self.next_hit {
            NextHit::At(hit) if hit.at < to => self.next_hit = NextHit::SearchFrom(to),
            NextHit::SearchFrom(from) => self.next_hit = NextHit::SearchFrom(from.max(to)),
            _ => {}
        }
    }
}
