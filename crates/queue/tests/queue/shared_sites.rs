//! Tasks that only read a site share it.

use std::time::Duration;

use wpclone_queue::{Claim, NewTask, Queue, QueueError, ReplayOutcome, SiteLeave, SiteLock, WaitCause};
use wpclone_task::{Code, LeftState, SiteKey, Stage, State, TaskId};

use crate::cleanup_support::{MINUTE, claim_early, left_on};
use crate::support::*;

const SITE: &str = "a.example";
/// Its steps have stages of their own, so that tests choose which one they take.
const COPY: &str = "browser prepare | transfer copy | provisioning remove ! provisioning undo";
/// What the first reader stores for the others.
const SET_UP: &str = "its key and what it runs on";

fn site() -> SiteKey {
    sites(&[SITE])[0].clone()
}

/// A task that reads the site with this login, and changes others.
async fn accept_with(queue: &Queue, login: &str, changed: &[&str]) -> NewTask {
    let new = task(SITE);
    let mut locks = vec![SiteLock { site: site(), share_key: Some(login.to_owned()) }];
    locks.extend(sites(changed).into_iter().map(SiteLock::from));
    queue.enqueue_with_plan(&new, &plan(COPY), locks, 0).await.unwrap();
    new
}

async fn accept_reader(queue: &Queue) -> NewTask {
    accept_with(queue, "login", &[]).await
}

/// Takes the first step of this name.
async fn take(queue: &Queue, step: &str) -> Claim {
    let stage = match step {
        "prepare" => Stage::Browser,
        "copy" => Stage::Transfer,
        _ => Stage::Provisioning,
    };
    let claim = queue.claim("w1", &[stage]).await.unwrap().unwrap_or_else(|| panic!("{step} is ready"));
    queue.heartbeat(&claim.lease, None).await.unwrap();
    assert_eq!(claim.step, step);
    claim
}

/// Does the first step of a task that has the site alone, leaves something there, and shares it with `limit` in all.
async fn set_up(queue: &Queue, limit: u32) -> Claim {
    let prepare = take(queue, "prepare").await;
    assert_eq!(prepare.shared, None, "it is the first");
    queue.set_site_cleanup(&prepare.lease, "source", Some(&left_on(SITE))).await.unwrap();
    queue.share_site(&prepare.lease, &site(), limit, SET_UP).await.unwrap();
    queue.done(&prepare).await;
    prepare
}

/// Does the first step of a task that begins with what another has set up.
async fn join(queue: &Queue) -> Claim {
    let prepare = take(queue, "prepare").await;
    assert_eq!(prepare.shared.as_deref(), Some(SET_UP));
    assert_eq!(prepare.checkpoints.get("migrator.source").map(String::as_str), Some("installed"));
    queue.done(&prepare).await;
    prepare
}

/// Takes the next step with this name, whatever task's it is, and leaves the site in it.
async fn leave(queue: &Queue) -> (SiteLeave, Claim) {
    queue.done(&take(queue, "copy").await).await;
    let remove = take(queue, "remove").await;
    let left = queue.leave_site(&remove.lease, &site()).await.unwrap();
    assert_eq!(queue.leave_site(&remove.lease, &site()).await.unwrap(), left, "asked again after a crash");
    (left, remove)
}

async fn nothing_is_locked(redis: &Redis) {
    assert_eq!(redis.command::<Vec<String>>("KEYS *:site*").await, [""; 0]);
}

#[tokio::test]
async fn one_task_sets_a_site_up_and_those_that_come_meanwhile_read_it_two_at_a_time() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for _ in 0..5 {
        accept_reader(&queue).await;
    }
    let first = take(&queue, "prepare").await;
    queue.nothing_ready().await; // until the site is set up
    queue.set_site_cleanup(&first.lease, "source", Some(&left_on(SITE))).await.unwrap();
    queue.share_site(&first.lease, &site(), 2, SET_UP).await.unwrap();
    let second = take(&queue, "prepare").await;
    assert_eq!(second.shared.as_deref(), Some(SET_UP));
    queue.nothing_ready().await; // two read it
    queue.done(&first).await;
    queue.done(&second).await;
    // Each that leaves lets the next one in. Only the last one undoes what is left.
    for n in 0..5 {
        let (left, remove) = leave(&queue).await;
        assert_eq!(left, if n == 4 { SiteLeave::Last } else { SiteLeave::Left }, "{n}");
        if left == SiteLeave::Last {
            queue.set_site_cleanup(&remove.lease, "source", None).await.unwrap();
        }
        if n < 3 {
            join(&queue).await;
        }
        queue.done(&remove).await;
        let task = queue.task(remove.lease.task).await;
        assert_eq!((task.state, task.problem), (State::Succeeded, None));
    }
    assert!(queue.site_cleanups().await.unwrap().is_empty(), "nothing is left");
    nothing_is_locked(&redis).await;
}

