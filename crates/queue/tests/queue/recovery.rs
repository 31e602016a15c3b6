//! Restarts, flushes, and full or stopped servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use wpclone_queue::{EnqueueOutcome, QueueError, Signal, TaskLookup};
use wpclone_task::{Code, Stage, State, TaskId};

use crate::producers::heard;
use crate::support::*;

#[tokio::test]
async fn the_queue_continues_after_a_flush() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    queue.accept(&task("a.example")).await;
    let lost = queue.take().await;
    redis.command::<()>("FLUSHALL").await;
    redis.command::<()>("FUNCTION FLUSH").await;
    assert!(matches!(queue.heartbeat(&lost.lease, None).await, Err(QueueError::LeaseLost)));
    queue.sweep().await.unwrap();
    queue.stats().await.unwrap();
    assert!(queue.list(&Default::default(), None, 5).await.unwrap().tasks.is_empty());
    queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    assert!(claim.lease.token > lost.lease.token);
    queue.done(&claim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_loses_nothing_that_was_acknowledged() {
    let mut redis = Redis::start().await;
    let queue = redis.queue();
    let mut signals = queue.subscribe_ready();
    heard(&mut signals, Signal::Reconnected).await;
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let (queue, stop) = (queue.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut accepted, mut errors) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) && errors == 0 {
                    let new = task(&format!("{}.example", TaskId::new()));
                    match queue.enqueue(&new).await {
                        Ok(EnqueueOutcome::Accepted(id)) => accepted.push(id),
                        Ok(other) => panic!("{other:?}"),
                        Err(QueueError::Unavailable(_)) => errors += 1,
                        Err(e) => panic!("{e}"),
                    }
                }
                accepted
            })
        })
        .collect();
    let mut done = Vec::new();
    while done.len() < 20 {
        if let Some(claim) = queue.claim("w", Stage::ALL).await.unwrap() {
            queue.done(&claim).await;
            done.push(claim.lease.task);
        }
    }
    redis.kill();
    let mut accepted = Vec::new();
    for producer in producers {
        accepted.extend(producer.await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    assert!(accepted.len() >= done.len());
    assert!(matches!(queue.ping().await, Err(QueueError::Unavailable(_))));
    redis.restart().await;
    heard(&mut signals, Signal::Reconnected).await;
    for id in &accepted {
        let state = queue.task(*id).await.state;
        assert_eq!(state, if done.contains(id) { State::Succeeded } else { State::Queued }, "{id}");
    }
    while let Some(claim) = queue.claim("w", Stage::ALL).await.unwrap() {
        queue.done(&claim).await;
    }
    for id in accepted {
        assert_eq!(queue.task(id).await.state, State::Succeeded);
    }
}

#[tokio::test]
async fn a_full_redis_refuses_new_tasks_and_finishes_old_ones() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    redis.command::<()>("CONFIG SET maxmemory 1").await;
    let refused = task("b.example");
    assert!(matches!(queue.enqueue(&refused).await, Err(QueueError::Unavailable(_))));
    let keys: Vec<String> = redis.command(&format!("KEYS *{}*", refused.id)).await;
    assert!(keys.is_empty(), "refused as a whole");
    let claim = queue.take().await;
    queue.heartbeat(&claim.lease, None).await.unwrap();
    queue.done(&claim).await;
    assert_eq!(queue.task(id).await.state, State::Succeeded);
    queue.sweep().await.unwrap();
    redis.command::<()>("CONFIG SET maxmemory 0").await;
    queue.accept(&refused).await;
}

