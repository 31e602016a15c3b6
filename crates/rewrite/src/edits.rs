//! What is to be replaced in a text: ranges with their new bytes, in order and apart from each other.

use std::ops::Range;

/// The replacements of one text, from left to right.
#[derive(Default)]
pub(crate) struct Edits {
    list: Vec<Edit>,
    /// The new bytes of all of them, one after the other.
    text: Vec<u8>,
}

struct Edit {
    start: usize,
    end: usize,
    new: Range<usize>,
}

/// An edit whose place in the order is taken, while its text is not known yet.
#[must_use]
pub(crate) struct Slot(usize);

/// A place in the order of edits, all before which are complete.
pub(crate) struct Mark {
    edits: usize,
    text: usize,
}

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn room(&self) -> usize {
        self.text.capacity() + self.list.capacity() * size_of::<Edit>()
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
    }

    /// Replaces a range by what `write` appends.
    pub(crate) fn push(&mut self, old: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(self.list.last().is_none_or(|last| last.end <= old.start), "edits come in order");
        let from = self.text.len();
        write(&mut self.text);
        self.list.push(Edit { start: old.start, end: old.end, new: from..self.text.len() });
    }

    /// Takes the place of an edit that depends on those that come after it: a length before its string.
    pub(crate) fn reserve(&mut self, old: Range<usize>) -> Slot {
        self.push(old, |_| {});
        Slot(self.list.len() - 1)
    }

    /// How many bytes the edits after the slot add to the text; `None` when there are none.
    pub(crate) fn growth_after(&self, slot: &Slot) -> Option<isize> {
        let after = self.list.get(slot.0 + 1..).filter(|after| !after.is_empty())?;
        Some(
            after
                .iter()
                .map(|edit| edit.new.len().cast_signed() - (edit.end - edit.start).cast_signed())
                .sum(),
        )
    }

    /// Gives the slot a number.
    pub(crate) fn fill(&mut self, slot: Slot, number: usize) {
        let mut digits = [0; 20];
        let (mut rest, mut first) = (number, digits.len());
        while first == digits.len() || rest > 0 {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let from = self.text.len();
        self.text.extend_from_slice(&digits[first..]);
        if let Some(edit) = self.list.get_mut(slot.0) {
            edit.new = from..self.text.len();
        }
    }

    /// Gives a slot back after which nothing came.
    pub(crate) fn withdraw(&mut self, slot: Slot) {
        debug_assert_eq!(slot.0 + 1, self.list.len(), "only the last slot is withdrawn");
        self.list.truncate(slot.0);
    }

    /// How many edits there are, to go back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark { edits: self.list.len(), text: self.text.len() }
    }

    /// The bytes that were written since.
    pub(crate) fn since(&self, mark: &Mark) -> usize {
        self.text.len() - mark.text
    }

    /// Forgets the edits since.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.list.truncate(mark.edits);
        self.text.truncate(mark.text);
    }

    /// The edits: what is replaced, and by what.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<usize>, &[u8])> {
        self.list.iter().map(|edit| (edit.start..edit.end, &self.text[edit.new.clone()]))
    }

    /// The text with its edits, from an offset on, before which none lies.
    pub(crate) fn apply(&self, old: &[u8], from: usize) -> Vec<u8> {
        let mut new = Vec::with_capacity(old.len() - from + self.text.len());
        let mut at = from;
        for (range, text) in self.iter() {
            new.extend_from_slice(&old[at..range.start]);
            new.extend_from_slice(text);
            at = range.end;
        }
        new.extend_from_slice(&old[at..]);
        new
    }
}
