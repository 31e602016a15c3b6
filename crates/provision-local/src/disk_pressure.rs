//! Whether the disk is about to be full.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wpclone_beneath::Usage;

use crate::disk_usage::{FreeSpace, URGENT_TIMEOUT};
use crate::options::DiskLimits;

/// The time in which a clone that fills the disk is found and stopped on a busy machine: one urgent measurement, and as long
/// again for the check before it and the stop after it.
const REACTION_TIME: Duration = URGENT_TIMEOUT.saturating_mul(2);
/// Over how long the speed is measured, and how long at least: a database server that starts takes a hundred MiB at once.
const WINDOW: Duration = Duration::from_secs(3);
const MIN_WINDOW: Duration = Duration::from_millis(300);
/// The most samples of free space that are kept.
const MAX_SAMPLES: usize = 64;
/// The part of all inodes that is the reserve, and the most that it is.
const RESERVED_PART_OF_FILES: u64 = 20;
const MAX_RESERVED_FILES: u64 = 100_000;
/// Slower than this per second, nothing fills the disk.
const SLOW: Usage = Usage { bytes: 1 << 20, files: 200 };

/// What of the disk is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scarce {
    Bytes,
    Files,
}

impl Scarce {
    /// How much of it this is.
    pub(crate) fn of(self, usage: Usage) -> u64 {
        match self {
            Self::Bytes => usage.bytes,
            Self::Files => usage.files,
        }
    }
}

/// What of the disk is less than must be free when something is created.
pub(crate) fn scarce_for_new(free: FreeSpace, limits: DiskLimits) -> Option<Scarce> {
    let too_few = |(free, all)| free < reserved_files(all).saturating_mul(2);
    if free.bytes < limits.free_for_new() {
        Some(Scarce::Bytes)
    } else {
        free.files.is_some_and(too_few).then_some(Scarce::Files)
    }
}

/// The inodes that clones leave free, of all.
fn reserved_files(all: u64) -> u64 {
    (all / RESERVED_PART_OF_FILES).min(MAX_RESERVED_FILES)
}

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pressure {
    /// What is nearly used up, but for the reserve.
    pub(crate) scarce: Option<Scarce>,
    /// Whether that gets less.
    pub(crate) is_falling: bool,
    /// Whether even the reserve is being used.
    pub(crate) is_critical: bool,
    /// What may be used before something is scarce.
    pub(crate) left: Usage,
}

impl Pressure {
    /// Whether a clone that fills the disk has to be stopped now.
    pub(crate) fn is_urgent(self) -> bool {
        self.is_falling || self.is_critical
    }
}

/// Watches the free space.
#[derive(Debug)]
pub(crate) struct DiskPressure {
    reserve_bytes: u64,
    samples: VecDeque<(Instant, FreeSpace)>,
}

impl DiskPressure {
    pub(crate) fn new(limits: DiskLimits) -> Self {
        Self { reserve_bytes: limits.reserve_bytes, samples: VecDeque::new() }
    }

    /// Forgets how fast the free space fell.
    pub(crate) fn reset(&mut self) {
        self.samples.clear();
    }

    /// Takes a sample of the free space.
    pub(crate) fn observe(&mut self, now: Instant, free: FreeSpace) -> Pressure {
        let is_old = |at: Instant| now.saturating_duration_since(at) > WINDOW;
        while self.samples.len() >= MAX_SAMPLES || self.samples.front().is_some_and(|(at, _)| is_old(*at)) {
            self.samples.pop_front();
        }
        let speed = self.speed(now, free);
        self.samples.push_back((now, free));
        let margin = |reserve: u64, speed: u64| reserve.max(speed.saturating_mul(REACTION_TIME.as_secs()));
        let bytes_line = self.reserve_bytes.saturating_add(margin(self.reserve_bytes, speed.bytes));
        let left_bytes = free.bytes.saturating_sub(bytes_line);
        let (left_files, are_files_critical) = match free.files {
            None => (u64::MAX, false),
            Some((files, all)) => {
                let reserve = reserved_files(all);
                (files.saturating_sub(reserve.saturating_add(margin(reserve, speed.files))), files < reserve)
            }
        };
        let scarce = match (left_bytes, left_files) {
            (0, _) => Some(Scarce::Bytes),
            (_, 0) => Some(Scarce::Files),
            _ => None,
        };
        Pressure {
            scarce,
            is_falling: match scarce {
                Some(Scarce::Files) => speed.files > SLOW.files,
                _ => speed.bytes > SLOW.bytes,
            },
            is_critical: free.bytes < self.reserve_bytes || are_files_critical,
            left: Usage { bytes: left_bytes, files: left_files },
        }
    }

