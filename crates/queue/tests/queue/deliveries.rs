//! Telling the ends of tasks to their owners.

use std::time::Duration;

use wpclone_queue::{
    Delivery, FailOutcome, NewTask, OwnerLimits, Queue, QueueError, QueueOptions, RetryPolicy, StoredOutput,
};
use wpclone_task::{Code, Kind, Stage, State, TaskId};

use crate::support::*;

fn with_callback(mut task: NewTask) -> NewTask {
    task.sealed_callback = Some("sealed-address".into());
    task
}

/// Claims a delivery that has to be ready, and confirms the claim.
async fn delivery(queue: &Queue) -> Delivery {
    let delivery = queue.claim_delivery("w1").await.unwrap().expect("a delivery is ready");
    queue.heartbeat(&delivery.lease, None).await.unwrap();
    delivery
}

async fn callback(queue: &Queue, id: TaskId) -> Option<(State, Option<Code>)> {
    queue.task(id).await.callback.map(|callback| (callback.state, callback.code))
}

#[tokio::test]
async fn every_end_of_a_task_with_a_callback_is_delivered_once() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let ids = [
        queue.accept(&with_callback(task("a.example"))).await,
        queue.accept(&with_callback(task("b.example"))).await,
        queue.accept(&with_callback(task("c.example"))).await,
    ];
    queue.accept(&task("d.example")).await;
    let mut work = queue.subscribe_ready();
    crate::producers::heard(&mut work, wpclone_queue::Signal::Reconnected).await;
    assert!(queue.claim_delivery("w1").await.unwrap().is_none(), "nothing has ended");
    queue.done(&queue.take().await).await;
    crate::producers::heard(&mut work, wpclone_queue::Signal::StageReady(Stage::Webhook)).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    queue.cancel(ids[2]).await.unwrap();
    queue.done(&queue.take().await).await;
    assert_eq!(callback(&queue, ids[0]).await, Some((State::Queued, None)));

    let ends = [(State::Succeeded, None), (State::Failed, Some(Code::CapMissing)), (State::Cancelled, None)];
    let mut left: Vec<_> = ids.into_iter().zip(ends).collect();
    while !left.is_empty() {
        let claimed = delivery(&queue).await;
        let n = left.iter().position(|(id, _)| *id == claimed.task).expect("each is delivered once");
        let (id, (state, code)) = left.remove(n);
        assert_eq!((claimed.kind, claimed.state, claimed.code), (Kind::Setup, state, code));
        assert_eq!((claimed.sealed_callback.as_str(), claimed.attempts), ("sealed-address", 0));
        let task = queue.task(id).await;
        assert_eq!((Some(claimed.finished_at), claimed.created_at), (task.finished_at, task.created_at));
        queue.heartbeat(&claimed.lease, None).await.unwrap();
        queue.complete(&claimed.lease, &StoredOutput::default()).await.unwrap();
        assert_eq!(callback(&queue, id).await, Some((State::Succeeded, None)));
        assert!(matches!(
            queue.complete(&claimed.lease, &StoredOutput::default()).await,
            Err(QueueError::LeaseLost)
        ));
    }
    assert!(queue.claim_delivery("w1").await.unwrap().is_none());
    let listed = queue.list(&Default::default(), None, 100).await.unwrap().tasks;
    assert_eq!(listed.len(), 4, "deliveries are no tasks");
    assert!(queue.claim("w1", Stage::ALL).await.unwrap().is_none());
    let keys: Vec<String> = redis.command("KEYS *:task:*").await;
    assert_eq!(keys.len(), 4, "nothing is kept of a delivery");
}

#[tokio::test]
async fn a_delivery_is_retried_and_fails_in_the_end() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&with_callback(task("a.example"))).await;
    queue.done(&queue.take().await).await;
    let hour = Duration::from_secs(3600);
    let retry = RetryPolicy { max_attempts: 3, backoff_base: hour, backoff_cap: hour, not_before: hour };
    let mut message = None;
    for attempt in 0..3 {
        let claimed = delivery(&queue).await;
        assert_eq!(claimed.attempts, attempt);
        assert_eq!(*message.get_or_insert(claimed.lease.task), claimed.lease.task, "the same message");
        let failed = queue.fail_with(&claimed.lease, &problem(Code::SiteUnreachable), &retry).await.unwrap();
        if attempt < 2 {
            assert_eq!(failed, FailOutcome::Retrying(hour));
            assert!(queue.claim_delivery("w1").await.unwrap().is_none());
            redis
                .command::<()>(&format!("ZADD {{wpclone}}:delayed:webhook 1 {}:0", claimed.lease.task))
                .await;
            queue.sweep().await.unwrap();
        } else {
            assert_eq!(failed, FailOutcome::DeadLettered);
        }
    }
    assert_eq!(callback(&queue, id).await, Some((State::Failed, Some(Code::SiteUnreachable))));
    assert_eq!(queue.counters().await.unwrap()["dead_total:SITE_UNREACHABLE"], 1);
    assert_eq!(queue.task(id).await.state, State::Succeeded, "the task itself went well");
}

