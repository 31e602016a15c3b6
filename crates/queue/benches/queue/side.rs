//! Our side: executes the orders on stdin with one queue, as api and worker use it. The other side is
//! `../baseline/bullmq.mjs`.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wpclone_queue::{
    Claim, ClaimAttempt, CompleteOutcome, EnqueueOutcome, NewTask, Queue, QueueOptions, Signal, StoredOutput,
};
use wpclone_task::Stage;

use crate::protocol::{Answer, IN_FLIGHT, Order};

/// As in the worker: its default stages, the interval of claims without a signal, and that of sweeps.
const STAGES: &[Stage] = &[Stage::Browser];
const POLL: Duration = Duration::from_secs(2);
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Timeout of the first connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Executes orders until stdin ends.
pub(crate) async fn run(url: &str) -> Result<()> {
    let queue = Queue::new(url, QueueOptions::default())?;
    let mut signals = queue.subscribe_ready();
    timeout(CONNECT, signals.recv()).await.context("no connection for signals")??;
    drop(signals);
    say(&Answer { name: "wpclone".into(), ..Answer::default() })?;
    let mut side = Side { queue, site: 0 };
    // Nothing else is to be done while it waits for an order.
    for line in std::io::stdin().lines() {
        let answer = side.obey(serde_json::from_str(&line?)?).await?;
        say(&answer)?;
    }
    Ok(())
}

fn say(answer: &Answer) -> Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(())
}

struct Side {
    queue: Queue,
    /// The next unused site.
    site: u64,
}

impl Side {
    async fn obey(&mut self, order: Order) -> Result<Answer> {
        let began = Instant::now();
        let mut ms = Vec::new();
        match order {
            Order::Add { count, bytes, sites } => self.add(count, bytes, sites).await?,
            Order::Work { count } => {
                Work::begin(&self.queue, count).end().await?;
            }
            Order::Hear { count } => {
                let work = Work::begin(&self.queue, count);
                say(&Answer::default())?;
                ms = work.end().await?;
            }
            Order::Pace { count, every, bytes } => {
                self.pace(count, Duration::from_millis(every), bytes).await?
            }
            Order::Stats { count } => {
                for _ in 0..count {
                    let began = Instant::now();
                    self.queue.stats().await?;
                    ms.push(began.elapsed().as_secs_f64() * 1000.0);
                }
            }
        }
        Ok(Answer { seconds: began.elapsed().as_secs_f64(), ms, ..Answer::default() })
    }

    async fn add(&mut self, count: u64, bytes: usize, sites: Option<u64>) -> Result<()> {
        let next = Arc::new(AtomicU64::new(0));
        let first = self.site;
        let mut lanes = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (queue, next) = (self.queue.clone(), Arc::clone(&next));
            lanes.spawn(async move {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return anyhow::Ok(());
                    }
                    accept(&queue, &task(sites.map_or(first + i, |sites| i % sites), bytes, "")?).await?;
                }
            });
        }
        self.site += count;
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        Ok(())
    }

    async fn pace(&mut self, count: u64, every: Duration, bytes: usize) -> Result<()> {
        let mut ticks = tokio::time::interval(every);
        for _ in 0..count {
            ticks.tick().await;
            self.site += 1;
            accept(&self.queue, &task(self.site, bytes, &now_ms()?.to_string())?).await?;
        }
        Ok(())
    }
}

async fn accept(queue: &Queue, task: &NewTask) -> Result<()> {
    let accepted = queue.enqueue(task).await?;
    ensure!(matches!(accepted, EnqueueOutcome::Accepted(_)), "not accepted: {accepted:?}");
    Ok(())
}

/// A task whose request and secret have this many bytes together.
fn task(site: u64, bytes: usize, secret: &str) -> Result<NewTask> {
    let url = format!("https://site-{site:07}.example");
    let request = json!({"kind": "setup", "url": url, "username": "admin", "role": "source"});
    let length = bytes.saturating_sub(request.to_string().len());
    Ok(NewTask::new(serde_json::from_value(request)?, format!("{secret:s<length$}"), "bench".into()))
}

/// The time of the machine's clock, which both processes read.
fn now_ms() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1000.0)
}

