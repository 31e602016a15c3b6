//! How busy the processors of the machine are.

use std::fs;

/// What the kernel has counted for all processors together: proc_stat(5).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessorTimes {
    /// Ticks in which they did something.
    busy: u64,
    /// All ticks.
    all: u64,
}

impl ProcessorTimes {
    /// The times until now; nothing where the kernel does not say.
    pub(crate) fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let times = text.lines().next()?.strip_prefix("cpu ")?;
        // user, nice, system, idle, iowait, irq, softirq, steal; time of guests is a part of the first two.
        let times: Vec<u64> =
            times.split_whitespace().take(8).filter_map(|ticks| ticks.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal] = times[..] else { return None };
        let busy = user + nice + system + irq + softirq + steal;
        Some(Self { busy, all: busy + idle + iowait })
    }

    /// The part of the time since `earlier` in which they were busy, in percent; other programs count as well.
    pub(crate) fn percent_since(self, earlier: Self) -> u64 {
        let (busy, all) = (self.busy.saturating_sub(earlier.busy), self.all.saturating_sub(earlier.all));
        busy * 100 / all.max(1)
    }
}
