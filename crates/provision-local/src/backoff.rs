//! Pauses between attempts at something that fails again and again.

use std::time::{Duration, Instant};

/// The pause after the first failure. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often a failure that goes on is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(3600);

/// How often something has failed in a row, and when it is tried again.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    retry_at: Option<Instant>,
    logged_at: Option<Instant>,
    /// A longest pause other than five minutes.
    longest: Option<Duration>,
}

impl Backoff {
    /// With this longest pause.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { longest: Some(longest), ..Self::default() }
    }

    /// When it may be tried again, if it has failed.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether it may be tried.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// Notes a failure. Returns whether it is to be logged: the first one, and then one an hour.
    pub(crate) fn fail(&mut self, now: Instant) -> bool {
        let pause =
            FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(self.longest.unwrap_or(LONGEST_PAUSE));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + pause);
        let is_logged = self.logged_at.is_none_or(|at| now >= at + LOG_INTERVAL);
        if is_logged {
            self.logged_at = Some(now);
        }
        is_logged
    }

    /// Forgets all failures. Returns whether there were any.
    pub(crate) fn reset(&mut self) -> bool {
        let longest = self.longest;
        std::mem::replace(self, Self { longest, ..Self::default() }).failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes_and_failures_are_logged_once_an_hour() {
        let begun = Instant::now();
        let (mut backoff, mut attempts, mut logged) = (Backoff::default(), Vec::new(), 0);
        for second in 0..2 * 3600 + 400 {
            let now = begun + Duration::from_secs(second);
            if backoff.is_due(now) {
                attempts.push(second);
                logged += u32::from(backoff.fail(now));
                assert!(!backoff.is_due(now));
            }
        }
        let pauses: Vec<u64> = attempts.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(logged, 3);
        assert!(backoff.reset() && backoff.is_due(begun) && !backoff.reset());
    }
}
