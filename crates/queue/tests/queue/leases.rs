//! Claims, fencing, steps and joins.

use serde_json::json;
use wpclone_queue::{Claim, ClaimAttempt, CompleteOutcome, QueueError, QueueOptions, StoredOutput};
use wpclone_task::{Progress, Stage, State};

use crate::support::*;

#[tokio::test]
async fn a_task_goes_from_its_acceptance_to_its_result() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut new = task("a.example");
    new.traceparent = Some("00-trace".into());
    let id = queue.accept(&new).await;
    assert_eq!(queue.task(id).await.state, State::Queued);

    let claim = queue.take().await;
    assert_eq!((claim.lease.task, claim.step.as_str(), claim.stage), (id, "setup", Stage::Browser));
    assert_eq!(
        (claim.sealed_secrets.as_deref(), claim.traceparent.as_deref()),
        (Some(SECRETS), Some("00-trace"))
    );
    assert_eq!((claim.request.clone(), claim.owner.as_str()), (new.request, "alice"));
    let running = queue.task(id).await;
    assert_eq!((running.state, running.steps[0].state), (State::Running, State::Running));
    assert!(running.started_at.is_some() && running.finished_at.is_none());

    let halfway = Progress { percent: 50, message: "Halfway.".into() };
    assert!(!queue.heartbeat(&claim.lease, Some(&halfway)).await.unwrap().cancel_requested);
    assert_eq!(queue.task(id).await.progress, halfway);

    let output = StoredOutput {
        result: json!({"n": 12345678901234567_u64, "list": [], "s": "ö"}).as_object().unwrap().clone(),
        sealed: Some("sealed result".into()),
    };
    assert_eq!(queue.complete(&claim.lease, &output).await.unwrap(), CompleteOutcome::Finished);
    let done = queue.task(id).await;
    assert_eq!((done.state, done.progress.percent), (State::Succeeded, 100));
    assert_eq!(
        (done.result, done.sealed_results),
        (Some(output.result), vec![("setup".into(), "sealed result".into())])
    );
    assert!(done.revision > running.revision && done.finished_at.is_some());
    queue.nothing_ready().await;
}

#[tokio::test]
async fn claims_in_quick_succession_get_rising_tokens() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.sweep().await.unwrap(); // an empty Redis gets the number of the layout
    let now: Vec<u64> = redis.command("TIME").await;
    // The last token is ahead of the clock: what two claims within one microsecond look like, 50 µs on end.
    let last = now[0] * 1_000_000 + now[1] + 60_000_000;
    redis.command::<()>(&format!("SET {{wpclone}}:fencing_token {last}")).await;
    let mut tokens = Vec::new();
    for n in 0..20 {
        queue.accept(&task(&format!("s{n}.example"))).await;
        tokens.push(queue.take().await.lease.token);
    }
    assert_eq!(tokens, (1..=20).map(|n| last + n).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_token_is_never_less_than_the_clock() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let before: Vec<u64> = redis.command("TIME").await;
    queue.accept(&task("a.example")).await;
    let token = queue.take().await.lease.token;
    assert!(token >= before[0] * 1_000_000 + before[1], "a Redis that lost everything gives no old token");
}

#[tokio::test]
async fn an_old_token_is_refused_by_every_write() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let old = queue.take().await;
    redis.expire_lease(&old).await;
    assert_eq!(queue.sweep().await.unwrap().expired, 1);
    let new = queue.take().await;
    assert!(new.lease.token > old.lease.token);
    refused_everywhere(&queue, &old.lease).await;
    queue.done(&new).await;
    assert_eq!(queue.task(id).await.state, State::Succeeded);
    refused_everywhere(&queue, &new.lease).await;
    assert_eq!(queue.task(id).await.state, State::Succeeded);
}

#[tokio::test]
async fn an_expired_lease_is_lost_before_a_sweep() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    redis.expire_lease(&claim).await;
    refused_everywhere(&queue, &claim.lease).await;
}

async fn refused_everywhere(queue: &wpclone_queue::Queue, lease: &wpclone_queue::Lease) {
    let lost = |r: Result<(), QueueError>| assert!(matches!(r, Err(QueueError::LeaseLost)), "{r:?}");
    lost(queue.heartbeat(lease, None).await.map(drop));
    lost(queue.complete(lease, &StoredOutput::default()).await.map(drop));
    lost(queue.fail(lease, &problem(wpclone_task::Code::SiteUnreachable)).await.map(drop));
    lost(queue.confirm_cancel(lease).await);
    lost(queue.release(lease).await);
}

