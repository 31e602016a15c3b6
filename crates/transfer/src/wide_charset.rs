//! Charsets whose ASCII characters have more than one byte.

/// UTF-16 and UTF-32, as MySQL names and stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WideCharset {
    /// `utf16`, and `ucs2` without surrogates: in big endian.
    Utf16,
    Utf16LittleEndian,
    /// In big endian.
    Utf32,
}

impl WideCharset {
    pub(crate) fn of(charset: &str) -> Option<Self> {
        match charset {
            "utf16" | "ucs2" => Some(Self::Utf16),
            "utf16le" => Some(Self::Utf16LittleEndian),
            "utf32" => Some(Self::Utf32),
            _ => None,
        }
    }

    /// The text; `None` if the bytes are not valid.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<String> {
        if self == Self::Utf32 {
            let (units, []) = bytes.as_chunks() else { return None };
            return units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
        }
        let (units, []) = bytes.as_chunks() else { return None };
        let unit = |unit: &[u8; 2]| match self {
            Self::Utf16LittleEndian => u16::from_le_bytes(*unit),
            _ => u16::from_be_bytes(*unit),
        };
        char::decode_utf16(units.iter().map(unit)).collect::<Result<_, _>>().ok()
    }

    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf16 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Utf16LittleEndian => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf32 => text.chars().flat_map(|letter| u32::from(letter).to_be_bytes()).collect(),
        }
    }
}
