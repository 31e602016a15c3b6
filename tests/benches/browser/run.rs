//! What one run took, and what it brought.

use std::time::{Duration, Instant};

/// A named piece of time.
pub(crate) type Lap = (&'static str, Duration);

/// A finished run.
pub(crate) struct Run {
    /// Its parts, one after the other; together they are the whole.
    pub(crate) laps: Vec<Lap>,
    /// Times of another clock.
    pub(crate) beside: Vec<Lap>,
    /// The migrator's key.
    pub(crate) key: String,
    /// The administrator's new application password.
    pub(crate) password: String,
}

impl Run {
    /// From beginning to end.
    pub(crate) fn whole(&self) -> Duration {
        self.laps.iter().map(|(_, time)| *time).sum()
    }
}

/// Takes the time of parts that follow each other.
pub(crate) struct Watch {
    last: Instant,
    laps: Vec<Lap>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { last: Instant::now(), laps: Vec::new() }
    }

    /// A part has ended, and the next begins.
    pub(crate) fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.laps.push((name, now - self.last));
        self.last = now;
    }

    pub(crate) fn stop(self) -> Vec<Lap> {
        self.laps
    }
}
