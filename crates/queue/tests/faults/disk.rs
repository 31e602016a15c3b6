//! What a Redis that dies can lose, by how it syncs. The disk is a stub, so that it is slow, or loses what was not
//! synced, when a story wants it.
//!
//! What holds of Redis 7.0, and is shown here:
//! - `always`: Redis answers when what it answers is synced. Neither its own death nor the machine's takes anything.
//! - `everysec`, Redis dies alone: it writes to the file before it answers, and what is written is the kernel's. Nothing
//!   is lost as long as the disk keeps up. While a sync is under way that was begun earlier, Redis puts off its writes
//!   for up to two seconds, and answers all the same: what it acknowledged meanwhile is lost.
//! - `everysec`, the machine dies: everything since the last sync that was finished is lost. A sync begins each second,
//!   and not while another is under way: that is a second and the time that two syncs take, the one that did not finish
//!   and the one before it. Only writes that were put off for two seconds make Redis wait for its disk.

use std::time::Duration;

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
        pool.producer(&redis.url());
        pool.worker(&redis.url(), 3);
    }
    for _ in 0..rounds(3) {
        pool.until_more_accepted(1 + below(30) as usize).await;
        redis.cut_power();
        redis.restart().await;
    }
    pool.finish(&queue).await;
    properties::hold(&queue, &pool.entries).await;
}

/// Longer than a story needs between two of its lines.
const SLOW: Duration = Duration::from_secs(4);

async fn everysec(sync_takes: Duration) -> Redis {
    Redis::start_with(Options::default().fsync(Fsync::EverySecond).simulated_disk(sync_takes)).await
}

async fn is_there(queue: &Queue, id: TaskId) -> bool {
    matches!(queue.get(id).await.unwrap(), TaskLookup::Found(_))
}

#[tokio::test]
async fn with_everysec_a_redis_that_dies_alone_keeps_what_it_has_written() {
    let mut redis = everysec(Duration::ZERO).await;
    let queue = redis.queue();
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(queue.accept(&task(&format!("s{n}.example"))).await);
    }
    // A disk that keeps up: nothing waits to be written. Whether it was synced does not matter.
    until(async || redis.number("persistence", "aof_buffer_length").await == 0).await;
    redis.kill();
    redis.restart().await;
    for id in ids {
        assert!(is_there(&queue, id).await);
    }
}

#[tokio::test]
async fn with_everysec_and_a_slow_disk_a_redis_that_dies_alone_loses_delayed_writes() {
    let mut redis = everysec(SLOW).await;
    let queue = redis.queue();
    // Redis is told the functions, which it writes too: the sync below is not to be of them.
    assert!(!is_there(&queue, TaskId::new()).await);
    until(async || redis.is_synced().await).await;
    let first = queue.accept(&task("a.example")).await;
    until(async || redis.number("persistence", "aof_pending_bio_fsync").await == 1).await;
    let put_off = queue.accept(&task("b.example")).await;
    redis.kill();
    redis.restart().await;
    assert!(is_there(&queue, first).await, "written before the sync began");
    assert!(!is_there(&queue, put_off).await, "acknowledged, and not written");
}

#[tokio::test]
async fn with_everysec_a_power_cut_loses_what_came_after_the_last_sync() {
    let mut redis = everysec(SLOW).await;
    let queue = redis.queue();
    let synced = queue.accept(&task("a.example")).await;
    until(async || redis.is_synced().await).await;
    let later = queue.accept(&task("b.example")).await;
    redis.cut_power();
    redis.restart().await;
    assert!(is_there(&queue, synced).await);
    assert!(!is_there(&queue, later).await, "acknowledged, and not synced");
}
