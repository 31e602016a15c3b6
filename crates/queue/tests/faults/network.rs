//! Networks that fail between a program and Redis.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use wpclone_queue::{
    CancelOutcome, ClaimAttempt, CompleteOutcome, EnqueueOutcome, FailOutcome, Lease, Queue, QueueError,
    QueueOptions, StoredOutput, TaskFilter,
};
use wpclone_task::{Code, Stage, State, TaskId};
use wpclone_test_redis::{Direction, Proxy, rounds};

use crate::pool_process::{below, options};
use crate::properties;
use crate::support::*;
use crate::worker_pool::{TIMEOUT, WorkerPool, until};

/// Where a call is cut: before or within its request, before or within its response; and whether Redis has executed it.
const CUTS: [(Direction, usize, bool); 4] = [
    (Direction::ToServer, 0, false),
    (Direction::ToServer, 40, false),
    (Direction::ToClient, 0, true),
    (Direction::ToClient, 3, true),
];

/// Redis, a queue on it, and the same queue behind a proxy that interrupts connections.
struct Setup {
    redis: Redis,
    direct: Queue,
    proxy: Proxy,
    proxied: Queue,
}

impl Setup {
    async fn new(options: wpclone_queue::QueueOptions) -> Self {
        let redis = Redis::start().await;
        let proxy = Proxy::in_front_of(&redis).await;
        let direct = redis.queue_with(options.clone());
        let proxied = Queue::new(&proxy.url(), options).unwrap();
        Self { redis, direct, proxy, proxied }
    }

    /// Makes a call whose connection is cut after that many bytes in that direction.
    async fn call_and_cut<T: std::fmt::Debug>(
        &self,
        (direction, bytes, _): (Direction, usize, bool),
        call: impl Future<Output = Result<T, QueueError>>,
    ) {
        // The connection exists, and Redis has the functions.
        self.proxied.ping().await.unwrap();
        self.proxy.cut_after_bytes(direction, bytes);
        let lost = call.await;
        assert!(matches!(lost, Err(QueueError::Unavailable(_))), "{direction:?} {bytes}: {lost:?}");
        self.proxy.wait_until_cut().await;
        assert!(matches!(self.proxied.ping().await, Err(QueueError::Unavailable(_))));
        self.proxy.heal().await;
    }
}

