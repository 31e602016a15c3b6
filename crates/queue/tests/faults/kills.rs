//! Processes that are killed and frozen while others go on.

use std::time::Duration;

use wpclone_queue::{Claim, Queue, StoredOutput};
use wpclone_task::{Stage, State};
use wpclone_test_redis::rounds;

use crate::pool_process::{below, options};
use crate::properties;
use crate::support::*;
use crate::worker_pool::{Entry, HeldStep, WorkerPool, until};

/// Short enough that the work of the dead comes back within a story, long enough that nobody loses it by being slow.
const LEASE: Duration = Duration::from_secs(2);

/// Two producers and three workers with three slots each.
fn busy(url: &str) -> WorkerPool {
    let mut pool = WorkerPool::new(LEASE);
    for _ in 0..2 {
        pool.producer(url);
    }
    for _ in 0..3 {
        pool.worker(url, 3);
    }
    pool
}

/// Kills a worker in the middle of a step of this stage, and hires another.
async fn kill_one_in(stage: Stage, pool: &mut WorkerPool, url: &str) {
    let mut killed = false;
    while !killed {
        let mut seen: Option<HeldStep> = None;
        until(async || {
            seen = pool.at_work().into_iter().rfind(|h| h.stage == stage);
            seen.is_some()
        })
        .await;
        let held = seen.unwrap();
        pool.kill(held.worker());
        // Else it was done before it died: not in the middle.
        killed = pool.still_has(&held);
        pool.worker(url, 3);
    }
}

#[tokio::test]
async fn workers_killed_in_every_stage_lose_no_task_and_complete_none_twice() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(options(LEASE));
    let mut pool = busy(&redis.url());
    for _ in 0..rounds(3) {
        for stage in Stage::OF_TASKS {
            kill_one_in(*stage, &mut pool, &redis.url()).await;
        }
    }
    pool.finish(&queue).await;
    properties::hold(&queue, &pool.entries).await;
}

#[tokio::test]
async fn a_redis_killed_again_and_again_under_load_keeps_what_it_acknowledged() {
    let mut redis = Redis::start().await;
    let queue = redis.queue_with(options(LEASE));
    let mut pool = busy(&redis.url());
    for _ in 0..rounds(4) {
        pool.until_more_accepted(1 + below(30) as usize).await;
        redis.kill();
        redis.restart().await;
    }
    pool.finish(&queue).await;
    properties::hold(&queue, &pool.entries).await;
}

/// Of a worker that is the only one: nobody is slow but when it is frozen.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn writes_of_a_worker_that_wakes_late_are_refused() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(options(SHORT));
    for stubborn in [true, false] {
        let mut pool = WorkerPool::new(SHORT);
        if stubborn {
            pool.stubborn_worker(&redis.url());
        } else {
            pool.worker(&redis.url(), 1);
        }
        for _ in 0..rounds(2) {
            let (held, claim) = overtaken(&queue, &mut pool).await;
            let before = late_writes(&queue).await;
            let result = [("step0".to_owned(), claim.lease.token.to_string().into())].into_iter().collect();
            queue.complete(&claim.lease, &StoredOutput { result, sealed: None }).await.unwrap();
            pool.process(held.worker()).signal("-CONT");
            until(async || !pool.still_has(&held)).await;
            let refused = pool.entries.contains(&Entry::Refused(held.clone()));
            assert!(refused || !stubborn && pool.entries.contains(&Entry::GaveUp(held.clone())));
            assert!(!refused || late_writes(&queue).await > before, "a refused write is counted");
            assert_eq!(queue.task(held.task).await.state, State::Succeeded);
        }
        pool.finish(&queue).await;
        properties::hold(&queue, &pool.entries).await;
    }
}

/// Freezes the pool's worker with a step, and takes that step when its lease has run out.
async fn overtaken(queue: &Queue, pool: &mut WorkerPool) -> (HeldStep, Claim) {
    loop {
        let id = queue.accept(&task("a.example")).await;
        let mut seen = None;
        until(async || {
            seen = pool.at_work().pop();
            seen.is_some() || queue.task(id).await.state.is_final()
        })
        .await;
        // Else it was faster, as below.
        let Some(held) = seen else { continue };
        pool.process(held.worker()).freeze();
        let mut claim = None;
        until(async || {
            queue.sweep().await.unwrap();
            claim = queue.claim("other", Stage::OF_TASKS).await.unwrap();
            claim.is_some() || queue.task(held.task).await.state.is_final()
        })
        .await;
        if let Some(claim) = claim {
            assert_eq!((claim.lease.task, claim.lease.step), (held.task, held.step));
            assert!(claim.lease.token > held.token);
            return (held, claim);
        }
        pool.process(held.worker()).signal("-CONT");
        until(async || !pool.still_has(&held)).await;
    }
}

async fn late_writes(queue: &Queue) -> u64 {
    queue.counters().await.unwrap().get("late_writes_total").copied().unwrap_or_default()
}
