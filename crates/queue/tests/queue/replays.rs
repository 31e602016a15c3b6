//! The dead letter: failed tasks, and doing them again.

use std::time::Duration;

use wpclone_queue::{LimitExceeded, OwnerLimits, QueueOptions, ReplayOutcome, StoredOutput, TaskFilter};
use wpclone_task::{Code, Stage, State, TaskId};

use crate::support::*;

fn failed() -> TaskFilter {
    TaskFilter { state: Some(State::Failed), ..TaskFilter::default() }
}

#[tokio::test]
async fn a_failed_task_is_replayed_with_its_secrets() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    let dead = queue.list(&failed(), None, 10).await.unwrap().tasks;
    assert_eq!(dead.iter().map(|t| t.id).collect::<Vec<_>>(), [id]);
    assert_eq!(queue.replay(id, None, OwnerLimits::default()).await.unwrap(), ReplayOutcome::Queued);

    let again = queue.task(id).await;
    assert_eq!((again.state, again.replays, again.steps[0].attempts), (State::Queued, 1, 0));
    assert!(again.problem.is_none() && again.finished_at.is_none() && again.secrets_kept);
    assert!(queue.list(&failed(), None, 10).await.unwrap().tasks.is_empty());
    let claim = queue.take().await;
    assert_eq!((claim.lease.task, claim.sealed_secrets.as_deref()), (id, Some(SECRETS)));
    queue.done(&claim).await;
    let done = queue.task(id).await;
    assert_eq!((done.state, done.replays), (State::Succeeded, 1));
    assert!(!redis.holds(SECRETS).await);
    let states: Vec<State> =
        queue.events(id, None, 50).await.unwrap().iter().map(|e| e.event.state).collect();
    use State::{Failed, Queued, Running, Succeeded};
    assert_eq!(states, [Running, Failed, Queued, Running, Succeeded], "its events continue");
    assert_eq!(queue.counters().await.unwrap()["replayed_total"], 1);
}

#[tokio::test]
async fn only_a_failed_task_can_be_replayed() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let replay = async |id| queue.replay(id, None, OwnerLimits::default()).await.unwrap();
    let id = queue.accept(&task("a.example")).await;
    assert_eq!(replay(id).await, ReplayOutcome::NotFailed(State::Queued));
    let claim = queue.take().await;
    assert_eq!(replay(id).await, ReplayOutcome::NotFailed(State::Running));
    queue.done(&claim).await;
    assert_eq!(replay(id).await, ReplayOutcome::NotFailed(State::Succeeded));
    assert_eq!(replay(TaskId::new()).await, ReplayOutcome::NotFound);
    let forgets = redis.queue_with(QueueOptions { finished_max_bytes: 0, ..Default::default() });
    forgets.sweep().await.unwrap();
    assert_eq!(replay(id).await, ReplayOutcome::Gone);
}

#[tokio::test]
async fn after_their_retention_a_replay_must_bring_the_secrets() {
    let redis = Redis::start().await;
    let queue =
        redis.queue_with(QueueOptions { secrets_retention: Duration::from_millis(1), ..Default::default() });
    let id = queue.accept(&task("a.example")).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    while queue.task(id).await.secrets_kept {
        tokio::task::yield_now().await;
    }
    assert_eq!(queue.replay(id, None, OwnerLimits::default()).await.unwrap(), ReplayOutcome::SecretsGone);
    assert_eq!(queue.task(id).await.state, State::Failed, "nothing has happened");
    assert_eq!(queue.replay(id, Some("new"), OwnerLimits::default()).await.unwrap(), ReplayOutcome::Queued);
    assert_eq!(queue.take().await.sealed_secrets.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_replay_keeps_results_and_waits_for_its_site() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = task("a.example");
    let steps = plan("browser a | browser b, transfer c | browser d");
    queue.enqueue_with_plan(&new, &steps, sites(&["a.example"]), 1).await.unwrap();
    let mut output = StoredOutput::default();
    output.result.insert("of".into(), "a".into());
    queue.complete(&queue.take().await.lease, &output).await.unwrap();
    let (b, c) = (queue.take().await, queue.take().await);
    queue.done(&b).await;
    queue.fail(&c.lease, &problem(Code::CapMissing)).await.unwrap();
    assert_eq!(queue.task(new.id).await.state, State::Failed);

    let holder = queue.accept(&task("a.example")).await;
    assert_eq!(queue.replay(new.id, None, OwnerLimits::default()).await.unwrap(), ReplayOutcome::Queued);
    let waiting = queue.task(new.id).await;
    assert_eq!(waiting.progress.message, "Waiting for another task on the same site.");
    let claim = queue.take().await;
    assert_eq!(claim.lease.task, holder);
    queue.nothing_ready().await;
    queue.done(&claim).await;
    let c = queue.take().await;
    assert_eq!((c.lease.task, c.step.as_str(), c.stage), (new.id, "c", Stage::Transfer), "a and b were done");
    queue.done(&c).await;
    queue.done(&queue.take().await).await;
    let done = queue.task(new.id).await;
    assert_eq!(done.state, State::Succeeded);
    assert_eq!(done.result.unwrap()["of"], "a");
}

#[tokio::test]
async fn a_replayed_task_is_counted_once_and_overtakes_no_other() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    for _ in 0..3 {
        queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
        let other = queue.accept(&task("b.example")).await;
        redis.next_millisecond().await;
        assert_eq!(queue.replay(id, None, OwnerLimits::default()).await.unwrap(), ReplayOutcome::Queued);
        let first = queue.take().await;
        assert_eq!(first.lease.task, other);
        queue.done(&first).await;
    }
    queue.done(&queue.take().await).await;
    let forgets = redis.queue_with(QueueOptions { finished_max_bytes: 0, ..Default::default() });
    forgets.sweep().await.unwrap();
    assert_eq!(redis.command::<i64>("GET {wpclone}:finished_bytes").await, 0);
}

