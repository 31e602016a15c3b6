//! Processes that are killed and frozen while others go on.

use std::time::Duration;

use wpclone_queue::{Claim, Queue, StoredOutput};
use wpclone_task::{Stage, State};
use wpclone_test_redis::rounds;

use crate::pool_process::{below, options};
use crate::properties;
use crate::support::*;
use crate::worker_pool::{Entry, HeldStep, WorkerPool, until};

/// Short enough that the steps of killed workers return within a test, long enough that a slow worker keeps its lease.
const LEASE: Duration = Duration::from_secs(2);

/// Two producers and three workers with three slots each.
fn busy_pool(url: &str) -> WorkerPool {
    let mut pool = WorkerPool::new(LEASE);
    for _ in 0..2 {
        pool.spawn_producer(url);
    }
    for _ in 0..3 {
        pool.spawn_worker(url, 3);
    }
    pool
}

/// Kills a worker in the middle of a step of this stage, and starts another.
async fn kill_one_in(stage: Stage, pool: &mut WorkerPool, url: &str) {
    let mut killed = false;
    while !killed {
        let mut seen: Option<HeldStep> = None;
        until(async || {
            seen = pool.active_steps().into_iter().rfind(|h| h.stage == stage);
            seen.is_some()
        })
        .await;
        let held = seen.unwrap();
        pool.kill(held.worker());
        // Otherwise it had completed the step before it was killed.
        killed = pool.still_has(&held);
        pool.spawn_worker(url, 3);
    }
}

#[tokio::test]
async fn workers_killed_in_every_stage_lose_no_task_and_complete_none_twice() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(options(LEASE));
    let mut pool = busy_pool(&redis.url());
    for _ in 0..rounds(3) {
        for stage in Stage::OF_TASKS {
            kill_one_in(*stage, &mut pool, &redis.url()).await;
        }
    }
    pool.finish(&queue).await;
    properties::hold(&queue, &pool.entries).await;
}

#[tokio::test]
async fn a_redis_that_is_killed_repeatedly_under_load_keeps_acknowledged_tasks() {
    let mut redis = Redis::start().await;
    let queue = redis.queue_with(options(LEASE));
    let mut pool = busy_pool(&redis.url());
    for _ in 0..rounds(4) {
        pool.wait_until_more_accepted(1 + below(30) as usize).await;
        redis.kill();
        redis.restart().await;
    }
    pool.finish(&queue).await;
    properties::hold(&queue, &pool.entries).await;
}

/// For a single worker: it is slow only while it is frozen.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn writes_of_a_worker_that_resumes_after_its_lease_expired_are_rejected() {
    let redis = Redis::start().await;
    // The test's own leases do not run out.
    let queue = redis.queue_with(options(Duration::from_secs(600)));
    for ignores_lease in [true, false] {
        let mut pool = WorkerPool::new(SHORT);
        if ignores_lease {
            pool.spawn_worker_without_lease_checks(&redis.url());
        } else {
            pool.spawn_worker(&redis.url(), 1);
        }
        for _ in 0..rounds(2) {
            let (held, claim) = freeze_and_claim(&queue, &mut pool).await;
            let before = late_writes(&queue).await;
            let result = [("step0".to_owned(), claim.lease.token.to_string().into())].into_iter().collect();
            queue.complete(&claim.lease, &StoredOutput { result, sealed: None }).await.unwrap();
            pool.process(held.worker()).signal("-CONT");
            until(async || !pool.still_has(&held)).await;
            let rejected = pool.entries.contains(&Entry::Refused(held.clone()));
            assert!(rejected || !ignores_lease && pool.entries.contains(&Entry::GaveUp(held.clone())));
            assert!(!rejected || late_writes(&queue).await > before, "a rejected write is counted");
            assert_eq!(queue.task(held.task).await.state, State::Succeeded);
        }
        pool.finish(&queue).await;
        properties::hold(&queue, &pool.entries).await;
    }
}

/// Freezes the pool's worker in a step, and claims that step when its lease has expired.
async fn freeze_and_claim(queue: &Queue, pool: &mut WorkerPool) -> (HeldStep, Claim) {
    loop {
        let id = queue.accept(&task("a.example")).await;
        let mut seen = None;
        until(async || {
            seen = pool.active_steps().pop();
            seen.is_some() || queue.task(id).await.state.is_final()
        })
        .await;
        // Otherwise it completed the step first, as below.
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
