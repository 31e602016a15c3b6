//! Which clone fills the disk, by two measurements.

use tokio::time::Instant;
use wpclone_beneath::Usage;
use wpclone_provision::CloneName;

use crate::disk_pressure::Scarce;
use crate::disk_usage::{CloneUse, Clones};

/// A clone that grew less does not fill the disk.
const MIN_GROWTH: Usage = Usage { bytes: 16 << 20, files: 2_000 };

/// What is put into a new clone, with little to spare: WordPress and its database, and a database server of its own.
const NEW_CLONE: Usage = Usage { bytes: 128 << 20, files: 5_000 };
const OWN_SERVER: Usage = Usage { bytes: 256 << 20, files: 1_000 };

/// What clones took at one time, and what was free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measurement {
    pub(crate) at: Option<Instant>,
    pub(crate) clones: Clones,
    /// What was left before something is scarce.
    pub(crate) left: Usage,
    /// What was free.
    pub(crate) free: Usage,
}

impl Measurement {
    /// This measurement, for growth to be counted from. A fall of the free space since `before` that no growth of clones
    /// explains is not forgotten: it counts as a fall after this measurement.
    pub(crate) fn as_baseline(&self, before: &Self) -> Self {
        let growth = Growth { before, now: self };
        let unexplained = |scarce| growth.fall(scarce).saturating_sub(growth.of_all(scarce));
        let free = Usage {
            bytes: self.free.bytes.saturating_add(unexplained(Scarce::Bytes)),
            files: self.free.files.saturating_add(unexplained(Scarce::Files)),
        };
        Self { free, ..self.clone() }
    }

    /// Counts clones that were created since this measurement as if they had been there: what is put into a new clone is not
    /// its growth.
    pub(crate) fn add_new_clones(&mut self, now: &Self, is_dedicated: impl Fn(&CloneName) -> bool) {
        for (name, found) in &now.clones {
            if self.clones.contains_key(name) {
                continue;
            }
            let mut new = NEW_CLONE;
            if is_dedicated(name) {
                new += OWN_SERVER;
            }
            self.clones.insert(name.clone(), CloneUse { usage: Some(new), ..CloneUse::default() });
            let taken = found.usage.unwrap_or_default();
            self.free.bytes = self.free.bytes.saturating_sub(taken.bytes.min(new.bytes));
            self.free.files = self.free.files.saturating_sub(taken.files.min(new.files));
        }
    }
}

/// What happened between two measurements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth<'a> {
    pub(crate) before: &'a Measurement,
    pub(crate) now: &'a Measurement,
}

impl Growth<'_> {
    /// By how much the free space fell.
    pub(crate) fn fall(self, scarce: Scarce) -> u64 {
        scarce.of(self.before.free).saturating_sub(scarce.of(self.now.free))
    }

    /// By how much all clones together grew, as far as they could be measured.
    pub(crate) fn of_all(self, scarce: Scarce) -> u64 {
        let grown = self.now.clones.keys().filter_map(|name| self.of(name, scarce));
        grown.fold(0, u64::saturating_add)
    }

    fn of(self, name: &CloneName, scarce: Scarce) -> Option<u64> {
        let now = self.now.clones.get(name)?.usage?;
        let before = self.before.clones.get(name).map_or(Some(Usage::default()), |before| before.usage)?;
        Some(scarce.of(now).saturating_sub(scarce.of(before)))
    }

    fn written_by(self, name: &CloneName) -> Option<u64> {
        let before = self.before.clones.get(name).map_or(0, |before| before.written);
        Some(self.now.clones.get(name)?.written.saturating_sub(before))
    }

    /// The clone among these that fills the disk. `None` when the growth of all clones is less than half of what the free
    /// space fell: something else fills the disk, or something that cannot be seen, and the clone that grew most may have
    /// done nothing but grow as it should.
    pub(crate) fn filler(self, among: &[CloneName], scarce: Scarce) -> Option<&CloneName> {
        let half = self.fall(scarce) / 2;
        if self.of_all(scarce) < half {
            return self.hidden_filler(among, scarce, half);
        }
        // Half of what each would have grown if all had filled the disk alike.
        let share = half / self.now.clones.len().max(1) as u64;
        most(among, share.max(scarce.of(MIN_GROWTH)), |name| self.of(name, scarce))
    }

    /// The clone among these whose growth alone explains at least half of what the free space fell.
    pub(crate) fn main_filler(self, among: &[CloneName], scarce: Scarce) -> Option<&CloneName> {
        let half = self.fall(scarce) / 2;
        most(among, half.max(scarce.of(MIN_GROWTH)), |name| self.of(name, scarce))
    }

    /// The clone that hides what it takes: the only one that cannot be measured, or of those of which not everything is seen the
    /// one whose programs have written what is missing. The kernel does not tell all that programs write, and nothing about
    /// the inodes that they take.
    fn hidden_filler(self, among: &[CloneName], scarce: Scarce, half: u64) -> Option<&CloneName> {
        if self.fall(scarce) < scarce.of(MIN_GROWTH) {
            return None;
        }
        let is_unmeasured = |found: &CloneUse| found.usage.is_none() || found.hides_files;
        let mut unmeasured = self.now.clones.iter().filter(|(_, found)| is_unmeasured(found));
        if let (Some((only, _)), None) = (unmeasured.next(), unmeasured.next())
            && let Some(only) = among.iter().find(|name| *name == only)
        {
            return Some(only);
        }
        if scarce == Scarce::Files {
            return None;
        }
        most(among, half.max(MIN_GROWTH.bytes), |name| {
            let found = self.now.clones.get(name)?;
            self.written_by(name).filter(|_| is_unmeasured(found) || found.is_incomplete)
        })
    }
}

