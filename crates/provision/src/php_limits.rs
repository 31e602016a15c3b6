//! PHP's limits of a clone.

use crate::PhpLimits;

/// PHP's limits of a clone: its source's within bounds, defaults where it has none. Uploads are limited by what stands in
/// front of the clone, since imports are uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectivePhpLimits {
    /// `memory_limit`, in bytes.
    pub memory: u64,
    /// `max_execution_time`, in seconds.
    pub seconds: u64,
    /// `max_input_vars`.
    pub vars: u64,
}

impl EffectivePhpLimits {
    /// The limits of a clone of a source with these.
    #[must_use]
    pub fn from_source(source: PhpLimits) -> Self {
        let clamped = |value: Option<u64>, min: u64, max: u64, default: u64| {
            value.map_or(default, |value| value.clamp(min, max))
        };
        Self {
            memory: clamped(source.memory_limit, 64 << 20, 1 << 30, 256 << 20),
            seconds: clamped(source.max_execution_time, 10, 300, 120),
            vars: clamped(source.max_input_vars, 1_000, 100_000, 5_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_source_are_clamped() {
        let extreme = PhpLimits {
            memory_limit: Some(1),
            upload_max_filesize: Some(u64::MAX),
            max_execution_time: Some(0),
            max_input_vars: Some(u64::MAX),
        };
        let got = EffectivePhpLimits::from_source(extreme);
        assert_eq!((got.memory, got.seconds, got.vars), (64 << 20, 10, 100_000));
    }
}
