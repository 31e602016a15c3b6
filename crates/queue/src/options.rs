//! Settings of a queue.

use std::time::Duration;

/// Settings of a queue. The defaults are documented in `docs/QUEUE.md`.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// First part of every key, and its hash tag. Queues of different names are independent.
    pub name: String,
    /// How long a lease lasts without a heartbeat.
    pub lease_duration: Duration,
    /// How often a step is attempted when its problem is retryable.
    pub max_attempts: u32,
    /// After this many crashes of a step its task ends as `POISON`.
    pub max_crashes: u32,
    /// First delay of a retry (full jitter up to it, doubled each time).
    pub backoff_base: Duration,
    /// The longest delay of a retry.
    pub backoff_cap: Duration,
    /// How long finished tasks are kept.
    pub finished_retention: Duration,
    /// The most bytes of finished tasks that are kept; the oldest are deleted first.
    pub finished_max_bytes: u64,
    /// How long an idempotency key is kept.
    pub idempotency_retention: Duration,
    /// How long the secrets of a result, and those of a failed task, are kept.
    pub secrets_retention: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            name: "wpclone".into(),
            lease_duration: Duration::from_secs(30),
            max_attempts: 3,
            max_crashes: 3,
            backoff_base: Duration::from_secs(2),
            backoff_cap: Duration::from_secs(60),
            finished_retention: Duration::from_secs(7 * DAY),
            finished_max_bytes: 256 << 20,
            idempotency_retention: Duration::from_secs(DAY),
            secrets_retention: Duration::from_secs(DAY),
        }
    }
}

/// Limits of one owner. They are checked by the function that accepts a task; a repeat with the same idempotency key
/// does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnerLimits {
    /// Tasks accepted in a minute, replays included. All of them may come at once.
    pub per_minute: Option<u32>,
    /// Unfinished tasks at the same time.
    pub concurrent: Option<u32>,
}

/// How a failed step is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// First delay (full jitter up to it, doubled each time).
    pub backoff_base: Duration,
    /// The longest delay.
    pub backoff_cap: Duration,
    /// The shortest delay.
    pub not_before: Duration,
}