/// Loads the functions into Redis, so that a call is one request and one response.
async fn load_functions(queue: &Queue) {
    queue.accept(&task("loaded.example")).await;
    let claim = queue.take().await;
    queue.heartbeat(&claim.lease, None).await.unwrap();
    queue.release(&claim.lease).await.unwrap();
    queue.fail(&queue.take().await.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    queue.cancel(claim.lease.task).await.unwrap();
    queue.accept(&task("loaded.example")).await;
    queue.done(&queue.take().await).await;
    queue.sweep().await.unwrap();
}

#[tokio::test]
async fn a_task_enqueued_again_after_a_cut_is_one_task() {
    let setup = Setup::new(options(Duration::from_secs(30))).await;
    load_functions(&setup.proxied).await;
    for cut in CUTS {
        let new = idempotent(task("a.example"), &format!("{cut:?}"), &["f"]);
        setup.call_and_cut(cut, setup.proxied.enqueue(&new)).await;
        let found = setup.direct.get(new.id).await.unwrap();
        assert_eq!(matches!(found, wpclone_queue::TaskLookup::Found(_)), cut.2);
        assert_eq!(setup.proxied.enqueue(&new).await.unwrap(), EnqueueOutcome::Accepted(new.id));
        let claim = setup.direct.take().await;
        assert_eq!(claim.lease.task, new.id);
        setup.direct.done(&claim).await;
        setup.direct.nothing_ready().await;
    }
    let all = setup.direct.list(&TaskFilter::default(), None, 100).await.unwrap().tasks;
    assert_eq!(all.len(), 2 + CUTS.len());
}

#[tokio::test]
async fn a_claim_whose_response_is_lost_is_answered_again_with_the_same_lease() {
    let setup = Setup::new(options(Duration::from_secs(30))).await;
    load_functions(&setup.proxied).await;
    for cut in CUTS {
        let id = setup.direct.accept(&task("a.example")).await;
        let attempt = ClaimAttempt::new();
        setup.call_and_cut(cut, setup.proxied.claim_with("w", Stage::OF_TASKS, &attempt)).await;
        assert_eq!(running(&setup.direct).await, u64::from(cut.2));
        let first = setup.proxied.claim_with("w", Stage::OF_TASKS, &attempt).await.unwrap().unwrap();
        assert_eq!((first.lease.task, first.crashes, running(&setup.direct).await), (id, 0, 1));

        // The same with the completion of the step before, which is executed together with the claim or not at all.
        let next = setup.direct.accept(&task("b.example")).await;
        let (output, attempt) = (StoredOutput::default(), ClaimAttempt::new());
        let complete = || setup.proxied.complete_and_claim(&first.lease, &output, Stage::OF_TASKS, &attempt);
        setup.call_and_cut(cut, complete()).await;
        let done = setup.direct.task(id).await.state;
        assert_eq!(done, if cut.2 { State::Succeeded } else { State::Running });
        let (completed, second) = complete().await.unwrap();
        let second = second.unwrap();
        assert_eq!((completed, second.lease.task, second.crashes), (CompleteOutcome::Finished, next, 0));
        assert_eq!((setup.direct.task(id).await.state, running(&setup.direct).await), (State::Succeeded, 1));
        assert!(second.lease.token > first.lease.token);
        setup.proxied.heartbeat(&second.lease, None).await.unwrap();
        setup.direct.done(&second).await;
        setup.direct.nothing_ready().await;
    }
    let counters = setup.direct.counters().await.unwrap();
    assert!(!counters.contains_key("lease_lost_total") && !counters.contains_key("claim_lost_total"));
}

/// How many leases there are.
async fn running(queue: &Queue) -> u64 {
    queue.stats().await.unwrap().stages.values().map(|depth| depth.running).sum()
}

/// More often than a task may crash.
const LOST_CLAIMS: usize = 4;

#[tokio::test]
async fn claims_that_were_never_answered_do_not_count_as_crashes() {
    let setup = Setup::new(QueueOptions::default()).await;
    load_functions(&setup.proxied).await;
    let id = setup.direct.accept(&task("a.example")).await;
    for _ in 0..LOST_CLAIMS {
        let cut = (Direction::ToClient, 0, true);
        setup.call_and_cut(cut, setup.proxied.claim("w", Stage::OF_TASKS)).await;
        expire_lease_of(&setup.redis, id).await;
        assert_eq!(setup.direct.sweep().await.unwrap().expired, 1);
        let task = setup.direct.task(id).await;
        assert_eq!((task.state, task.attempts(), task.crashes()), (State::Running, 0, 0));
    }
    let lost = setup.direct.counters().await.unwrap()["claim_lost_total"];
    assert_eq!(lost, LOST_CLAIMS as u64);

    // From a worker's first heartbeat on, its loss is a crash.
    for crashes in 1..=3 {
        setup.redis.expire_lease(&setup.direct.take().await).await;
        assert_eq!(setup.direct.sweep().await.unwrap().expired, 1);
        assert_eq!(setup.direct.task(id).await.crashes(), crashes);
    }
    let task = setup.direct.task(id).await;
    assert_eq!((task.state, task.problem.unwrap().code), (State::Failed, Code::Poison));
}

/// Makes the lease of a task's only step run out, also one that nobody knows of.
async fn expire_lease_of(redis: &Redis, id: TaskId) {
    redis.command::<()>(&format!("ZADD {{wpclone}}:leases:browser XX 1 {id}:0")).await;
}

#[tokio::test]
async fn an_outage_of_redis_after_each_claim_does_not_poison_a_task_that_never_ran() {
    let mut redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    for _ in 0..LOST_CLAIMS {
        let claim = queue.claim("w", Stage::OF_TASKS).await.unwrap().unwrap();
        redis.kill();
        assert!(matches!(queue.heartbeat(&claim.lease, None).await, Err(QueueError::Unavailable(_))));
        redis.restart().await;
        redis.expire_lease(&claim).await;
        until(async || queue.sweep().await.is_ok_and(|swept| swept.expired == 1)).await;
    }
    let claim = queue.take().await;
    assert_eq!((claim.lease.task, claim.attempts, claim.crashes), (id, 0, 0));
    queue.done(&claim).await;
    assert_eq!(queue.task(id).await.state, State::Succeeded);
}

#[tokio::test]
async fn an_end_reported_again_after_a_cut_counts_once() {
    let setup = Setup::new(options(Duration::from_secs(30))).await;
    load_functions(&setup.proxied).await;
    for cut in CUTS {
        let is_first = |result: Result<(), QueueError>| match result {
            Ok(()) => !cut.2,
            Err(QueueError::LeaseLost) => cut.2,
            Err(e) => panic!("{e}"),
        };
        let start = async || {
            setup.direct.accept(&task("a.example")).await;
            setup.direct.take().await.lease
        };

        let lease: Lease = start().await;
        setup.call_and_cut(cut, setup.proxied.heartbeat(&lease, None)).await;
        setup.proxied.heartbeat(&lease, None).await.unwrap();
        setup.call_and_cut(cut, setup.proxied.release(&lease)).await;
        assert!(is_first(setup.proxied.release(&lease).await));

        let lease = setup.direct.take().await.lease;
        let output = StoredOutput::default();
        setup.call_and_cut(cut, setup.proxied.complete(&lease, &output)).await;
        let result = setup.proxied.complete(&lease, &output).await;
        assert!(is_first(result.map(|c| assert_eq!(c, CompleteOutcome::Finished))));
        let task = setup.direct.task(lease.task).await;
        assert_eq!((task.state, task.attempts(), task.crashes()), (State::Succeeded, 0, 0));
        let ends = setup.direct.events(lease.task, None, 100).await.unwrap();
        assert_eq!(ends.iter().filter(|e| e.event.state == State::Succeeded).count(), 1);

        let lease = start().await;
        let unreachable = problem(Code::SiteUnreachable);
        setup.call_and_cut(cut, setup.proxied.fail(&lease, &unreachable)).await;
        let result = setup.proxied.fail(&lease, &unreachable).await;
        assert!(is_first(result.map(|f| assert!(matches!(f, FailOutcome::Retrying(_))))));
        let task = setup.direct.task(lease.task).await;
        assert_eq!((task.state, task.attempts(), task.crashes()), (State::Running, 1, 0));

        setup.call_and_cut(cut, setup.proxied.cancel(lease.task)).await;
        let result = setup.proxied.cancel(lease.task).await.unwrap();
        assert_eq!(result, if cut.2 { CancelOutcome::AlreadyFinished } else { CancelOutcome::Cancelled });
    }
}

#[tokio::test]
async fn all_callers_of_a_redis_that_does_not_answer_fail_together() {
    const CALLS: usize = 100;
    let setup = Setup::new(options(Duration::from_secs(30))).await;
    load_functions(&setup.proxied).await;
    setup.proxy.hold(&[Direction::ToServer, Direction::ToClient]);
    // First on an open connection, then on one that cannot be opened. One after another they would take minutes.
    for _ in 0..2 {
        let calls = join_all((0..CALLS).map(|_| setup.proxied.ping()));
        for answer in timeout(TIMEOUT, calls).await.expect("no call waits for the others") {
            assert!(matches!(answer, Err(QueueError::Unavailable(_))), "{answer:?}");
        }
    }
    setup.proxy.heal().await;
    setup.proxied.ping().await.unwrap();
}

/// Sums over a task's steps.
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
    let setup = Setup::new(options(LEASE)).await;
    let mut pool = WorkerPool::new(LEASE);
    pool.spawn_producer(&setup.proxy.url());
    pool.spawn_worker_without_lease_checks(&setup.proxy.url());
    for _ in 0..2 {
        pool.spawn_worker(&setup.proxy.url(), 3);
    }
    for round in 0..rounds(5) {
        pool.wait_until_more_accepted(5).await;
        until(async || !pool.active_steps().is_empty()).await;
        match round % 5 {
            0 => setup.proxy.hold(&[Direction::ToServer, Direction::ToClient]),
            1 => setup.proxy.cut_after_bytes(Direction::ToServer, below(2000) as usize),
            2 => setup.proxy.hold(&[Direction::ToClient]),
            3 => setup.proxy.cut_after_bytes(Direction::ToClient, below(2000) as usize),
            _ => setup.proxy.delay(Duration::from_millis(30)),
        }
        match round % 5 {
            0 | 2 => until_no_lease_is_left_or_one_has_expired(&setup.direct).await,
            1 | 3 => setup.proxy.wait_until_cut().await,
            _ => pool.wait_until_more_accepted(5).await,
        }
        setup.proxy.heal().await;
    }
    pool.finish(&setup.direct).await;
    properties::hold(&setup.direct, &pool.entries).await;
}

/// A step may have ended just before the network was held: then no lease is left to expire.
async fn until_no_lease_is_left_or_one_has_expired(queue: &Queue) {
    until(async || {
        // The workers' own sweeps cannot reach Redis.
        let swept = queue.sweep().await.unwrap();
        swept.expired > 0 || queue.stats().await.unwrap().stages.values().all(|depth| depth.running == 0)
    })
    .await;
}
