//! The process of a pool: a worker or a producer, which appends what it does to the pool's event log.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use wpclone_queue::{
    Claim, ClaimAttempt, EnqueueOutcome, Lease, Queue, QueueError, QueueOptions, StoredOutput,
};
use wpclone_task::{Progress, Stage};

use crate::support::{plan, sites, task};
use crate::worker_pool::{Entry, HeldStep};

/// The environment variable with a process's [`Job`].
pub(crate) const JOB: &str = "WPCLONE_TEST_JOB";
/// Sites that producers choose from: few, so that tasks wait for each other.
const SITES: u32 = 12;
/// How many steps may wait or run before producers pause.
const BACKLOG: u64 = 40;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) log: PathBuf,
    pub(crate) stop_producers: PathBuf,
    pub(crate) lease: Duration,
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Does this many steps at once. One that ignores its lease continues without checking the clock.
    Worker { slots: u32, ignores_lease: bool },
    /// Enqueues tasks until the file `stop_producers` exists.
    Producer,
}

/// The event log: each event is appended with one write, on a line of its own even after an incomplete line.
pub(crate) struct EventLog(File);

impl EventLog {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }

    fn append(&self, entry: &Entry) {
        let line = format!("\n{}\n", serde_json::to_string(entry).unwrap());
        (&self.0).write_all(line.as_bytes()).unwrap();
    }
}

/// Not a test: the program that the other tests start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a program that other tests start"]
async fn a_process_of_the_pool() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Job = serde_json::from_str(&job).unwrap();
    let queue = Queue::new(&job.url, options(job.lease)).unwrap();
    match job.role {
        Role::Producer => produce(&queue, &EventLog::open(&job.log), &job.stop_producers).await,
        Role::Worker { slots, ignores_lease } => {
            let slots = (0..slots).map(|n| {
                let (who, log) = (format!("{}.{n}", job.name), EventLog::open(&job.log));
                tokio::spawn(
                    Worker { who, queue: queue.clone(), log, lease: job.lease, ignores_lease }.work(),
                )
            });
            let slots: Vec<_> = slots.chain([tokio::spawn(sweep(queue.clone()))]).collect();
            // They end only by a panic, which must end the process.
            futures_util::future::select_all(slots).await.0.unwrap();
        }
    }
}

/// Options under which killed workers never make a task fail.
pub(crate) fn options(lease: Duration) -> QueueOptions {
    QueueOptions { lease_duration: lease, max_crashes: 1_000_000, ..QueueOptions::default() }
}