#[tokio::test]
async fn a_replay_counts_as_a_task_of_its_owner() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    queue.accept(&task("b.example")).await;
    let limits = OwnerLimits { per_minute: None, concurrent: Some(1) };
    let limited = queue.replay(id, None, limits).await.unwrap();
    assert_eq!(limited, ReplayOutcome::Limited(LimitExceeded::Concurrency));
    assert_eq!(queue.task(id).await.state, State::Failed);
}

#[tokio::test]
async fn a_replay_repeats_steps_whose_sealed_result_has_expired() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = task("a.example");
    queue.enqueue_with_plan(&new, &plan("browser a | browser b"), sites(&["a.example"]), 1).await.unwrap();
    let output = StoredOutput { result: Default::default(), sealed: Some("a key".into()) };
    let fail = async || queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    queue.complete(&queue.take().await.lease, &output).await.unwrap();
    fail().await;
    queue.replay(new.id, None, OwnerLimits::default()).await.unwrap();
    fail().await;
    assert_eq!(queue.task(new.id).await.sealed_results[0].1, "a key", "it was still kept");
    redis.command::<()>(&format!("DEL {{wpclone}}:result_secrets:{}", new.id)).await; // as after a day
    queue.replay(new.id, None, OwnerLimits::default()).await.unwrap();
    assert_eq!(queue.take().await.step, "a");
}

#[tokio::test]
async fn the_secrets_of_a_failed_task_count_in_its_size() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(QueueOptions { finished_max_bytes: 1 << 20, ..Default::default() });
    for n in 0..40 {
        let mut new = task(&format!("s{n}.example"));
        new.sealed_secrets = "x".repeat(50_000);
        queue.accept(&new).await;
        queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    }
    queue.sweep().await.unwrap();
    assert!(redis.command::<u64>("GET {wpclone}:finished_bytes").await <= 1 << 20);
    let left = queue.list(&failed(), None, 100).await.unwrap().tasks.len();
    assert!((15..=21).contains(&left), "{left}");
}

#[tokio::test]
async fn a_checkpoint_outlives_attempts_workers_and_replays_until_it_is_deleted() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = task("a.example");
    queue.enqueue_with_plan(&new, &plan("browser a | browser b"), sites(&["a.example"]), 1).await.unwrap();
    let first = queue.take().await;
    assert!(first.checkpoints.is_empty());
    queue.set_checkpoint(&first.lease, "site", Some("found")).await.unwrap();
    queue.release(&first.lease).await.unwrap();
    assert!(queue.set_checkpoint(&first.lease, "site", None).await.is_err(), "its lease is over");

    let again = queue.take().await;
    assert_eq!(again.checkpoints["site"], "found");
    queue.complete(&again.lease, &StoredOutput::default()).await.unwrap();
    let next = queue.take().await;
    assert_eq!((next.step.as_str(), next.checkpoints["site"].as_str()), ("b", "found"));
    queue.fail(&next.lease, &problem(Code::CapMissing)).await.unwrap();
    queue.replay(new.id, None, OwnerLimits::default()).await.unwrap();

    let replayed = queue.take().await;
    assert_eq!(replayed.checkpoints["site"], "found");
    queue.set_checkpoint(&replayed.lease, "site", None).await.unwrap();
    queue.release(&replayed.lease).await.unwrap();
    assert!(queue.take().await.checkpoints.is_empty());
}

#[tokio::test]
async fn a_task_with_one_step_has_checkpoints_as_well() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let first = queue.take().await;
    queue.set_checkpoint(&first.lease, "login.setup", Some("0 sent")).await.unwrap();
    redis.expire_lease(&first).await;
    queue.sweep().await.unwrap();
    redis.make_due(&first).await;
    queue.sweep().await.unwrap();
    let again = queue.take().await;
    assert_eq!((again.crashes, again.checkpoints["login.setup"].as_str()), (1, "0 sent"));
}
