//! Accepting, finding, listing, hearing.

use std::collections::HashSet;

use futures_util::future::join_all;
use tokio::sync::broadcast::Receiver;
use wpclone_queue::{EnqueueOutcome, QueueError, Signal, TaskFilter, TaskLookup};
use wpclone_task::{Code, Kind, Progress, Stage, State, TaskId};

use crate::support::*;

#[tokio::test]
async fn a_repeated_request_is_the_same_task() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = idempotent(task("a.example"), "k", &["new", "old"]);
    queue.accept(&first).await;
    let same = EnqueueOutcome::Duplicate(first.id);
    assert_eq!(queue.enqueue(&idempotent(task("a.example"), "k", &["new", "old"])).await.unwrap(), same);
    assert_eq!(queue.enqueue(&idempotent(task("a.example"), "k", &["newer", "new"])).await.unwrap(), same);
    assert_eq!(
        queue.enqueue(&idempotent(task("b.example"), "k", &["other", "old"])).await.unwrap(),
        EnqueueOutcome::FingerprintMismatch
    );
    assert!(matches!(
        queue.enqueue(&owned(idempotent(task("b.example"), "k", &["other"]), "bob")).await.unwrap(),
        EnqueueOutcome::Accepted(_)
    ));
    assert_eq!(
        queue.enqueue(&first).await.unwrap(),
        EnqueueOutcome::Accepted(first.id),
        "the same call again"
    );
    queue.done(&queue.take().await).await;
    assert_eq!(queue.enqueue(&idempotent(task("a.example"), "k", &["new"])).await.unwrap(), same);
}

#[tokio::test]
async fn a_task_enqueued_twice_is_one_task() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = task("a.example");
    queue.accept(&new).await;
    let claim = queue.take().await;
    assert_eq!(queue.enqueue(&new).await.unwrap(), EnqueueOutcome::Accepted(new.id));
    queue.done(&claim).await;
    queue.nothing_ready().await;
}

#[tokio::test]
async fn fifty_requests_at_once_with_one_key_make_one_task() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let tasks: Vec<_> = (0..50).map(|_| idempotent(task("a.example"), "k", &["f"])).collect();
    let answers = join_all(tasks.iter().map(|t| queue.enqueue(t))).await;
    let mut new = 0;
    let ids: HashSet<TaskId> = answers
        .into_iter()
        .map(|a| match a.unwrap() {
            EnqueueOutcome::Accepted(id) => {
                new += 1;
                id
            }
            EnqueueOutcome::Duplicate(id) => id,
            EnqueueOutcome::FingerprintMismatch | EnqueueOutcome::Limited(_) => panic!("the same request"),
        })
        .collect();
    assert_eq!((new, ids.len()), (1, 1));
    queue.take().await;
    queue.nothing_ready().await;
}

#[tokio::test]
async fn lists_are_newest_first_filtered_and_paged() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(
            queue
                .accept(&owned(task(&format!("s{n}.example/Shop")), if n % 3 == 0 { "bob" } else { "alice" }))
                .await,
        );
    }
    ids.reverse();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = queue.list(&TaskFilter::default(), cursor.as_deref(), 5).await.unwrap();
        assert!(page.tasks.len() <= 5);
        seen.extend(page.tasks.iter().map(|t| t.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let count = async |filter: TaskFilter| queue.list(&filter, None, 100).await.unwrap().tasks.len();
    assert_eq!(count(TaskFilter { owner: Some("bob".into()), ..Default::default() }).await, 4);
    assert_eq!(count(TaskFilter { owner: Some("carol".into()), ..Default::default() }).await, 0);
    assert_eq!(count(TaskFilter { owner: Some(String::new()), ..Default::default() }).await, 0);
    assert_eq!(count(TaskFilter { kind: Some(Kind::CreateAppPassword), ..Default::default() }).await, 0);
    assert_eq!(count(TaskFilter { search: Some("S1".into()), ..Default::default() }).await, 3);
    assert_eq!(count(TaskFilter { search: Some("/shop".into()), ..Default::default() }).await, 12);
    assert_eq!(count(TaskFilter { search: Some(ids[0].to_string()), ..Default::default() }).await, 1);
    queue.done(&queue.take().await).await;
    queue.take().await;
    let in_state = |state| TaskFilter { state: Some(state), owner: None, ..Default::default() };
    assert_eq!(count(in_state(State::Succeeded)).await, 1);
    assert_eq!(count(in_state(State::Running)).await, 1);
    assert_eq!(count(in_state(State::Queued)).await, 10);
    assert_eq!(count(TaskFilter { owner: Some("bob".into()), ..in_state(State::Queued) }).await, 3);
    assert!(matches!(queue.list(&TaskFilter::default(), Some("x"), 5).await, Err(QueueError::BadCursor)));
}

#[tokio::test]
async fn a_search_examines_a_bounded_number_and_continues_on_the_next_page() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let needle = queue.accept(&task("needle.example")).await;
    for n in 0..600 {
        queue.accept(&task(&format!("s{n}.example"))).await;
    }
    let filter = TaskFilter { search: Some("needle".into()), ..Default::default() };
    let first = queue.list(&filter, None, 10).await.unwrap();
    assert!(first.tasks.is_empty());
    let second = queue.list(&filter, Some(&first.next.unwrap()), 10).await.unwrap();
    assert_eq!(second.tasks[0].id, needle);
    assert!(second.next.is_none());
}

