//! How much to ask for in one request.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one request may cost the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The wanted length of the response, in bytes.
    pub bytes: u32,
    /// How long the site may work on the request, in milliseconds.
    pub ms: u32,
}

/// Adapts the size of requests to the site: larger while it is fast, smaller when it is slow or the connection breaks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdaptiveBatch {
    bytes: u32,
    max_bytes: u32,
    ms: u32,
}

impl AdaptiveBatch {
    /// The smallest budget in bytes.
    pub const MIN_BYTES: u32 = 16 * 1024;
    /// The largest budget in bytes, unless [`capped_at`](Self::capped_at) sets a lower one.
    pub const MAX_BYTES: u32 = 4 * 1024 * 1024;
    const INITIAL_BYTES: u32 = 256 * 1024;
    /// A response within half of this time is fast, one that takes more than twice as long is slow.
    const TARGET_DURATION: Duration = Duration::from_millis(1000);

    /// Starts with 256 KiB; `budget_ms` is the site's limit (`limits.budget_ms` of its manifest).
    #[must_use]
    pub fn new(budget_ms: u32) -> Self {
        Self { bytes: Self::INITIAL_BYTES, max_bytes: Self::MAX_BYTES, ms: budget_ms.clamp(50, 3000) }
    }

    /// The same with an upper limit in bytes.
    #[must_use]
    pub fn capped_at(mut self, bytes: u32) -> Self {
        self.max_bytes = bytes.clamp(Self::MIN_BYTES, self.max_bytes);
        self.bytes = self.bytes.min(self.max_bytes);
        self
    }

    /// The budget for the next request.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget { bytes: self.bytes, ms: self.ms }
    }

    /// Records a request that succeeded: how many bytes it moved and how long it took.
    pub fn record_success(&mut self, bytes: usize, elapsed: Duration) {
        if elapsed > Self::TARGET_DURATION * 2 {
            self.shrink(2);
        } else if elapsed < Self::TARGET_DURATION / 2 && bytes >= self.bytes as usize / 4 * 3 {
            self.bytes = self.bytes.saturating_mul(2).min(self.max_bytes);
        }
    }

    /// Records a request that failed and shrinks the budget. `permanent`: this size will never work, so that later
    /// successes do not grow back to it.
    pub fn record_failure(&mut self, permanent: bool) {
        if permanent {
            self.max_bytes = (self.bytes / 2).max(Self::MIN_BYTES);
        }
        self.shrink(4);
    }

    fn shrink(&mut self, divisor: u32) {
        self.bytes = (self.bytes / divisor).clamp(Self::MIN_BYTES, self.max_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_grows_while_the_site_is_fast_and_shrinks_when_it_is_slow_or_fails() {
        let (fast, usual, slow) =
            (Duration::from_millis(100), Duration::from_millis(900), Duration::from_millis(2100));
        let mut batch = AdaptiveBatch::new(2000);
        let bytes = |batch: &AdaptiveBatch| batch.budget().bytes;
        let first = bytes(&batch);
        batch.record_success(first as usize, fast);
        assert_eq!(bytes(&batch), 2 * first);
        // A response below its budget, or one that took a usual time, changes nothing.
        batch.record_success(10, fast);
        batch.record_success(2 * first as usize, usual);
        assert_eq!(bytes(&batch), 2 * first);
        batch.record_success(2 * first as usize, slow);
        assert_eq!(bytes(&batch), first);
        for _ in 0..20 {
            let full = bytes(&batch) as usize;
            batch.record_success(full, fast);
        }
        assert_eq!(bytes(&batch), AdaptiveBatch::MAX_BYTES);
        batch.record_failure(false);
        assert_eq!(bytes(&batch), AdaptiveBatch::MAX_BYTES / 4);
        // A size that failed permanently is not tried again.
        batch.record_failure(true);
        for _ in 0..20 {
            let full = bytes(&batch) as usize;
            batch.record_success(full, fast);
        }
        assert_eq!(bytes(&batch), AdaptiveBatch::MAX_BYTES / 8);
        for _ in 0..20 {
            batch.record_failure(false);
        }
        assert_eq!(bytes(&batch), AdaptiveBatch::MIN_BYTES);
    }
}
