//! What the readers of serialised data and of JSON give back: where strings with hits are, not what they hold.

use std::ops::Range;

use crate::finder::Hit;
use crate::report::Malformed;

/// A string that holds a hit.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) content: Range<usize>,
    /// Which hits.
    pub(crate) hits: Range<usize>,
    pub(crate) form: Form,
}

/// What has to be known to change a string.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// It is a name: a key, a property, a class. It stays.
    Name,
    /// Nothing: it is written as it is.
    Plain,
    /// It has backslash escapes.
    Escaped,
    /// Its length in bytes is written there.
    Counted(Range<usize>),
    /// Its bytes are written in a way that is read but not written.
    Foreign(Malformed),
}

/// Where and why a structure could not be read on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    pub(crate) at: usize,
    pub(crate) reason: Malformed,
}

/// Deeper structures are refused; PHP itself reads 4,096 levels of serialised data and 512 of JSON.
pub(crate) const LEVELS: usize = 4096;

/// The strings that were found in the structures being looked at, and room for a reader.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) spans: Vec<Span>,
    open: Vec<usize>,
}

impl Found {
    /// What a reader that begins at an offset needs, with the hits ahead of it.
    pub(crate) fn strings<'h>(
        &'h mut self,
        all: &'h [Hit],
        ahead: Range<usize>,
        start: usize,
    ) -> Strings<'h> {
        self.open.clear();
        let passed = all[ahead.clone()].partition_point(|hit| hit.at < start);
        let (hits, next) = (&all[..ahead.end], ahead.start + passed);
        let next_at = hits.get(next).map_or(usize::MAX, |hit| hit.at);
        Strings { spans: &mut self.spans, open: &mut self.open, hits, next, next_at }
    }
}

/// Collects the strings that hold a hit.
pub(crate) struct Strings<'h> {
    spans: &'h mut Vec<Span>,
    /// The structures a reader is in, whatever it has to know of them.
    pub(crate) open: &'h mut Vec<usize>,
    hits: &'h [Hit],
    next: usize,
    /// Where the next hit is.
    next_at: usize,
}

impl Strings<'_> {
    /// Notes a string if it holds a hit. Strings come in order.
    #[inline]
    pub(crate) fn add(&mut self, content: Range<usize>, form: impl FnOnce() -> Form) {
        if self.next_at < content.end {
            self.add_found(content, form);
        }
    }

    #[cold]
    fn add_found(&mut self, content: Range<usize>, form: impl FnOnce() -> Form) {
        let ahead = |next: usize, end: usize| self.hits[next..].iter().take_while(|hit| hit.at < end).count();
        let first = self.next + ahead(self.next, content.start);
        self.next = first + ahead(first, content.end);
        self.next_at = self.hits.get(self.next).map_or(usize::MAX, |hit| hit.at);
        if first < self.next {
            self.spans.push(Span { content, hits: first..self.next, form: form() });
        }
    }
}
