//! What the lengths in serialised data count.

/// What the lengths in serialised data count. PHP counts bytes. Where text was converted between charsets on its way,
/// as by a dump of a Latin-1 table that holds UTF-8, the lengths still count the bytes that PHP has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LengthUnit {
    Bytes,
    /// Characters: each byte that PHP counted was taken for Latin-1 and became a character of UTF-8.
    Characters,
    /// The bytes in UTF-8 of a text that is in Latin-1 here.
    Utf8OfLatin1,
}

impl LengthUnit {
    /// The units of converted text.
    pub(crate) const CONVERTED: [Self; 2] = [Self::Characters, Self::Utf8OfLatin1];

    /// The length of a text.
    pub(crate) fn measure(self, text: &[u8]) -> usize {
        match self {
            Self::Bytes => text.len(),
            _ => text.iter().map(|byte| self.weight(*byte)).sum(),
        }
    }

    /// The offset at which a text has this length; `None` if it has no such prefix.
    pub(super) fn end_of(self, text: &[u8], length: usize) -> Option<usize> {
        let mut rest = length;
        for (at, byte) in text.iter().enumerate() {
            let weight = self.weight(*byte);
            // The continuation bytes of the last character have no weight.
            if rest == 0 && weight > 0 {
                return Some(at);
            }
            rest = rest.checked_sub(weight)?;
        }
        (rest == 0).then_some(text.len())
    }

    fn weight(self, byte: u8) -> usize {
        match (self, byte) {
            (Self::Characters, 0x80..=0xBF) => 0,
            (Self::Bytes | Self::Characters, _) | (Self::Utf8OfLatin1, 0..=0x7F) => 1,
            // What MySQL calls latin1 is Windows-1252: from U+2000 on three bytes, the others two.
            (_, 0x80 | 0x82 | 0x84..=0x87 | 0x89 | 0x8B | 0x91..=0x97 | 0x99 | 0x9B) => 3,
            _ => 2,
        }
    }
}
