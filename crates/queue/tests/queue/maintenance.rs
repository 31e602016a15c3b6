//! Retention, workers, depths, warnings.

use std::time::Duration;

use jiff::Timestamp;
use wpclone_queue::{QueueOptions, TaskLookup, WorkerReport};
use wpclone_task::{Code, Stage, StageSlots, State, TaskId};

use crate::support::*;

#[tokio::test]
async fn ten_thousand_steps_due_at_once_become_ready_in_batches() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    // One task's step stands for all: the sweep opens each entry's task, so each needs one.
    redis.command::<()>("CONFIG SET appendfsync no").await;
    let fill = r"
        for n = 1, 10000 do
          local id = string.format('00000000-0000-7000-8000-%012d', n)
          redis.call('SET', KEYS[1] .. ':task:' .. id, '1 1 1\nsetup\na\n0 browser b\n\n\n\n{}\n')
          redis.call('HSET', KEYS[1] .. ':live:' .. id, 'state', 'running')
          redis.call('ZADD', KEYS[1] .. ':delayed:browser', 1, id .. ':0')
        end";
    let mut connection = redis.connect().await.unwrap();
    redis::Script::new(fill).key("{wpclone}").invoke_async::<()>(&mut connection).await.unwrap();
    let mut runs = 0;
    let mut promoted = 0;
    loop {
        let swept = queue.sweep().await.unwrap();
        assert!(swept.promoted <= 100);
        promoted += swept.promoted;
        runs += 1;
        if !swept.more {
            break;
        }
    }
    assert_eq!((promoted, runs), (10_000, 101));
    assert_eq!(queue.stats().await.unwrap().stages[&Stage::Browser].ready, 10_000);
}

#[tokio::test]
async fn old_finished_tasks_are_deleted_and_known_as_gone() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let (old, young) = (queue.accept(&task("a.example")).await, queue.accept(&task("b.example")).await);
    let waiting = queue.accept(&task("c.example")).await;
    queue.done(&queue.take().await).await;
    queue.fail(&queue.take().await.lease, &problem(Code::CapMissing)).await.unwrap();
    redis.command::<()>(&format!("ZADD {{wpclone}}:finished 1 {old}")).await;
    assert_eq!(queue.sweep().await.unwrap().trimmed, 1);
    assert!(matches!(queue.get(old).await.unwrap(), TaskLookup::Gone));
    assert_eq!(queue.task(young).await.state, State::Failed);
    assert_eq!(queue.task(waiting).await.state, State::Queued);
    let keys: Vec<String> = redis.command(&format!("KEYS *{old}*")).await;
    let bucket = format!("{{wpclone}}:index:queued:alice:{old}"); // named after it, and full of others
    assert_eq!(keys, [bucket]);
    assert_eq!(queue.list(&Default::default(), None, 10).await.unwrap().tasks.len(), 2);
    assert!(queue.events(old, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_bytes_of_finished_tasks_are_bounded_and_the_oldest_are_deleted_first() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(QueueOptions { finished_max_bytes: 9_000, ..Default::default() });
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(queue.accept(&task(&format!("s{n}.example"))).await);
        queue.done(&queue.take().await).await;
    }
    let waiting = queue.accept(&task("x.example")).await;
    let swept = queue.sweep().await.unwrap();
    assert!(swept.trimmed > 0 && swept.trimmed < 10, "{swept:?}");
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(
            matches!(queue.get(*id).await.unwrap(), TaskLookup::Gone),
            n < swept.trimmed as usize,
            "{n}"
        );
    }
    assert!(redis.command::<u64>("GET {wpclone}:finished_bytes").await <= 9_000);
    assert_eq!(queue.task(waiting).await.state, State::Queued);
}

#[tokio::test]
async fn an_owner_that_floods_loses_its_own_oldest_finished_tasks_first() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(QueueOptions { finished_max_bytes: 20_000, ..Default::default() });
    let mut ids = Vec::new();
    // The others' tasks are the oldest of all.
    for (n, owner) in ["alice", "alice", "bob"].into_iter().chain(["mallory"; 30]).enumerate() {
        ids.push(queue.accept(&owned(task(&format!("s{n}.example")), owner)).await);
        queue.done(&queue.take().await).await;
        redis.next_millisecond().await;
    }
    let trimmed = queue.sweep().await.unwrap().trimmed as usize;
    assert!(redis.command::<u64>("GET {wpclone}:finished_bytes").await <= 20_000);
    assert!(trimmed > 10 && trimmed < 30, "{trimmed}");
    for (n, id) in ids.iter().enumerate() {
        let is_gone = matches!(queue.get(*id).await.unwrap(), TaskLookup::Gone);
        assert_eq!(is_gone, (3..3 + trimmed).contains(&n), "{n}");
    }
    // Whatever the owner is called, nothing is left of a count when its tasks are gone.
    redis.queue_with(QueueOptions { finished_max_bytes: 0, ..Default::default() }).sweep().await.unwrap();
    assert_eq!(redis.command::<Vec<String>>("KEYS *:finished*").await, ["{wpclone}:finished_bytes"]);
}

#[tokio::test]
async fn nothing_is_left_of_deleted_tasks() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(QueueOptions {
        finished_max_bytes: 0,
        idempotency_retention: Duration::from_millis(1),
        ..Default::default()
    });
    for n in 0..5 {
        queue.accept(&idempotent(task("a.example"), &n.to_string(), &["f"])).await;
    }
    for _ in 0..5 {
        queue.done(&queue.take().await).await;
    }
    queue.sweep().await.unwrap();
    let mut keys: Vec<String> = redis.command("KEYS *").await;
    keys.retain(|k| !k.contains(":idempotency:")); // expired, perhaps not yet collected
    keys.sort();
    let kept = ["fencing_token", "finished_bytes", "gone", "layout"].map(|key| format!("{{wpclone}}:{key}"));
    assert_eq!(keys, kept);
    assert_eq!(redis.command::<u64>("GET {wpclone}:finished_bytes").await, 0);
}

