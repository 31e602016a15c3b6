//! Networks that fail between a program and Redis.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use wpclone_queue::{
    CancelOutcome, CompleteOutcome, EnqueueOutcome, FailOutcome, Lease, Queue, QueueError, StoredOutput,
    TaskFilter,
};
use wpclone_task::{Code, Stage, State, TaskId};
use wpclone_test_redis::{Direction, Proxy, rounds};

use crate::pool_process::{below, options};
use crate::properties;
use crate::support::*;
use crate::worker_pool::{PATIENCE, WorkerPool, until};

/// Where a call is cut: before its request, in it, before its answer, in it. What Redis then has done of it.
const CUTS: [(Direction, usize, bool); 4] = [
    (Direction::ToServer, 0, false),
    (Direction::ToServer, 40, false),
    (Direction::ToClient, 0, true),
    (Direction::ToClient, 3, true),
];

/// Redis, a queue on it, and the same queue behind a network that fails.
struct Place {
    _redis: Redis,
    sound: Queue,
    proxy: Proxy,
    cut: Queue,
}

impl Place {
    async fn new(options: wpclone_queue::QueueOptions) -> Self {
        let redis = Redis::start().await;
        let proxy = Proxy::in_front_of(&redis).await;
        let sound = redis.queue_with(options.clone());
        let cut = Queue::new(&proxy.url(), options).unwrap();
        Self { _redis: redis, sound, proxy, cut }
    }

    /// Makes a call, of which so much passes.
    async fn lose<T: std::fmt::Debug>(
        &self,
        (way, bytes, _): (Direction, usize, bool),
        call: impl Future<Output = Result<T, QueueError>>,
    ) {
        // The connection is there, and Redis knows the scripts.
        self.cut.ping().await.unwrap();
        self.proxy.cut_after_bytes(way, bytes);
        let lost = call.await;
        assert!(matches!(lost, Err(QueueError::Unavailable(_))), "{way:?} {bytes}: {lost:?}");
        self.proxy.wait_until_cut().await;
        assert!(matches!(self.cut.ping().await, Err(QueueError::Unavailable(_))));
        self.proxy.heal().await;
    }
}

