//! A pool of workers and producers, each a process of its own, and the event log that records what they did.

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

/// The limit of every wait.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(180);

/// An event of a worker or producer. The order of the log is that of its writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// The queue has acknowledged a task.
    Accepted(TaskId),
    /// A worker's slot is about to claim.
    Asks(String),
    /// A slot has claimed a step.
    Claimed(HeldStep),
    /// A slot is about to write under its lease.
    Writes(HeldStep),
    /// The write announced before was accepted.
    Wrote(HeldStep),
    /// The step is completed, and the queue has acknowledged that.
    Done(HeldStep),
    /// A write was rejected.
    Refused(HeldStep),
    /// The slot stopped its work because it could not renew the lease.
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

/// A pool on one queue, with its event log.
pub(crate) struct WorkerPool {
    lease: Duration,
    spawned: u32,
    workers: Vec<(String, Process)>,
    producers: Vec<Process>,
    /// The events read so far.
    pub(crate) entries: Vec<Entry>,
    /// How far the log has been read, in bytes.
    read: u64,
    /// The steps that are held according to these events.
    held: Vec<HeldStep>,
    folder: TempDir,
}

impl WorkerPool {
    /// A pool without processes.
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            lease,
            spawned: 0,
            workers: Vec::new(),
            producers: Vec::new(),
            entries: Vec::new(),
            read: 0,
            held: Vec::new(),
            folder: TempDir::new().unwrap(),
        }
    }

    /// Starts a worker with this many slots. Like a real one it stops a step whose lease it cannot renew.
    pub(crate) fn spawn_worker(&mut self, url: &str, slots: u32) {
        self.spawn_worker_with(url, slots, false);
    }

    /// Starts a worker with one slot that never checks whether its lease has expired.
    pub(crate) fn spawn_worker_without_lease_checks(&mut self, url: &str) {
        self.spawn_worker_with(url, 1, true);
    }

    fn spawn_worker_with(&mut self, url: &str, slots: u32, ignores_lease: bool) {
        let (name, process) = self.spawn(url, Role::Worker { slots, ignores_lease });
        self.workers.push((name, process));
    }

    /// Starts a producer, which enqueues tasks until the pool finishes.
    pub(crate) fn spawn_producer(&mut self, url: &str) {
        let (_, process) = self.spawn(url, Role::Producer);
        self.producers.push(process);
    }

    fn spawn(&mut self, url: &str, role: Role) -> (String, Process) {
        self.spawned += 1;
        let name = format!("m{}", self.spawned);
        let (log, stop_producers) = (self.log_path(), self.stop_producers_path());
        let job = Job { name: name.clone(), url: url.into(), log, stop_producers, lease: self.lease, role };
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

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("events")
    }

    /// A file that makes the producers stop.
    fn stop_producers_path(&self) -> PathBuf {
        self.folder.path().join("stop-producers")
    }

    /// Reads the events since the last call.
    pub(crate) fn read(&mut self) {
        let mut log = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.log_path())
            .unwrap();
        log.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        // The last line may be incomplete.
        let text = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        self.read += text.len() as u64;
        for line in text.lines() {
            // A process that is killed while it writes may leave half a line.
            let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue };
            match &entry {
                Entry::Claimed(h) => self.held.push(h.clone()),
                Entry::Done(h) | Entry::Refused(h) | Entry::GaveUp(h) => self.held.retain(|o| o != h),
                _ => {}
            }
            self.entries.push(entry);
        }
    }

    /// The steps that running workers hold, by the log.
    pub(crate) fn active_steps(&mut self) -> Vec<HeldStep> {
        self.read();
        let is_running = |h: &&HeldStep| self.workers.iter().any(|(name, _)| name == h.worker());
        self.held.iter().filter(is_running).cloned().collect()
    }

    /// Whether this slot still has this step.
    pub(crate) fn still_has(&mut self, held: &HeldStep) -> bool {
        self.read();
        self.held.contains(held)
    }

    /// Waits until this many more tasks have been acknowledged.
    pub(crate) async fn wait_until_more_accepted(&mut self, tasks: usize) {
        self.read();
        let expected = accepted(&self.entries).len() + tasks;
        until(async || {
            self.read();
            accepted(&self.entries).len() >= expected
        })
        .await;
    }

    /// Stops the producers, waits until every task has ended, and kills the workers.
    pub(crate) async fn finish(&mut self, queue: &Queue) {
        File::create(self.stop_producers_path()).unwrap();
        for producer in &mut self.producers {
            until(async || producer.0.try_wait().unwrap().is_some()).await;
            assert!(producer.0.wait().unwrap().success(), "a producer has failed");
        }
        let all_tasks_end = async {
            while waiting(queue).await != Some(0) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(TIMEOUT, all_tasks_end).await.is_err() {
            let left = queue.list(&TaskFilter::default(), None, 5).await;
            panic!("tasks do not end: {:#?} {left:#?} {:#?}", queue.stats().await, self.active_steps());
        }
        for (name, mut worker) in self.workers.drain(..) {
            assert!(worker.0.try_wait().unwrap().is_none(), "{name} has ended by itself");
        }
        self.read();
    }
}

impl HeldStep {
    /// The name of the worker whose slot holds the step.
    pub(crate) fn worker(&self) -> &str {
        self.who.split('.').next().unwrap()
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn until(mut condition: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let here = Location::caller();
    async move {
        let polling = async {
            while !condition().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(TIMEOUT, polling).await.is_ok(), "the condition did not hold in time at {here}");
    }
}
