//! Slots among owners, with a real queue.

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use wpclone_queue::{Claim, Delivery, EnqueueOutcome, NewTask, QueueOptions, StoredOutput};
use wpclone_task::{Plan, SiteKey, StepPlan, TaskId};
use wpclone_test_redis::Redis;

use super::*;

const DEADLINE: Duration = Duration::from_secs(120);

fn task(owner: &str, shares_slots: bool) -> NewTask {
    let request = json!({"kind": "setup", "url": "https://a.example", "username": "admin", "role": "source"});
    let task = NewTask::new(serde_json::from_value(request).unwrap(), "sealed".into(), owner.into());
    NewTask { sealed_callback: Some("sealed-address".into()), shares_slots, ..task }
}

/// Accepts a task that has one step, in this stage.
async fn accept(queue: &Queue, stage: Stage, owner: &str, shares_slots: bool) -> TaskId {
    let task = task(owner, shares_slots);
    let step = StepPlan { name: "only".into(), stage, optional: false, share: 1 };
    let plan = Plan { phases: vec![vec![step]], clean_up: vec![] };
    let site = SiteKey::of_clone(task.id); // no two have one
    let accepted = queue.enqueue_with_plan(&task, &plan, vec![site], 0).await.unwrap();
    assert_eq!(accepted, EnqueueOutcome::Accepted(task.id));
    task.id
}

/// Queues the callback of a task that has ended.
async fn end_with_callback(queue: &Queue, owner: &str) {
    let id = accept(queue, Stage::Browser, owner, true).await;
    let claim = queue.claim("ends", &[Stage::Browser]).await.unwrap().unwrap();
    assert_eq!(claim.lease.task, id);
    queue.complete(&claim.lease, &StoredOutput::default()).await.unwrap();
}

/// What a loop has started, in its slot.
struct Started<T>(T, Slot);

async fn next<T>(started: &mut UnboundedReceiver<Started<T>>) -> Started<T> {
    tokio::time::timeout(DEADLINE, started.recv()).await.expect("it is started").unwrap()
}

/// Claims transfers into these slots as a worker does, while the test runs.
async fn while_claiming_transfers(
    queue: &Queue,
    slots: Slots,
    test: impl AsyncFnOnce(UnboundedReceiver<Started<Claim>>),
) {
    let (sender, started) = unbounded_channel();
    let claim = async |attempt: &ClaimAttempt| queue.claim_with("worker", &[Stage::Transfer], attempt).await;
    let start = |claim: Claim, mut slot: Slot| {
        if claim.shares_slots {
            slot.set_owner(&claim.owner);
        }
        let _ = sender.send(Started(claim, slot));
    };
    let shutdown = CancellationToken::new();
    tokio::select! {
        () = claim_loop(&shutdown, queue, &[Stage::Transfer], slots, claim, start) => panic!("the loop has ended"),
        () = test(started) => {}
    }
}

#[tokio::test]
async fn an_owner_whose_transfers_never_end_leaves_a_slot_to_others() {
    let redis = Redis::start().await;
    let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
    for _ in 0..5 {
        accept(&queue, Stage::Transfer, "mallory", true).await;
    }
    let slots = Slots::of_stage(Stage::Transfer, 3);
    while_claiming_transfers(&queue, slots, async |mut started| {
        let endless = [next(&mut started).await, next(&mut started).await];
        assert!(endless.iter().all(|Started(claim, _)| claim.owner == "mallory"));
        for _ in 0..3 {
            let id = accept(&queue, Stage::Transfer, "alice", true).await;
            let Started(claim, _slot) = next(&mut started).await;
            assert_eq!(claim.lease.task, id, "not another one of mallory's");
            queue.complete(&claim.lease, &StoredOutput::default()).await.unwrap();
        }
        // When one of hers ends, she may have its slot again.
        let [Started(claim, slot), _other] = endless;
        queue.complete(&claim.lease, &StoredOutput::default()).await.unwrap();
        drop(slot);
        assert_eq!(next(&mut started).await.0.owner, "mallory");
    })
    .await;
}

#[tokio::test]
async fn an_owner_without_others_may_have_all_slots() {
    let redis = Redis::start().await;
    let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
    for _ in 0..2 {
        accept(&queue, Stage::Transfer, "local", false).await;
    }
    while_claiming_transfers(&queue, Slots::of_stage(Stage::Transfer, 2), async |mut started| {
        let _both = [next(&mut started).await, next(&mut started).await];
    })
    .await;
}

#[tokio::test]
async fn an_owner_whose_receivers_do_not_answer_has_half_of_the_slots_for_webhooks() {
    let redis = Redis::start().await;
    let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
    for _ in 0..6 {
        end_with_callback(&queue, "mallory").await;
    }
    let (sender, mut started) = unbounded_channel();
    let claim = async |attempt: &ClaimAttempt| queue.claim_delivery_with("worker", attempt).await;
    let start = |delivery: Delivery, mut slot: Slot| {
        if delivery.shares_slots {
            slot.set_owner(&delivery.owner);
        }
        let _ = sender.send(Started(delivery, slot));
    };
    let (shutdown, slots) = (CancellationToken::new(), Slots::half_for_one_owner(4));
    let test = async {
        let _unanswered = [next(&mut started).await, next(&mut started).await];
        end_with_callback(&queue, "alice").await;
        end_with_callback(&queue, "bob").await;
        let others = [next(&mut started).await, next(&mut started).await];
        assert_eq!(others.map(|Started(delivery, _)| delivery.owner), ["alice", "bob"]);
    };
    tokio::select! {
        () = claim_loop(&shutdown, &queue, &[Stage::Webhook], slots, claim, start) => panic!("the loop has ended"),
        () = test => {}
    }
}
