//! A pool of workers and producers, which are processes of their own, and the book that tells what they did.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::panic::Location;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use wpclone_queue::{Queue, TaskFilter};
use wpclone_task::{Stage, TaskId};
use wpclone_test_redis::Process;

use crate::pool_process::{JOB, Job, Role, waiting};
use crate::properties::accepted;

/// How long a story waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What somebody has done, or is about to do. The order of the book is that of its writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The queue has acknowledged a task.
    Accepted(TaskId),
    /// Is about to claim.
    Asks(String),
    /// Has a step.
    Claimed(HeldStep),
    /// Is about to write under its lease.
    Writes(HeldStep),
    /// The write just announced was taken.
    Wrote(HeldStep),
    /// The step is completed, and the queue has acknowledged that.
    Done(HeldStep),
    /// A write was refused.
    Refused(HeldStep),
    /// Stopped by itself, since the lease could not be renewed.
    GaveUp(HeldStep),
}

/// A claimed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldStep {
    pub(crate) who: String,
    pub(crate) task: TaskId,
    pub(crate) step: u32,
    pub(crate) token: u64,
    pub(crate) stage: Stage,
    pub(crate) sites: Vec<String>,
}

/// A pool on one queue, with its book.
pub(crate) struct WorkerPool {
    lease: Duration,
    hired: u32,
    workers: Vec<(String, Process)>,
    producers: Vec<Process>,
    /// What of the book was read, how far that is, and who held what then.
    pub(crate) entries: Vec<Entry>,
    read: u64,
    held: Vec<HeldStep>,
    folder: TempDir,
}

impl WorkerPool {
    /// Nobody, until somebody is hired.
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            lease,
            hired: 0,
            workers: Vec::new(),
            producers: Vec::new(),
            entries: Vec::new(),
            read: 0,
            held: Vec::new(),
            folder: TempDir::new().unwrap(),
        }
    }

    /// One that does so many steps at once, and stops as a real one does when it cannot renew a lease.
    pub(crate) fn worker(&mut self, url: &str, slots: u32) {
        self.hire_worker(url, slots, false);
    }

    /// One that trusts its lease blindly.
    pub(crate) fn stubborn_worker(&mut self, url: &str) {
        self.hire_worker(url, 1, true);
    }

    fn hire_worker(&mut self, url: &str, slots: u32, stubborn: bool) {
        let (name, process) = self.hire(url, Role::Worker { slots, stubborn });
        self.workers.push((name, process));
    }

    /// One that hands in tasks until the pool is to finish.
    pub(crate) fn producer(&mut self, url: &str) {
        let (_, process) = self.hire(url, Role::Producer);
        self.producers.push(process);
    }

    fn hire(&mut self, url: &str, role: Role) -> (String, Process) {
        self.hired += 1;
        let name = format!("m{}", self.hired);
        let (book, enough) = (self.book(), self.enough());
        let job = Job { name: name.clone(), url: url.into(), book, enough, lease: self.lease, role };
        let process = Process::start(std::env::current_exe().unwrap(), |command| {
            command.args([
                "pool_process::a_process_of_the_pool",
                "--exact",
                "--ignored",
                "--nocapture",
                "-q",
            ]);
            command.env(JOB, serde_json::to_string(&job).unwrap()).stdout(std::process::Stdio::null());
        });
        (name, process)
    }

    /// A worker's process.
    pub(crate) fn process(&self, name: &str) -> &Process {
        &self.workers.iter().find(|(n, _)| n == name).unwrap().1
    }

    /// Kills a worker with SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        let n = self.workers.iter().position(|(n, _)| n == name).unwrap();
        let (_, mut process) = self.workers.swap_remove(n);
        assert!(process.0.try_wait().unwrap().is_none(), "{name} has ended by itself");
    }

    fn book(&self) -> PathBuf {
        self.folder.path().join("book")
    }

    /// There when producers are to stop.
    fn enough(&self) -> PathBuf {
        self.folder.path().join("enough")
    }

    /// Reads on in the book.
    pub(crate) fn read(&mut self) {
        let mut book =
            File::options().read(true).write(true).create(true).truncate(false).open(self.book()).unwrap();
        book.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        book.read_to_string(&mut text).unwrap();
        // The last line may be one that is being written.
        let text = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        self.read += text.len() as u64;
        for line in text.lines() {
            // Who is killed while it writes may leave half a line: what it was about to do, or to tell.
            let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue };
            match &entry {
                Entry::Claimed(h) => self.held.push(h.clone()),
                Entry::Done(h) | Entry::Refused(h) | Entry::GaveUp(h) => self.held.retain(|o| o != h),
                _ => {}
            }
            self.entries.push(entry);
        }
    }

    /// What living workers hold, as far as the book tells by now.
    pub(crate) fn at_work(&mut self) -> Vec<HeldStep> {
        self.read();
        let lives = |h: &&HeldStep| self.workers.iter().any(|(name, _)| name == h.worker());
        self.held.iter().filter(lives).cloned().collect()
    }

    /// Whether this slot still has this step.
    pub(crate) fn still_has(&mut self, held: &HeldStep) -> bool {
        self.read();
        self.held.contains(held)
    }

    /// Waits until so many more tasks have been acknowledged.
    pub(crate) async fn until_more_accepted(&mut self, tasks: usize) {
        self.read();
        let wanted = accepted(&self.entries).len() + tasks;
        until(async || {
            self.read();
            accepted(&self.entries).len() >= wanted
        })
        .await;
    }

    /// Lets the producers end, waits until every task has ended, and dismisses the workers.
    pub(crate) async fn finish(&mut self, queue: &Queue) {
        File::create(self.enough()).unwrap();
        for producer in &mut self.producers {
            until(async || producer.0.try_wait().unwrap().is_some()).await;
            assert!(producer.0.wait().unwrap().success(), "a producer has failed");
        }
        let ended = async {
            while waiting(queue).await != Some(0) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(PATIENCE, ended).await.is_err() {
            let left = queue.list(&TaskFilter::default(), None, 5).await;
            panic!("tasks do not end: {:#?} {left:#?} {:#?}", queue.stats().await, self.at_work());
        }
        for (name, mut worker) in self.workers.drain(..) {
            assert!(worker.0.try_wait().unwrap().is_none(), "{name} has ended by itself");
        }
        self.read();
    }
}

impl HeldStep {
    /// The worker whose slot has it.
    pub(crate) fn worker(&self) -> &str {
        self.who.split('.').next().unwrap()
    }
}

/// Looks until it holds.
#[track_caller]
pub(crate) fn until(mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let here = Location::caller();
    async move {
        let looking = async {
            while !holds().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(PATIENCE, looking).await.is_ok(), "waited in vain at {here}");
    }
}