#[tokio::test]
async fn a_heartbeat_keeps_a_lease_alive() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    let key = format!("ZSCORE {{wpclone}}:leases:browser {}:0", claim.lease.task);
    let now: Vec<u64> = redis.command("TIME").await;
    redis
        .command::<()>(&format!(
            "ZADD {{wpclone}}:leases:browser {} {}:0",
            now[0] * 1000 + 29_000,
            claim.lease.task
        ))
        .await;
    queue.heartbeat(&claim.lease, None).await.unwrap();
    let till: u64 = redis.command(&key).await;
    assert!(till >= (now[0] + 30) * 1000);
}

#[tokio::test]
async fn a_claim_that_is_asked_for_again_gets_the_same_lease_for_its_full_duration() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let ids = [queue.accept(&task("a.example")).await, queue.accept(&task("b.example")).await];
    let attempt = ClaimAttempt::new();
    let ask = async || queue.claim_with("w1", Stage::ALL, &attempt).await.unwrap().unwrap();
    let first = ask().await;
    let key = format!("{{wpclone}}:leases:browser {{}} {}:0", ids[0]);
    let now: Vec<u64> = redis.command("TIME").await;
    let soon = (now[0] + 29) * 1000;
    redis.command::<()>(&format!("ZADD {}", key.replace("{}", &soon.to_string()))).await;
    // Other claims do not get it.
    let other = queue.take().await;
    assert_eq!(other.lease.task, ids[1]);
    let again = ask().await;
    assert_eq!((first.lease.task, &again.lease), (ids[0], &first.lease));
    assert_eq!((again.attempts, again.crashes, again.request), (0, 0, first.request));
    let end: u64 = redis.command(&format!("ZSCORE {}", key.replace("{} ", ""))).await;
    assert!(end >= (now[0] + 30) * 1000, "{end}");
    queue.nothing_ready().await;

    // Once it has ended, the same attempt gets the next step.
    queue.release(&again.lease).await.unwrap();
    let new = ask().await;
    assert!(new.lease.token > first.lease.token);
    redis.expire_lease(&new).await;
    queue.sweep().await.unwrap();
    assert_eq!(ask().await.crashes, 0);
}

#[tokio::test]
async fn only_a_confirmed_claim_counts_as_a_crash_when_its_lease_expires() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    for confirm in [0, 1, 2, 3] {
        let claim = queue.claim("w1", Stage::ALL).await.unwrap().unwrap();
        match confirm {
            0 => {}
            1 => drop(queue.heartbeat(&claim.lease, None).await.unwrap()),
            2 => queue.set_checkpoint(&claim.lease, "migrator.source", Some("installed")).await.unwrap(),
            _ => queue.set_target_changed(&claim.lease, true).await.unwrap(),
        }
        redis.expire_lease(&claim).await;
        let swept = queue.sweep().await.unwrap();
        assert_eq!((swept.expired, swept.poisoned), (1, u32::from(confirm == 3)));
        assert_eq!(queue.task(id).await.steps[0].crashes, confirm);
    }
}

#[tokio::test]
async fn a_released_step_comes_first_and_costs_no_attempt() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = queue.accept(&task("a.example")).await;
    let second = queue.accept(&task("b.example")).await;
    let (one, two) = (queue.take().await, queue.take().await);
    assert_eq!((one.lease.task, two.lease.task), (first, second));
    redis.expire_lease(&one).await;
    queue.sweep().await.unwrap(); // the older one is ready again
    queue.release(&two.lease).await.unwrap();
    let again = queue.take().await;
    assert_eq!((again.lease.task, again.attempts, again.crashes), (second, 0, 0));
    assert!(again.lease.token > two.lease.token);
}

#[tokio::test]
async fn priority_comes_before_age_within_its_minutes() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let (old, urgent) = (task("a.example"), task("b.example"));
    queue.enqueue_with_plan(&old, &plan("browser a"), sites(&["a.example"]), 0).await.unwrap();
    queue.enqueue_with_plan(&urgent, &plan("browser a"), sites(&["b.example"]), 5).await.unwrap();
    let tasks = [queue.take().await.lease.task, queue.take().await.lease.task];
    assert_eq!(tasks, [urgent.id, old.id]);
}

