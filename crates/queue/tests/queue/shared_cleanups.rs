//! Clean-ups of sites among several owners: whoever occupies a site or leaves much takes nobody's clean-up away.

use std::time::Duration;

use wpclone_queue::{FailOutcome, Queue, SiteCleanup, StoredOutput};
use wpclone_task::{Code, LeftState, TaskId};

use crate::cleanup_support::{MINUTE, RETRY, claim, claim_early, depth, left_on, take};
use crate::support::*;

const SITE: &str = "a.example";

/// A task of this owner that ends and leaves something on a site.
async fn leave_something(queue: &Queue, owner: &str, site: &str) -> TaskId {
    leave(queue, owner, [left_on(site)].into_iter()).await
}

async fn leave(queue: &Queue, owner: &str, left: impl Iterator<Item = SiteCleanup>) -> TaskId {
    let new = owned(task(SITE), owner);
    queue.enqueue_with_plan(&new, &plan("browser prepare"), sites(&[SITE]), 0).await.unwrap();
    let first = take(queue, "prepare").await;
    for (n, cleanup) in left.enumerate() {
        queue.set_site_cleanup(&first.lease, &n.to_string(), Some(&cleanup)).await.unwrap();
    }
    queue.fail(&first.lease, &problem(Code::CapMissing)).await.unwrap();
    new.id
}

async fn accept_of_mallory(queue: &Queue) {
    queue.accept(&owned(task(SITE), "mallory")).await;
}

/// Time passes, and what has become due is done.
async fn pass(redis: &Redis, queue: &Queue, ms: i64) {
    redis.advance_clock(ms).await;
    queue.sweep().await.unwrap();
}

/// Keeps a clean-up waiting, with a task that holds the site's lock and one in its line, until it is first in line.
async fn keep_waiting_for_too_long(redis: &Redis, queue: &Queue) {
    accept_of_mallory(queue).await;
    accept_of_mallory(queue).await;
    assert!(claim_early(redis, queue).await.is_none());
    pass(redis, queue, 11 * MINUTE).await;
    assert!(claim(queue).await.is_none(), "a task that has begun is not interrupted");
}

#[tokio::test]
async fn tasks_that_keep_a_site_occupied_do_not_keep_a_cleanup_from_its_turn() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let alices = leave_something(&queue, "alice", SITE).await;
    accept_of_mallory(&queue).await;
    let mut minutes = 0;
    let attempt = loop {
        // There is always one in line.
        accept_of_mallory(&queue).await;
        pass(&redis, &queue, MINUTE).await;
        minutes += 1;
        assert!(minutes < 15, "its turn never comes");
        if let Some(attempt) = claim(&queue).await {
            break attempt;
        }
        queue.done(&queue.take().await).await;
        if let Some(attempt) = claim(&queue).await {
            break attempt;
        }
    };
    assert!(attempt.task == alices && minutes > 10, "tasks come first for ten minutes: {minutes}");
    // It does not give way now, and the line goes on when it ends.
    queue.nothing_ready().await;
    assert!(!queue.heartbeat(&attempt.lease, None).await.unwrap().cancel_requested);
    queue.complete(&attempt.lease, &StoredOutput::default()).await.unwrap();
    assert_eq!(queue.take().await.owner, "mallory");
    assert_eq!(depth(&queue).await, (0, 0, 0));
}

#[tokio::test]
async fn a_cleanup_that_is_interrupted_again_and_again_is_finished_in_the_end() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    leave_something(&queue, "alice", SITE).await;
    let mut interrupted = 0;
    loop {
        pass(&redis, &queue, MINUTE).await;
        let attempt = claim(&queue).await.expect("the site is free");
        accept_of_mallory(&queue).await;
        if !queue.heartbeat(&attempt.lease, None).await.unwrap().cancel_requested {
            queue.complete(&attempt.lease, &StoredOutput::default()).await.unwrap();
            break;
        }
        interrupted += 1;
        assert!(interrupted < 15, "it is never finished");
        queue.defer(&attempt.lease, Duration::from_secs(60)).await.unwrap();
        queue.done(&queue.take().await).await;
    }
    assert!(interrupted >= 10, "it gives way for ten minutes: {interrupted}");
    assert_eq!(queue.take().await.owner, "mallory");
}