#[tokio::test]
async fn a_task_that_changes_the_site_waits_for_its_readers_and_no_reader_overtakes_it() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    set_up(&queue, 2).await;
    let writer = queue.accept(&task(SITE)).await;
    let later = accept_reader(&queue).await;
    assert_eq!(
        queue.task(later.id).await.progress.message,
        "Waiting for other tasks on the same site, which other clones read."
    );
    let (left, remove) = leave(&queue).await;
    assert_eq!(left, SiteLeave::Last, "whoever waits behind a writer does not join");
    queue.nothing_ready().await;
    queue.done(&remove).await;
    let claim = queue.take().await;
    assert_eq!(claim.lease.task, writer);
    queue.nothing_ready().await;
    queue.done(&claim).await;
    let claim = queue.take().await;
    assert_eq!((claim.lease.task, claim.shared), (later.id, None), "it sets the site up anew");
}

#[tokio::test]
async fn another_login_waits_like_a_task_that_changes_the_site() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    set_up(&queue, 2).await;
    let other = accept_with(&queue, "another-login", &[]).await;
    let same = accept_reader(&queue).await;
    let copy = take(&queue, "copy").await;
    queue.nothing_ready().await;
    queue.fail(&copy.lease, &problem(Code::CapMissing)).await.unwrap();
    let undo = take(&queue, "undo").await;
    assert_eq!(queue.leave_site(&undo.lease, &site()).await.unwrap(), SiteLeave::Last);
    queue.nothing_ready().await; // it is undone alone
    queue.done(&undo).await;
    let claim = queue.take().await;
    assert_eq!((claim.lease.task, claim.shared), (other.id, None));
    queue.nothing_ready().await;
    queue.cancel(claim.lease.task).await.unwrap();
    queue.confirm_cancel(&claim.lease).await.unwrap();
    queue.done(&take(&queue, "undo").await).await;
    assert_eq!(queue.take().await.lease.task, same.id);
}

#[tokio::test]
async fn a_set_up_that_fails_or_whose_worker_dies_is_left_to_the_next() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for _ in 0..3 {
        accept_reader(&queue).await;
    }
    queue.fail(&take(&queue, "prepare").await.lease, &problem(Code::AuthBadCredentials)).await.unwrap();
    queue.done(&take(&queue, "undo").await).await;
    let dying = take(&queue, "prepare").await;
    for attempt in 0..3 {
        let claim = if attempt == 0 { dying.clone() } else { take(&queue, "prepare").await };
        assert_eq!((claim.lease.task, &claim.shared), (dying.lease.task, &None));
        redis.expire_lease(&claim).await;
        let late = queue.share_site(&claim.lease, &site(), 2, SET_UP).await;
        assert!(matches!(late, Err(QueueError::LeaseLost)), "{late:?}");
        queue.sweep().await.unwrap();
    }
    queue.done(&take(&queue, "undo").await).await;
    let last = set_up(&queue, 2).await;
    assert_eq!(queue.task(last.lease.task).await.state, State::Running);
}

#[tokio::test]
async fn a_worker_that_dies_after_it_has_shared_a_site_finds_what_it_has_stored() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    let prepare = take(&queue, "prepare").await;
    queue.share_site(&prepare.lease, &site(), 2, SET_UP).await.unwrap();
    redis.expire_lease(&prepare).await;
    queue.sweep().await.unwrap();
    let again = take(&queue, "prepare").await;
    assert_eq!((again.lease.task, again.shared.as_deref()), (prepare.lease.task, Some(SET_UP)));
}

#[tokio::test]
async fn what_a_killed_reader_leaves_is_undone_by_the_last_one() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = accept_reader(&queue).await;
    accept_reader(&queue).await;
    set_up(&queue, 2).await;
    join(&queue).await;
    let copies = [take(&queue, "copy").await, take(&queue, "copy").await];
    // The worker of the one that has set the site up dies again and again.
    let (of_first, of_second) = if copies[0].lease.task == first.id { (0, 1) } else { (1, 0) };
    let mut claim = copies[of_first].clone();
    for _ in 0..2 {
        redis.expire_lease(&claim).await;
        queue.sweep().await.unwrap();
        claim = take(&queue, "copy").await;
        assert_eq!(claim.lease.task, first.id);
    }
    redis.expire_lease(&claim).await;
    queue.sweep().await.unwrap();
    let undo = take(&queue, "undo").await;
    assert_eq!(queue.leave_site(&undo.lease, &site()).await.unwrap(), SiteLeave::Left);
    queue.done(&undo).await;
    let problem = queue.task(first.id).await.problem.unwrap();
    assert_eq!(problem.code, Code::Poison);
    assert!(!problem.detail.contains("Something is on"), "the other undoes it: {}", problem.detail);
    assert!(queue.site_cleanups().await.unwrap().is_empty());

    queue.done(&copies[of_second]).await;
    let remove = take(&queue, "remove").await;
    assert_eq!(queue.leave_site(&remove.lease, &site()).await.unwrap(), SiteLeave::Last);
}