#[tokio::test]
async fn a_corrupt_task_fails_and_blocks_no_other() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let not_json = queue.accept(&task("a.example")).await;
    let incomplete = queue.accept(&task("b.example")).await;
    let vanished = queue.accept(&task("c.example")).await;
    let of_wrong_type = queue.accept(&task("d.example")).await;
    let good = queue.accept(&task("e.example")).await;
    let behind = queue.accept(&task("b.example")).await;
    put_record(&redis, not_json, &record(1, "a.example", r#"{"kind":"se"#)).await;
    put_record(&redis, incomplete, "1 1 1\nsetup").await;
    redis.command::<()>(&format!("DEL {{wpclone}}:task:{vanished}")).await;
    redis.command::<()>(&format!("DEL {{wpclone}}:task:{of_wrong_type}")).await;
    redis.command::<()>(&format!("HSET {{wpclone}}:task:{of_wrong_type} a b")).await;
    let claim = queue.take().await;
    assert_eq!(claim.lease.task, good);
    queue.done(&claim).await;
    let page = queue.list(&Default::default(), None, 10).await.unwrap();
    assert_eq!(page.tasks.len(), 2, "a corrupt record hides no other task");
    assert!(matches!(queue.get(not_json).await.unwrap(), TaskLookup::Unreadable));

    queue.sweep().await.unwrap(); // ends them
    queue.sweep().await.unwrap(); // finds the lock that the second had
    for id in [not_json, incomplete, of_wrong_type] {
        let state: String = redis.command(&format!("HGET {{wpclone}}:live:{id} state")).await;
        let problem: String = redis.command(&format!("HGET {{wpclone}}:output:{id} problem")).await;
        assert_eq!(state, "failed");
        assert!(problem.contains(Code::WorkerFault.as_str()));
        assert!(matches!(queue.get(id).await.unwrap(), TaskLookup::Unreadable));
    }
    let all = queue.list(&Default::default(), None, 10).await.unwrap().tasks;
    assert_eq!(all.len(), 2, "a failed corrupt record hides no other task either");
    assert_eq!(queue.take().await.lease.task, behind, "the lock on its site was freed");
    assert_eq!(queue.stats().await.unwrap().unreadable_tasks, 0);
}

#[tokio::test]
async fn a_stopped_redis_is_reported_as_unavailable() {
    let mut redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    redis.kill();
    assert!(matches!(queue.get(id).await, Err(QueueError::Unavailable(_))));
    assert!(matches!(queue.claim("w", Stage::ALL).await, Err(QueueError::Unavailable(_))));
    redis.restart().await;
    assert!(matches!(queue.get(id).await.unwrap(), TaskLookup::Found(_)));
}

#[tokio::test]
async fn a_worker_that_subscribes_before_it_claims_misses_nothing() {
    let redis = Redis::start().await;
    let (queue, other) = (redis.queue(), redis.queue());
    let mut signals = queue.subscribe_ready();
    let producer = tokio::spawn(async move {
        for n in 0..50 {
            other.accept(&task(&format!("s{n}.example"))).await;
            sleep(Duration::from_millis(n % 3)).await;
        }
    });
    let mut done = 0;
    while done < 50 {
        while let Some(claim) = queue.claim("w", Stage::ALL).await.unwrap() {
            queue.done(&claim).await;
            done += 1;
        }
        if done < 50 {
            // No poll in between: a wake-up that fell between would be missed here.
            let _ =
                tokio::time::timeout(Duration::from_secs(120), signals.recv()).await.expect("a signal comes");
        }
    }
    producer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_the_work_without_meeting_on_a_site() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    for n in 0..40 {
        queue.accept(&task(&format!("s{}.example", n % 5))).await;
    }
    let busy: Arc<Vec<AtomicBool>> = Arc::new((0..5).map(|_| AtomicBool::new(false)).collect());
    let workers = (0..8).map(|n| {
        let (queue, busy) = (redis.queue(), busy.clone());
        tokio::spawn(async move {
            let mut done = 0;
            loop {
                let Some(claim) = queue.claim(&format!("w{n}"), Stage::ALL).await.unwrap() else {
                    let depth = queue.stats().await.unwrap().stages[&Stage::Browser];
                    if depth.outstanding + depth.waiting_for_site == 0 {
                        return done;
                    }
                    tokio::task::yield_now().await;
                    continue;
                };
                let site =
                    claim.request.site_keys(claim.lease.task)[0].as_str()[1..2].parse::<usize>().unwrap();
                let site = &busy[site];
                assert!(!site.swap(true, Ordering::SeqCst), "two workers on one site");
                queue.heartbeat(&claim.lease, None).await.unwrap();
                site.store(false, Ordering::SeqCst);
                queue.done(&claim).await;
                done += 1;
            }
        })
    });
    let done = join_all(workers).await.into_iter().map(Result::unwrap);
    assert_eq!(done.sum::<i32>(), 40);
}

#[tokio::test]
async fn work_ends_in_a_full_redis_without_functions() {
    let redis = Redis::start().await;
    let queue = redis.queue();
    let id = queue.accept(&task("a.example")).await;
    let claim = queue.take().await;
    redis.command::<()>("CONFIG SET maxmemory 1").await;
    redis.command::<()>("FUNCTION FLUSH").await; // as a new version finds it
    queue.heartbeat(&claim.lease, None).await.unwrap();
    queue.sweep().await.unwrap();
    assert_eq!(queue.stats().await.unwrap().stages[&Stage::Browser].running, 1);
    assert!(matches!(queue.enqueue(&task("b.example")).await, Err(QueueError::Unavailable(_))));
    queue.done(&claim).await;
    assert_eq!(queue.task(id).await.state, State::Succeeded);
}