/// Makes Redis know every script, so that a call is one request and one answer.
async fn teach(queue: &Queue) {
    queue.accept(&task("taught.example")).await;
    let claim = queue.take().await;
    queue.heartbeat(&claim.lease, None).await.unwrap();
    queue.release(&claim.lease).await.unwrap();
    queue.fail(&queue.take().await.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    queue.cancel(claim.lease.task).await.unwrap();
    queue.accept(&task("taught.example")).await;
    queue.done(&queue.take().await).await;
    queue.sweep().await.unwrap();
}

#[tokio::test]
async fn a_task_enqueued_again_after_a_cut_is_one_task() {
    let place = Place::new(options(Duration::from_secs(30))).await;
    teach(&place.cut).await;
    for cut in CUTS {
        let new = idempotent(task("a.example"), &format!("{cut:?}"), &["f"]);
        place.lose(cut, place.cut.enqueue(&new)).await;
        let found = place.sound.get(new.id).await.unwrap();
        assert_eq!(matches!(found, wpclone_queue::TaskLookup::Found(_)), cut.2);
        assert_eq!(place.cut.enqueue(&new).await.unwrap(), EnqueueOutcome::Accepted(new.id));
        let claim = place.sound.take().await;
        assert_eq!(claim.lease.task, new.id);
        place.sound.done(&claim).await;
        place.sound.nothing_ready().await;
    }
    let all = place.sound.list(&TaskFilter::default(), None, 100).await.unwrap().tasks;
    assert_eq!(all.len(), 2 + CUTS.len());
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_comes_back_when_its_lease_expires() {
    let place = Place::new(options(Duration::from_millis(1500))).await;
    teach(&place.cut).await;
    for cut in CUTS {
        let id = place.sound.accept(&task("a.example")).await;
        place.lose(cut, place.cut.claim("w", Stage::OF_TASKS)).await;
        let first = comes_back(&place, id, cut).await;

        // The same with the end of a step before it, which happens with the claim or not at all.
        let next = place.sound.accept(&task("b.example")).await;
        let output = StoredOutput::default();
        place.lose(cut, place.cut.complete_and_claim(&first, &output, Stage::OF_TASKS)).await;
        let done = place.sound.task(id).await.state;
        assert_eq!(done, if cut.2 { State::Succeeded } else { State::Running });
        ended(&place, &first).await;
        let lease = comes_back(&place, next, cut).await;
        ended(&place, &lease).await;
    }
}

/// Makes the task of a lease end, whether the lease lives or not.
async fn ended(place: &Place, lease: &Lease) {
    until(async || {
        let _ = place.sound.confirm_cancel(lease).await;
        place.sound.cancel(lease.task).await.unwrap() == CancelOutcome::AlreadyFinished
    })
    .await;
}

/// Claims a task as soon as that can be.
async fn comes_back(place: &Place, id: TaskId, cut: (Direction, usize, bool)) -> Lease {
    let mut claim = None;
    until(async || {
        place.sound.sweep().await.unwrap();
        claim = place.cut.claim("w", Stage::OF_TASKS).await.unwrap();
        claim.is_some()
    })
    .await;
    let claim = claim.unwrap();
    assert_eq!((claim.lease.task, claim.crashes), (id, u32::from(cut.2)));
    claim.lease
}

#[tokio::test]
async fn an_end_reported_again_after_a_cut_counts_once() {
    let place = Place::new(options(Duration::from_secs(30))).await;
    teach(&place.cut).await;
    for cut in CUTS {
        let again = |told: Result<(), QueueError>| match told {
            Ok(()) => !cut.2,
            Err(QueueError::LeaseLost) => cut.2,
            Err(e) => panic!("{e}"),
        };
        let begin = async || {
            place.sound.accept(&task("a.example")).await;
            place.sound.take().await.lease
        };

        let lease: Lease = begin().await;
        place.lose(cut, place.cut.heartbeat(&lease, None)).await;
        place.cut.heartbeat(&lease, None).await.unwrap();
        place.lose(cut, place.cut.release(&lease)).await;
        assert!(again(place.cut.release(&lease).await));

        let lease = place.sound.take().await.lease;
        let output = StoredOutput::default();
        place.lose(cut, place.cut.complete(&lease, &output)).await;
        let told = place.cut.complete(&lease, &output).await;
        assert!(again(told.map(|c| assert_eq!(c, CompleteOutcome::Finished))));
        let task = place.sound.task(lease.task).await;
        assert_eq!((task.state, task.attempts(), task.crashes()), (State::Succeeded, 0, 0));
        let ends = place.sound.events(lease.task, None, 100).await.unwrap();
        assert_eq!(ends.iter().filter(|e| e.event.state == State::Succeeded).count(), 1);

        let lease = begin().await;
        let unreachable = problem(Code::SiteUnreachable);
        place.lose(cut, place.cut.fail(&lease, &unreachable)).await;
        let told = place.cut.fail(&lease, &unreachable).await;
        assert!(again(told.map(|f| assert!(matches!(f, FailOutcome::Retrying(_))))));
        let task = place.sound.task(lease.task).await;
        assert_eq!((task.state, task.attempts(), task.crashes()), (State::Running, 1, 0));

        place.lose(cut, place.cut.cancel(lease.task)).await;
        let told = place.cut.cancel(lease.task).await.unwrap();
        assert_eq!(told, if cut.2 { CancelOutcome::AlreadyFinished } else { CancelOutcome::Cancelled });
    }
}

#[tokio::test]
async fn all_callers_of_a_redis_that_does_not_answer_fail_together() {
    const ASK: usize = 100;
    let place = Place::new(options(Duration::from_secs(30))).await;
    teach(&place.cut).await;
    place.proxy.hold(&[Direction::ToServer, Direction::ToClient]);
    // First on a connection that was sound, then on one that cannot be made. One after another it would take minutes.
    for _ in 0..2 {
        let asked = join_all((0..ASK).map(|_| place.cut.ping()));
        for answer in timeout(PATIENCE, asked).await.expect("nobody waits for the others") {
            assert!(matches!(answer, Err(QueueError::Unavailable(_))), "{answer:?}");
        }
    }
    place.proxy.heal().await;
    place.cut.ping().await.unwrap();
}

/// Counts of a task as people see them.
trait Counts {
    fn attempts(&self) -> u32;
    fn crashes(&self) -> u32;
}

impl Counts for wpclone_queue::TaskRecord {
    fn attempts(&self) -> u32 {
        self.steps.iter().map(|s| s.attempts).sum()
    }

    fn crashes(&self) -> u32 {
        self.steps.iter().map(|s| s.crashes).sum()
    }
}

#[tokio::test]
async fn an_unreliable_network_loses_no_task_and_completes_none_twice() {
    const LEASE: Duration = Duration::from_secs(1);
    let place = Place::new(options(LEASE)).await;
    let mut pool = WorkerPool::new(LEASE);
    pool.producer(&place.proxy.url());
    pool.stubborn_worker(&place.proxy.url());
    for _ in 0..2 {
        pool.worker(&place.proxy.url(), 3);
    }
    for round in 0..rounds(5) {
        pool.until_more_accepted(5).await;
        until(async || !pool.at_work().is_empty()).await;
        match round % 5 {
            0 => place.proxy.hold(&[Direction::ToServer, Direction::ToClient]),
            1 => place.proxy.cut_after_bytes(Direction::ToServer, below(2000) as usize),
            2 => place.proxy.hold(&[Direction::ToClient]),
            3 => place.proxy.cut_after_bytes(Direction::ToClient, below(2000) as usize),
            _ => place.proxy.delay(Duration::from_millis(30)),
        }
        match round % 5 {
            0 | 2 => until_no_lease_is_left_or_one_has_run_out(&place.sound).await,
            1 | 3 => place.proxy.wait_until_cut().await,
            _ => pool.until_more_accepted(5).await,
        }
        place.proxy.heal().await;
    }
    pool.finish(&place.sound).await;
    properties::hold(&place.sound, &pool.entries).await;
}

/// What was under way when the network was held may have ended just before: then no lease is left to run out.
async fn until_no_lease_is_left_or_one_has_run_out(queue: &Queue) {
    until(async || {
        // The workers' sweeps do not arrive.
        let swept = queue.sweep().await.unwrap();
        swept.expired > 0 || queue.stats().await.unwrap().stages.values().all(|depth| depth.running == 0)
    })
    .await;
}
