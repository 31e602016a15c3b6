//! How slow a client is.

use std::time::Duration;

/// The least speed of a client that sends or reads, in bytes a second.
pub const MIN_BYTES_PER_SECOND: u32 = 32 << 10;

/// How far somebody is behind a least speed: the time that was spent waiting for them, less the time that their bytes may
/// take. Being ahead is not remembered, so a silence counts the same whatever was sent before it.
#[derive(Debug, Clone, Copy)]
pub struct Lag {
    bytes_per_second: u32,
    behind: Duration,
}

impl Lag {
    /// Nobody has been waited for yet. `bytes_per_second` is the least speed.
    #[must_use]
    pub const fn new(bytes_per_second: u32) -> Self {
        Self { bytes_per_second, behind: Duration::ZERO }
    }

    /// Adds time that was spent waiting.
    pub fn add_wait(&mut self, waited: Duration) {
        self.behind = self.behind.saturating_add(waited);
    }

    /// Adds bytes that came, or were taken.
    pub fn add_bytes(&mut self, bytes: usize) {
        let micros = (bytes as u64).saturating_mul(1_000_000) / u64::from(self.bytes_per_second.max(1));
        self.behind = self.behind.saturating_sub(Duration::from_micros(micros));
    }

    /// How far they are behind.
    #[must_use]
    pub const fn behind(&self) -> Duration {
        self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silence_counts_the_same_whatever_was_sent_before_it() {
        let mut lag = Lag::new(MIN_BYTES_PER_SECOND);
        lag.add_wait(SECOND);
        lag.add_bytes(128 << 20);
        assert_eq!(lag.behind(), Duration::ZERO);
        lag.add_wait(30 * SECOND);
        assert_eq!(lag.behind(), 30 * SECOND);
    }

    #[test]
    fn whoever_keeps_the_least_speed_is_not_behind_and_who_does_not_is_later_and_later() {
        let (mut steady, mut slow) = (Lag::new(MIN_BYTES_PER_SECOND), Lag::new(MIN_BYTES_PER_SECOND));
        for _ in 0..100 {
            for (lag, bytes) in [(&mut steady, 32 << 10), (&mut slow, 1)] {
                lag.add_wait(SECOND);
                lag.add_bytes(bytes);
            }
        }
        assert_eq!(steady.behind(), Duration::ZERO);
        assert!(slow.behind() > 99 * SECOND, "{:?}", slow.behind());
    }
}
