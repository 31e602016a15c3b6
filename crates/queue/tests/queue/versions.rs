//! Data that another version of the program has written: another layout of the keys, another version of a record, unknown
//! variants and fields. It is kept as it is, counted, and taken up by a program that can read it.

use std::collections::BTreeMap;

use wpclone_queue::{QueueError, QueueOptions, ReplayOutcome, TaskLookup, WorkerReport};
use wpclone_task::{Code, Stage, StageSlots, State, TaskId};

use crate::support::*;

/// All keys and their contents.
async fn dump(redis: &Redis) -> BTreeMap<String, Vec<u8>> {
    let mut connection = redis.connect().await.unwrap();
    let mut all = BTreeMap::new();
    for key in redis.command::<Vec<String>>("KEYS *").await {
        let value = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
        all.insert(key, value);
    }
    all
}

/// The function libraries that Redis has.
async fn functions(redis: &Redis) -> Vec<redis::Value> {
    redis.command("FUNCTION LIST").await
}

fn is_other_layout<T: std::fmt::Debug>(result: Result<T, QueueError>, found: Option<u32>) -> bool {
    matches!(result, Err(QueueError::OtherLayout(layout)) if layout.found == found)
}

#[tokio::test]
async fn an_empty_redis_gets_the_number_of_the_layout() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.ping().await.unwrap();
    queue.stats().await.unwrap();
    assert_eq!(redis.command::<u64>("EXISTS {wpclone}:layout").await, 0, "reading writes nothing");
    queue.accept(&task("a.example")).await;
    assert_eq!(redis.command::<u32>("GET {wpclone}:layout").await, wpclone_redis::LAYOUT);
    redis.command::<()>("FLUSHALL").await;
    queue.sweep().await.unwrap();
    assert_eq!(redis.command::<u32>("GET {wpclone}:layout").await, wpclone_redis::LAYOUT);
}

#[tokio::test]
async fn nothing_is_changed_in_a_redis_with_another_layout() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let failed = queue.accept(&task("a.example")).await;
    queue.fail(&queue.take().await.lease, &problem(Code::AuthBadCredentials)).await.unwrap();
    let waiting = queue.accept(&task("b.example")).await;
    let claim = queue.take().await;
    redis.expire_lease(&claim).await;
    for (number, found) in [(Some("7"), Some(7)), (None, None)] {
        match number {
            Some(number) => redis.command::<()>(&format!("SET {{wpclone}}:layout {number}")).await,
            None => redis.command::<()>("DEL {wpclone}:layout").await,
        }
        // Both a program that was running, and one that starts and finds no functions.
        for flush in [false, true] {
            if flush {
                redis.command::<()>("FUNCTION FLUSH").await;
            }
            let before = (dump(&redis).await, functions(&redis).await);
            let started_at = jiff::Timestamp::now();
            let report = WorkerReport {
                id: "w".into(),
                stages: [(Stage::Browser, StageSlots { slots: 1, busy: 0 })].into(),
                tasks: vec![],
                started_at,
                browser_memory_bytes: 0,
                unavailable: Default::default(),
            };
            assert!(is_other_layout(queue.ping().await, found));
            assert!(is_other_layout(queue.sweep().await, found));
            assert!(is_other_layout(queue.claim("w", Stage::ALL).await, found));
            assert!(is_other_layout(queue.claim_delivery("w").await, found));
            assert!(is_other_layout(queue.enqueue(&task("c.example")).await, found));
            assert!(is_other_layout(queue.get(waiting).await, found));
            assert!(is_other_layout(queue.list(&Default::default(), None, 5).await, found));
            assert!(is_other_layout(queue.cancel(waiting).await, found));
            assert!(is_other_layout(queue.replay(failed, None, Default::default()).await, found));
            assert!(is_other_layout(queue.heartbeat(&claim.lease, None).await, found));
            assert!(is_other_layout(queue.complete(&claim.lease, &Default::default()).await, found));
            assert!(is_other_layout(queue.release(&claim.lease).await, found));
            assert!(is_other_layout(queue.report_worker(&report).await, found));
            assert!(is_other_layout(queue.remove_worker("w").await, found));
            assert!(is_other_layout(queue.stats().await, found));
            assert_eq!((dump(&redis).await, functions(&redis).await), before);
        }
    }
    let error = queue.ping().await.unwrap_err().to_string();
    assert!(
        error.contains("no layout number") && error.contains(&format!("layout {}", wpclone_redis::LAYOUT)),
        "{error}"
    );
}

