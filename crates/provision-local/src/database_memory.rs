//! The memory of a database server, and which clones it was taken for.
//!
//! A server counts only a part of it for each connection: tables of the engine MEMORY, strings that a statement works with,
//! locks and the definitions of tables belong to nobody. So the growth of the server's process is divided among the clones by
//! the pages of memory that the threads of their connections have touched for the first time.

use std::collections::BTreeMap;
use std::fs;

use crate::database_sessions::Session;

/// The most threads that are looked at.
const MAX_THREADS: usize = 10_000;

/// What a server's process takes at a moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ProcessMemory {
    /// Bytes.
    pub(crate) resident: u64,
    /// How many pages each thread has touched for the first time, by its id in the server's PID namespace.
    pub(crate) page_faults: BTreeMap<u32, u64>,
}

impl ProcessMemory {
    /// Reads it from proc(5). Of a process that has ended nothing is left.
    pub(crate) fn read(process: i32) -> Self {
        Self { resident: resident(process), page_faults: read_of_threads(process, "stat", minor_faults) }
    }
}

/// Bytes that a process takes, zero when it has ended.
pub(crate) fn resident(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// Reads a file of proc(5) of each thread of a process, by the thread's id in the innermost PID namespace.
pub(crate) fn read_of_threads(
    process: i32,
    file: &str,
    parse: impl Fn(&str) -> Option<u64>,
) -> BTreeMap<u32, u64> {
    let threads =
        fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().take(MAX_THREADS).flatten();
    let threads = threads.filter_map(|thread| {
        let read = |file| fs::read_to_string(thread.path().join(file)).ok();
        Some((inner_id(&read("status")?)?, parse(&read(file)?)?))
    });
    threads.collect()
}

/// A thread's id in the innermost PID namespace, from its `status`.
fn inner_id(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_whitespace().next_back()?.parse().ok()
}

/// The tenth field of a thread's `stat`. The second one, in parentheses, may contain anything.
fn minor_faults(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

/// Which clones a server's memory was taken for, since it was last little.
#[derive(Debug, Default)]
pub(crate) struct MemoryUse {
    last: Option<ProcessMemory>,
    /// Bytes, by clone.
    taken: BTreeMap<String, u64>,
}

impl MemoryUse {
    /// Divides what the process has grown by since the last call among the clones whose connections these are.
    pub(crate) fn observe(&mut self, now: ProcessMemory, sessions: &[Session]) {
        if let Some(before) = &self.last {
            let new_faults = |thread: u32| {
                let of =
                    |memory: &ProcessMemory| memory.page_faults.get(&thread).copied().unwrap_or_default();
                of(&now).saturating_sub(of(before))
            };
            let all = now.page_faults.keys().map(|thread| new_faults(*thread)).sum();
            let growth = now.resident.saturating_sub(before.resident);
            for session in sessions {
                let share = part_of(growth, new_faults(session.thread), all);
                *self.taken.entry(session.user.clone()).or_default() += share;
            }
            // What was given back was anybody's.
            let left = now.resident.min(before.resident);
            self.taken.values_mut().for_each(|bytes| *bytes = part_of(*bytes, left, before.resident));
            self.taken.retain(|_, bytes| *bytes > 0);
        }
        self.last = Some(now);
    }

    /// The clone that takes most, and how many bytes. `tables` are its tables of the engine MEMORY.
    pub(crate) fn most(&self, tables: &BTreeMap<String, u64>) -> Option<(String, u64)> {
        let mut all = tables.clone();
        for (clone, taken) in &self.taken {
            let bytes = all.entry(clone.clone()).or_default();
            *bytes = (*bytes).max(*taken);
        }
        all.into_iter().max_by_key(|(_, bytes)| *bytes)
    }

    /// Forgets a clone: what it took was given back.
    pub(crate) fn forget(&mut self, clone: &str) {
        self.taken.remove(clone);
    }
}

/// `amount * part / whole`.
fn part_of(amount: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(amount) * u128::from(part);
    product.checked_div(whole.into()).and_then(|share| u64::try_from(share).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn session(user: &str, thread: u32) -> Session {
        Session {
            id: thread.into(),
            user: user.into(),
            statement: None,
            memory: 0,
            thread,
            transaction: None,
        }
    }

    fn process(mib: u64, faults: &[(u32, u64)]) -> ProcessMemory {
        ProcessMemory { resident: mib * MIB, page_faults: faults.iter().copied().collect() }
    }

    #[test]
    fn what_a_server_grows_by_belongs_to_the_clones_whose_threads_touch_new_pages() {
        let sessions = [session("one", 1), session("two", 2), session("two", 3)];
        let (mut used, none) = (MemoryUse::default(), BTreeMap::new());
        used.observe(process(500, &[(1, 9_000), (2, 10), (3, 10), (9, 10)]), &sessions);
        assert_eq!(used.most(&none), None, "nobody is known to have taken what was there");
        used.observe(process(900, &[(1, 9_100), (2, 160), (3, 160), (9, 10)]), &sessions);
        assert_eq!(used.most(&none), Some(("two".into(), 300 * MIB)));
        // Pages that are used again are no growth.
        used.observe(process(900, &[(1, 99_100), (2, 160), (3, 160), (9, 10)]), &sessions);
        assert_eq!(used.most(&none), Some(("two".into(), 300 * MIB)));
        used.observe(process(450, &[(1, 99_100), (2, 160), (9, 10)]), &sessions);
        assert_eq!(used.most(&none), Some(("two".into(), 150 * MIB)));
        assert_eq!(used.most(&[("one".into(), 200 * MIB)].into()), Some(("one".into(), 200 * MIB)));
        used.forget("two");
        assert_eq!(used.most(&none), Some(("one".into(), 50 * MIB)));
    }

    #[test]
    fn a_threads_id_and_its_page_faults_are_read() {
        assert_eq!(inner_id("Name:\tx\nNSpid:\t4711\t312\t7\nThreads:\t3\n"), Some(7));
        assert_eq!(minor_faults("4711 (a b) c) S 1 2 3 4 5 6 77 0 0 0"), Some(77));
        let own = ProcessMemory::read(std::process::id().cast_signed());
        assert!(own.resident > MIB && !own.page_faults.is_empty());
    }
}
