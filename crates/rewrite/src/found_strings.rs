//! The result of parsing serialised data or JSON: where the strings with hits are, without their values.

use std::ops::Range;

use crate::hit::Hit;
use crate::php::LengthUnit;
use crate::report::Malformed;

/// A string that contains a hit.
#[derive(Debug, Clone)]
pub(crate) struct FoundString {
    pub(crate) content: Range<usize>,
    /// Indices of the hits.
    pub(crate) hits: Range<usize>,
    pub(crate) form: StringForm,
}

/// How a string is written, as far as it matters for changing it.
#[derive(Debug, Clone)]
pub(crate) enum StringForm {
    /// A key, a property name or a class name. It is not changed.
    Name,
    /// Written as it is.
    Plain,
    /// With backslash escapes.
    Escaped,
    /// Its length in this unit is written at this range.
    Counted(Range<usize>, LengthUnit),
    /// In a form that is parsed but cannot be written.
    Unwritable(Malformed),
}

/// Where and why parsing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParseError {
    pub(crate) at: usize,
    pub(crate) reason: Malformed,
}

/// The deepest nesting that is parsed; PHP's limits are 4,096 levels of serialised data (`unserialize_max_depth`) and
/// 512 of JSON.
pub(crate) const MAX_NESTING: usize = 4096;

/// The strings found so far, and a parser's stack.
#[derive(Default)]
pub(crate) struct FoundStrings {
    pub(crate) strings: Vec<FoundString>,
    open: Vec<usize>,
}

impl FoundStrings {
    /// The collector for a parser that starts at an offset, with the hits from there on.
    pub(crate) fn collector<'h>(
        &'h mut self,
        all: &'h [Hit],
        ahead: Range<usize>,
        start: usize,
    ) -> StringCollector<'h> {
        self.open.clear();
        let passed = all[ahead.clone()].partition_point(|hit| hit.at < start);
        let (hits, next) = (&all[..ahead.end], ahead.start + passed);
        let next_start = hits.get(next).map_or(usize::MAX, |hit| hit.at);
        StringCollector { strings: &mut self.strings, open: &mut self.open, hits, next, next_start }
    }
}

/// Collects the strings that contain a hit.
pub(crate) struct StringCollector<'h> {
    strings: &'h mut Vec<FoundString>,
    /// The parser's stack of open containers. Each parser defines the meaning of its entries.
    pub(crate) open: &'h mut Vec<usize>,
    hits: &'h [Hit],
    next: usize,
    /// Offset of the next hit.
    next_start: usize,
}

impl StringCollector<'_> {
    /// Adds a string if it contains a hit. Strings have to be passed in order.
    #[inline]
    pub(crate) fn add(&mut self, content: Range<usize>, form: impl FnOnce() -> StringForm) {
        if self.next_start < content.end {
            self.add_found(content, form);
        }
    }

    #[cold]
    fn add_found(&mut self, content: Range<usize>, form: impl FnOnce() -> StringForm) {
        let ahead = |next: usize, end: usize| self.hits[next..].iter().take_while(|hit| hit.at < end).count();
        let first = self.next + ahead(self.next, content.start);
        self.next = first + ahead(first, content.end);
        self.next_start = self.hits.get(self.next).map_or(usize::MAX, |hit| hit.at);
        if first < self.next {
            self.strings.push(FoundString { content, hits: first..self.next, form: form() });
        }
    }
}