async fn sweep(queue: Queue) {
    loop {
        match queue.sweep().await {
            Ok(swept) if swept.more => continue,
            Ok(_) | Err(QueueError::Unavailable(_)) => {}
            Err(e) => panic!("{e}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// A number below `n`.
pub(crate) fn below(n: u32) -> u32 {
    getrandom::u32().unwrap() % n
}

/// The number of steps that wait or run; `None` when Redis is unavailable.
pub(crate) async fn waiting(queue: &Queue) -> Option<u64> {
    let stats = queue.stats().await.ok()?;
    Some(stats.stages.values().map(|s| s.outstanding + s.delayed + s.waiting_for_site).sum())
}

async fn produce(queue: &Queue, log: &EventLog, stop: &Path) {
    let plans =
        ["browser a", "provisioning a, browser b | transfer c | browser d | provisioning e", "transfer a"];
    let mut n = 0;
    while !stop.exists() {
        // No faster than the workers.
        if waiting(queue).await.is_none_or(|steps| steps > BACKLOG) {
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        n += 1;
        let plan = plan(plans[n % plans.len()]);
        let mut names = vec![format!("s{}.example", below(SITES))];
        if n % 4 == 0 {
            names.push(format!("s{}.example", below(SITES)));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Sealed secrets are opaque to the queue and come with each claim: here they carry the sites for the log.
        let mut new = task(names[0]);
        new.sealed_secrets = names.join(" ");
        loop {
            match queue.enqueue_with_plan(&new, &plan, sites(&names), 0).await {
                Ok(EnqueueOutcome::Accepted(id)) => break log.append(&Entry::Accepted(id)),
                Ok(other) => panic!("{other:?}"),
                Err(QueueError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
                Err(e) => panic!("{e}"),
            }
        }
    }
}

struct Worker {
    who: String,
    queue: Queue,
    log: EventLog,
    lease: Duration,
    ignores_lease: bool,
}

impl Worker {
    async fn work(self) {
        let mut attempt = ClaimAttempt::new();
        // A repeated claim may be answered with the lease of the first time.
        let mut first_asked = true;
        loop {
            if std::mem::take(&mut first_asked) {
                self.log.append(&Entry::Asks(self.who.clone()));
            }
            let asked = Instant::now();
            let claimed = self.queue.claim_with(&self.who, Stage::OF_TASKS, &attempt).await;
            if !matches!(claimed, Err(QueueError::Unavailable(_))) {
                (attempt, first_asked) = (ClaimAttempt::new(), true);
            }
            match claimed {
                Ok(Some(claim)) => self.do_steps(claim, asked).await,
                Ok(None) => sleep(Duration::from_millis(20)).await,
                Err(QueueError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Does a step, and the steps that are claimed together with the completion of the one before.
    async fn do_steps(&self, mut claim: Claim, mut asked: Instant) {
        while let Some(next) = self.do_step(&claim, &mut asked).await {
            claim = next;
        }
    }

    /// Does a step. `renewed` is when its claim was requested, and on return when the next step's claim was.
    async fn do_step(&self, claim: &Claim, renewed: &mut Instant) -> Option<Claim> {
        let held = self.held(claim);
        self.log.append(&Entry::Claimed(held.clone()));
        let mut beats = below(4);
        // Of the next claim. A repeated one may be answered with the lease of the first time, so it is logged once.
        let (attempt, mut is_logged) = (ClaimAttempt::new(), false);
        loop {
            sleep(Duration::from_millis(below(40).into())).await;
            // Like a real worker it stops well before another worker can begin.
            if !self.ignores_lease && renewed.elapsed() > self.lease * 2 / 3 {
                self.log.append(&Entry::GaveUp(held));
                return None;
            }
            let asked = Instant::now();
            self.log.append(&Entry::Writes(held.clone()));
            let written = if beats > 0 {
                self.beat(&claim.lease).await
            } else {
                self.complete(&claim.lease, &attempt, &mut is_logged).await
            };
            match written {
                Ok(next) => {
                    *renewed = asked;
                    if beats == 0 {
                        self.log.append(&Entry::Done(held));
                        return next;
                    }
                    self.log.append(&Entry::Wrote(held.clone()));
                    beats -= 1;
                }
                Err(QueueError::LeaseLost) => {
                    self.log.append(&Entry::Refused(held));
                    return None;
                }
                Err(QueueError::Unavailable(_)) => {}
                Err(e) => panic!("{e}"),
            }
        }
    }

    async fn beat(&self, lease: &Lease) -> Result<Option<Claim>, QueueError> {
        let progress = Progress { percent: u8::try_from(below(90)).unwrap(), message: "At it.".into() };
        self.queue.heartbeat(lease, Some(&progress)).await.map(|_| None)
    }

    /// Completes the step; the result names the token whose completion counts.
    async fn complete(
        &self,
        lease: &Lease,
        attempt: &ClaimAttempt,
        is_logged: &mut bool,
    ) -> Result<Option<Claim>, QueueError> {
        let token = lease.token.to_string().into();
        let result = [(format!("step{}", lease.step), token)].into_iter().collect();
        let output = StoredOutput { result, sealed: None };
        if below(2) == 0 {
            return self.queue.complete(lease, &output).await.map(|_| None);
        }
        if !std::mem::replace(is_logged, true) {
            self.log.append(&Entry::Asks(self.who.clone()));
        }
        Ok(self.queue.complete_and_claim(lease, &output, Stage::OF_TASKS, attempt).await?.1)
    }

    fn held(&self, claim: &Claim) -> HeldStep {
        let Lease { task, step, token, .. } = claim.lease;
        let sites =
            claim.sealed_secrets.as_deref().unwrap_or_default().split(' ').map(str::to_owned).collect();
        HeldStep { who: self.who.clone(), task, step, token, stage: claim.stage, sites }
    }
}