fn report(id: &str) -> WorkerReport {
    WorkerReport {
        id: id.into(),
        stages: [(Stage::Browser, StageSlots { slots: 2, busy: 1 })].into(),
        tasks: vec![TaskId::new()],
        started_at: Timestamp::UNIX_EPOCH,
        browser_memory_bytes: 7,
        unavailable: Default::default(),
    }
}

#[tokio::test]
async fn a_silent_worker_is_shown_as_lost_for_an_hour_and_a_removed_one_is_not() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for id in ["alive", "silent", "forgotten", "retired"] {
        queue.report_worker(&report(id)).await.unwrap();
    }
    queue.remove_worker("retired").await.unwrap();
    let now: Vec<u64> = redis.command("TIME").await;
    let ago = |seconds: u64| (now[0] - seconds) * 1000;
    redis
        .command::<()>(&format!("ZADD {{wpclone}}:workers {} silent {} forgotten", ago(16), ago(3601)))
        .await;
    let stats = queue.stats().await.unwrap();
    let workers = &stats.workers;
    let shown: Vec<_> =
        workers.iter().map(|w| (w.id.as_str(), w.lost.is_some(), w.stages[&Stage::Browser])).collect();
    let slots = StageSlots { slots: 2, busy: 1 };
    assert_eq!(shown, [("alive", false, slots), ("silent", true, slots)]);
    // Only workers that are alive have slots.
    let browser = stats.stages[&Stage::Browser];
    assert_eq!((browser.slots, browser.busy, browser.workers), (2, 1, 1));
    assert!(workers[1].lost.as_ref().unwrap().starts_with("No report since 20"));
    queue.sweep().await.unwrap();
    assert_eq!(redis.command::<u64>("ZCARD {wpclone}:workers").await, 2);
}

#[tokio::test]
async fn each_stage_has_the_slots_that_workers_have_for_it_however_many_workers_there_are() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    // A worker without a report for 15 seconds is lost, and its first one must not be so long ago.
    redis.command::<()>("CONFIG SET appendfsync no").await;
    let slots = |slots, busy| StageSlots { slots, busy };
    for n in 0..120 {
        let mut worker = report(&format!("worker-{n}"));
        worker.stages = [
            (Stage::Browser, slots(2, 1)),
            (Stage::Transfer, slots(1, 1)),
            (Stage::Provisioning, slots(4, 0)),
        ]
        .into();
        queue.report_worker(&worker).await.unwrap();
    }
    let mut transfers_only = report("transfers-only");
    transfers_only.stages = [(Stage::Transfer, slots(3, 2))].into();
    queue.report_worker(&transfers_only).await.unwrap();
    let stats = queue.stats().await.unwrap();
    let of = |stage| {
        let depth = stats.stages[&stage];
        (depth.slots, depth.busy, depth.workers)
    };
    assert_eq!(of(Stage::Browser), (240, 120, 120));
    assert_eq!(of(Stage::Transfer), (123, 122, 121));
    assert_eq!(of(Stage::Provisioning), (480, 0, 120));
    assert_eq!(of(Stage::Webhook), (0, 0, 0));
    assert_eq!(stats.workers.len(), 100);
}

#[tokio::test]
async fn depths_count_steps_by_state() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for site in ["a.example", "a.example", "b.example", "c.example", "d.example"] {
        queue.accept(&task(site)).await;
    }
    queue.fail(&queue.take().await.lease, &problem(Code::Deadline).with("retry_after", 50)).await.unwrap();
    queue.take().await;
    let ready: Vec<String> = redis.command("ZRANGE {wpclone}:ready:browser:alice 0 -1").await;
    let id = ready[1].split(':').next().unwrap();
    let now: Vec<u64> = redis.command("TIME").await;
    redis.command::<()>(&format!("HSET {{wpclone}}:live:{id} 0.ready {}", (now[0] - 100) * 1000)).await;
    let stats = queue.stats().await.unwrap();
    let depth = stats.stages[&Stage::Browser];
    assert_eq!((depth.ready, depth.running, depth.delayed, depth.waiting_for_site), (2, 1, 1, 1));
    assert_eq!(depth.outstanding, 3);
    assert!((99..130).contains(&depth.oldest_seconds), "{}", depth.oldest_seconds);
    assert_eq!(stats.stages.len(), Stage::ALL.len());
    assert_eq!(stats.stages[&Stage::Transfer], Default::default());
}

#[tokio::test]
async fn a_redis_that_can_lose_tasks_has_warnings() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    assert_eq!(queue.redis_warnings().await.unwrap(), [""; 0]);
    redis.command::<()>("CONFIG SET appendfsync everysec").await;
    redis.command::<()>("CONFIG SET maxmemory-policy allkeys-lru").await;
    let warnings = queue.redis_warnings().await.unwrap();
    assert!(warnings[0].contains("allkeys-lru") && warnings[1].contains("everysec"), "{warnings:?}");
    // A provider that hides CONFIG still tells what INFO knows.
    redis.command::<()>("ACL SETUSER default -config").await;
    let warnings = queue.redis_warnings().await.unwrap();
    assert!(warnings[0].contains("allkeys-lru") && warnings[1].contains("provider"), "{warnings:?}");
}
