//! Clean-ups of sites: what a task leaves, and the claims that tests make.

use std::time::Duration;

use serde_json::json;
use wpclone_queue::{Claim, ClaimAttempt, NewTask, Queue, RetryPolicy, SiteCleanup, SiteCleanupClaim};
use wpclone_task::{Code, Stage};

use crate::support::*;

/// Two parts that are undone when the task does not reach its last phase.
pub(crate) const CLONE: &str = "browser prepare, browser prepare-target | transfer move | browser look? | transfer commit \
     ! transfer rollback";
pub(crate) const DAY: i64 = 24 * 3600 * 1000;
pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 1000,
    backoff_base: Duration::from_secs(60),
    backoff_cap: Duration::from_secs(60),
    not_before: Duration::from_secs(60),
};

pub(crate) fn left_on(site: &str) -> SiteCleanup {
    SiteCleanup {
        site: sites(&[site])[0].clone(),
        left: format!("Something is on {site}."),
        details: json!({"url": format!("https://{site}"), "import": "ab cd"}),
        sealed: Some(format!("sealed-key-of-{site}")),
    }
}

pub(crate) async fn accept(queue: &Queue, on: &[&str]) -> NewTask {
    let new = task(on[0]);
    queue.enqueue_with_plan(&new, &plan(CLONE), sites(on), 0).await.unwrap();
    new
}

pub(crate) async fn take(queue: &Queue, step: &str) -> Claim {
    let claim = queue.take().await;
    assert_eq!(claim.step, step);
    claim
}

/// A task whose first step is done, which registered something on its site.
pub(crate) async fn prepare_with_something_left(queue: &Queue) -> NewTask {
    let new = accept(queue, &["a.example"]).await;
    let first = take(queue, "prepare").await;
    queue.set_site_cleanup(&first.lease, "source", Some(&left_on("a.example"))).await.unwrap();
    queue.done(&first).await;
    new
}

/// Registers something on each site, which is left when the transfer and the clean-up step fail.
pub(crate) async fn fail_with_something_left(queue: &Queue, on: &[&str]) -> NewTask {
    let new = accept(queue, on).await;
    let first = take(queue, "prepare").await;
    for site in on {
        queue.set_site_cleanup(&first.lease, site, Some(&left_on(site))).await.unwrap();
    }
    queue.done(&first).await;
    queue.done(&take(queue, "prepare-target").await).await;
    queue.fail(&take(queue, "move").await.lease, &problem(Code::CapMissing)).await.unwrap();
    queue.fail(&take(queue, "rollback").await.lease, &problem(Code::CapMissing)).await.unwrap();
    new
}

/// Claims a clean-up, and confirms the claim.
pub(crate) async fn claim(queue: &Queue) -> Option<SiteCleanupClaim> {
    let claim = queue.claim_site_cleanup("w1", &ClaimAttempt::new()).await.unwrap()?;
    queue.heartbeat(&claim.lease, None).await.unwrap();
    Some(claim)
}

/// Claims the first of all clean-ups that wait, as if they were due.
pub(crate) async fn claim_early(redis: &Redis, queue: &Queue) -> Option<SiteCleanupClaim> {
    let delayed: Vec<String> = redis.command("ZRANGE {wpclone}:delayed:cleanup 0 -1").await;
    for entry in delayed {
        redis.command::<()>(&format!("ZADD {{wpclone}}:delayed:cleanup XX 1 {entry}")).await;
    }
    queue.sweep().await.unwrap();
    claim(queue).await
}

/// Claims a clean-up when this much time has passed.
pub(crate) async fn claim_after(redis: &Redis, queue: &Queue, ms: i64) -> Option<SiteCleanupClaim> {
    redis.advance_clock(ms).await;
    queue.sweep().await.unwrap();
    claim(queue).await
}

pub(crate) async fn depth(queue: &Queue) -> (u64, u64, u64) {
    let depth = queue.stats().await.unwrap().stages[&Stage::Cleanup];
    (depth.ready, depth.running, depth.delayed)
}
