//! Random choices that can be repeated.

/// Reproducible random numbers (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    /// Seeded by `WPCLONE_SEED`, or by the clock; the seed is printed.
    pub(crate) fn new() -> Self {
        let clock = || std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_micros() as u64;
        let seed = std::env::var("WPCLONE_SEED")
            .map_or_else(|_| clock(), |seed| seed.parse().expect("WPCLONE_SEED is a number"));
        eprintln!("WPCLONE_SEED={seed}");
        Self(seed)
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Takes one of the entries out.
    pub(crate) fn take<T>(&mut self, entries: &mut Vec<T>) -> T {
        let at = self.below(entries.len() as u64) as usize;
        entries.swap_remove(at)
    }
}
