//! What a killed Redis can lose, by `appendfsync`. The disk is a stub that a test makes slow, or makes lose what was
//! not synced.
//!
//! The behaviour of Redis 7.0 that these tests show:
//! - `always`: Redis responds after the sync. Nothing is lost, whether its process is killed or the machine loses
//!   power.
//! - `everysec`, only the process is killed: Redis writes to the file before it responds, and the kernel keeps what is
//!   written. Nothing is lost as long as the disk keeps up. While an earlier sync is running, Redis delays its writes
//!   for up to two seconds but still responds: what it acknowledges in that time is lost.
//! - `everysec`, the machine loses power: everything since the start of the last finished sync is lost. A sync begins
//!   each second unless another is running: that is a second and the duration of two syncs, the unfinished one and the
//!   one before it. Redis waits for its disk only when writes have been delayed for two seconds.

use std::time::{Duration, Instant};

use wpclone_queue::{Queue, TaskLookup};
use wpclone_task::TaskId;
use wpclone_test_redis::{Fsync, Options, rounds};

use crate::pool_process::{below, options};
use crate::properties;
use crate::support::*;
use crate::worker_pool::{WorkerPool, until};

const LEASE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn with_always_a_power_cut_loses_nothing_that_was_acknowledged() {
    let mut redis = Redis::start_with(Options::default().simulated_disk(Duration::from_millis(1))).await;
    let queue = redis.queue_with(options(LEASE));
    let mut pool = WorkerPool::new(LEASE);
    for _ in 0..2 {
        pool.spawn_producer(&redis.url());
        pool.spawn_worker(&redis.url(), 3);
    }
    for _ in 0..rounds(3) {
        pool.wait_until_more_accepted(1 + below(30) as usize).await;
        redis.cut_power();
        redis.restart().await;
    }
    pool.finish(&queue).await;
    properties::hold(&queue, &pool.entries).await;
}

async fn everysec() -> Redis {
    Redis::start_with(Options::default().fsync(Fsync::EverySecond).simulated_disk(Duration::ZERO)).await
}

async fn task_exists(queue: &Queue, id: TaskId) -> bool {
    matches!(queue.get(id).await.unwrap(), TaskLookup::Found(_))
}

#[tokio::test]
async fn with_everysec_a_killed_redis_keeps_what_it_has_written() {
    let mut redis = everysec().await;
    let queue = redis.queue();
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(queue.accept(&task(&format!("s{n}.example"))).await);
    }
    // Everything is written to the file, synced or not.
    until(async || redis.number("persistence", "aof_buffer_length").await == 0).await;
    redis.kill();
    redis.restart().await;
    for id in ids {
        assert!(task_exists(&queue, id).await);
    }
}

/// Redis delays a write while a sync is running for two seconds, counted in whole seconds of its clock.
const SHORTEST_DELAY: Duration = Duration::from_secs(1);
/// How often the test begins anew because Redis was killed later than that.
const LATE_KILLS: usize = 50;

#[tokio::test]
async fn with_everysec_and_a_slow_disk_a_killed_redis_loses_delayed_writes() {
    let mut redis = everysec().await;
    let queue = redis.queue();
    // Loads the functions first: Redis writes them too, and the sync below must not be theirs.
    assert!(!task_exists(&queue, TaskId::new()).await);
    for _ in 0..LATE_KILLS {
        until(async || redis.is_synced().await).await;
        redis.hold_syncs();
        let first = queue.accept(&task("a.example")).await;
        until(async || redis.number("persistence", "aof_pending_bio_fsync").await == 1).await;
        let begun = Instant::now();
        let delayed = queue.accept(&task("b.example")).await;
        redis.kill();
        let is_in_time = begun.elapsed() < SHORTEST_DELAY;
        redis.release_syncs();
        redis.restart().await;
        assert!(task_exists(&queue, first).await, "written before the sync began");
        if is_in_time {
            assert!(!task_exists(&queue, delayed).await, "acknowledged, and not written");
            return;
        }
    }
    panic!("Redis was never killed in time");
}

#[tokio::test]
async fn with_everysec_a_power_cut_loses_what_came_after_the_last_sync() {
    let mut redis = everysec().await;
    let queue = redis.queue();
    let synced = queue.accept(&task("a.example")).await;
    until(async || redis.is_synced().await).await;
    redis.hold_syncs();
    let later = queue.accept(&task("b.example")).await;
    redis.cut_power();
    redis.release_syncs();
    redis.restart().await;
    assert!(task_exists(&queue, synced).await);
    assert!(!task_exists(&queue, later).await, "acknowledged, and not synced");
}