#[tokio::test]
async fn tasks_of_another_record_version_are_kept_and_taken_up_later() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(QueueOptions { finished_max_bytes: 0, ..Default::default() });
    let (ready, running, finished) = (task("a.example"), task("b.example"), task("c.example"));
    queue.accept(&running).await;
    let claim = queue.take().await;
    queue.accept(&finished).await;
    queue.done(&queue.take().await).await;
    queue.accept(&ready).await;
    let waiting = queue.accept(&task("b.example")).await;
    let mut originals = Vec::new();
    for id in [ready.id, running.id, finished.id] {
        let mut connection = redis.connect().await.unwrap();
        let key = format!("{{wpclone}}:task:{id}");
        let original: String = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        put_record(&redis, id, &original.replacen('1', "2", 1)).await;
        originals.push((id, original));
    }
    redis.expire_lease(&claim).await;
    redis.command::<()>(&format!("ZADD {{wpclone}}:finished 1 {}", finished.id)).await;
    for _ in 0..3 {
        queue.sweep().await.unwrap();
        queue.nothing_ready().await;
    }
    for (id, original) in &originals {
        assert!(matches!(queue.get(*id).await.unwrap(), TaskLookup::Unreadable));
        let mut connection = redis.connect().await.unwrap();
        let key = format!("{{wpclone}}:task:{id}");
        let kept: String = redis::cmd("GET").arg(&key).query_async(&mut connection).await.unwrap();
        assert_eq!(kept, original.replacen('1', "2", 1), "the record is as it was");
    }
    assert_eq!(queue.stats().await.unwrap().unreadable_tasks, 3);
    assert!(matches!(queue.cancel(ready.id).await, Err(QueueError::Unreadable)));
    assert!(!matches!(queue.replay(finished.id, None, Default::default()).await, Ok(ReplayOutcome::Queued)));

    // A program of that version comes.
    for (id, original) in originals {
        put_record(&redis, id, &original).await;
    }
    redis.command::<()>(&format!("ZADD {{wpclone}}:delayed:browser XX 1 {}:0", ready.id)).await;
    redis.command::<()>(&format!("ZADD {{wpclone}}:leases:browser XX 1 {}:0", running.id)).await;
    let queue = redis.queue();
    queue.sweep().await.unwrap();
    let mut taken: Vec<TaskId> = vec![queue.take().await.lease.task, queue.take().await.lease.task];
    taken.sort();
    let mut expected = vec![ready.id, running.id];
    expected.sort();
    assert_eq!(taken, expected, "the lock on its site was kept: the task behind it still waits");
    assert_eq!(queue.task(running.id).await.steps[0].crashes, 1);
    assert_eq!(queue.task(waiting).await.state, State::Queued);
    queue.sweep().await.unwrap();
    assert_eq!(queue.stats().await.unwrap().unreadable_tasks, 0);
}

#[tokio::test]
async fn a_rolled_back_worker_keeps_tasks_of_kinds_and_stages_that_it_does_not_know() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let (kind, field, good) = (task("a.example"), task("b.example"), task("c.example"));
    for new in [&kind, &field, &good] {
        queue.accept(new).await;
    }
    put_record(&redis, kind.id, &record(1, "a.example", r#"{"kind":"fly","to":"the moon"}"#)).await;
    let stage = record(1, "b.example", r#"{"kind":"setup"}"#)
        .replace("browser setup", "browser setup,1 orbit circle");
    put_record(&redis, field.id, &stage).await;
    for _ in 0..3 {
        while let Some(claim) = queue.claim("w1", Stage::ALL).await.unwrap() {
            assert_eq!(claim.lease.task, good.id);
            queue.done(&claim).await;
        }
        queue.sweep().await.unwrap();
    }
    assert_eq!(queue.stats().await.unwrap().unreadable_tasks, 2);
    for id in [kind.id, field.id] {
        assert!(matches!(queue.get(id).await.unwrap(), TaskLookup::Unreadable));
        let state: String = redis.command(&format!("HGET {{wpclone}}:live:{id} state")).await;
        assert_eq!(state, "running", "it has not ended");
        redis.command::<f64>(&format!("ZSCORE {{wpclone}}:delayed:browser {id}:0")).await;
    }
    // The newer version comes back.
    put_record(&redis, kind.id, &record(1, "a.example", &serde_json::to_string(&kind.request).unwrap()))
        .await;
    redis.command::<()>(&format!("ZADD {{wpclone}}:delayed:browser XX 1 {}:0", kind.id)).await;
    queue.sweep().await.unwrap();
    let claim = queue.take().await;
    assert_eq!((claim.lease.task, claim.attempts, claim.crashes), (kind.id, 0, 0));
    queue.done(&claim).await;
    assert_eq!(queue.task(kind.id).await.state, State::Succeeded);
    assert_eq!(queue.stats().await.unwrap().unreadable_tasks, 1);
}

#[tokio::test]
async fn a_task_in_an_unknown_state_is_neither_ended_nor_deleted() {
    let redis = Redis::start().await;
    let queue = redis.queue_with(QueueOptions { finished_max_bytes: 0, ..Default::default() });
    let id = queue.accept(&task("a.example")).await;
    queue.done(&queue.take().await).await;
    redis.command::<()>(&format!("HSET {{wpclone}}:live:{id} state archived")).await;
    redis.command::<()>(&format!("ZADD {{wpclone}}:finished 1 {id}")).await;
    for _ in 0..3 {
        queue.sweep().await.unwrap();
    }
    assert!(matches!(queue.get(id).await.unwrap(), TaskLookup::Unreadable));
    assert_eq!(redis.command::<u64>(&format!("EXISTS {{wpclone}}:task:{id}")).await, 1);
    assert_eq!(queue.stats().await.unwrap().unreadable_tasks, 1);
}
