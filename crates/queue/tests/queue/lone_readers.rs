//! Readers of a shared site that wait until they are alone there, replays of readers, and what waiting tasks are told.

use std::time::Duration;

use wpclone_queue::{Claim, Queue, ReplayOutcome, SiteLeave, WaitCause};
use wpclone_task::{Code, State, TaskId};

use crate::cleanup_support::claim_early;
use crate::shared_sites::{SET_UP, SITE, accept_reader, accept_with, join, leave, set_up, site, take};
use crate::support::*;

/// What the first waiting step of a task waits for: a site, and the task there.
async fn waits_for(queue: &Queue, task: TaskId) -> (String, Option<TaskId>) {
    match queue.waits_of(task).await.unwrap().swap_remove(0).cause {
        WaitCause::Site { site, ahead } => (site, ahead.map(|(task, _)| task)),
        other => panic!("{other:?}"),
    }
}

/// Asks for the site alone.
async fn hold(queue: &Queue, claim: &Claim) -> SiteLeave {
    queue.hold_site_alone(&claim.lease, &site()).await.unwrap()
}

/// Ends a task for good whose first step has this claim. Nothing is undone by its cleanup.
async fn fail(queue: &Queue, prepare: &Claim) {
    queue.fail(&prepare.lease, &problem(Code::CapMissing)).await.unwrap();
    let undo = take(queue, "undo").await;
    assert_eq!(undo.lease.task, prepare.lease.task);
    queue.done(&undo).await;
    assert_eq!(queue.task(prepare.lease.task).await.state, State::Failed);
}

#[tokio::test]
async fn nobody_joins_readers_one_of_which_cannot_use_what_is_stored() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = accept_reader(&queue).await;
    let second = accept_reader(&queue).await;
    let third = accept_reader(&queue).await;
    set_up(&queue, 2).await;
    let prepare = take(&queue, "prepare").await;
    assert_eq!(hold(&queue, &prepare).await, SiteLeave::Others);
    queue.defer(&prepare.lease, Duration::from_secs(10)).await.unwrap();
    assert_eq!(
        waits_for(&queue, second.id).await,
        (SITE.to_owned(), Some(first.id)),
        "no attempt has failed"
    );
    let (left, remove) = leave(&queue).await;
    assert_eq!((left, remove.lease.task), (SiteLeave::Left, first.id));
    queue.done(&remove).await;
    queue.nothing_ready().await; // the third one would not be able to use it either
    assert_eq!(waits_for(&queue, third.id).await, (SITE.to_owned(), Some(second.id)));
    redis.make_due(&prepare).await;
    queue.sweep().await.unwrap();
    let again = take(&queue, "prepare").await;
    assert_eq!((again.lease.task, again.shared.as_deref()), (second.id, Some(SET_UP)));
    assert_eq!(hold(&queue, &again).await, SiteLeave::Last);
    queue.share_site(&again.lease, &site(), 2, SET_UP).await.unwrap();
    assert_eq!(join(&queue).await.lease.task, third.id, "the new one can be used");
}

#[tokio::test]
async fn of_readers_that_all_wait_until_they_are_alone_the_oldest_one_gets_the_site() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let [first, second, third] =
        [accept_reader(&queue).await, accept_reader(&queue).await, accept_reader(&queue).await];
    set_up(&queue, 3).await;
    let mut prepare = [take(&queue, "prepare").await, take(&queue, "prepare").await];
    prepare.sort_by_key(|claim| claim.lease.task);
    let [of_second, of_third] = prepare;
    assert_eq!((of_second.lease.task, of_third.lease.task), (second.id, third.id));
    for claim in [&of_third, &of_second] {
        assert_eq!(hold(&queue, claim).await, SiteLeave::Others, "the first one reads");
    }
    let (left, remove) = leave(&queue).await;
    assert_eq!((left, remove.lease.task), (SiteLeave::Left, first.id));
    queue.done(&remove).await;
    assert_eq!(hold(&queue, &of_second).await, SiteLeave::Others, "nobody reads, but another one is there");
    assert_eq!(hold(&queue, &of_third).await, SiteLeave::Stuck);
    fail(&queue, &of_third).await;
    assert_eq!(hold(&queue, &of_second).await, SiteLeave::Last);
    assert!(queue.site_cleanups().await.unwrap().is_empty(), "what is left is the second one's duty alone");
    assert_eq!(queue.replay(third.id, None, Default::default()).await.unwrap(), ReplayOutcome::Queued);
    queue.share_site(&of_second.lease, &site(), 2, SET_UP).await.unwrap();
    assert_eq!(join(&queue).await.lease.task, third.id);
}