    /// How much the free space falls in a second.
    fn speed(&self, now: Instant, free: FreeSpace) -> Usage {
        let fallen = |(at, before): &(Instant, FreeSpace)| {
            let passed = now.saturating_duration_since(*at);
            let per_second = |amount: u64| {
                let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
                amount.saturating_mul(1000) / passed
            };
            let files = |space: FreeSpace| space.files.map_or(0, |(free, _)| free);
            (passed >= MIN_WINDOW).then(|| Usage {
                bytes: per_second(before.bytes.saturating_sub(free.bytes)),
                files: per_second(files(*before).saturating_sub(files(free))),
            })
        };
        // The fastest of all windows: what begins now counts.
        self.samples.iter().filter_map(fallen).fold(Usage::default(), |most, speed| Usage {
            bytes: most.bytes.max(speed.bytes),
            files: most.files.max(speed.files),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn pressure() -> DiskPressure {
        DiskPressure::new(DiskLimits { reserve_bytes: GIB, ..DiskLimits::default() })
    }

    fn free(bytes: u64, files: u64) -> FreeSpace {
        FreeSpace { bytes, files: Some((files, 1_000_000)) }
    }

    #[test]
    fn a_disk_is_scarce_before_its_reserve_is_used() {
        let now = Instant::now();
        for (space, scarce, is_critical) in [
            (free(3 * GIB, 500_000), None, false),
            (free(2 * GIB, 500_000), Some(Scarce::Bytes), false),
            (free(GIB - 1, 500_000), Some(Scarce::Bytes), true),
            (free(3 * GIB, 100_000), Some(Scarce::Files), false),
            (free(3 * GIB, 49_999), Some(Scarce::Files), true),
            (FreeSpace { bytes: 3 * GIB, files: None }, None, false),
        ] {
            let found = pressure().observe(now, space);
            assert_eq!((found.scarce, found.is_critical), (scarce, is_critical), "{space:?}");
            assert!(!found.is_falling, "one sample falls nowhere");
            // New clones are refused only then, and when less is left.
            let limits = DiskLimits { reserve_bytes: GIB, ..DiskLimits::default() };
            let refused = scarce_for_new(space, limits);
            assert!(refused.is_none() || refused == scarce, "{space:?}: {refused:?}");
            assert_eq!(
                refused.is_some(),
                space.bytes < 2 * GIB || space.files.is_some_and(|(free, _)| free < 100_000)
            );
        }
    }

    #[test]
    fn the_faster_a_disk_is_filled_the_earlier_it_is_scarce() {
        let begun = Instant::now();
        let scarce_at = |per_second: u64| {
            let mut pressure = pressure();
            (0..1_000u32)
                .map(|n| (n, 100 * GIB - per_second * u64::from(n) / 10))
                .find_map(|(n, bytes)| {
                    let now = begun + Duration::from_millis(100) * n;
                    let found = pressure.observe(now, free(bytes, 500_000));
                    found.scarce.map(|_| (bytes, found.is_falling))
                })
                .unwrap()
        };
        let (slow, fast) = (scarce_at(GIB), scarce_at(10 * GIB));
        assert!(slow.1 && fast.1);
        assert!((6 * GIB..=7 * GIB).contains(&slow.0), "{slow:?}");
        assert!((59 * GIB..=61 * GIB).contains(&fast.0), "{fast:?}");
    }

    #[test]
    fn a_disk_that_nobody_fills_any_more_does_not_fall() {
        let (mut pressure, begun) = (pressure(), Instant::now());
        for n in 0..20 {
            pressure.observe(
                begun + Duration::from_millis(100) * n,
                free(3 * GIB - u64::from(n) * GIB / 8, 500_000),
            );
        }
        pressure.reset();
        for n in 20..30 {
            let found = pressure.observe(begun + Duration::from_millis(100) * n, free(GIB / 2, 500_000));
            assert!(found.is_critical && !found.is_falling);
        }
    }
}