#[tokio::test]
async fn a_site_is_not_kept_for_long_for_a_cleanup_that_no_worker_claims() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    leave_something(&queue, "alice", SITE).await;
    keep_waiting_for_too_long(&redis, &queue).await;
    queue.done(&queue.take().await).await;
    queue.nothing_ready().await;
    assert_eq!(depth(&queue).await, (1, 0, 0));

    pass(&redis, &queue, 6 * MINUTE).await;
    assert_eq!(depth(&queue).await, (0, 0, 1));
    let next = queue.take().await;
    assert_eq!(next.owner, "mallory");
    // A worker that comes back then finds it still overdue.
    accept_of_mallory(&queue).await;
    assert!(claim_early(&redis, &queue).await.is_none());
    queue.done(&next).await;
    let attempt = claim(&queue).await.expect("its turn");
    queue.complete(&attempt.lease, &StoredOutput::default()).await.unwrap();
    queue.done(&queue.take().await).await;
    assert_eq!(redis.command::<Vec<String>>("KEYS *site*").await, [""; 0]);
}

#[tokio::test]
async fn a_cleanup_that_has_failed_gives_way_again() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    leave_something(&queue, "alice", SITE).await;
    keep_waiting_for_too_long(&redis, &queue).await;
    queue.done(&queue.take().await).await;
    let attempt = claim(&queue).await.expect("its turn");
    let failed = queue.fail_with(&attempt.lease, &problem(Code::MigratorUnreachable), &RETRY).await.unwrap();
    assert!(matches!(failed, FailOutcome::Retrying(_)));
    for _ in 0..3 {
        accept_of_mallory(&queue).await;
        pass(&redis, &queue, 2 * MINUTE).await;
        assert!(claim(&queue).await.is_none());
        queue.done(&queue.take().await).await;
    }
}

#[tokio::test]
async fn the_latest_of_the_cleanups_that_tasks_keep_waiting_comes_first() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = leave_something(&queue, "alice", SITE).await;
    redis.next_millisecond().await;
    let second = leave_something(&queue, "alice", SITE).await;
    keep_waiting_for_too_long(&redis, &queue).await;
    accept_of_mallory(&queue).await;
    queue.done(&queue.take().await).await;
    let attempt = claim(&queue).await.expect("its turn");
    assert_eq!(attempt.task, second);
    queue.complete(&attempt.lease, &StoredOutput::default()).await.unwrap();
    // The site's line goes on, and the other waits for as long.
    queue.done(&queue.take().await).await;
    pass(&redis, &queue, 2 * MINUTE).await;
    assert!(claim(&queue).await.is_none());
    pass(&redis, &queue, 11 * MINUTE).await;
    assert!(claim(&queue).await.is_none());
    queue.done(&queue.take().await).await;
    assert_eq!(claim(&queue).await.expect("its turn").task, first);
}

#[tokio::test]
async fn an_owner_that_leaves_much_on_a_site_has_nobody_elses_cleanup_given_up() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let alices = leave_something(&queue, "alice", SITE).await;
    let mut mallorys = Vec::new();
    for _ in 0..7 {
        redis.next_millisecond().await;
        mallorys.push(leave_something(&queue, "mallory", SITE).await);
    }
    let all = queue.site_cleanups().await.unwrap();
    let of = |state| all.iter().filter(|c| c.state == state).map(|c| c.task).collect::<Vec<_>>();
    assert_eq!(of(LeftState::Pending), [&[alices][..], &mallorys[3..]].concat());
    assert_eq!(of(LeftState::GivenUp), [mallorys[2], mallorys[1], mallorys[0]]);
}

#[tokio::test]
async fn an_owner_that_leaves_much_everywhere_has_nobody_elses_cleanup_given_up() {
    const MOST: usize = 10_000;
    const OF_TASK: usize = 500;
    let redis = Redis::start().await;
    let queue = redis.queue();
    // Each lease lasts 30 seconds, and 500 writes under it must not take that long.
    redis.command::<()>("CONFIG SET appendfsync no").await;
    let alices = leave_something(&queue, "alice", "alice.example").await;
    redis.next_millisecond().await;
    for n in 0..MOST / OF_TASK {
        let left = (0..OF_TASK).map(|m| left_on(&format!("site-{n}-{m}.example")));
        leave(&queue, "mallory", left).await;
    }
    assert_eq!(redis.command::<usize>("ZCARD {wpclone}:site_cleanups").await, MOST);
    assert_eq!(queue.counters().await.unwrap()["site_cleanup_given_up_total"], 1);
    let all = queue.site_cleanups().await.unwrap();
    let pending = all.iter().find(|c| c.task == alices).expect("it is listed");
    assert_eq!(pending.state, LeftState::Pending);
    // Each that comes now costs the owner that has most one of its own.
    leave_something(&queue, "bob", "bob.example").await;
    leave_something(&queue, "mallory", "mallory.example").await;
    let counts: Vec<String> = redis.command("ZRANGE {wpclone}:site_cleanups_by_owner 0 -1 WITHSCORES").await;
    assert_eq!(counts, ["alice", "1", "bob", "1", "mallory", "9998"]);
    assert_eq!(queue.counters().await.unwrap()["site_cleanup_given_up_total"], 3);
}
