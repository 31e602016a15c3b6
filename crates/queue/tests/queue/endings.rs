//! How tasks of many steps end: optional steps, and what cleans up.

use serde_json::json;
use wpclone_queue::{
    CancelOutcome, Claim, CompleteOutcome, FailOutcome, NewTask, OwnerLimits, Queue, SiteCleanup,
    StoredOutput,
};
use wpclone_task::{Code, Stage, State};

use crate::support::*;

const CLONE: &str = "provisioning make, browser prepare | transfer move | browser look? | provisioning publish \
     ! provisioning discard, transfer release";

async fn accept(queue: &Queue) -> NewTask {
    let new = task("a.example");
    queue.enqueue_with_plan(&new, &plan(CLONE), sites(&["a.example"]), 0).await.unwrap();
    new
}

/// Takes the next step, which has to be this one.
async fn take(queue: &Queue, step: &str) -> Claim {
    let claim = queue.take().await;
    assert_eq!(claim.step, step);
    claim
}

/// Does these steps in this order.
async fn done(queue: &Queue, steps: &[&str]) {
    for step in steps {
        queue.done(&take(queue, step).await).await;
    }
}

async fn names(queue: &Queue, new: &NewTask) -> Vec<(String, State)> {
    queue.task(new.id).await.steps.into_iter().map(|step| (step.name, step.state)).collect()
}

#[tokio::test]
async fn cleanup_steps_are_neither_run_nor_shown_after_success() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    assert_eq!(names(&queue, &new).await.len(), 5);
    done(&queue, &["make", "prepare", "move", "look"]).await;
    let last = take(&queue, "publish").await;
    assert_eq!(
        queue.complete(&last.lease, &StoredOutput::default()).await.unwrap(),
        CompleteOutcome::Finished
    );
    queue.nothing_ready().await;
    assert_eq!(queue.task(new.id).await.state, State::Succeeded);
    assert!(names(&queue, &new).await.iter().all(|(_, state)| *state == State::Succeeded));
}

#[tokio::test]
async fn a_failed_task_cleans_up_before_it_ends() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    done(&queue, &["make"]).await;
    let prepare = take(&queue, "prepare").await;
    let left = SiteCleanup {
        site: sites(&["a.example"])[0].clone(),
        left: "Something is on a.example.".into(),
        details: json!({}),
        sealed: Some("sealed-key".into()),
    };
    queue.set_site_cleanup(&prepare.lease, "source", Some(&left)).await.unwrap();
    queue.done(&prepare).await;
    let moving = take(&queue, "move").await;
    assert_eq!(
        queue.fail(&moving.lease, &problem(Code::CapMissing)).await.unwrap(),
        FailOutcome::DeadLettered
    );
    let cleaning = queue.task(new.id).await;
    assert_eq!((cleaning.state, cleaning.progress.message.as_str()), (State::Running, "Cleaning up."));
    let second = task("a.example");
    queue.accept(&second).await;
    let discard = take(&queue, "discard").await;
    assert_eq!(queue.cancel(new.id).await.unwrap(), CancelOutcome::Requested);
    assert!(
        !queue.heartbeat(&discard.lease, None).await.unwrap().cancel_requested,
        "it is not to be stopped"
    );
    let release = take(&queue, "release").await;
    queue.set_site_cleanup(&release.lease, "source", None).await.unwrap();
    queue.nothing_ready().await; // the site is still ours
    queue.done(&discard).await;
    assert_eq!(
        queue.complete(&release.lease, &StoredOutput::default()).await.unwrap(),
        CompleteOutcome::Finished
    );
    let failed = queue.task(new.id).await;
    assert_eq!((failed.state, failed.problem.unwrap().code), (State::Failed, Code::CapMissing));
    assert_eq!(queue.take().await.lease.task, second.id);
    let steps = names(&queue, &new).await;
    let states: Vec<_> = steps.iter().map(|(name, state)| (name.as_str(), *state)).collect();
    let (good, ended) = (State::Succeeded, State::Cancelled);
    let wanted = [
        ("make", good),
        ("prepare", good),
        ("move", State::Failed),
        ("look", ended),
        ("publish", ended),
        ("discard", good),
        ("release", good),
    ];
    assert_eq!(states, wanted);
}

#[tokio::test]
async fn a_cancelled_task_cleans_up_once_its_workers_have_stopped() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    let (make, prepare) = (take(&queue, "make").await, take(&queue, "prepare").await);
    assert_eq!(queue.cancel(new.id).await.unwrap(), CancelOutcome::Requested);
    queue.confirm_cancel(&make.lease).await.unwrap();
    queue.nothing_ready().await;
    redis.expire_lease(&prepare).await;
    queue.sweep().await.unwrap();
    done(&queue, &["discard", "release"]).await;
    assert_eq!(queue.task(new.id).await.state, State::Cancelled);
}

