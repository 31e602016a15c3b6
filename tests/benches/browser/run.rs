//! One run: times and results.

use std::time::{Duration, Instant};

/// A named duration.
pub(crate) type Lap = (&'static str, Duration);

/// A finished run.
pub(crate) struct Run {
    /// Its consecutive parts; their sum is the total.
    pub(crate) laps: Vec<Lap>,
    /// Times measured by others, such as the task itself.
    pub(crate) beside: Vec<Lap>,
    /// The migrator's key.
    pub(crate) key: String,
    /// The administrator's new application password.
    pub(crate) password: String,
}

impl Run {
    /// The total.
    pub(crate) fn whole(&self) -> Duration {
        self.laps.iter().map(|(_, time)| *time).sum()
    }
}

/// Measures consecutive parts.
pub(crate) struct Watch {
    last: Instant,
    laps: Vec<Lap>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { last: Instant::now(), laps: Vec::new() }
    }

    /// Ends a part and begins the next.
    pub(crate) fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.laps.push((name, now - self.last));
        self.last = now;
    }

    pub(crate) fn stop(self) -> Vec<Lap> {
        self.laps
    }
}
