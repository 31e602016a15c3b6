//! What requests cost the site: time, and memory of PHP.

use serde::{Deserialize, Serialize};

/// What a response cost the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ResponseCost {
    /// Time in milliseconds.
    pub duration_ms: u64,
    /// Memory that PHP used.
    pub memory: PhpMemory,
}

/// Memory that PHP used for one request, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhpMemory {
    /// Before the route began.
    pub baseline: u64,
    /// The maximum.
    pub peak: u64,
}

impl PhpMemory {
    /// The memory used by the route itself.
    #[must_use]
    pub fn above_baseline(self) -> u64 {
        self.peak.saturating_sub(self.baseline)
    }
}