#[tokio::test]
async fn a_worker_gets_only_steps_of_its_stages() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    assert!(queue.claim("w1", &[Stage::Provisioning, Stage::Transfer]).await.unwrap().is_none());
    assert!(queue.claim("w1", &[]).await.unwrap().is_none());
    assert!(queue.claim("w1", &[Stage::Transfer, Stage::Browser]).await.unwrap().is_some());
}

#[tokio::test]
async fn parallel_steps_join_once_before_the_next_phase() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = task("a.example");
    let steps = plan("provisioning provision, browser prepare | transfer move | browser look");
    queue.enqueue_with_plan(&new, &steps, sites(&["a.example"]), 0).await.unwrap();
    let (a, b) = (queue.take().await, queue.take().await);
    queue.nothing_ready().await;
    let out = |v: serde_json::Value| StoredOutput { result: v.as_object().unwrap().clone(), sealed: None };
    assert_eq!(
        queue.complete(&b.lease, &out(json!({"a": 1, "b": 1}))).await.unwrap(),
        CompleteOutcome::Advanced
    );
    queue.nothing_ready().await;
    assert_eq!(queue.complete(&a.lease, &out(json!({"c": 2}))).await.unwrap(), CompleteOutcome::Advanced);
    let moved = queue.take().await;
    queue.nothing_ready().await;
    assert_eq!((moved.step.as_str(), moved.stage, moved.lease.step), ("move", Stage::Transfer, 2));
    assert_eq!(queue.task(new.id).await.state, State::Running);
    assert_eq!(queue.complete(&moved.lease, &out(json!({"b": 3}))).await.unwrap(), CompleteOutcome::Advanced);
    let look = queue.take().await;
    assert_eq!(queue.complete(&look.lease, &out(json!({}))).await.unwrap(), CompleteOutcome::Finished);
    let task = queue.task(new.id).await;
    assert_eq!(serde_json::to_value(task.result).unwrap(), json!({"a": 1, "b": 3, "c": 2}));
    assert!(task.steps.iter().all(|s| s.state == State::Succeeded));
}

#[tokio::test]
async fn progress_is_that_of_the_whole_task_and_never_goes_back() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = task("a.example");
    let mut steps = plan("provisioning provision, browser prepare | transfer move ! transfer release");
    steps.phases[1][0].share = 8;
    queue.enqueue_with_plan(&new, &steps, sites(&["a.example"]), 0).await.unwrap();
    let at = async || queue.task(new.id).await.progress;
    let beat = async |claim: &Claim, percent| {
        let progress = Progress { percent, message: format!("{} is at {percent}.", claim.step) };
        queue.heartbeat(&claim.lease, Some(&progress)).await.unwrap();
        at().await.percent
    };
    let (a, b) = (queue.take().await, queue.take().await);
    assert_eq!((beat(&a, 50).await, beat(&b, 90).await), (5, 14));
    queue.done(&a).await;
    assert_eq!(at().await, Progress { percent: 19, message: format!("Done: {}.", a.step) });
    queue.done(&b).await;
    let moving = queue.take().await;
    assert_eq!((at().await.percent, beat(&moving, 50).await), (20, 60));
    // Another worker begins it anew.
    redis.expire_lease(&moving).await;
    queue.sweep().await.unwrap();
    let again = queue.take().await;
    assert_eq!((beat(&again, 10).await, beat(&again, 75).await), (60, 80));
    queue.done(&again).await;
    assert_eq!(at().await.percent, 100);
}

#[tokio::test]
async fn too_large_data_is_rejected_and_nothing_is_stored() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut huge = task("a.example");
    huge.sealed_secrets = "x".repeat(64 << 10);
    assert!(matches!(queue.enqueue(&huge).await, Err(QueueError::TooLarge(_))));
    assert_eq!(redis.command::<u64>("DBSIZE").await, 0);
    queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    let output = StoredOutput { result: Default::default(), sealed: Some("x".repeat(32 << 10)) };
    assert!(matches!(queue.complete(&claim.lease, &output).await, Err(QueueError::TooLarge(_))));
    queue.done(&claim).await;
}

#[tokio::test]
async fn queues_of_different_names_are_independent() {
    let redis = Redis::start().await;
    let (one, two) =
        (redis.queue(), redis.queue_with(QueueOptions { name: "other".into(), ..Default::default() }));
    one.accept(&task("a.example")).await;
    two.nothing_ready().await;
    one.take().await;
    assert!(
        wpclone_queue::Queue::new(&redis.url(), QueueOptions { name: "a}b".into(), ..Default::default() })
            .is_err()
    );
}
