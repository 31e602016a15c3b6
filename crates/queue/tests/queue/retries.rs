//! Failures, crashes and cancels.

use std::time::Duration;

use wpclone_queue::{CancelOutcome, CompleteOutcome, FailOutcome, QueueOptions, StoredOutput};
use wpclone_task::{Code, Progress, Stage, State, TaskId};

use crate::support::*;

fn percent(percent: u8) -> Progress {
    Progress { percent, message: format!("At {percent}.") }
}

#[tokio::test]
async fn the_change_of_a_target_by_an_earlier_attempt_is_reported() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let first = queue.take().await;
    queue.set_target_changed(&first.lease, true).await.unwrap();
    queue.fail(&first.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    assert!(queue.set_target_changed(&first.lease, false).await.is_err(), "an old token notes nothing");
    for _ in 0..2 {
        redis.make_due(&first).await;
        queue.sweep().await.unwrap();
        let claim = queue.take().await;
        queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    }
    assert!(queue.task(id).await.problem.unwrap().changed_target);
}

#[tokio::test]
async fn a_retryable_failure_is_attempted_three_times_with_growing_delays() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    for (attempt, longest) in [(0, 2), (1, 4)] {
        let claim = queue.take().await;
        assert_eq!(claim.attempts, attempt);
        let FailOutcome::Retrying(delay) =
            queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap()
        else {
            panic!("it is tried again");
        };
        assert!(delay <= Duration::from_secs(longest), "{delay:?}");
        queue.nothing_ready().await;
        let task = queue.task(id).await;
        assert_eq!((task.state, task.steps[0].attempts), (State::Running, attempt + 1));
        redis.make_due(&claim).await;
        assert_eq!(queue.sweep().await.unwrap().promoted, 1);
    }
    let last = queue.take().await;
    assert_eq!(
        queue.fail(&last.lease, &problem(Code::SiteUnreachable)).await.unwrap(),
        FailOutcome::DeadLettered
    );
    let task = queue.task(id).await;
    assert_eq!((task.state, task.steps[0].state, task.steps[0].attempts), (State::Failed, State::Failed, 3));
    assert_eq!(task.problem.unwrap().code, Code::SiteUnreachable);
    queue.nothing_ready().await;
    assert_eq!(queue.counters().await.unwrap()["dead_total:SITE_UNREACHABLE"], 1);
}

#[tokio::test]
async fn a_delayed_step_is_not_promoted_before_its_time() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    queue.fail(&claim.lease, &problem(Code::Deadline).with("retry_after", 60)).await.unwrap();
    assert_eq!(queue.sweep().await.unwrap(), Default::default());
    assert_eq!(queue.stats().await.unwrap().stages[&Stage::Browser].delayed, 1);
}

#[tokio::test]
async fn a_refusal_of_the_site_is_not_retried() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    assert_eq!(
        queue.fail(&claim.lease, &problem(Code::AuthBadCredentials)).await.unwrap(),
        FailOutcome::DeadLettered
    );
    assert_eq!(queue.task(id).await.state, State::Failed);
}

#[tokio::test]
async fn a_broken_clone_is_retried_once() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    assert!(matches!(
        queue.fail(&claim.lease, &problem(Code::CloneBroken)).await.unwrap(),
        FailOutcome::Retrying(_)
    ));
    redis.make_due(&claim).await;
    queue.sweep().await.unwrap();
    let claim = queue.take().await;
    assert_eq!(
        queue.fail(&claim.lease, &problem(Code::CloneBroken)).await.unwrap(),
        FailOutcome::DeadLettered
    );
}

#[tokio::test]
async fn a_retry_after_is_respected_up_to_ten_minutes() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    let busy = |seconds: u64| problem(Code::SiteUnreachable).with("retry_after", seconds);
    assert_eq!(
        queue.fail(&claim.lease, &busy(600)).await.unwrap(),
        FailOutcome::Retrying(Duration::from_secs(600))
    );
    redis.make_due(&claim).await;
    queue.sweep().await.unwrap();
    let claim = queue.take().await;
    assert_eq!(queue.fail(&claim.lease, &busy(601)).await.unwrap(), FailOutcome::DeadLettered);
    assert!(queue.task(id).await.problem.unwrap().retryable, "its owner may try again later");
}

