//! The replacements in a text: ordered, non-overlapping ranges with their new bytes.

use std::ops::Range;

/// The replacements of one text, in ascending order.
#[derive(Default)]
pub(crate) struct Edits {
    list: Vec<Edit>,
    /// The new bytes of all edits, concatenated.
    text: Vec<u8>,
}

struct Edit {
    start: usize,
    end: usize,
    new: Range<usize>,
}

/// An edit whose range is reserved and whose text is not yet known.
#[must_use]
pub(crate) struct Placeholder(usize);

/// The number of edits and bytes at one time, to truncate to later. Contains no unset placeholder.
pub(crate) struct EditsLen {
    edits: usize,
    bytes: usize,
}

impl Edits {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity() + self.list.capacity() * size_of::<Edit>()
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
    }

    /// Replaces a range with the bytes that `write` appends.
    pub(crate) fn push(&mut self, old: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(self.list.last().is_none_or(|last| last.end <= old.start), "edits come in order");
        let from = self.text.len();
        write(&mut self.text);
        self.list.push(Edit { start: old.start, end: old.end, new: from..self.text.len() });
    }

    /// Reserves an edit that depends on later ones, such as a length before its string.
    pub(crate) fn reserve(&mut self, old: Range<usize>) -> Placeholder {
        self.push(old, |_| {});
        Placeholder(self.list.len() - 1)
    }

    /// How much the edits after the placeholder add to the text; `None` if there are none. Of the old text only the
    /// ranges are known here.
    pub(crate) fn growth_after(
        &self,
        placeholder: &Placeholder,
        old_len: impl Fn(Range<usize>) -> usize,
        new_len: impl Fn(&[u8]) -> usize,
    ) -> Option<isize> {
        let after = self.list.get(placeholder.0 + 1..).filter(|after| !after.is_empty())?;
        let growth = |edit: &Edit| {
            let new = new_len(&self.text[edit.new.clone()]);
            new.cast_signed() - old_len(edit.start..edit.end).cast_signed()
        };
        Some(after.iter().map(growth).sum())
    }

    /// Sets the placeholder's text to a decimal number.
    pub(crate) fn set(&mut self, placeholder: Placeholder, number: usize) {
        let mut digits = [0; 20];
        let (mut rest, mut first) = (number, digits.len());
        while first == digits.len() || rest > 0 {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let from = self.text.len();
        self.text.extend_from_slice(&digits[first..]);
        if let Some(edit) = self.list.get_mut(placeholder.0) {
            edit.new = from..self.text.len();
        }
    }

    /// Removes a placeholder that no edit follows.
    pub(crate) fn cancel(&mut self, placeholder: Placeholder) {
        debug_assert_eq!(placeholder.0 + 1, self.list.len(), "only the last placeholder is cancelled");
        self.list.truncate(placeholder.0);
    }

    /// The current number of edits and bytes.
    pub(crate) fn len(&self) -> EditsLen {
        EditsLen { edits: self.list.len(), bytes: self.text.len() }
    }

    /// New bytes added since then.
    pub(crate) fn bytes_added_since(&self, len: &EditsLen) -> usize {
        self.text.len() - len.bytes
    }

    /// Removes the edits added since then.
    pub(crate) fn truncate_to(&mut self, len: EditsLen) {
        self.list.truncate(len.edits);
        self.text.truncate(len.bytes);
    }

    /// Iterates over the replaced ranges and their new bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Range<usize>, &[u8])> {
        self.list.iter().map(|edit| (edit.start..edit.end, &self.text[edit.new.clone()]))
    }

    /// Applies the edits and returns the new text from an offset on. No edit lies before it.
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
