//! All operations of the queue on other servers than Debian's Redis: on Valkey, and on a cluster.

use std::time::Duration;

use wpclone_queue::{
    CancelOutcome, ClaimAttempt, CompleteOutcome, EnqueueOutcome, FailOutcome, OwnerLimits, Queue,
    QueueError, QueueOptions, ReplayOutcome, Signal, SiteCleanup, StoredOutput, TaskFilter,
};
use wpclone_task::{Code, Progress, Stage, State, TaskId};
use wpclone_test_redis::{Cluster, Options, valkey};

use crate::support::*;
use crate::worker_pool::until;

/// Runs every operation of the queue once, and checks it through the queue's own API only.
async fn run_all_operations(url: &str) {
    let queue = Queue::new(url, no_backoff_options()).unwrap();
    let (mut work, mut changes) = (queue.subscribe_ready(), queue.subscribe_changes());
    for signals in [&mut work, &mut changes] {
        wait_for_signal(signals, &Signal::Reconnected).await;
    }
    let id = a_task_with_several_steps(&queue).await;
    wait_for_signal(&mut work, &Signal::StageReady(Stage::Transfer)).await;
    wait_for_signal(&mut changes, &Signal::TaskChanged(id, "alice".into())).await;
    a_step_that_fails(&queue).await;
    a_lease_that_expires(&queue, url).await;
    tasks_of_one_site_run_in_order(&queue).await;
    cancellation(&queue).await;
    replay_and_delivery(&queue).await;
    all_tasks_are_listed(&queue).await;
    a_claim_that_is_repeated(&queue).await;
    something_left_on_a_site(&queue).await;
}

/// Options with which a failed step is ready again at once.
fn no_backoff_options() -> QueueOptions {
    QueueOptions { backoff_base: Duration::ZERO, ..QueueOptions::default() }
}

async fn wait_for_signal(signals: &mut tokio::sync::broadcast::Receiver<Signal>, expected: &Signal) {
    let receiving = async { while signals.recv().await.unwrap() != *expected {} };
    tokio::time::timeout(crate::worker_pool::TIMEOUT, receiving).await.expect("the signal arrives");
}

async fn a_task_with_several_steps(queue: &Queue) -> TaskId {
    let mut new = idempotent(task("many.example"), "key", &["f"]);
    new.sealed_secrets = "sealed".into();
    let steps = plan("provisioning a, browser b | transfer c");
    let accept = async |new| queue.enqueue_with_plan(new, &steps, sites(&["many.example"]), 1).await.unwrap();
    assert_eq!(accept(&new).await, EnqueueOutcome::Accepted(new.id));
    let same = idempotent(task("many.example"), "key", &["f"]);
    let other = idempotent(task("many.example"), "key", &["g"]);
    assert_eq!(accept(&same).await, EnqueueOutcome::Duplicate(new.id));
    assert_eq!(accept(&other).await, EnqueueOutcome::FingerprintMismatch);
    let (one, two) = (queue.take().await, queue.take().await);
    queue.nothing_ready().await;
    assert!(two.lease.token > one.lease.token);
    assert_eq!(one.sealed_secrets.as_deref(), Some("sealed"));
    let progress = Progress { percent: 40, message: "Half of it.".into() };
    assert!(!queue.heartbeat(&one.lease, Some(&progress)).await.unwrap().cancel_requested);
    let output = |name: &str, secret: Option<&str>| StoredOutput {
        result: [(name.to_owned(), true.into())].into_iter().collect(),
        sealed: secret.map(str::to_owned),
    };
    let done = queue.complete(&one.lease, &output("one", None)).await.unwrap();
    assert_eq!(done, CompleteOutcome::Advanced);
    queue.nothing_ready().await;
    queue.complete(&two.lease, &output("two", None)).await.unwrap();
    let last = queue.take().await;
    assert_eq!((last.stage, last.step.as_str()), (Stage::Transfer, "c"));
    let done = queue.complete(&last.lease, &output("last", Some("sealed too"))).await.unwrap();
    assert_eq!(done, CompleteOutcome::Finished);
    assert!(matches!(queue.complete(&last.lease, &output("last", None)).await, Err(QueueError::LeaseLost)));
    let task = queue.task(new.id).await;
    assert_eq!((task.state, task.result.unwrap().len()), (State::Succeeded, 3));
    assert_eq!(task.sealed_results, [("c".to_owned(), "sealed too".to_owned())]);
    let events = queue.events(new.id, None, 100).await.unwrap();
    assert!(events.iter().any(|e| e.event.progress.message == "Half of it."));
    assert_eq!(events.last().unwrap().event.state, State::Succeeded);
    assert_eq!(queue.events(new.id, Some(&events[0].id), 100).await.unwrap(), events[1..]);
    new.id
}