#[tokio::test]
async fn a_task_that_never_started_has_no_cleanup() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    assert_eq!(queue.cancel(new.id).await.unwrap(), CancelOutcome::Cancelled);
    queue.nothing_ready().await;
    assert_eq!(names(&queue, &new).await.len(), 5);
}

#[tokio::test]
async fn cleanup_is_retried_and_ends_after_ten_minutes() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    done(&queue, &["make"]).await;
    let prepare = take(&queue, "prepare").await;
    queue.fail(&prepare.lease, &problem(Code::CapMissing)).await.unwrap();
    let discard = take(&queue, "discard").await;
    let failed = queue.fail(&discard.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    assert!(matches!(failed, FailOutcome::Retrying(_)));
    redis.make_due(&discard).await;
    queue.sweep().await.unwrap();
    let discard = take(&queue, "discard").await;
    let release = take(&queue, "release").await;
    assert_eq!(
        queue.fail(&release.lease, &problem(Code::CapMissing)).await.unwrap(),
        FailOutcome::DeadLettered
    );
    redis.advance_clock(500_000).await;
    queue.sweep().await.unwrap();
    assert_eq!(queue.task(new.id).await.state, State::Running);
    redis.advance_clock(101_000).await;
    queue.sweep().await.unwrap();
    let task = queue.task(new.id).await;
    assert_eq!((task.state, task.problem.unwrap().code), (State::Failed, Code::CapMissing));
    assert!(queue.complete(&discard.lease, &StoredOutput::default()).await.is_err(), "too late");
}

#[tokio::test]
async fn a_failed_optional_step_stops_nothing_and_its_problem_is_the_tasks() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    done(&queue, &["make", "prepare", "move"]).await;
    let look = take(&queue, "look").await;
    assert_eq!(queue.fail(&look.lease, &problem(Code::SiteFatal)).await.unwrap(), FailOutcome::DeadLettered);
    assert_eq!(queue.task(new.id).await.state, State::Running);
    done(&queue, &["publish"]).await;
    queue.nothing_ready().await;
    let task = queue.task(new.id).await;
    assert_eq!((task.state, task.problem.unwrap().code), (State::Failed, Code::SiteFatal));

    // Only what failed is done again.
    queue.replay(new.id, None, OwnerLimits::default()).await.unwrap();
    done(&queue, &["look"]).await;
    assert_eq!(queue.task(new.id).await.state, State::Succeeded);
}

#[tokio::test]
async fn a_replay_after_cleanup_starts_with_the_first_step() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    let leave = |text: &str| StoredOutput {
        result: json!({"clone": {"name": text}}).as_object().unwrap().clone(),
        sealed: Some(format!("sealed {text}")),
    };
    queue.complete(&take(&queue, "make").await.lease, &leave("one")).await.unwrap();
    queue.fail(&take(&queue, "prepare").await.lease, &problem(Code::CapMissing)).await.unwrap();
    done(&queue, &["discard", "release"]).await;
    queue.replay(new.id, None, OwnerLimits::default()).await.unwrap();
    assert_eq!(names(&queue, &new).await.len(), 5);
    assert!(queue.task(new.id).await.result.is_none());
    let make = take(&queue, "make").await;
    assert_eq!((make.replays, make.outputs.len()), (1, 0));
    queue.complete(&make.lease, &leave("two")).await.unwrap();
    done(&queue, &["prepare", "move", "look", "publish"]).await;
    let task = queue.task(new.id).await;
    assert_eq!(serde_json::to_value(task.result).unwrap(), json!({"clone": {"name": "two"}}));
}

#[tokio::test]
async fn a_step_gets_the_outputs_of_earlier_steps() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue).await;
    let leave = |result: serde_json::Value, sealed: Option<&str>| StoredOutput {
        result: result.as_object().unwrap().clone(),
        sealed: sealed.map(str::to_owned),
    };
    let made = leave(json!({"clone": {"name": "c", "password": null}}), Some("for make"));
    queue.complete(&take(&queue, "make").await.lease, &made).await.unwrap();
    let prepared = leave(json!({}), Some("for prepare"));
    queue.complete(&take(&queue, "prepare").await.lease, &prepared).await.unwrap();
    let moving = queue.take().await;
    assert_eq!(moving.outputs["make"], made);
    assert_eq!(moving.outputs["prepare"], prepared);
    let moved = leave(json!({"clone": {"url": "u"}, "rows": 1}), None);
    queue.complete(&moving.lease, &moved).await.unwrap();
    let task = queue.task(new.id).await;
    let wanted = json!({"clone": {"name": "c", "password": null, "url": "u"}, "rows": 1});
    assert_eq!(serde_json::to_value(task.result).unwrap(), wanted, "laid over each other");
    assert_eq!(
        task.sealed_results,
        [("make".into(), "for make".into()), ("prepare".into(), "for prepare".into())]
    );
    assert!(queue.claim("w", &[Stage::Browser]).await.unwrap().unwrap().outputs.contains_key("move"));
}
