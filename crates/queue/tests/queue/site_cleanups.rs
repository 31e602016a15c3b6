//! What a task has left on its sites when it ends: the queue cleans it up without the task.

use std::time::Duration;

use serde_json::json;
use wpclone_queue::{
    ClaimAttempt, FailOutcome, OwnerLimits, QueueError, RetryPolicy, SiteCleanup, StoredOutput, TaskEnding,
};
use wpclone_task::{Code, LeftState, SiteKey, Stage, State};

use crate::cleanup_support::*;
use crate::support::*;

#[tokio::test]
async fn what_an_ended_task_left_is_cleaned_up_without_it() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = fail_with_something_left(&queue, &["a.example", "b.example"]).await;

    let failed = queue.task(new.id).await;
    let problem = failed.problem.unwrap();
    assert_eq!((failed.state, problem.code), (State::Failed, Code::CapMissing));
    let left = json!([
        {"left": "Something is on a.example.", "state": "pending"},
        {"left": "Something is on b.example.", "state": "pending"},
    ]);
    assert_eq!(problem.more["left"], left);
    assert!(
        problem.detail.contains("Something is on a.example. It is undone as soon as"),
        "{}",
        problem.detail
    );

    // Not at once, as the task has just tried; never by workers of the stages of tasks, and in no list.
    assert!(claim(&queue).await.is_none());
    let first = claim_after(&redis, &queue, MINUTE).await.unwrap();
    let second = claim(&queue).await.unwrap();
    assert!(claim(&queue).await.is_none());
    queue.nothing_ready().await;
    assert_eq!(queue.list(&Default::default(), None, 100).await.unwrap().tasks.len(), 1);
    let mut names = [first.name.clone(), second.name.clone()];
    names.sort();
    assert_eq!(names, ["a.example", "b.example"]);
    for claimed in [&first, &second] {
        let expected = left_on(&claimed.name);
        assert_eq!((claimed.task, claimed.ending), (new.id, TaskEnding::Ended));
        assert_eq!(claimed.details, expected.details);
        assert_eq!(Some(&claimed.sealed), expected.sealed.as_ref());
        assert_eq!((claimed.attempts, claimed.superseded), (0, false));
        assert!(matches!(queue.get(claimed.lease.task).await.unwrap(), wpclone_queue::TaskLookup::NotFound));
    }
    queue.complete(&first.lease, &StoredOutput::default()).await.unwrap();
    let problem = queue.task(new.id).await.problem.unwrap();
    assert_eq!(problem.more["left"].as_array().unwrap().len(), 1, "only what is still left");
    queue.complete(&second.lease, &StoredOutput::default()).await.unwrap();
    let problem = queue.task(new.id).await.problem.unwrap();
    assert_eq!((problem.more.get("left"), problem.detail.as_str()), (None, "It went wrong."));

    assert_eq!(depth(&queue).await, (0, 0, 0));
    assert_eq!(queue.counters().await.unwrap()["site_cleanup_done_total"], 2);
    assert!(!redis.holds("sealed-key-of").await, "the key is deleted with the clean-up");
    let kept: Vec<String> = redis.command("KEYS *site*").await;
    assert_eq!(kept, [""; 0]);
}

#[tokio::test]
async fn nothing_is_cleaned_up_that_the_task_has_cleaned_up_itself() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = prepare_with_something_left(&queue).await;
    queue.fail(&take(&queue, "prepare-target").await.lease, &problem(Code::CapMissing)).await.unwrap();
    let rollback = take(&queue, "rollback").await;
    queue.set_site_cleanup(&rollback.lease, "source", None).await.unwrap();
    queue.done(&rollback).await;
    assert_eq!(queue.task(new.id).await.problem.unwrap().more.get("left"), None);
    assert!(claim_after(&redis, &queue, DAY).await.is_none());
    assert!(matches!(
        queue.set_site_cleanup(&rollback.lease, "source", Some(&left_on("a.example"))).await,
        Err(QueueError::LeaseLost)
    ));
}

