#![doc = include_str!("../README.md")]

mod address;
mod base64;
mod codec;
mod edits;
mod finder;
mod json;
mod php;
mod report;
mod run;
mod sites;
mod span;
mod text;

use std::borrow::Cow;

use edits::Edits;
use finder::Finder;
use run::{Frame, Run};
use sites::Sites;

pub use report::{Encoding, LeftOver, Malformed, Report, Why};
pub use sites::{Pair, PairError};

/// Bounds and choices.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether `www.example.com` and `example.com` are the same site, unless pairs say otherwise.
    pub www: bool,
    /// Layers of encodings that are taken off; what lies deeper stays. JSON in a serialised string is two.
    pub depth: usize,
    /// Left-overs that are kept in a report with their context. All are counted.
    pub left_overs: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { www: true, depth: 32, left_overs: 100 }
    }
}

/// Moves addresses. Made once, used for any number of values, by any number of threads.
pub struct Rewriter {
    sites: Sites,
    finder: Finder,
    options: Options,
}

impl Rewriter {
    /// A rewriter for these sites. Of pairs on one host the one with the longest path that fits decides.
    ///
    /// # Errors
    /// When there is no pair, or two pairs contradict each other.
    pub fn new(pairs: &[Pair], options: Options) -> Result<Self, PairError> {
        let names = sites::names(pairs);
        let sites = Sites::new(pairs, options.www)?;
        let finder = Finder::new(&names).ok_or(PairError::Nothing)?;
        Ok(Self { sites, finder, options })
    }

    /// A value with its addresses moved; the value itself where there are none.
    pub fn value<'v>(&self, value: &'v [u8], report: &mut Report) -> Cow<'v, [u8]> {
        report.values += 1;
        let Some(first) = self.finder.find(value, 0) else { return Cow::Borrowed(value) };
        let mut edits = Edits::default();
        Run::new(self, report).search(Frame::whole(value), Some(first), &mut edits);
        if edits.is_empty() {
            return Cow::Borrowed(value);
        }
        report.changed += 1;
        Cow::Owned(edits.apply(value, 0))
    }
}
