//! A piece of a dump on its way from input to output.

use std::ops::Range;

use crate::edits::Edits;
use crate::finder::{Hit, Kind};
use crate::report::{Layers, Report, UnreplacedReason};
use crate::{Rewriter, address};

/// A text that is worked on, and what comes of it.
pub(super) struct Output<'w> {
    rewriter: &'w Rewriter,
    pub(super) text: &'w [u8],
    out: &'w mut Vec<u8>,
    pub(super) report: &'w mut Report,
    /// How far it was written.
    written: usize,
    ahead: Ahead,
}

/// The next hit.
#[derive(Clone, Copy)]
enum Ahead {
    /// It has to be looked for from here.
    From(usize),
    At(Hit),
    Nowhere,
}

impl<'w> Output<'w> {
    pub(super) fn new(
        rewriter: &'w Rewriter,
        text: &'w [u8],
        out: &'w mut Vec<u8>,
        report: &'w mut Report,
    ) -> Self {
        Self { rewriter, text, out, report, written: 0, ahead: Ahead::From(0) }
    }

    /// Writes a text instead of another one.
    pub(super) fn replace(&mut self, old: Range<usize>, new: &[u8]) {
        self.out.extend_from_slice(&self.text[self.written..old.start]);
        self.out.extend_from_slice(new);
        self.written = old.end;
    }

    /// Makes edits of a part.
    pub(super) fn apply(&mut self, part: &Range<usize>, edits: &Edits) {
        for (range, new) in edits.iter() {
            self.replace(part.start + range.start..part.start + range.end, new);
        }
    }

    /// Writes what is not written yet.
    pub(super) fn end(&mut self, to: usize) {
        self.out.extend_from_slice(&self.text[self.written..to]);
        self.written = to;
    }

    // --- hits --------------------------------------------------------------------------------------------------------

    fn hit(&mut self) -> Option<Hit> {
        if let Ahead::From(from) = self.ahead {
            let hit = self.rewriter.finder.find(self.text, from);
            self.ahead = hit.map_or(Ahead::Nowhere, Ahead::At);
        }
        match self.ahead {
            Ahead::At(hit) => Some(hit),
            _ => None,
        }
    }

    /// Where the next hit is.
    pub(super) fn quiet(&mut self) -> usize {
        self.hit().map_or(usize::MAX, |hit| hit.at)
    }

    /// Notes the old hosts in a part: they stay.
    pub(super) fn stay(&mut self, part: Range<usize>, why: UnreplacedReason) {
        self.skip(part.start);
        while let Some(hit) = self.hit().filter(|hit| hit.at < part.end) {
            self.ahead = Ahead::From(hit.end);
            if hit.kind == Kind::Host && !address::is_old(&self.rewriter.sites, self.text, hit) {
                continue;
            }
            if why == UnreplacedReason::Guid {
                *self.report.unreplaced.entry(why).or_default() += 1;
            } else {
                let limit = self.rewriter.options.max_samples;
                self.report.add_unreplaced(why, self.text, hit.at..hit.end, Layers::default(), limit);
            }
        }
    }

    /// Whether a part holds a hit. Those before it are not asked for any more.
    pub(super) fn holds(&mut self, part: &Range<usize>) -> bool {
        self.skip(part.start);
        self.hit().is_some_and(|hit| hit.at < part.end)
    }

    /// Leaves out the hits up to an offset, which were seen to.
    pub(super) fn skip(&mut self, to: usize) {
        match self.ahead {
            Ahead::At(hit) if hit.at < to => self.ahead = Ahead::From(to),
            Ahead::From(from) => self.ahead = Ahead::From(from.max(to)),
            _ => {}
        }
    }
}
