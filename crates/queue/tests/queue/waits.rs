//! Why steps wait.

use wpclone_queue::{CancelOutcome, WaitCause};
use wpclone_task::{Code, Stage};

use crate::support::*;

#[tokio::test]
async fn a_step_waits_for_a_worker_then_for_its_next_attempt_and_not_while_it_runs() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let waits = queue.waits_of(id).await.unwrap();
    assert_eq!(
        (waits.len(), waits[0].task, waits[0].stage, waits[0].step.as_str()),
        (1, id, Stage::Browser, "setup")
    );
    let created = queue.task(id).await.created_at;
    assert_eq!(waits[0].cause, WaitCause::Worker { since: created });
    let claim = queue.take().await;
    assert_eq!(queue.waits_of(id).await.unwrap(), []);
    queue.fail(&claim.lease, &problem(Code::SiteUnreachable)).await.unwrap();
    let waits = queue.waits_of(id).await.unwrap();
    let WaitCause::Retry { until } = waits[0].cause else { panic!("{waits:?}") };
    assert!(until > created);
    assert_eq!(queue.first_waits().await.unwrap(), waits);
    redis.make_due(&claim).await;
    queue.sweep().await.unwrap();
    assert!(matches!(queue.waits_of(id).await.unwrap()[0].cause, WaitCause::Worker { .. }));
    assert_eq!(queue.cancel(id).await.unwrap(), CancelOutcome::Cancelled);
    assert_eq!(queue.waits_of(id).await.unwrap(), []);
    assert_eq!(queue.first_waits().await.unwrap(), []);
}

#[tokio::test]
async fn a_task_waits_for_the_one_that_has_its_site_or_is_in_line_before_it() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let first = queue.accept(&owned(task("a.example"), "bob")).await;
    let second = queue.accept(&task("a.example")).await;
    let both = task("x.example");
    let plan = plan("browser prepare-source, provisioning provision | transfer move");
    queue.enqueue_with_plan(&both, &plan, sites(&["b.example", "a.example"]), 0).await.unwrap();
    let site = |ahead, owner: &str| WaitCause::Site {
        site: "a.example".into(),
        ahead: Some((ahead, owner.to_owned())),
    };
    assert_eq!(queue.waits_of(second).await.unwrap()[0].cause, site(first, "bob"));
    // It waits with both steps of its first phase.
    let waits = queue.waits_of(both.id).await.unwrap();
    let steps: Vec<&str> = waits.iter().map(|wait| wait.step.as_str()).collect();
    assert_eq!(steps, ["prepare-source", "provision"]);
    assert!(waits.iter().all(|wait| wait.cause == site(first, "bob")), "{waits:?}");
    let of_all: Vec<_> = queue.first_waits().await.unwrap().into_iter().map(|wait| wait.task).collect();
    assert!([first, second, both.id].iter().all(|id| of_all.contains(id)), "{of_all:?}");
    queue.done(&queue.take().await).await;
    assert!(matches!(queue.waits_of(second).await.unwrap()[0].cause, WaitCause::Worker { .. }));
    assert_eq!(queue.waits_of(both.id).await.unwrap()[0].cause, site(second, "alice"));
}

#[tokio::test]
async fn waits_of_many_tasks_are_listed_in_part() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for n in 0..100 {
        queue.accept(&owned(task(&format!("s{}.example", n % 50)), &format!("owner-{}", n % 20))).await;
    }
    let waits = queue.first_waits().await.unwrap();
    assert!((2..=30).contains(&waits.len()), "{}", waits.len());
    let has = |is_right: fn(&WaitCause) -> bool| waits.iter().any(|wait| is_right(&wait.cause));
    assert!(has(|cause| matches!(cause, WaitCause::Worker { .. })));
    assert!(has(|cause| matches!(cause, WaitCause::Site { .. })));
}