/// A worker with [`IN_FLIGHT`] slots for a number of tasks.
struct Work {
    queue: Queue,
    slots: Arc<Semaphore>,
    /// A permit for each task that is still to be claimed.
    tickets: Semaphore,
    left: AtomicU64,
    /// Latency of each task in ms, for tasks with a time in them.
    under_way: Mutex<Vec<f64>>,
    ended: mpsc::UnboundedSender<Result<()>>,
}

/// The work, the receiver of its end, and the signals since it began.
struct Begun(Arc<Work>, mpsc::UnboundedReceiver<Result<()>>, Receiver<Signal>);

impl Work {
    fn begin(queue: &Queue, count: u64) -> Begun {
        let (ended, ends) = mpsc::unbounded_channel();
        let work = Self {
            queue: queue.clone(),
            slots: Arc::new(Semaphore::new(IN_FLIGHT)),
            tickets: Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)),
            left: count.into(),
            under_way: Mutex::default(),
            ended,
        };
        Begun(Arc::new(work), ends, queue.subscribe_ready())
    }

    /// Fills slots as the worker does: claims whenever there may be work, until there is none.
    async fn claim_all(self: Arc<Self>, mut signals: Receiver<Signal>) -> Result<()> {
        let mut lanes = JoinSet::new();
        loop {
            let slot = Arc::clone(&self.slots).acquire_owned().await?;
            let ticket = self.tickets.acquire().await?;
            if let Some(claim) = self.queue.claim("bench", STAGES).await? {
                ticket.forget();
                let work = Arc::clone(&self);
                lanes.spawn(async move {
                    let _slot = slot;
                    if let Err(error) = work.lane(claim).await {
                        let _ = work.ended.send(Err(error));
                    }
                });
            } else {
                drop((slot, ticket));
                work_may_have_come(&mut signals).await;
            }
        }
    }

    /// Works in one slot while there is work.
    async fn lane(&self, mut claim: Claim) -> Result<()> {
        loop {
            self.note(&claim)?;
            let (lease, output) = (&claim.lease, StoredOutput::default());
            let ticket = self.tickets.try_acquire();
            let (completed, next) = if ticket.is_ok() {
                self.queue.complete_and_claim(lease, &output, STAGES, &ClaimAttempt::new()).await?
            } else {
                (self.queue.complete(lease, &output).await?, None)
            };
            ensure!(completed == CompleteOutcome::Finished, "a task of one step did not end");
            if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                let _ = self.ended.send(Ok(()));
            }
            match (next, ticket) {
                (Some(next), Ok(ticket)) => {
                    ticket.forget();
                    claim = next;
                }
                _ => return Ok(()),
            }
        }
    }

    fn note(&self, claim: &Claim) -> Result<()> {
        let secret = claim.sealed_secrets.as_deref().context("no secret")?;
        if let Ok(made) = secret.trim_end_matches('s').parse::<f64>() {
            let under_way = now_ms()? - made;
            self.under_way.lock().push(under_way);
        }
        Ok(())
    }

    async fn sweep(self: Arc<Self>) -> Result<()> {
        loop {
            if !self.queue.sweep().await?.more {
                sleep(SWEEP_EVERY).await;
            }
        }
    }
}

impl Begun {
    /// The latency of each task.
    async fn end(self) -> Result<Vec<f64>> {
        let Self(work, mut ends, signals) = self;
        {
            let mut claiming = pin!(Arc::clone(&work).claim_all(signals));
            let mut sweeping = pin!(Arc::clone(&work).sweep());
            tokio::select! {
                ended = ends.recv() => ended.context("no end")??,
                Err(error) = &mut claiming => return Err(error),
                Err(error) = &mut sweeping => return Err(error),
            }
        }
        let mut under_way = work.under_way.lock();
        Ok(std::mem::take(&mut under_way))
    }
}

async fn work_may_have_come(signals: &mut Receiver<Signal>) {
    let heard = async {
        loop {
            match signals.recv().await {
                Ok(Signal::StageReady(_) | Signal::Reconnected) | Err(RecvError::Lagged(_)) => return,
                Ok(_) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    };
    let _ = timeout(POLL, heard).await;
}