#[tokio::test]
async fn the_third_crash_in_a_row_is_poison() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    for crashes in 0..3 {
        let claim = queue.take().await;
        assert_eq!((claim.crashes, claim.attempts), (crashes, 0));
        redis.expire_lease(&claim).await;
        let swept = queue.sweep().await.unwrap();
        assert_eq!((swept.expired, swept.poisoned), (1, u32::from(crashes == 2)));
    }
    let task = queue.task(id).await;
    let problem = task.problem.unwrap();
    assert_eq!(
        (task.state, problem.code, problem.stage),
        (State::Failed, Code::Poison, Some(Stage::Browser))
    );
    queue.nothing_ready().await;
    let counters = queue.counters().await.unwrap();
    assert_eq!((counters["dead_total:POISON"], counters["lease_lost_total"]), (1, 3));
}

#[tokio::test]
async fn a_claim_with_more_progress_resets_the_crashes() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    for reached in [30, 30, 31] {
        let claim = queue.take().await;
        queue.heartbeat(&claim.lease, Some(&percent(reached))).await.unwrap();
        redis.expire_lease(&claim).await;
        assert_eq!(queue.sweep().await.unwrap().poisoned, 0);
    }
    assert_eq!(queue.task(id).await.steps[0].crashes, 1);
    // No further than the best before: these count, so that it ends.
    for poisoned in [0, 1] {
        let claim = queue.take().await;
        queue.heartbeat(&claim.lease, Some(&percent(31))).await.unwrap();
        redis.expire_lease(&claim).await;
        assert_eq!(queue.sweep().await.unwrap().poisoned, poisoned);
    }
}

#[tokio::test]
async fn progress_never_goes_back_within_an_attempt() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    queue.heartbeat(&claim.lease, Some(&percent(60))).await.unwrap();
    queue.heartbeat(&claim.lease, Some(&percent(40))).await.unwrap();
    assert_eq!(queue.task(id).await.progress, Progress { percent: 60, message: "At 40.".into() });
}

#[tokio::test]
async fn cancel_ends_waiting_tasks_at_once() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let ready = queue.accept(&task("a.example")).await;
    assert_eq!(queue.cancel(ready).await.unwrap(), CancelOutcome::Cancelled);
    let delayed = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    queue.fail(&claim.lease, &problem(Code::Deadline)).await.unwrap();
    let behind = queue.accept(&task("a.example")).await;
    assert_eq!(queue.cancel(behind).await.unwrap(), CancelOutcome::Cancelled);
    assert_eq!(queue.cancel(delayed).await.unwrap(), CancelOutcome::Cancelled);
    for id in [ready, delayed, behind] {
        let task = queue.task(id).await;
        assert_eq!((task.state, task.steps[0].state), (State::Cancelled, State::Cancelled));
        assert!(task.cancel_requested && task.problem.is_none());
        assert!(!redis.holds(SECRETS).await);
        assert_eq!(queue.cancel(id).await.unwrap(), CancelOutcome::AlreadyFinished);
    }
    queue.nothing_ready().await;
    let depth = queue.stats().await.unwrap().stages[&Stage::Browser];
    assert_eq!((depth.ready, depth.running, depth.delayed, depth.waiting_for_site), (0, 0, 0, 0));
    assert_eq!(queue.cancel(TaskId::new()).await.unwrap(), CancelOutcome::NotFound);
}

#[tokio::test]
async fn cancel_reaches_running_steps_with_their_next_heartbeat() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    assert_eq!(queue.cancel(id).await.unwrap(), CancelOutcome::Requested);
    assert!(queue.task(id).await.cancel_requested);
    assert!(queue.heartbeat(&claim.lease, None).await.unwrap().cancel_requested);
    queue.confirm_cancel(&claim.lease).await.unwrap();
    assert_eq!(queue.task(id).await.state, State::Cancelled);
}