#[tokio::test]
async fn a_site_on_which_a_task_has_left_nothing_does_not_wait_for_its_cleanup() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    // Somebody names a site whose login they do not have, and a site of their own that is slow to clean up.
    let new = task("victim.example");
    let mut on = sites(&["victim.example", "own.example"]);
    on.push(SiteKey::of_clone(new.id));
    queue.enqueue_with_plan(&new, &plan(CLONE), on, 0).await.unwrap();
    let (victim, own) = (take(&queue, "prepare").await, take(&queue, "prepare-target").await);
    let victims = queue.accept(&owned(task("victim.example"), "alice")).await;
    let behind = queue.accept(&owned(task("own.example"), "alice")).await;
    let of_clone = owned(task("x.example"), "alice");
    let key = vec![SiteKey::of_clone(new.id)];
    queue.enqueue_with_plan(&of_clone, &plan("browser extend"), key, 0).await.unwrap();
    queue.set_site_cleanup(&own.lease, "target", Some(&left_on("own.example"))).await.unwrap();
    queue.done(&own).await;
    queue.nothing_ready().await;
    queue.fail(&victim.lease, &problem(Code::AuthBadCredentials)).await.unwrap();

    let running = queue.claim("w1", &[Stage::Browser]).await.unwrap().expect("the site is free");
    assert_eq!(running.lease.task, victims);
    assert!(queue.claim("w1", &[Stage::Browser]).await.unwrap().is_none(), "the others wait");
    let rollback = take(&queue, "rollback").await;
    queue.done(&rollback).await;
    assert_eq!(queue.task(new.id).await.state, State::Failed);
    let mut freed = vec![queue.take().await, queue.take().await];
    freed.sort_by_key(|claim| claim.lease.task != behind);
    assert_eq!([&freed[0], &freed[1]].map(|claim| claim.lease.task), [behind, of_clone.id]);

    // The end of the task has not freed the site of the other, which still runs.
    queue.accept(&task("victim.example")).await;
    queue.nothing_ready().await;
    freed.push(running);
    for claim in &freed {
        queue.done(claim).await;
    }
    queue.done(&queue.take().await).await;
}

#[tokio::test]
async fn a_cleanup_knows_whether_its_task_was_completed() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    prepare_with_something_left(&queue).await;
    for step in ["prepare-target", "move", "look", "commit"] {
        queue.done(&take(&queue, step).await).await;
    }
    assert_eq!(claim_after(&redis, &queue, MINUTE).await.unwrap().ending, TaskEnding::Completed);
}

#[tokio::test]
async fn an_overdue_cleanup_phase_hands_over_and_a_cancelled_task_says_so() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = prepare_with_something_left(&queue).await;
    queue.cancel(new.id).await.unwrap();
    // No worker comes in ten minutes.
    redis.advance_clock(11 * MINUTE).await;
    queue.sweep().await.unwrap();
    let cancelled = queue.task(new.id).await;
    assert_eq!(cancelled.state, State::Cancelled);
    assert_eq!(
        cancelled.progress.message,
        "Cancelled. What is left on a.example is removed as soon as it can be reached."
    );
    assert_eq!(claim_after(&redis, &queue, MINUTE).await.unwrap().task, new.id);
}

#[tokio::test]
async fn a_cleanup_holds_the_lock_of_its_site_only_during_an_attempt() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    fail_with_something_left(&queue, &["a.example"]).await;
    // The owner's next task does not wait for it.
    let next = queue.accept(&task("a.example")).await;
    let running = queue.take().await;
    assert_eq!(running.lease.task, next);
    assert!(claim_early(&redis, &queue).await.is_none(), "the site is locked");
    assert_eq!(depth(&queue).await, (0, 0, 1));
    queue.done(&running).await;

    let attempt = claim_early(&redis, &queue).await.unwrap();
    assert_eq!(attempt.attempts, 0, "waiting costs no attempt");
    assert!(!queue.heartbeat(&attempt.lease, None).await.unwrap().cancel_requested);
    let next = queue.accept(&task("www.a.example")).await;
    queue.nothing_ready().await;
    assert!(queue.heartbeat(&attempt.lease, None).await.unwrap().cancel_requested, "it gives way");
    queue.defer(&attempt.lease, Duration::from_secs(60)).await.unwrap();
    let running = queue.take().await;
    assert_eq!(running.lease.task, next);
    queue.done(&running).await;

    // A failed attempt, one whose worker dies, and one that nobody got the answer to.
    let attempt = claim_early(&redis, &queue).await.unwrap();
    assert!(matches!(
        queue.fail_with(&attempt.lease, &problem(Code::MigratorUnreachable), &RETRY).await.unwrap(),
        FailOutcome::Retrying(_)
    ));
    queue.accept(&task("a.example")).await;
    queue.done(&queue.take().await).await;
    for confirmed in [true, false] {
        let attempt = claim_early(&redis, &queue).await.unwrap();
        queue.release(&attempt.lease).await.unwrap();
        let lost = queue.claim_site_cleanup("w1", &ClaimAttempt::new()).await.unwrap().unwrap();
        assert_eq!(lost.attempts, 1);
        if confirmed {
            queue.heartbeat(&lost.lease, None).await.unwrap();
        }
        let waiting = queue.accept(&task("a.example")).await;
        queue.nothing_ready().await;
        redis.command::<()>(&format!("ZADD {{wpclone}}:leases:cleanup XX 1 {}:0", lost.lease.task)).await;
        queue.sweep().await.unwrap();
        let running = queue.take().await;
        assert_eq!(running.lease.task, waiting);
        assert!(claim(&queue).await.is_none());
        queue.done(&running).await;
    }
    let last = claim_early(&redis, &queue).await.unwrap();
    queue.complete(&last.lease, &StoredOutput::default()).await.unwrap();
    assert_eq!(depth(&queue).await, (0, 0, 0));
}

