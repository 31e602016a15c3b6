//! What one owner can keep from others: its turn, and slots.

use wpclone_queue::{ClaimAttempt, Queue, Signal};
use wpclone_task::{Stage, TaskId};

use crate::producers::heard;
use crate::support::*;

async fn accept(queue: &Queue, owner: &str) -> TaskId {
    let site = format!("{}.example", TaskId::new());
    queue.accept(&owned(task(&site), owner)).await
}

/// The owner of the step that a claim gets which passes over this one.
async fn owner_of_next(queue: &Queue, passed_over: Option<&str>) -> Option<String> {
    let attempt = ClaimAttempt::passing_over(passed_over.map(str::to_owned));
    queue.claim_with("w1", &[Stage::Browser], &attempt).await.unwrap().map(|claim| claim.owner)
}

async fn owners_of_next(queue: &Queue, n: usize) -> Vec<String> {
    let mut owners = Vec::new();
    for _ in 0..n {
        owners.extend(owner_of_next(queue, None).await);
    }
    owners
}

#[tokio::test]
async fn an_owner_with_many_ready_steps_delays_others_by_one_turn() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for _ in 0..200 {
        accept(&queue, "mallory").await;
    }
    accept(&queue, "alice").await;
    accept(&queue, "bob").await;
    accept(&queue, "alice").await;
    let expected = ["mallory", "alice", "bob", "mallory", "alice", "mallory", "mallory"];
    assert_eq!(owners_of_next(&queue, 7).await, expected);
    // Whoever comes anew does not overtake those who wait.
    accept(&queue, "alice").await;
    assert_eq!(owners_of_next(&queue, 3).await, ["mallory", "alice", "mallory"]);
    assert_eq!(queue.stats().await.unwrap().stages[&Stage::Browser].ready, 194);
}

#[tokio::test]
async fn callbacks_are_claimed_in_turns_too() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for owner in ["mallory", "mallory", "mallory", "alice"] {
        let mut new = owned(task(&format!("{}.example", TaskId::new())), owner);
        new.sealed_callback = Some("sealed-address".into());
        new.shares_slots = owner == "alice";
        queue.accept(&new).await;
        queue.done(&queue.take().await).await;
    }
    for owner in ["mallory", "alice", "mallory", "mallory"] {
        let delivery = queue.claim_delivery("w1").await.unwrap().unwrap();
        assert_eq!((delivery.owner.as_str(), delivery.shares_slots), (owner, owner == "alice"));
    }
}

#[tokio::test]
async fn a_claim_passes_over_an_owner_which_keeps_its_turn() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for owner in ["mallory", "mallory", "alice", "bob", "alice"] {
        accept(&queue, owner).await;
    }
    for expected in [Some("alice"), Some("bob"), Some("alice"), None] {
        assert_eq!(owner_of_next(&queue, Some("mallory")).await.as_deref(), expected);
    }
    accept(&queue, "alice").await;
    assert_eq!(owners_of_next(&queue, 3).await, ["mallory", "alice", "mallory"]);

    // Of several stages as well, and again when the answer was lost.
    accept(&queue, "mallory").await;
    let attempt = ClaimAttempt::passing_over(Some("mallory".into()));
    assert!(queue.claim_with("w1", Stage::OF_TASKS, &attempt).await.unwrap().is_none());
    let alices = accept(&queue, "alice").await;
    for _ in 0..2 {
        let claim = queue.claim_with("w1", Stage::OF_TASKS, &attempt).await.unwrap().unwrap();
        assert_eq!(claim.lease.task, alices);
    }
}

#[tokio::test]
async fn a_worker_that_passes_over_an_owner_hears_of_the_first_step_of_another() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut signals = queue.subscribe_ready();
    heard(&mut signals, Signal::Reconnected).await;
    accept(&queue, "mallory").await;
    heard(&mut signals, Signal::StageReady(Stage::Browser)).await;
    assert_eq!(owner_of_next(&queue, Some("mallory")).await, None);
    accept(&queue, "alice").await;
    heard(&mut signals, Signal::StageReady(Stage::Browser)).await;
    assert_eq!(owner_of_next(&queue, Some("mallory")).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn an_owner_whose_last_ready_step_is_cancelled_has_no_turn() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let only = accept(&queue, "mallory").await;
    accept(&queue, "alice").await;
    queue.cancel(only).await.unwrap();
    let turns: Vec<String> = redis.command("ZRANGE {wpclone}:ready:browser 0 -1").await;
    assert_eq!(turns, ["alice"]);
    assert_eq!(owner_of_next(&queue, None).await.as_deref(), Some("alice"));
    let left: Vec<String> = redis.command("KEYS *:ready:*").await;
    assert_eq!(left, [""; 0]);
}