/// The clone with the largest amount, if that is large enough.
fn most(among: &[CloneName], min: u64, amount: impl Fn(&CloneName) -> Option<u64>) -> Option<&CloneName> {
    let amounts = among.iter().filter_map(|name| Some((amount(name)?, name)));
    amounts.filter(|(amount, _)| *amount >= min).max_by_key(|(amount, _)| *amount).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn name(number: usize) -> CloneName {
        format!("clone-20261123-1631{number:02}-abcdef").parse().unwrap()
    }

    /// What a clone took before and takes now, in MiB and in thousands of files, and what its programs wrote, in MiB.
    struct Clone {
        before: u64,
        now: Option<u64>,
        written: u64,
        hides_files: bool,
        is_incomplete: bool,
    }

    fn grown(by: u64) -> Clone {
        Clone { before: 100, now: Some(100 + by), written: by, hides_files: false, is_incomplete: false }
    }

    fn usage(amount: u64) -> Usage {
        Usage { bytes: amount * MIB, files: amount * 1000 }
    }

    fn measurements(clones: &[Clone], fall: u64) -> (Measurement, Measurement) {
        let measurement = |free: u64, found: &dyn Fn(&Clone) -> CloneUse| Measurement {
            clones: clones.iter().enumerate().map(|(number, clone)| (name(number), found(clone))).collect(),
            free: usage(free),
            ..Measurement::default()
        };
        let before = |clone: &Clone| CloneUse { usage: Some(usage(clone.before)), ..CloneUse::default() };
        let now = |clone: &Clone| CloneUse {
            usage: clone.now.map(usage),
            hides_files: clone.hides_files,
            is_incomplete: clone.is_incomplete,
            written: clone.written * MIB,
        };
        (measurement(100_000, &before), measurement(100_000 - fall, &now))
    }

    fn filler(clones: &[Clone], fall: u64, scarce: Scarce) -> Option<usize> {
        let (before, now) = measurements(clones, fall);
        let names: Vec<_> = (0..clones.len()).map(name).collect();
        let found = Growth { before: &before, now: &now }.filler(&names, scarce);
        found.and_then(|found| names.iter().position(|name| name == found))
    }

    #[test]
    fn the_clone_that_grew_most_fills_the_disk_when_the_clones_growth_explains_the_fall() {
        for scarce in [Scarce::Bytes, Scarce::Files] {
            assert_eq!(filler(&[grown(200), grown(5_000), grown(0)], 5_300, scarce), Some(1));
            // Several fill it alike.
            assert_eq!(filler(&[grown(900), grown(1_000), grown(800), grown(900)], 3_700, scarce), Some(1));
            // Growth that is found later than the fall, or earlier.
            assert_eq!(filler(&[grown(3_000), grown(0)], 5_000, scarce), Some(0));
            assert_eq!(filler(&[grown(3_000), grown(0)], 1_000, scarce), Some(0));
            assert_eq!(filler(&[grown(1), grown(0)], 1, scarce), None, "too little to fill anything");
        }
    }

    #[test]
    fn a_clone_whose_known_growth_is_half_of_the_fall_is_the_main_filler() {
        for scarce in [Scarce::Bytes, Scarce::Files] {
            let main_filler = |clones: &[Clone], fall| {
                let (before, now) = measurements(clones, fall);
                let names: Vec<_> = (0..clones.len()).map(name).collect();
                Growth { before: &before, now: &now }.main_filler(&names, scarce).cloned()
            };
            assert_eq!(main_filler(&[grown(200), grown(3_000)], 5_000), Some(name(1)));
            // Others may have grown since.
            assert_eq!(main_filler(&[grown(200), grown(2_400)], 5_000), None);
            assert_eq!(main_filler(&[grown(2_000), grown(2_000)], 5_000), None);
            assert_eq!(main_filler(&[grown(1), grown(0)], 1), None, "too little to fill anything");
        }
    }

    #[test]
    fn a_clone_that_grew_far_less_than_the_free_space_fell_does_not_fill_the_disk() {
        for scarce in [Scarce::Bytes, Scarce::Files] {
            let mut clones: Vec<_> = (0..16).map(|_| grown(10)).collect();
            clones.push(grown(400));
            assert_eq!(filler(&clones, 5_000, scarce), None);
            assert_eq!(filler(&[grown(2_000), grown(0)], 5_000, scarce), None);
            // It writes a lot and keeps none of it.
            let busy = Clone { written: 9_000, ..grown(10) };
            assert_eq!(filler(&[busy, grown(0)], 5_000, scarce), None);
            // Not everything of it can be seen, but it did not write what is missing.
            let large = Clone { is_incomplete: true, written: 100, ..grown(10) };
            assert_eq!(filler(&[large, grown(0)], 5_000, scarce), None);
        }
    }

    #[test]
    fn a_clone_that_hides_what_it_takes_is_found_when_it_is_the_only_one_and_by_what_it_writes() {
        let hides = || Clone { is_incomplete: true, written: 4_000, ..grown(0) };
        let moves = || Clone { now: None, written: 4_500, ..grown(0) };
        for scarce in [Scarce::Bytes, Scarce::Files] {
            // What those wrote is not known whom nobody waits for.
            let maps = || Clone { hides_files: true, ..grown(0) };
            let moves = || Clone { now: None, ..grown(0) };
            assert_eq!(filler(&[grown(100), maps()], 5_000, scarce), Some(1));
            assert_eq!(filler(&[moves(), grown(100)], 5_000, scarce), Some(0));
            assert_eq!(filler(&[moves(), maps()], 5_000, scarce), None, "it may be either");
            assert_eq!(filler(&[moves(), grown(0)], 1, scarce), None, "too little to fill anything");
        }
        assert_eq!(filler(&[grown(100), hides()], 5_000, Scarce::Bytes), Some(1));
        assert_eq!(filler(&[grown(100), hides(), moves()], 9_000, Scarce::Bytes), Some(2));
        assert_eq!(filler(&[grown(100), moves()], 5_000, Scarce::Files), Some(1));
        assert_eq!(filler(&[moves(), moves()], 5_000, Scarce::Files), None, "it may be either");
    }

    #[test]
    fn a_fall_that_nothing_explains_is_not_forgotten() {
        let clones = [grown(1_000), grown(10)];
        let (before, now) = measurements(&clones, 4_000);
        let baseline = now.as_baseline(&before);
        // 200 MiB of growth since then, and 200 MiB of fall.
        let later = Measurement {
            free: usage(100_000 - 4_200),
            clones: now
                .clones
                .iter()
                .map(|(name, found)| {
                    let more = found.usage.map(|usage| Usage { bytes: usage.bytes + 200 * MIB, ..usage });
                    (name.clone(), CloneUse { usage: more, ..*found })
                })
                .take(1)
                .collect(),
            ..Measurement::default()
        };
        let growth = Growth { before: &baseline, now: &later };
        assert_eq!(growth.fall(Scarce::Bytes), (4_000 - 1_010 + 200) * MIB);
        assert_eq!(growth.filler(&[name(0)], Scarce::Bytes), None);
        // What was explained is forgotten.
        let (before, now) = measurements(&clones, 1_010);
        assert_eq!(Growth { before: &now.as_baseline(&before), now: &now }.fall(Scarce::Bytes), 0);
    }

    #[test]
    fn what_is_put_into_new_clones_is_neither_their_growth_nor_a_fall() {
        let new = || Clone { before: 0, now: Some(112), ..grown(0) };
        let (_, now) = measurements(&[grown(0), new(), new()], 2 * 112 + 200);
        // Something that belongs to no clone takes 200 MiB.
        let (mut before, _) = measurements(&[grown(0)], 0);
        let names = [name(0), name(1), name(2)];
        let filler = |before: &Measurement, now: &Measurement| {
            Growth { before, now }.filler(&names, Scarce::Bytes).cloned()
        };
        assert!(filler(&before, &now).is_some(), "the reason for this rule");
        before.add_new_clones(&now, |_| false);
        assert_eq!(filler(&before, &now), None);
        // One of them fills the disk.
        let filling = Clone { before: 0, now: Some(3_000), ..grown(0) };
        let (_, now) = measurements(&[grown(0), new(), filling], 112 + 3_000);
        assert_eq!(filler(&before, &now), Some(name(2)));
    }
}