#[tokio::test]
async fn a_reader_that_has_waited_until_it_is_alone_reads_if_another_worker_can_use_what_is_stored() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    accept_reader(&queue).await;
    let of_first = take(&queue, "prepare").await;
    queue.share_site(&of_first.lease, &site(), 2, SET_UP).await.unwrap();
    let of_second = take(&queue, "prepare").await;
    // The worker of the first one was lost before its step was complete.
    assert_eq!(hold(&queue, &of_first).await, SiteLeave::Others);
    assert_eq!(hold(&queue, &of_second).await, SiteLeave::Stuck);
    queue.done(&of_first).await;
    assert_eq!(hold(&queue, &of_second).await, SiteLeave::Others, "the first one reads");
    let (left, remove) = leave(&queue).await;
    assert_eq!((left, remove.lease.task), (SiteLeave::Left, of_first.lease.task));
    queue.done(&remove).await;
    assert_eq!(hold(&queue, &of_second).await, SiteLeave::Last);
}

#[tokio::test]
async fn a_reader_that_is_ending_is_waited_for() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let [first, _] = [accept_reader(&queue).await, accept_reader(&queue).await];
    let of_first = take(&queue, "prepare").await;
    queue.share_site(&of_first.lease, &site(), 2, SET_UP).await.unwrap();
    let of_second = take(&queue, "prepare").await;
    assert_eq!(hold(&queue, &of_first).await, SiteLeave::Others);
    queue.cancel(first.id).await.unwrap();
    assert_eq!(hold(&queue, &of_second).await, SiteLeave::Others);
    queue.confirm_cancel(&of_first.lease).await.unwrap();
    assert_eq!(hold(&queue, &of_second).await, SiteLeave::Last);
}

/// What becomes of a site on which a reader has left something that another one had installed, before the reader is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    CleanedUp,
    TakenOver,
    /// While the replay waits for the site.
    TakenOverLater,
}

#[tokio::test]
async fn a_replay_does_not_take_what_it_finds_for_what_it_had_left() {
    for since in [Since::CleanedUp, Since::TakenOver, Since::TakenOverLater] {
        let redis = Redis::start().await;
        let queue = redis.queue();
        accept_reader(&queue).await;
        let replayed = accept_reader(&queue).await;
        set_up(&queue, 2).await;
        let prepare = take(&queue, "prepare").await;
        queue.done(&leave(&queue).await.1).await;
        fail(&queue, &prepare).await;
        assert_eq!(queue.site_cleanups().await.unwrap().len(), 1);
        let setup = queue.accept(&task(SITE)).await;
        let claim = queue.take().await;
        assert_eq!(claim.lease.task, setup);
        let replay = async || {
            let replay = queue.replay(replayed.id, None, Default::default()).await.unwrap();
            assert_eq!(replay, ReplayOutcome::Queued);
        };
        if since == Since::TakenOverLater {
            replay().await;
        }
        if since != Since::CleanedUp {
            queue.supersede_site_cleanups(&claim.lease, &site()).await.unwrap();
        }
        queue.done(&claim).await;
        if since != Since::TakenOverLater {
            if since == Since::CleanedUp {
                let cleanup = claim_early(&redis, &queue).await.unwrap();
                queue.complete(&cleanup.lease, &Default::default()).await.unwrap();
            }
            replay().await;
        }
        let again = take(&queue, "prepare").await;
        assert_eq!(again.lease.task, replayed.id);
        assert_eq!(again.checkpoints.get("migrator.source"), None, "{since:?}");
    }
}

#[tokio::test]
async fn nobody_joins_a_task_that_has_the_site_alone() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    set_up(&queue, 3).await;
    // The lock is lost, and what is shared is not.
    redis.command::<()>("HDEL {wpclone}:site_locks a.example").await;
    let alone = accept_reader(&queue).await;
    accept_reader(&queue).await;
    queue.done(&take(&queue, "copy").await).await;
    assert_eq!(take(&queue, "prepare").await.lease.task, alone.id);
    assert_eq!(take(&queue, "remove").await.shared, None);
    queue.nothing_ready().await;
}

#[tokio::test]
async fn a_task_is_told_which_one_it_waits_for_at_a_site_that_others_read() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = accept_with(&queue, "login", &["x.example"]).await;
    let same_target = accept_with(&queue, "login", &["x.example"]).await;
    set_up(&queue, 3).await;
    let target = ("x.example".to_owned(), Some(first.id));
    assert_eq!(waits_for(&queue, same_target.id).await, target, "it may read the source");
    queue.cancel(same_target.id).await.unwrap();
    accept_reader(&queue).await;
    join(&queue).await;
    let writer = queue.accept(&task(SITE)).await;
    let later = accept_reader(&queue).await;
    assert_eq!(waits_for(&queue, writer).await, (SITE.to_owned(), Some(first.id)), "the oldest of two");
    assert_eq!(waits_for(&queue, later.id).await, (SITE.to_owned(), Some(writer)));
}
