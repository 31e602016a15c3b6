//! Stops clones that hold very many locks of files. The kernel keeps some 200 bytes for each, has no limit for them
//! (`RLIMIT_LOCKS` has no effect: getrlimit(2)), and counts them in no control group.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use wpclone_provision::{CloneProblem, CloneProblemKind};
use wpclone_supervisor::ProcessTable;

use crate::blocking::run_blocking;
use crate::engine::LocalEngine;
use crate::local_clone::LocalClone;

/// How often the locks are counted.
const INTERVAL: Duration = Duration::from_secs(1);
/// The most locks of a clone: a database server has one for each file of a table, PHP and WordPress some ten.
const MAX_LOCKS: usize = 10_000;
/// The most locks of the machine that are read: that takes the kernel time which grows with the square of their number.
const MAX_COUNTED: usize = 10 * MAX_LOCKS;
/// What is said of a clone that has more.
const DETAIL: &str = "It held more than 10,000 locks of files.";

/// Watches the locks; never returns.
pub(crate) async fn run(engine: &Arc<LocalEngine>) {
    let mut was_readable = true;
    loop {
        let counting = Arc::clone(engine);
        let found = run_blocking(move || holders(&counting)).await;
        if let Err(error) = &found
            && was_readable
        {
            tracing::warn!(%error, "the locks of files cannot be counted");
        }
        was_readable = found.is_ok();
        for (clone, locks) in found.unwrap_or_default() {
            tracing::error!(clone = %clone.name(), locks, "a clone is stopped: it holds too many locks of files");
            engine.stop_clone(&clone, CloneProblem::new(CloneProblemKind::LockLimitExceeded, DETAIL)).await;
        }
        sleep(INTERVAL).await;
    }
}

/// The clones that hold too many locks, with their number.
fn holders(engine: &LocalEngine) -> io::Result<Vec<(Arc<LocalClone>, usize)>> {
    let locks = count(BufReader::new(File::open("/proc/locks")?))?;
    let all = locks.values().sum::<usize>();
    if all <= MAX_LOCKS {
        return Ok(Vec::new());
    }
    let processes = ProcessTable::read();
    let of_program = |supervisor: u32| -> usize {
        if all >= MAX_COUNTED {
            // Not all were read. Those of flock(2) may be shown for a process that has ended, and hide the others.
            return processes.locks_of_open_files(supervisor, MAX_LOCKS);
        }
        processes.descendants(supervisor).iter().filter_map(|pid| locks.get(pid)).sum()
    };
    let of_clone = |clone: &Arc<LocalClone>| clone.supervisors().into_iter().map(of_program).sum::<usize>();
    let counted = engine.clones.running_own_code().into_iter().map(|clone| (of_clone(&clone), clone));
    Ok(counted.filter(|(locks, _)| *locks > MAX_LOCKS).map(|(locks, clone)| (clone, locks)).collect())
}

/// The number of locks of each process: proc_locks(5).
fn count(list: impl io::BufRead) -> io::Result<HashMap<i32, usize>> {
    let mut locks = HashMap::new();
    for line in list.lines().take(MAX_COUNTED) {
        let line = line?;
        // "1: POSIX ADVISORY WRITE 1234 08:01:5678 0 EOF"; "1: -> POSIX …" waits for the one before it.
        let mut fields = line.split_whitespace().skip(1).filter(|field| *field != "->");
        if let Some(pid) = fields.nth(3).and_then(|pid| pid.parse().ok()) {
            *locks.entry(pid).or_default() += 1;
        }
    }
    Ok(locks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_counted_for_their_processes() {
        let list = "1: POSIX  ADVISORY  WRITE 12 00:20:41 0 0\n\
                    2: FLOCK  ADVISORY  WRITE 7 08:01:5 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 12 08:01:5 0 EOF\n\
                    3: OFDLCK ADVISORY  READ -1 00:05:6 0 EOF\n\
                    4: LEASE  ACTIVE    READ \n";
        let locks = count(list.as_bytes()).unwrap();
        assert_eq!(locks, HashMap::from([(12, 2), (7, 1), (-1, 1)]));
        let many = "1: POSIX  ADVISORY  WRITE 12 00:20:41 0 0\n".repeat(MAX_COUNTED + 1);
        assert_eq!(count(many.as_bytes()).unwrap()[&12], MAX_COUNTED);
    }
}