#[tokio::test]
async fn what_was_left_last_on_a_site_is_undone_first() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(fail_with_something_left(&queue, &["a.example"]).await.id);
        redis.next_millisecond().await;
    }
    for expected in left.into_iter().rev() {
        redis.advance_clock(2 * MINUTE).await;
        queue.sweep().await.unwrap();
        let claimed = claim(&queue).await.unwrap();
        assert_eq!(claimed.task, expected);
        assert!(claim(&queue).await.is_none());
        queue.complete(&claimed.lease, &StoredOutput::default()).await.unwrap();
    }
    assert_eq!(depth(&queue).await, (0, 0, 0));
}

#[tokio::test]
async fn a_corrupt_cleanup_blocks_no_other() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = fail_with_something_left(&queue, &["a.example"]).await.id;
    redis.next_millisecond().await;
    fail_with_something_left(&queue, &["a.example"]).await;
    let ids: Vec<String> = redis.command("ZRANGE {wpclone}:site_cleanups 0 -1").await;
    put_record(&redis, ids[1].parse().unwrap(), "1 1 1\nsite-cleanup").await;
    let claimed = claim_early(&redis, &queue).await.unwrap();
    assert_eq!(claimed.task, first);
    queue.complete(&claimed.lease, &StoredOutput::default()).await.unwrap();
    queue.sweep().await.unwrap();
    assert_eq!(depth(&queue).await, (0, 0, 0));
}

#[tokio::test]
async fn a_later_task_takes_over_what_was_left() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    fail_with_something_left(&queue, &["a.example", "b.example"]).await;
    queue.accept(&task("a.example")).await;
    let setup = queue.take().await;
    queue.supersede_site_cleanups(&setup.lease, &sites(&["a.example"])[0]).await.unwrap();
    queue.done(&setup).await;
    assert!(matches!(
        queue.supersede_site_cleanups(&setup.lease, &sites(&["b.example"])[0]).await,
        Err(QueueError::LeaseLost)
    ));
    redis.advance_clock(MINUTE).await;
    queue.sweep().await.unwrap();
    for _ in 0..2 {
        let claimed = claim(&queue).await.unwrap();
        assert_eq!(claimed.superseded, claimed.name == "a.example");
    }
}

#[tokio::test]
async fn a_cleanup_is_given_up_after_a_day_and_its_task_and_the_operator_are_told() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let (by_worker, unattended) = (
        fail_with_something_left(&queue, &["a.example"]).await.id,
        fail_with_something_left(&queue, &["b.example"]).await.id,
    );
    let pending = queue.site_cleanups().await.unwrap();
    let shown: Vec<_> = pending.iter().map(|c| (c.task, c.site.as_str(), c.state)).collect();
    let expected =
        [(by_worker, "a.example", LeftState::Pending), (unattended, "b.example", LeftState::Pending)];
    assert_eq!(shown, expected);
    // The worker decides when it is too late; without one the queue does.
    let last = RetryPolicy { max_attempts: 1, ..RETRY };
    redis.advance_clock(2 * MINUTE).await;
    queue.sweep().await.unwrap();
    let (one, two) = (claim(&queue).await.unwrap(), claim(&queue).await.unwrap());
    let (a, b) = if one.task == by_worker { (one, two) } else { (two, one) };
    let failed = queue.fail_with(&a.lease, &problem(Code::MigratorUnreachable), &last).await.unwrap();
    assert_eq!(failed, FailOutcome::DeadLettered);
    queue.release(&b.lease).await.unwrap();
    redis.advance_clock(DAY).await;
    queue.sweep().await.unwrap();
    assert_eq!(queue.task(unattended).await.problem.unwrap().more["left"][0]["state"], "pending");
    redis.advance_clock(DAY / 12).await;
    queue.sweep().await.unwrap();
    for id in [by_worker, unattended] {
        let problem = queue.task(id).await.problem.unwrap();
        assert_eq!(problem.more["left"][0]["state"], "given_up");
        assert!(problem.detail.ends_with("It could not be undone within a day."), "{}", problem.detail);
    }
    let given_up = queue.site_cleanups().await.unwrap();
    let shown: Vec<_> = given_up.iter().map(|c| (c.task, c.left.as_str(), c.state)).collect();
    let expected = [
        (unattended, "Something is on b.example.", LeftState::GivenUp),
        (by_worker, "Something is on a.example.", LeftState::GivenUp),
    ];
    assert_eq!(shown, expected);
    assert_eq!(queue.counters().await.unwrap()["site_cleanup_given_up_total"], 2);
    assert_eq!(depth(&queue).await, (0, 0, 0));
    assert!(!redis.holds("sealed-key-of").await);

    // A replay does the work again, and says nothing of what an earlier run left.
    queue.replay(by_worker, Some("brought"), OwnerLimits::default()).await.unwrap();
    assert!(queue.task(by_worker).await.problem.is_none());
}

