//! The hits of the finder: places in a text where an old host may be.

use crate::codec::Codec;

/// A place in a text where an old host may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) kind: HitKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HitKind {
    /// The part of a host that is the same in every encoding except base64.
    Host,
    /// A host whose dots are those of a pattern: `example\.com`, `example[.]com`.
    Pattern,
    /// A host without such a part, in this encoding.
    Encoded(Codec),
    /// A host in base64. A group of four characters starts `group_offset` characters before the hit.
    Base64 { group_offset: usize },
}
