//! Sessions on sites that a step keeps for its next attempt.

use wpclone_queue::{Claim, OwnerLimits, Queue, QueueError, ReplayOutcome, session_name};
use wpclone_task::{Code, State};

use crate::cleanup_support::{claim_early, depth, left_on, take};
use crate::support::*;

async fn keep(queue: &Queue, claim: &Claim) {
    queue.keep_session(&claim.lease, Some(&left_on("a.example"))).await.unwrap();
}

/// What stands for the sealed session.
const SEALED: &str = "sealed-key-of-a.example";

/// Whether any result, or what is registered for the end of a task, holds the session.
async fn is_stored(redis: &Redis) -> bool {
    let keys: Vec<String> = redis.command("KEYS *:output:*").await;
    for key in keys {
        let values: Vec<String> = redis.command(&format!("HVALS {key}")).await;
        if values.iter().any(|value| value.contains(SEALED)) {
            return true;
        }
    }
    redis.holds(SEALED).await
}

#[tokio::test]
async fn a_kept_session_is_for_the_next_attempts_at_its_step_alone_until_it_is_deleted() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let new = task("a.example");
    queue.enqueue_with_plan(&new, &plan("browser a, browser b"), sites(&["a.example"]), 0).await.unwrap();
    let first = take(&queue, "a").await;
    assert_eq!(first.kept_session, None);
    keep(&queue, &first).await;
    assert_eq!(take(&queue, "b").await.kept_session, None, "another step has a login of its own");

    // Another worker, after a crash, and after a failed attempt.
    redis.expire_lease(&first).await;
    queue.sweep().await.unwrap();
    let second = take(&queue, "a").await;
    assert_eq!(second.kept_session.as_deref(), Some(SEALED));
    let late = queue.keep_session(&first.lease, None).await;
    assert!(matches!(late, Err(QueueError::LeaseLost)), "{late:?}");
    queue.fail(&second.lease, &problem(Code::Deadline)).await.unwrap();
    redis.make_due(&second).await;
    queue.sweep().await.unwrap();
    let third = take(&queue, "a").await;
    assert_eq!(third.kept_session.as_deref(), Some(SEALED));

    queue.keep_session(&third.lease, None).await.unwrap();
    queue.release(&third.lease).await.unwrap();
    assert_eq!(take(&queue, "a").await.kept_session, None);
    assert!(!is_stored(&redis).await);
}

#[tokio::test]
async fn a_session_that_no_worker_has_ended_is_ended_by_a_clean_up_however_the_task_ends() {
    for end in ["cancelled", "poison", "completed"] {
        let redis = Redis::start().await;
        let queue = redis.queue();
        let id = queue.accept(&task("a.example")).await;
        let claim = queue.take().await;
        keep(&queue, &claim).await;
        let state = match end {
            "cancelled" => {
                queue.fail(&claim.lease, &problem(Code::Deadline)).await.unwrap();
                queue.cancel(id).await.unwrap();
                State::Cancelled
            }
            "poison" => {
                let mut claim = claim.clone();
                for _ in 1..3 {
                    redis.expire_lease(&claim).await;
                    queue.sweep().await.unwrap();
                    claim = queue.take().await;
                }
                redis.expire_lease(&claim).await;
                queue.sweep().await.unwrap();
                State::Failed
            }
            _ => {
                queue.done(&claim).await;
                State::Succeeded
            }
        };
        assert_eq!(queue.task(id).await.state, state);
        let cleanup = claim_early(&redis, &queue).await.unwrap_or_else(|| panic!("{end}: no clean-up"));
        assert_eq!((cleanup.name, cleanup.sealed.as_str()), (session_name(&claim.lease), SEALED), "{end}");
        queue.complete(&cleanup.lease, &Default::default()).await.unwrap();
        assert_eq!(depth(&queue).await, (0, 0, 0), "{end}");
        assert!(!is_stored(&redis).await, "{end}");
    }
}

#[tokio::test]
async fn a_replay_begins_without_the_session() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    keep(&queue, &claim).await;
    queue.fail(&claim.lease, &problem(Code::CapMissing)).await.unwrap();
    let replayed = queue.replay(id, None, OwnerLimits::default()).await.unwrap();
    assert_eq!(replayed, ReplayOutcome::Queued);
    assert_eq!(queue.take().await.kept_session, None);
}

#[tokio::test]
async fn whether_a_step_is_tried_again_is_known_before_its_failure_is_reported() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let mut final_problem = problem(Code::Deadline);
    final_problem.retryable = false;
    for attempt in 1..=3 {
        let claim = queue.take().await;
        assert!(!queue.is_retried(&claim, &problem(Code::SessionLost)));
        assert!(!queue.is_retried(&claim, &final_problem));
        assert_eq!(queue.is_retried(&claim, &problem(Code::Deadline)), attempt < 3);
        queue.fail(&claim.lease, &problem(Code::Deadline)).await.unwrap();
        redis.make_due(&claim).await;
        queue.sweep().await.unwrap();
    }
    queue.nothing_ready().await;
}