#[tokio::test]
async fn the_cleanups_of_a_site_are_bounded() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(fail_with_something_left(&queue, &["a.example"]).await.id);
        redis.next_millisecond().await;
    }
    let pending: Vec<_> = queue.site_cleanups().await.unwrap();
    let of = |state| pending.iter().filter(|c| c.state == state).map(|c| c.task).collect::<Vec<_>>();
    assert_eq!(of(LeftState::Pending), ids[2..]);
    assert_eq!(of(LeftState::GivenUp), [ids[1], ids[0]]);
}

#[tokio::test]
async fn a_registration_has_a_limit() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept(&queue, &["a.example"]).await;
    let first = take(&queue, "prepare").await;
    let huge = SiteCleanup { details: json!("x".repeat(4 << 10)), ..left_on("a.example") };
    assert!(matches!(
        queue.set_site_cleanup(&first.lease, "source", Some(&huge)).await,
        Err(QueueError::TooLarge(_))
    ));
    for sealed in ["two words", "", "-"] {
        let invalid = SiteCleanup { sealed: Some(sealed.into()), ..left_on("a.example") };
        assert!(queue.set_site_cleanup(&first.lease, "source", Some(&invalid)).await.is_err());
    }
}

#[tokio::test]
async fn what_nobody_has_a_key_for_is_said_and_not_tried() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let without_key = SiteCleanup { sealed: None, ..left_on("a.example") };
    for is_cancelled in [true, false] {
        let new = accept(&queue, &["a.example"]).await;
        let first = take(&queue, "prepare").await;
        queue.set_site_cleanup(&first.lease, "source", Some(&without_key)).await.unwrap();
        if is_cancelled {
            queue.cancel(new.id).await.unwrap();
            queue.confirm_cancel(&first.lease).await.unwrap();
            redis.advance_clock(11 * MINUTE).await;
            queue.sweep().await.unwrap();
            let cancelled = queue.task(new.id).await;
            assert_eq!(cancelled.state, State::Cancelled);
            assert_eq!(cancelled.progress.message, "Cancelled. Something is on a.example.");
        } else {
            queue.fail(&first.lease, &problem(Code::CapMissing)).await.unwrap();
            redis.advance_clock(11 * MINUTE).await;
            queue.sweep().await.unwrap();
            let failed = queue.task(new.id).await;
            let problem = failed.problem.unwrap();
            assert_eq!(
                problem.more["left"],
                json!([{"left": "Something is on a.example.", "state": "manual"}])
            );
        }
        assert!(claim_early(&redis, &queue).await.is_none());
        assert!(queue.site_cleanups().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_secret_that_becomes_known_makes_it_a_clean_up() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = accept(&queue, &["a.example"]).await;
    let first = take(&queue, "prepare").await;
    for sealed in [None, Some("sealed".to_owned())] {
        let left = SiteCleanup { sealed, ..left_on("a.example") };
        queue.set_site_cleanup(&first.lease, "source", Some(&left)).await.unwrap();
    }
    queue.fail(&first.lease, &problem(Code::CapMissing)).await.unwrap();
    redis.advance_clock(11 * MINUTE).await;
    queue.sweep().await.unwrap();
    let claim = claim_early(&redis, &queue).await.unwrap();
    assert_eq!((claim.task, claim.sealed.as_str()), (new.id, "sealed"));
}
