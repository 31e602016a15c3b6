//! Tasks that only read a site share it.

use wpclone_queue::{Claim, NewTask, Queue, QueueError, ReplayOutcome, SiteLeave, SiteLock};
use wpclone_task::{Code, LeftState, SiteKey, Stage, State};

use crate::cleanup_support::{MINUTE, claim_early, left_on};
use crate::support::*;

pub(crate) const SITE: &str = "a.example";
/// Its steps have stages of their own, so that tests choose which one they take.
const COPY: &str = "browser prepare | transfer copy | provisioning remove ! provisioning undo";
/// What the first reader stores for the others.
pub(crate) const SET_UP: &str = "its key and what it runs on";

pub(crate) fn site() -> SiteKey {
    sites(&[SITE])[0].clone()
}

/// A task that reads the site with this login, and changes others.
pub(crate) async fn accept_with(queue: &Queue, login: &str, changed: &[&str]) -> NewTask {
    let new = task(SITE);
    let mut locks = vec![SiteLock { site: site(), share_key: Some(login.to_owned()) }];
    locks.extend(sites(changed).into_iter().map(SiteLock::from));
    queue.enqueue_with_plan(&new, &plan(COPY), locks, 0).await.unwrap();
    new
}

pub(crate) async fn accept_reader(queue: &Queue) -> NewTask {
    accept_with(queue, "login", &[]).await
}

/// Takes the first step of this name.
pub(crate) async fn take(queue: &Queue, step: &str) -> Claim {
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
pub(crate) async fn set_up(queue: &Queue, limit: u32) -> Claim {
    let prepare = take(queue, "prepare").await;
    assert_eq!(prepare.shared, None, "it is the first");
    queue.set_site_cleanup(&prepare.lease, "source", Some(&left_on(SITE))).await.unwrap();
    queue.share_site(&prepare.lease, &site(), limit, SET_UP).await.unwrap();
    queue.done(&prepare).await;
    prepare
}

/// Does the first step of a task that begins with what another has set up.
pub(crate) async fn join(queue: &Queue) -> Claim {
    let prepare = take(queue, "prepare").await;
    assert_eq!(prepare.shared.as_deref(), Some(SET_UP));
    assert_eq!(prepare.checkpoints.get("migrator.source").map(String::as_str), Some("installed"));
    queue.done(&prepare).await;
    prepare
}

/// Takes the next step with this name, whatever task's it is, and leaves the site in it.
pub(crate) async fn leave(queue: &Queue) -> (SiteLeave, Claim) {
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