async fn a_step_that_fails(queue: &Queue) {
    let id = queue.accept(&task("fails.example")).await;
    for attempt in 1..=3 {
        let claim = queue.take().await;
        assert_eq!(claim.attempts, attempt - 1);
        let failed = queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap();
        assert_eq!(
            failed,
            if attempt < 3 { FailOutcome::Retrying(Duration::ZERO) } else { FailOutcome::DeadLettered }
        );
        queue.sweep().await.unwrap();
    }
    let task = queue.task(id).await;
    assert_eq!((task.state, task.problem.unwrap().code), (State::Failed, Code::SiteUnreachable));
    assert_eq!(queue.counters().await.unwrap()["dead_total:SITE_UNREACHABLE"], 1);
}

async fn a_lease_that_expires(queue: &Queue, url: &str) {
    let short = QueueOptions { lease_duration: Duration::from_millis(500), ..no_backoff_options() };
    let id = queue.accept(&task("lost.example")).await;
    let lost = queue.take().await;
    // Its last renewal is a short one.
    Queue::new(url, short).unwrap().heartbeat(&lost.lease, None).await.unwrap();
    until(async || queue.sweep().await.unwrap().expired == 1).await;
    let claim = queue.take().await;
    assert_eq!((claim.lease.task, claim.crashes), (id, 1));
    assert!(claim.lease.token > lost.lease.token);
    assert!(matches!(queue.heartbeat(&lost.lease, None).await, Err(QueueError::LeaseLost)));
    queue.release(&claim.lease).await.unwrap();
    queue.done(&queue.take().await).await;
    assert_eq!(queue.counters().await.unwrap()["lease_lost_total"], 1);
}

async fn tasks_of_one_site_run_in_order(queue: &Queue) {
    let on = async |names: &[&str]| {
        let new = task("x.example");
        queue.enqueue_with_plan(&new, &plan("browser b"), sites(names), 0).await.unwrap();
        new.id
    };
    let order =
        [on(&["a.example"]).await, on(&["a.example", "b.example"]).await, on(&["www.b.example"]).await];
    assert_eq!(queue.stats().await.unwrap().stages[&Stage::Browser].waiting_for_site, 2);
    for id in order {
        let claim = queue.take().await;
        assert_eq!(claim.lease.task, id);
        queue.nothing_ready().await;
        queue.done(&claim).await;
    }
}

async fn cancellation(queue: &Queue) {
    let waiting = queue.accept(&task("cancelled.example")).await;
    assert_eq!(queue.cancel(waiting).await.unwrap(), CancelOutcome::Cancelled);
    let running = queue.accept(&task("cancelled.example")).await;
    let claim = queue.take().await;
    assert_eq!(queue.cancel(running).await.unwrap(), CancelOutcome::Requested);
    assert!(queue.heartbeat(&claim.lease, None).await.unwrap().cancel_requested);
    queue.confirm_cancel(&claim.lease).await.unwrap();
    for id in [waiting, running] {
        assert_eq!(queue.task(id).await.state, State::Cancelled);
        assert_eq!(queue.cancel(id).await.unwrap(), CancelOutcome::AlreadyFinished);
    }
}

async fn replay_and_delivery(queue: &Queue) {
    let mut new = task("again.example");
    new.sealed_callback = Some("sealed address".into());
    let id = queue.accept(&new).await;
    let delivered = async |state| {
        let delivery = queue.claim_delivery("w1").await.unwrap().expect("a delivery is ready");
        assert_eq!(
            (delivery.task, delivery.state, delivery.sealed_callback.as_str()),
            (id, state, "sealed address")
        );
        queue.complete(&delivery.lease, &StoredOutput::default()).await.unwrap();
        assert_eq!(queue.task(id).await.callback.unwrap().state, State::Succeeded);
    };
    queue.fail(&queue.take().await.lease, &problem(Code::AuthBadCredentials)).await.unwrap();
    delivered(State::Failed).await;
    let replay = async || queue.replay(id, None, OwnerLimits::default()).await.unwrap();
    assert_eq!(replay().await, ReplayOutcome::Queued);
    queue.done(&queue.take().await).await;
    delivered(State::Succeeded).await;
    assert_eq!(replay().await, ReplayOutcome::NotFailed(State::Succeeded));
    assert!(queue.claim_delivery("w1").await.unwrap().is_none());
}

async fn a_claim_that_is_repeated(queue: &Queue) {
    let ids = [queue.accept(&task("one.example")).await, queue.accept(&task("two.example")).await];
    let attempt = ClaimAttempt::new();
    let ask = async || queue.claim_with("w", Stage::OF_TASKS, &attempt).await.unwrap().unwrap().lease;
    let first = ask().await;
    assert_eq!((first.task, ask().await), (ids[0], first.clone()));
    let (output, attempt) = (StoredOutput::default(), ClaimAttempt::new());
    let complete =
        async || queue.complete_and_claim(&first, &output, Stage::OF_TASKS, &attempt).await.unwrap();
    let (done, second) = complete().await;
    let second = second.unwrap().lease;
    assert_eq!((done, second.task), (CompleteOutcome::Finished, ids[1]));
    let (done, again) = complete().await;
    assert_eq!((done, again.unwrap().lease), (CompleteOutcome::Finished, second.clone()));
    queue.complete(&second, &output).await.unwrap();
}