#[tokio::test]
async fn a_delivery_outlives_its_worker() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&with_callback(task("a.example"))).await;
    queue.done(&queue.take().await).await;
    let lost = delivery(&queue).await;
    redis.command::<()>(&format!("ZADD {{wpclone}}:leases:webhook XX 1 {}:0", lost.lease.task)).await;
    queue.sweep().await.unwrap();
    let again = delivery(&queue).await;
    assert_eq!(again.lease.task, lost.lease.task);
    assert!(again.lease.token > lost.lease.token);
    assert!(matches!(
        queue.complete(&lost.lease, &StoredOutput::default()).await,
        Err(QueueError::LeaseLost)
    ));
    queue.release(&again.lease).await.unwrap();
    queue.complete(&delivery(&queue).await.lease, &StoredOutput::default()).await.unwrap();
    assert_eq!(callback(&queue, id).await, Some((State::Succeeded, None)));
    let counters = queue.counters().await.unwrap();
    assert_eq!((counters["lease_lost_total"], counters["late_writes_total"]), (1, 1));
}

#[tokio::test]
async fn a_delivery_outlives_its_task_and_a_replay_has_its_own() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&with_callback(task("a.example"))).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    queue.replay(id, None, OwnerLimits::default()).await.unwrap();
    assert_eq!(queue.task(id).await.callback, None);
    queue.done(&queue.take().await).await;
    redis.queue_with(QueueOptions { finished_max_bytes: 0, ..Default::default() }).sweep().await.unwrap();
    let (mut first, mut second) = (delivery(&queue).await, delivery(&queue).await);
    if first.state == State::Succeeded {
        (first, second) = (second, first); // both became ready in one millisecond
    }
    assert_ne!(first.lease.task, second.lease.task);
    assert_eq!((first.state, second.state), (State::Failed, State::Succeeded));
    for claimed in [first, second] {
        queue.complete(&claimed.lease, &StoredOutput::default()).await.unwrap();
    }
    assert!(matches!(queue.get(id).await.unwrap(), wpclone_queue::TaskLookup::Gone));
    let left: Vec<String> = redis.command("KEYS *:task:*").await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn a_task_shows_only_its_last_delivery() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&with_callback(task("a.example"))).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    let old = delivery(&queue).await;
    queue.replay(id, None, OwnerLimits::default()).await.unwrap();
    queue.done(&queue.take().await).await;
    queue.complete(&old.lease, &StoredOutput::default()).await.unwrap();
    assert_eq!(callback(&queue, id).await, Some((State::Queued, None)), "the new one is not delivered yet");
    queue.complete(&delivery(&queue).await.lease, &StoredOutput::default()).await.unwrap();
    assert_eq!(callback(&queue, id).await, Some((State::Succeeded, None)));
}

#[tokio::test]
async fn a_deferred_delivery_costs_no_attempt_and_overtakes_no_other() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for site in ["a.example", "b.example"] {
        queue.accept(&with_callback(task(site))).await;
        queue.done(&queue.take().await).await;
        redis.next_millisecond().await;
    }
    let first = delivery(&queue).await;
    queue.defer(&first.lease, Duration::from_secs(3600)).await.unwrap();
    assert!(matches!(queue.heartbeat(&first.lease, None).await, Err(QueueError::LeaseLost)));
    redis.command::<()>(&format!("ZADD {{wpclone}}:delayed:webhook XX 1 {}:0", first.lease.task)).await;
    queue.sweep().await.unwrap();
    assert_ne!(delivery(&queue).await.task, first.task);
    let again = delivery(&queue).await;
    assert_eq!((again.task, again.attempts), (first.task, 0));
}