#[tokio::test]
async fn what_the_last_reader_leaves_is_cleaned_up_also_if_another_has_set_it_up() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = accept_reader(&queue).await;
    let second = accept_reader(&queue).await;
    set_up(&queue, 2).await;
    let waiting = take(&queue, "prepare").await;
    assert_eq!(waiting.lease.task, second.id);
    let (left, remove) = leave(&queue).await;
    assert_eq!((left, remove.lease.task), (SiteLeave::Left, first.id));
    queue.done(&remove).await;
    // The other one ends before it has prepared anything, and no clean-up step of it does anything.
    queue.cancel(second.id).await.unwrap();
    queue.confirm_cancel(&waiting.lease).await.unwrap();
    queue.done(&take(&queue, "undo").await).await;
    assert_eq!(queue.task(second.id).await.state, State::Cancelled);
    let left = queue.site_cleanups().await.unwrap();
    assert_eq!(left.iter().map(|c| (c.task, c.state)).collect::<Vec<_>>(), [(second.id, LeftState::Pending)]);
    let cleanup = claim_early(&redis, &queue).await.unwrap();
    assert_eq!((cleanup.name.as_str(), cleanup.sealed), ("source", left_on(SITE).sealed.unwrap()));
    queue.complete(&cleanup.lease, &Default::default()).await.unwrap();
    nothing_is_locked(&redis).await;
}

#[tokio::test]
async fn a_clean_up_waits_for_readers_and_comes_before_those_in_line_when_it_has_waited_for_long() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task(SITE)).await;
    let setup = queue.take().await;
    queue.set_site_cleanup(&setup.lease, "left", Some(&left_on(SITE))).await.unwrap();
    accept_reader(&queue).await;
    queue.done(&setup).await;
    let prepare = take(&queue, "prepare").await;
    queue.share_site(&prepare.lease, &site(), 2, SET_UP).await.unwrap();
    queue.done(&prepare).await;
    assert!(claim_early(&redis, &queue).await.is_none());
    redis.advance_clock(11 * MINUTE).await;
    queue.sweep().await.unwrap(); // the lease has expired as well
    assert!(claim_early(&redis, &queue).await.is_none(), "a reader is not interrupted");
    accept_reader(&queue).await;
    let (left, remove) = leave(&queue).await;
    assert_eq!(left, SiteLeave::Last);
    queue.done(&remove).await;
    queue.nothing_ready().await;
    let cleanup = claim_early(&redis, &queue).await.expect("its turn");
    queue.complete(&cleanup.lease, &Default::default()).await.unwrap();
    assert_eq!(take(&queue, "prepare").await.shared, None);
}

#[tokio::test]
async fn one_that_may_read_alone_hands_over_to_the_next() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    let next = accept_reader(&queue).await;
    set_up(&queue, 1).await;
    assert_eq!(
        queue.task(next.id).await.progress.message,
        "Waiting for other tasks on the same site, which other clones read."
    );
    let (left, remove) = leave(&queue).await;
    assert_eq!(left, SiteLeave::Left);
    queue.done(&remove).await;
    assert_eq!(join(&queue).await.lease.task, next.id);
    assert_eq!(leave(&queue).await.0, SiteLeave::Last);
}

#[tokio::test]
async fn nobody_joins_after_ten_minutes() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    set_up(&queue, 4).await;
    redis.advance_clock(9 * MINUTE).await;
    accept_reader(&queue).await;
    join(&queue).await;
    redis.advance_clock(2 * MINUTE).await;
    let late = accept_reader(&queue).await;
    for expected in [SiteLeave::Left, SiteLeave::Last] {
        queue.done(&take(&queue, "copy").await).await;
        let remove = take(&queue, "remove").await;
        assert_eq!(queue.leave_site(&remove.lease, &site()).await.unwrap(), expected);
        queue.done(&remove).await;
    }
    let anew = take(&queue, "prepare").await;
    assert_eq!((anew.lease.task, anew.shared), (late.id, None));
}