async fn something_left_on_a_site(queue: &Queue) {
    queue.accept(&task("left.example")).await;
    let claim = queue.take().await;
    let site = sites(&["left.example"])[0].clone();
    let cleanup = SiteCleanup {
        site: site.clone(),
        left: "Something is left.".into(),
        details: serde_json::json!({"of": "it"}),
        sealed: Some("sealed".into()),
    };
    queue.set_site_cleanup(&claim.lease, "source", Some(&cleanup)).await.unwrap();
    queue.fail(&claim.lease, &problem(Code::CapMissing)).await.unwrap();
    let left = queue.site_cleanups().await.unwrap();
    assert_eq!(
        (left.len(), left[0].task, left[0].left.as_str()),
        (1, claim.lease.task, "Something is left.")
    );
    assert_eq!(queue.task(claim.lease.task).await.problem.unwrap().more["left"][0]["state"], "pending");
    assert_eq!(queue.stats().await.unwrap().stages[&Stage::Cleanup].delayed, 1);
    queue.accept(&task("left.example")).await;
    let next = queue.take().await;
    queue.supersede_site_cleanups(&next.lease, &site).await.unwrap();
    queue.done(&next).await;
    assert!(queue.claim_site_cleanup("w", &ClaimAttempt::new()).await.unwrap().is_none(), "it is not due");
}

async fn all_tasks_are_listed(queue: &Queue) {
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = queue.list(&TaskFilter::default(), cursor.as_deref(), 3).await.unwrap();
        listed.extend(page.tasks.into_iter().map(|t| (t.id, t.state)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 9);
    assert!(listed.iter().rev().is_sorted_by_key(|(id, _)| *id));
    for (state, count) in [(State::Succeeded, 6), (State::Failed, 1), (State::Cancelled, 2)] {
        assert_eq!(listed.iter().filter(|(_, s)| *s == state).count(), count);
        let filter = TaskFilter { state: Some(state), owner: Some("alice".into()), ..TaskFilter::default() };
        assert_eq!(queue.list(&filter, None, 100).await.unwrap().tasks.len(), count);
    }
    queue.redis_warnings().await.unwrap();
    queue.remove_worker("nobody").await.unwrap();
    for depth in queue.stats().await.unwrap().stages.values() {
        assert_eq!(depth.outstanding + depth.delayed + depth.waiting_for_site, 0);
    }
}

#[tokio::test]
async fn the_queue_works_on_valkey() {
    let valkey = Redis::start_with(Options::default().program(valkey())).await;
    run_all_operations(&valkey.url()).await;
    assert!(valkey.queue().redis_warnings().await.unwrap().is_empty());
}

/// The hash tag of the queue's keys, which determines their slot.
const TAG: &str = "{wpclone}";

#[tokio::test]
async fn the_queue_works_on_a_cluster_through_a_node_without_its_keys() {
    let cluster = Cluster::start().await;
    let other = (cluster.owner(TAG).await + 1) % cluster.nodes().len();
    run_all_operations(&cluster.nodes()[other].url()).await;
}

#[tokio::test]
async fn on_a_cluster_the_queue_is_unavailable_while_its_node_is_down() {
    let mut cluster = Cluster::start().await;
    let owner = cluster.owner(TAG).await;
    let other = (owner + 1) % cluster.nodes().len();
    // Each call takes its whole timeout while the node is down.
    let long_lease = QueueOptions { lease_duration: Duration::from_secs(600), ..no_backoff_options() };
    let queue = Queue::new(&cluster.nodes()[other].url(), long_lease).unwrap();
    let kept = queue.accept(&task("kept.example")).await;
    let claim = queue.take().await;
    cluster.kill(owner);
    let refused = task("refused.example");
    let result = queue.enqueue(&refused).await;
    assert!(matches!(result, Err(QueueError::Unavailable(_))), "{result:?}");
    let result = queue.heartbeat(&claim.lease, None).await;
    assert!(matches!(result, Err(QueueError::Unavailable(_))), "{result:?}");
    cluster.restart(owner).await;
    until(async || queue.enqueue(&refused).await.is_ok()).await;
    queue.heartbeat(&claim.lease, None).await.unwrap();
    queue.done(&claim).await;
    assert_eq!(queue.task(kept).await.state, State::Succeeded);
    assert_eq!(queue.take().await.lease.task, refused.id);
}
