//! The program of a pool: a worker or a producer, which writes what it does into the pool's book.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use wpclone_queue::{Claim, EnqueueOutcome, Lease, Queue, QueueError, QueueOptions, StoredOutput};
use wpclone_task::{Progress, Stage};

use crate::support::{plan, sites, task};
use crate::worker_pool::{Entry, HeldStep};

/// What a process of the pool is to do.
pub(crate) const JOB: &str = "WPCLONE_TEST_JOB";
/// Sites that producers choose from: few, so that tasks wait for each other.
const SITES: u32 = 12;
/// How many steps may wait or run before producers pause.
const BACKLOG: u64 = 40;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) book: PathBuf,
    pub(crate) enough: PathBuf,
    pub(crate) lease: Duration,
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Role {
    /// With so many steps at once. A stubborn one goes on without looking at the clock.
    Worker { slots: u32, stubborn: bool },
    /// Of tasks, until there are enough.
    Producer,
}

/// A file to which each line is added by one write, and on a line of its own whatever was left before it.
pub(crate) struct Book(File);

impl Book {
    fn open(path: &Path) -> Self {
        Self(OpenOptions::new().create(true).append(true).open(path).unwrap())
    }

    fn note(&self, entry: &Entry) {
        let line = format!("\n{}\n", serde_json::to_string(entry).unwrap());
        (&self.0).write_all(line.as_bytes()).unwrap();
    }
}

/// No story: the program that the others start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a program that the stories start"]
async fn a_process_of_the_pool() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Job = serde_json::from_str(&job).unwrap();
    let queue = Queue::new(&job.url, options(job.lease)).unwrap();
    match job.role {
        Role::Producer => produce(&queue, &Book::open(&job.book), &job.enough).await,
        Role::Worker { slots, stubborn } => {
            let slots = (0..slots).map(|n| {
                let (who, book) = (format!("{}.{n}", job.name), Book::open(&job.book));
                tokio::spawn(Worker { who, queue: queue.clone(), book, lease: job.lease, stubborn }.work())
            });
            let slots: Vec<_> = slots.chain([tokio::spawn(sweep(queue.clone()))]).collect();
            // None of them ever ends but by a panic, which is to end the process.
            futures_util::future::select_all(slots).await.0.unwrap();
        }
    }
}

/// Workers that are killed all the time make no task poison here.
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

/// How many steps wait or run, when Redis tells.
pub(crate) async fn waiting(queue: &Queue) -> Option<u64> {
    let stats = queue.stats().await.ok()?;
    Some(stats.stages.values().map(|s| s.outstanding + s.delayed + s.waiting_for_site).sum())
}

async fn produce(queue: &Queue, book: &Book, enough: &Path) {
    let plans =
        ["browser a", "provisioning a, browser b | transfer c | browser d | provisioning e", "transfer a"];
    let mut n = 0;
    while !enough.exists() {
        // The workers' pace.
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
        // What is sealed is opaque to the queue and told with each claim: the sites, for the book.
        let mut new = task(names[0]);
        new.sealed_secrets = names.join(" ");
        loop {
            match queue.enqueue_with_plan(&new, &plan, sites(&names), 0).await {
                Ok(EnqueueOutcome::Accepted(id)) => break book.note(&Entry::Accepted(id)),
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
    book: Book,
    lease: Duration,
    stubborn: bool,
}

impl Worker {
    async fn work(self) {
        loop {
            self.book.note(&Entry::Asks(self.who.clone()));
            let asked = Instant::now();
            match self.queue.claim(&self.who, Stage::OF_TASKS).await {
                Ok(Some(claim)) => self.do_steps(claim, asked).await,
                Ok(None) => sleep(Duration::from_millis(20)).await,
                Err(QueueError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Does a step, and those that are claimed with the end of the one before.
    async fn do_steps(&self, mut claim: Claim, mut asked: Instant) {
        while let Some(next) = self.do_step(&claim, &mut asked).await {
            claim = next;
        }
    }

    /// Does a step; `renewed` is when its claim was asked for, and in the end when the next one's was.
    async fn do_step(&self, claim: &Claim, renewed: &mut Instant) -> Option<Claim> {
        let held = self.held(claim);
        self.book.note(&Entry::Claimed(held.clone()));
        let mut beats = below(4);
        loop {
            sleep(Duration::from_millis(below(40).into())).await;
            // As a real worker: it stops its work long enough before somebody else can begin.
            if !self.stubborn && renewed.elapsed() > self.lease * 2 / 3 {
                self.book.note(&Entry::GaveUp(held));
                return None;
            }
            let asked = Instant::now();
            self.book.note(&Entry::Writes(held.clone()));
            let written =
                if beats > 0 { self.beat(&claim.lease).await } else { self.complete(&claim.lease).await };
            match written {
                Ok(next) => {
                    *renewed = asked;
                    if beats == 0 {
                        self.book.note(&Entry::Done(held));
                        return next;
                    }
                    self.book.note(&Entry::Wrote(held.clone()));
                    beats -= 1;
                }
                Err(QueueError::LeaseLost) => {
                    self.book.note(&Entry::Refused(held));
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

    /// The result tells whose completion counts.
    async fn complete(&self, lease: &Lease) -> Result<Option<Claim>, QueueError> {
        let token = lease.token.to_string().into();
        let result = [(format!("step{}", lease.step), token)].into_iter().collect();
        let output = StoredOutput { result, sealed: None };
        if below(2) == 0 {
            return self.queue.complete(lease, &output).await.map(|_| None);
        }
        self.book.note(&Entry::Asks(self.who.clone()));
        Ok(self.queue.complete_and_claim(lease, &output, Stage::OF_TASKS).await?.1)
    }

    fn held(&self, claim: &Claim) -> HeldStep {
        let Lease { task, step, token, .. } = claim.lease;
        let sites =
            claim.sealed_secrets.as_deref().unwrap_or_default().split(' ').map(str::to_owned).collect();
        HeldStep { who: self.who.clone(), task, step, token, stage: claim.stage, sites }
    }
}
