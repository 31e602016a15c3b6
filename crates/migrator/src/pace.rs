//! How much to ask for at a time, and how often to try.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ClientError;

/// How often a request is tried in all.
const TRIES: u32 = 6;

/// The first wait between two tries; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What one request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// How long the answer should be, in bytes.
    pub bytes: u32,
    /// How long the site may work on it, in milliseconds.
    pub ms: u32,
}

/// Finds out how much a site can give or take at a time: more while it is quick, less when it is slow or cuts off.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pace {
    bytes: u32,
    most: u32,
    ms: u32,
}

impl Pace {
    /// The least that is asked for.
    pub const LEAST: u32 = 16 * 1024;
    /// The most, where nothing else is said.
    pub const MOST: u32 = 4 * 1024 * 1024;
    const FIRST: u32 = 256 * 1024;
    /// An answer that takes half of this is quick, one that takes twice as long is slow.
    const AIM: Duration = Duration::from_millis(1000);

    /// A pace for a site that allows so much time (`limits.budget_ms` of its manifest).
    #[must_use]
    pub fn new(budget_ms: u32) -> Self {
        Self { bytes: Self::FIRST, most: Self::MOST, ms: budget_ms.clamp(50, 3000) }
    }

    /// The same, but never more bytes than these.
    #[must_use]
    pub fn at_most(mut self, bytes: u32) -> Self {
        self.most = bytes.clamp(Self::LEAST, self.most);
        self.bytes = self.bytes.min(self.most);
        self
    }

    /// What to ask for now.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget { bytes: self.bytes, ms: self.ms }
    }

    /// An answer came, or was taken: so many bytes in this time.
    pub fn done(&mut self, bytes: usize, took: Duration) {
        if took > Self::AIM * 2 {
            self.less(2);
        } else if took < Self::AIM / 2 && bytes >= self.bytes as usize / 4 * 3 {
            self.bytes = self.bytes.saturating_mul(2).min(self.most);
        }
    }

    /// It was too much: less from now on. `never` says that so much will never be possible.
    pub fn failed(&mut self, never: bool) {
        if never {
            self.most = (self.bytes / 2).max(Self::LEAST);
        }
        self.less(4);
    }

    fn less(&mut self, by: u32) {
        self.bytes = (self.bytes / by).clamp(Self::LEAST, self.most);
    }
}

/// Tries until it works, the reason is not a passing one, or it was enough.
pub(crate) async fn patiently<T, F>(
    pace: &mut Pace,
    mut attempt: impl FnMut(Budget) -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<(T, usize), ClientError>>,
{
    let mut wait = FIRST_WAIT;
    for left in (0..TRIES).rev() {
        let begun = tokio::time::Instant::now();
        match attempt(pace.budget()).await {
            Ok((answer, bytes)) => {
                pace.done(bytes, begun.elapsed());
                return Ok(answer);
            }
            Err(error) if left > 0 && error.is_passing() => {
                tracing::debug!(%error, left, "trying again");
                let too_long = matches!(
                    error,
                    ClientError::NotOurs { status: 413 } | ClientError::Unproven { status: 413, .. }
                );
                if error.code() != Some("busy") {
                    pace.failed(too_long);
                }
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            Err(error) => return Err(error),
        }
    }
    Err(ClientError::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_asked_for_while_a_site_is_quick_and_less_when_it_is_slow_or_breaks_off() {
        let (quick, usual, slow) =
            (Duration::from_millis(100), Duration::from_millis(900), Duration::from_millis(2100));
        let mut pace = Pace::new(2000);
        let asked = |pace: &Pace| pace.budget().bytes;
        let first = asked(&pace);
        pace.done(first as usize, quick);
        assert_eq!(asked(&pace), 2 * first);
        // What was not full says nothing, and neither does a usual time.
        pace.done(10, quick);
        pace.done(2 * first as usize, usual);
        assert_eq!(asked(&pace), 2 * first);
        pace.done(2 * first as usize, slow);
        assert_eq!(asked(&pace), first);
        for _ in 0..20 {
            let full = asked(&pace) as usize;
            pace.done(full, quick);
        }
        assert_eq!(asked(&pace), Pace::MOST);
        pace.failed(false);
        assert_eq!(asked(&pace), Pace::MOST / 4);
        // What is too much for good is not tried again.
        pace.failed(true);
        for _ in 0..20 {
            let full = asked(&pace) as usize;
            pace.done(full, quick);
        }
        assert_eq!(asked(&pace), Pace::MOST / 8);
        for _ in 0..20 {
            pace.failed(false);
        }
        assert_eq!(asked(&pace), Pace::LEAST);
    }
}
