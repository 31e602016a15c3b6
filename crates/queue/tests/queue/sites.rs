//! Never two tasks on one site.

use std::collections::{BTreeMap, HashMap};

use wpclone_queue::{CancelOutcome, Claim};
use wpclone_task::{Code, Stage, State};

use crate::support::*;

#[tokio::test]
async fn twenty_tasks_on_four_sites_never_overlap_and_all_finish() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let mut site_of = HashMap::new();
    for n in 0..20 {
        // Four sites in several spellings.
        let host = format!("{}s{}.example", if n % 2 == 0 { "www." } else { "" }, n % 4);
        site_of.insert(queue.accept(&task(&host)).await, n % 4);
    }
    let depth = queue.stats().await.unwrap().stages[&Stage::Browser];
    assert_eq!((depth.ready, depth.waiting_for_site), (4, 16));
    let mut held: BTreeMap<i32, Claim> = BTreeMap::new();
    let mut order: HashMap<i32, Vec<_>> = HashMap::new();
    while order.values().map(Vec::len).sum::<usize>() < 20 || !held.is_empty() {
        while let Some(claim) = queue.claim("w", &[Stage::Browser]).await.unwrap() {
            let site = site_of[&claim.lease.task];
            order.entry(site).or_default().push(claim.lease.task);
            assert!(held.insert(site, claim).is_none(), "two tasks on site {site}");
        }
        let (_, claim) = held.pop_last().expect("a step is ready");
        queue.done(&claim).await;
    }
    for (site, tasks) in order {
        assert_eq!(tasks.len(), 5);
        assert!(tasks.is_sorted(), "site {site} is served by age");
    }
    queue.nothing_ready().await;
}

#[tokio::test]
async fn a_site_is_passed_on_however_its_task_ended() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let tasks: Vec<_> = (0..5).map(|_| task("a.example")).collect();
    for task in &tasks {
        queue.accept(task).await;
    }
    queue.done(&queue.take().await).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    let running = queue.take().await;
    queue.cancel(running.lease.task).await.unwrap();
    queue.nothing_ready().await; // its worker has not stopped yet
    queue.confirm_cancel(&running.lease).await.unwrap();
    for _ in 0..3 {
        redis.expire_lease(&queue.take().await).await;
        queue.sweep().await.unwrap();
    }
    let last = queue.take().await;
    assert_eq!(last.lease.task, tasks[4].id);
    queue.done(&last).await;
}

#[tokio::test]
async fn a_task_between_two_attempts_keeps_its_site() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    queue.accept(&task("a.example")).await;
    queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    queue.nothing_ready().await;
    redis.make_due(&claim).await;
    queue.sweep().await.unwrap();
    assert_eq!(queue.take().await.lease.task, claim.lease.task);
}

#[tokio::test]
async fn locks_on_two_sites_are_taken_together() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let on = async |names: &[&str]| {
        let new = task("x.example");
        queue.enqueue_with_plan(&new, &plan("browser b"), sites(names), 0).await.unwrap();
        new.id
    };
    let a = on(&["a.example"]).await;
    let ab = on(&["a.example", "b.example"]).await;
    let b = on(&["b.example"]).await;
    let bb = on(&["b.example", "www.b.example"]).await;
    let first = queue.take().await;
    assert_eq!(first.lease.task, a);
    queue.nothing_ready().await; // `b` came after `ab`, which waits for both
    queue.done(&first).await;
    for id in [ab, b, bb] {
        let claim = queue.take().await;
        assert_eq!(claim.lease.task, id);
        queue.nothing_ready().await;
        queue.done(&claim).await;
    }
}

#[tokio::test]
async fn a_cancelled_waiter_passes_its_turn_on() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    queue.take().await;
    let both = task("x.example");
    queue.enqueue_with_plan(&both, &plan("browser b"), sites(&["a.example", "b.example"]), 9).await.unwrap();
    let behind = queue.accept(&task("b.example")).await;
    queue.nothing_ready().await;
    assert_eq!(queue.cancel(both.id).await.unwrap(), CancelOutcome::Cancelled);
    assert_eq!(queue.take().await.lease.task, behind);
}

#[tokio::test]
async fn the_sweep_repairs_locks_of_missing_tasks_and_lost_turns() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let ghost = queue.accept(&task("a.example")).await;
    let waiting = queue.accept(&task("a.example")).await;
    redis.command::<()>(&format!("DEL {{wpclone}}:task:{ghost}")).await;
    queue.nothing_ready().await;
    queue.sweep().await.unwrap();
    let claim = queue.take().await;
    assert_eq!(claim.lease.task, waiting);
    queue.done(&claim).await;
    assert_eq!(redis.command::<u64>("EXISTS {wpclone}:site_locks").await, 0, "a free site is not remembered");
    assert_eq!(queue.task(waiting).await.state, State::Succeeded);
}