#[tokio::test]
async fn every_change_of_a_task_is_an_event() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    queue.heartbeat(&claim.lease, Some(&Progress { percent: 10, message: "On it.".into() })).await.unwrap();
    queue.heartbeat(&claim.lease, Some(&Progress { percent: 10, message: "On it.".into() })).await.unwrap();
    queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    redis.make_due(&claim).await;
    queue.sweep().await.unwrap();
    queue.done(&queue.take().await).await;

    let events = queue.events(id, None, 100).await.unwrap();
    let listed: Vec<_> =
        events.iter().map(|e| (e.event.state, e.event.progress.percent, e.event.code.as_deref())).collect();
    assert_eq!(
        listed,
        [
            (State::Running, 0, None),
            (State::Running, 10, None),
            (State::Running, 10, Some("SITE_UNREACHABLE")),
            (State::Running, 10, None),
            (State::Succeeded, 100, None),
        ]
    );
    assert_eq!(
        (events[0].event.step.as_deref(), events[0].event.stage),
        (Some("setup"), Some(Stage::Browser))
    );
    assert!(events.iter().map(|e| e.event.at).is_sorted());
    let rest = queue.events(id, Some(&events[2].id), 100).await.unwrap();
    assert_eq!(rest, events[3..]);
    assert_eq!(queue.events(id, None, 2).await.unwrap(), events[..2]);
    let last = format!("{0}-{0}", u64::MAX);
    for bad in ["x", "1-", "-1", "1-+1", &last] {
        assert!(matches!(queue.events(id, Some(bad), 2).await, Err(QueueError::BadCursor)), "{bad}");
    }
}

#[tokio::test]
async fn events_are_capped() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    for n in 0..520 {
        let progress = Progress { percent: 1, message: format!("Step {n}.") };
        queue.heartbeat(&claim.lease, Some(&progress)).await.unwrap();
    }
    assert_eq!(redis.command::<u64>(&format!("LLEN {{wpclone}}:events:{id}")).await, 500);
}

#[tokio::test]
async fn an_unknown_task_is_not_found() {
    let redis = Redis::start().await;
    assert!(matches!(redis.queue().get(TaskId::new()).await.unwrap(), TaskLookup::NotFound));
}

#[tokio::test]
async fn ready_stages_and_changes_are_signalled_to_all_receivers() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let (mut work, mut also) = (queue.subscribe_ready(), queue.clone().subscribe_ready());
    let mut changes = queue.subscribe_changes();
    heard(&mut work, Signal::Reconnected).await;
    heard(&mut changes, Signal::Reconnected).await;
    let id = redis.queue().accept(&task("a.example")).await;
    heard(&mut changes, Signal::TaskChanged(id, "alice".into())).await;
    for receiver in [&mut work, &mut also] {
        heard(receiver, Signal::StageReady(Stage::Browser)).await;
    }
    drop(queue);
    while work.recv().await.is_ok() {} // ends when the queue is dropped
}

pub(crate) async fn heard(receiver: &mut Receiver<Signal>, wanted: Signal) {
    let listen = async { while receiver.recv().await.expect("the queue is there") != wanted {} };
    tokio::time::timeout(std::time::Duration::from_secs(120), listen).await.expect("the signal comes");
}

#[tokio::test]
async fn a_list_of_all_owners_is_complete() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut ids = Vec::new();
    for n in 0..130 {
        ids.push(queue.accept(&owned(task(&format!("s{n}.example")), &format!("owner{}", n % 13))).await);
    }
    // Leaves whose first is gone, and every state somewhere.
    for id in &ids[..13] {
        queue.cancel(*id).await.unwrap();
    }
    queue.done(&queue.take().await).await;
    queue.take().await;
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = queue.list(&TaskFilter::default(), cursor.as_deref(), 7).await.unwrap();
        seen.extend(page.tasks.iter().map(|t| t.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    ids.reverse();
    assert_eq!(seen, ids, "newest first, each once");
}