#[tokio::test]
async fn a_reader_that_cannot_use_what_is_stored_sets_the_site_up_once_it_is_alone() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_reader(&queue).await;
    accept_reader(&queue).await;
    set_up(&queue, 2).await;
    let prepare = take(&queue, "prepare").await;
    assert_eq!(queue.hold_site_alone(&prepare.lease, &site()).await.unwrap(), SiteLeave::Others);
    let (left, remove) = leave(&queue).await;
    assert_eq!(left, SiteLeave::Left);
    queue.done(&remove).await;
    assert_eq!(queue.hold_site_alone(&prepare.lease, &site()).await.unwrap(), SiteLeave::Last);
    let waiting = accept_reader(&queue).await;
    queue.nothing_ready().await;
    queue.share_site(&prepare.lease, &site(), 2, SET_UP).await.unwrap();
    assert_eq!(join(&queue).await.lease.task, waiting.id);
}

#[tokio::test]
async fn tasks_that_fill_sites_of_their_own_share_their_source() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    accept_with(&queue, "login", &["x.example"]).await;
    let same_target = accept_with(&queue, "login", &["x.example"]).await;
    let behind = accept_with(&queue, "login", &["y.example"]).await;
    set_up(&queue, 3).await;
    // The first in line waits for its target, and nobody overtakes it at the source.
    let copy = take(&queue, "copy").await;
    queue.nothing_ready().await;
    queue.cancel(same_target.id).await.unwrap();
    let joined = take(&queue, "prepare").await;
    assert_eq!((joined.lease.task, joined.shared.as_deref()), (behind.id, Some(SET_UP)));
    queue.done(&copy).await;
}

#[tokio::test]
async fn a_replay_with_another_password_has_the_site_alone() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let replayed = accept_reader(&queue).await;
    queue.fail(&take(&queue, "prepare").await.lease, &problem(Code::AuthBadCredentials)).await.unwrap();
    queue.done(&take(&queue, "undo").await).await;
    accept_reader(&queue).await;
    set_up(&queue, 2).await;
    let replay = queue.replay(replayed.id, Some("sealed-new-secrets"), Default::default()).await.unwrap();
    assert_eq!(replay, ReplayOutcome::Queued);
    let copy = take(&queue, "copy").await;
    queue.nothing_ready().await;
    queue.cancel(copy.lease.task).await.unwrap();
    queue.confirm_cancel(&copy.lease).await.unwrap();
    let undo = take(&queue, "undo").await;
    assert_eq!(queue.leave_site(&undo.lease, &site()).await.unwrap(), SiteLeave::Last);
    queue.done(&undo).await;
    let alone = take(&queue, "prepare").await;
    assert_eq!((alone.lease.task, &alone.shared), (replayed.id, &None));
    accept_reader(&queue).await;
    queue.share_site(&alone.lease, &site(), 2, SET_UP).await.unwrap();
    queue.nothing_ready().await;
}

#[tokio::test]
async fn the_sweep_removes_readers_whose_tasks_are_gone() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let ghosts = [accept_reader(&queue).await, accept_reader(&queue).await];
    set_up(&queue, 2).await;
    let waiting = [accept_reader(&queue).await, accept_reader(&queue).await];
    queue.done(&take(&queue, "prepare").await).await;
    for (ghost, next) in ghosts.iter().zip(&waiting) {
        redis.command::<()>(&format!("DEL {{wpclone}}:task:{}", ghost.id)).await;
        queue.sweep().await.unwrap();
        let joined = take(&queue, "prepare").await;
        assert_eq!((joined.lease.task, joined.shared.as_deref()), (next.id, Some(SET_UP)));
    }
}

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
async fn a_reader_that_fails_hands_nothing_on() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let [first, second] = [accept_reader(&queue).await, accept_reader(&queue).await];
    set_up(&queue, 2).await;
    join(&queue).await;
    let third = accept_reader(&queue).await;
    let copies = [take(&queue, "copy").await, take(&queue, "copy").await];
    let of_first = copies.iter().find(|copy| copy.lease.task == first.id).unwrap();
    queue.fail(&of_first.lease, &problem(Code::CapMissing)).await.unwrap();
    let undo = take(&queue, "undo").await;
    assert_eq!(queue.leave_site(&undo.lease, &site()).await.unwrap(), SiteLeave::Left);
    queue.done(&undo).await;
    queue.nothing_ready().await;
    queue.done(copies.iter().find(|copy| copy.lease.task == second.id).unwrap()).await;
    let remove = take(&queue, "remove").await;
    assert_eq!(queue.leave_site(&remove.lease, &site()).await.unwrap(), SiteLeave::Last);
    queue.done(&remove).await;
    let anew = take(&queue, "prepare").await;
    assert_eq!((anew.lease.task, anew.shared), (third.id, None));
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
