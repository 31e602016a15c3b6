//! How much one owner may ask for.

use std::time::Duration;

use wpclone_queue::{EnqueueOutcome, LimitExceeded, NewTask, OwnerLimits, Queue};
use wpclone_task::Code;

use crate::support::*;

fn limited(mut task: NewTask, per_minute: Option<u32>, concurrent: Option<u32>) -> NewTask {
    task.limits = OwnerLimits { per_minute, concurrent };
    task
}

async fn refused(queue: &Queue, task: &NewTask) -> LimitExceeded {
    match queue.enqueue(task).await.unwrap() {
        EnqueueOutcome::Limited(limit) => limit,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn unfinished_tasks_of_an_owner_are_limited_in_every_state() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let three = |site: &str| limited(task(site), None, Some(3));
    for site in ["a.example", "a.example", "b.example"] {
        queue.accept(&three(site)).await; // one waits for its site
    }
    let fourth = three("c.example");
    assert_eq!(refused(&queue, &fourth).await, LimitExceeded::Concurrency);
    queue.accept(&limited(owned(task("c.example"), "bob"), None, Some(3))).await;
    let claim = queue.take().await;
    assert_eq!(refused(&queue, &fourth).await, LimitExceeded::Concurrency, "one that runs counts");
    queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    assert_eq!(
        refused(&queue, &fourth).await,
        LimitExceeded::Concurrency,
        "so does one between two attempts"
    );
    queue.cancel(claim.lease.task).await.unwrap();
    queue.accept(&fourth).await;
    assert_eq!(refused(&queue, &three("d.example")).await, LimitExceeded::Concurrency);
}

#[tokio::test]
async fn tasks_a_minute_are_limited_and_the_wait_is_returned() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for n in 0..2 {
        queue.accept(&limited(task(&format!("s{n}.example")), Some(2), None)).await;
    }
    let third = limited(task("x.example"), Some(2), None);
    let LimitExceeded::Rate(wait) = refused(&queue, &third).await else { panic!("the rate") };
    assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(30), "{wait:?}");
    queue.accept(&limited(owned(task("y.example"), "bob"), Some(2), None)).await;
    // As if that time had passed.
    let due: u64 = redis.command("GET {wpclone}:rate:alice").await;
    redis.command::<()>(&format!("SET {{wpclone}}:rate:alice {}", due - 30_000)).await;
    queue.accept(&third).await;
    assert!(matches!(
        refused(&queue, &limited(task("z.example"), Some(2), None)).await,
        LimitExceeded::Rate(_)
    ));
    // A clock that was set back by a day does not block an owner for a day.
    redis.command::<()>(&format!("SET {{wpclone}}:rate:alice {}", due + 86_400_000)).await;
    let LimitExceeded::Rate(wait) = refused(&queue, &limited(task("z.example"), Some(2), None)).await else {
        panic!("the rate")
    };
    assert!(wait <= Duration::from_secs(30), "{wait:?}");
}

#[tokio::test]
async fn a_repeated_request_does_not_count() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = limited(idempotent(task("a.example"), "key", &["f"]), Some(1), Some(1));
    queue.accept(&first).await;
    let again = limited(idempotent(task("a.example"), "key", &["f"]), Some(1), Some(1));
    assert_eq!(queue.enqueue(&again).await.unwrap(), EnqueueOutcome::Duplicate(first.id));
    let by_id = limited(task("b.example"), Some(1), Some(2));
    assert!(matches!(refused(&queue, &by_id).await, LimitExceeded::Rate(_)));
    let same_id = NewTask { idempotency: None, ..first.clone() };
    assert_eq!(
        queue.enqueue(&same_id).await.unwrap(),
        EnqueueOutcome::Accepted(first.id),
        "asked again with its id"
    );
}

#[tokio::test]
async fn a_hundred_requests_at_once_never_exceed_the_limit() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let asked = (0..100).map(|n| {
        let queue = queue.clone();
        async move { queue.enqueue(&limited(task(&format!("s{n}.example")), None, Some(7))).await.unwrap() }
    });
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|a| matches!(a, EnqueueOutcome::Accepted(_))).count(), 7);
}