#[tokio::test]
async fn a_cancelled_task_ends_however_its_step_ends() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for (way, state) in [
        ("fails", State::Cancelled),
        ("is given back", State::Cancelled),
        ("crashes", State::Cancelled),
        ("was done already", State::Succeeded),
    ] {
        let id = queue.accept(&task("a.example")).await;
        let claim = queue.take().await;
        queue.cancel(id).await.unwrap();
        match way {
            "fails" => {
                let failed = queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap();
                assert_eq!(failed, FailOutcome::Cancelled);
            }
            "is given back" => queue.release(&claim.lease).await.unwrap(),
            "crashes" => {
                redis.expire_lease(&claim).await;
                assert_eq!(queue.sweep().await.unwrap().expired, 1);
            }
            _ => {
                let done = queue.complete(&claim.lease, &StoredOutput::default()).await.unwrap();
                assert_eq!(done, CompleteOutcome::Finished);
            }
        }
        assert_eq!(queue.task(id).await.state, state, "{way}");
        queue.nothing_ready().await;
    }
}

#[tokio::test]
async fn a_step_that_fails_for_good_stops_parallel_steps() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let (new, next) = (task("a.example"), task("a.example"));
    let steps = plan("provisioning p, browser b, transfer t | browser look");
    queue.enqueue_with_plan(&new, &steps, sites(&["a.example"]), 0).await.unwrap();
    queue.accept(&next).await;
    let a = queue.claim("w1", &[Stage::Provisioning]).await.unwrap().unwrap();
    let b = queue.claim("w2", &[Stage::Browser]).await.unwrap().unwrap();
    assert_eq!(queue.fail(&b.lease, &problem(Code::CapMissing)).await.unwrap(), FailOutcome::DeadLettered);
    assert_eq!(queue.task(new.id).await.state, State::Running, "a lease is still valid");
    queue.nothing_ready().await;
    assert!(queue.heartbeat(&a.lease, None).await.unwrap().cancel_requested);
    queue.confirm_cancel(&a.lease).await.unwrap();
    let task = queue.task(new.id).await;
    let states: Vec<State> = task.steps.iter().map(|s| s.state).collect();
    assert_eq!(states, [State::Cancelled, State::Failed, State::Cancelled, State::Cancelled]);
    assert_eq!((task.state, task.problem.unwrap().code), (State::Failed, Code::CapMissing));
    assert_eq!(queue.take().await.lease.task, next.id, "the site is free again");
}

#[tokio::test]
async fn a_failed_task_keeps_its_secrets_for_their_retention_and_others_none() {
    let redis = Redis::start().await;
    let queue =
        redis.queue_with(QueueOptions { secrets_retention: Duration::from_secs(500), ..Default::default() });
    let (good, bad) = (queue.accept(&task("a.example")).await, queue.accept(&task("b.example")).await);
    let ttl =
        async |key: &str, id: TaskId| redis.command::<i64>(&format!("TTL {{wpclone}}:{key}:{id}")).await;
    assert_eq!(ttl("task", good).await, -1, "no secret expires before its task");
    let (one, two) = (queue.take().await, queue.take().await);
    assert_eq!(one.sealed_secrets.as_deref(), Some(SECRETS));
    assert!(redis.holds(SECRETS).await);
    let output = StoredOutput { result: Default::default(), sealed: Some("sealed result".into()) };
    queue.complete(&one.lease, &output).await.unwrap();
    queue.fail(&two.lease, &problem(Code::CapMissing)).await.unwrap();
    assert!((400..=500).contains(&ttl("request_secrets", bad).await));
    assert!((400..=500).contains(&ttl("result_secrets", good).await));
    assert!(queue.task(bad).await.secrets_kept && !queue.task(good).await.secrets_kept);
    redis.command::<()>(&format!("DEL {{wpclone}}:request_secrets:{bad}")).await; // as after that time
    assert!(!redis.holds(SECRETS).await);
    assert!(!queue.task(bad).await.secrets_kept);
}
