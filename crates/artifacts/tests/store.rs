//! The store against a real Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use wpclone_artifacts::{ArtifactError, ArtifactLookup, ArtifactMeta, Artifacts};
use wpclone_task::TaskId;
use wpclone_test_redis::Redis;

const MIB: u64 = 1 << 20;
const OWNER: &str = "alice";

trait Stores {
    fn store(&self, total: u64) -> Artifacts;
}

impl Stores for Redis {
    fn store(&self, total: u64) -> Artifacts {
        Artifacts::new(&self.url(), total).unwrap()
    }
}

/// Bytes that do not pack.
fn noise(bytes: u64) -> Vec<u8> {
    let mut noise = vec![0; bytes as usize];
    getrandom::fill(&mut noise).unwrap();
    noise
}

async fn names(store: &Artifacts, task: TaskId) -> Vec<String> {
    store.list(task).await.unwrap().into_iter().map(|meta| meta.name).collect()
}

#[tokio::test]
async fn artifacts_are_found_and_listed_in_order() {
    let redis = Redis::start().await;
    let store = redis.store(64 * MIB);
    let task = TaskId::new();
    let page = "<html>ö</html>".repeat(100_000).into_bytes();
    store.put(task, OWNER, "2.html", "text/html", &page).await.unwrap();
    store.put(task, OWNER, "1.png", "image/png", &[]).await.unwrap();
    store.put(task, OWNER, "0.txt", "text/plain", b"a b\r\n").await.unwrap();
    assert_eq!(names(&store, task).await, ["2.html", "1.png", "0.txt"]);
    let meta = ArtifactMeta { name: "2.html".into(), kind: "text/html".into(), bytes: page.len() as u64 };
    assert_eq!(redis.store(1).get(task, "2.html").await.unwrap(), ArtifactLookup::Found(meta, page));
    assert!(redis.command::<u64>("GET {wpclone-artifacts}:total").await < 20_000, "it is packed");
    assert_eq!(store.get(task, "x").await.unwrap(), ArtifactLookup::NotFound);
    assert_eq!(store.get(task, "../x").await.unwrap(), ArtifactLookup::NotFound);
    assert_eq!(store.get(TaskId::new(), "2.html").await.unwrap(), ArtifactLookup::NotFound);
    assert!(matches!(store.put(task, OWNER, "../x", "text/html", b"").await, Err(ArtifactError::BadName)));
}

#[tokio::test]
async fn the_artifacts_of_many_tasks_are_listed_in_one_call() {
    let redis = Redis::start().await;
    let store = redis.store(64 * MIB);
    let tasks: Vec<TaskId> = (0..100).map(|_| TaskId::new()).collect();
    for (n, task) in tasks.iter().enumerate().filter(|(n, _)| n % 3 > 0) {
        for name in ["b", "a"].into_iter().take(n % 3) {
            store.put(*task, OWNER, name, "text/plain", &[b'x'; 7][..n % 7]).await.unwrap();
        }
    }
    store.list_all(&tasks).await.unwrap();
    redis.command::<()>("CONFIG RESETSTAT").await;
    let listed = store.list_all(&tasks).await.unwrap();
    let stats: String = redis.command("INFO commandstats").await;
    assert!(stats.contains("cmdstat_evalsha:calls=1,"), "{stats}");
    assert_eq!(listed.len(), tasks.len());
    for (n, (task, kept)) in tasks.iter().zip(&listed).enumerate() {
        assert_eq!(kept, &store.list(*task).await.unwrap());
        let names: Vec<&str> = kept.iter().map(|meta| meta.name.as_str()).collect();
        assert_eq!(names, &["b", "a"][..n % 3], "in the order of writing");
        assert!(kept.iter().all(|meta| meta.bytes == n as u64 % 7));
    }
    assert!(store.list_all(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_artifact_of_the_same_name_is_replaced() {
    let redis = Redis::start().await;
    let store = redis.store(64 * MIB);
    let task = TaskId::new();
    store.put(task, OWNER, "a", "image/png", &noise(MIB)).await.unwrap();
    store.put(task, OWNER, "b", "image/png", b"b").await.unwrap();
    store.put(task, OWNER, "a", "text/plain", b"new").await.unwrap();
    assert_eq!(names(&store, task).await, ["b", "a"]);
    assert!(
        matches!(store.get(task, "a").await.unwrap(), ArtifactLookup::Found(meta, bytes) if bytes == b"new" && meta.bytes == 3)
    );
    assert_eq!(redis.command::<u64>("GET {wpclone-artifacts}:total").await, 2048);
}

#[tokio::test]
async fn the_oldest_artifacts_are_evicted_and_gone() {
    let redis = Redis::start().await;
    let store = redis.store(3 * MIB);
    let tasks = [TaskId::new(), TaskId::new()];
    for n in 0..6 {
        store.put(tasks[n % 2], OWNER, &format!("{n}.png"), "image/png", &noise(MIB - 1000)).await.unwrap();
        assert!(redis.command::<u64>("GET {wpclone-artifacts}:total").await <= 3 * MIB);
    }
    assert_eq!(names(&store, tasks[0]).await, ["4.png"]);
    assert_eq!(names(&store, tasks[1]).await, ["3.png", "5.png"]);
    assert_eq!(store.get(tasks[0], "0.png").await.unwrap(), ArtifactLookup::Gone);
    store.put(tasks[0], OWNER, "0.png", "image/png", b"again").await.unwrap();
    assert!(matches!(store.get(tasks[0], "0.png").await.unwrap(), ArtifactLookup::Found(..)));
}

#[tokio::test]
async fn an_owner_that_floods_loses_its_own_oldest_artifacts() {
    let redis = Redis::start().await;
    let store = redis.store(8 * MIB);
    let [alices, bobs, mallorys] = [TaskId::new(), TaskId::new(), TaskId::new()];
    // The others' are the oldest of all.
    for (task, owner) in [(alices, "alice"), (alices, "alice"), (bobs, "bob")] {
        let name = format!("{}.png", names(&store, task).await.len());
        store.put(task, owner, &name, "image/png", &noise(MIB - 1000)).await.unwrap();
    }
    for n in 0..20 {
        // Each of a task of its own.
        let task = if n < 18 { TaskId::new() } else { mallorys };
        store.put(task, "mallory", &format!("{n}.png"), "image/png", &noise(MIB - 1000)).await.unwrap();
        assert!(redis.command::<u64>("GET {wpclone-artifacts}:total").await <= 8 * MIB);
    }
    assert_eq!(names(&store, alices).await, ["0.png", "1.png"]);
    assert_eq!(names(&store, bobs).await, ["0.png"]);
    assert_eq!(names(&store, mallorys).await, ["18.png", "19.png"]);
}

#[tokio::test]
async fn artifacts_that_expired_by_themselves_take_no_space() {
    let redis = Redis::start().await;
    let store = redis.store(2 * MIB);
    let (task, new) = (TaskId::new(), TaskId::new());
    store.put(task, OWNER, "a.png", "image/png", &noise(MIB)).await.unwrap();
    // A day later nothing is left but the order of writing.
    let tag = "{wpclone-artifacts}:";
    redis.command::<()>(&format!("DEL {tag}blob:{task}/a.png {tag}meta:{task}")).await;
    for key in ["order", "order:alice"] {
        redis.command::<()>(&format!("ZADD {tag}{key} 1 {task}/a.png")).await;
    }
    for name in ["b.png", "c.png"] {
        store.put(new, OWNER, name, "image/png", &noise(MIB - 1000)).await.unwrap();
    }
    assert_eq!(names(&store, new).await, ["b.png", "c.png"]);
    let counted: u64 = redis.command(&format!("GET {tag}total")).await;
    assert!(counted <= 2 * MIB, "{counted}");
    let owners: u64 = redis.command(&format!("ZCOUNT {tag}total_by_owner {counted} {counted}")).await;
    assert_eq!(owners, 1, "{counted}");
    assert_eq!(redis.command::<u64>(&format!("HLEN {tag}counted")).await, 2);
}

#[tokio::test]
async fn a_too_large_artifact_is_rejected_and_evicts_nothing() {
    let redis = Redis::start().await;
    let store = redis.store(64 * MIB);
    let task = TaskId::new();
    let large = |r: Result<(), ArtifactError>| assert!(matches!(r, Err(ArtifactError::TooLarge)), "{r:?}");
    large(store.put(task, OWNER, "a", "image/png", &noise(2 * MIB + 1)).await);
    large(store.put(task, OWNER, "a", "image/png", &vec![0; 33 << 20]).await);
    for n in 0..4 {
        store.put(task, OWNER, &n.to_string(), "image/png", &noise(2 * MIB - 4000)).await.unwrap();
    }
    large(store.put(task, OWNER, "4", "image/png", &noise(MIB)).await);
    store.put(task, OWNER, "0", "image/png", &noise(2 * MIB - 4000)).await.unwrap(); // in place of itself
    large(redis.store(MIB).put(TaskId::new(), OWNER, "a", "image/png", &noise(MIB)).await);
    assert_eq!(names(&store, task).await.len(), 4);
    let many = TaskId::new();
    for n in 0..200 {
        store.put(many, OWNER, &n.to_string(), "text/plain", b"").await.unwrap();
    }
    large(store.put(many, OWNER, "200", "text/plain", b"").await);
}

#[tokio::test]
async fn after_a_day_an_artifact_is_gone() {
    let redis = Redis::start().await;
    let store = redis.store(64 * MIB);
    let task = TaskId::new();
    store.put(task, OWNER, "a", "text/plain", b"a").await.unwrap();
    store.put(task, OWNER, "b", "text/plain", b"b").await.unwrap();
    let blob = format!("{{wpclone-artifacts}}:blob:{task}/a");
    let left: u64 = redis.command(&format!("TTL {blob}")).await;
    assert!((86_000..=86_400).contains(&left), "{left}");
    redis.command::<()>(&format!("DEL {blob}")).await; // what its end does
    assert_eq!(names(&store, task).await, ["b"]);
    assert_eq!(store.get(task, "a").await.unwrap(), ArtifactLookup::Gone);
    redis.command::<()>(&format!("ZADD {{wpclone-artifacts}}:order 1 {task}/a 1 {task}/b")).await;
    store.put(TaskId::new(), OWNER, "c", "text/plain", b"c").await.unwrap();
    assert_eq!(store.get(task, "b").await.unwrap(), ArtifactLookup::Gone);
    assert_eq!(redis.command::<u64>("GET {wpclone-artifacts}:total").await, 1024);
}

#[tokio::test]
async fn the_store_continues_after_a_restart_or_flush() {
    let mut redis = Redis::start().await;
    let store = redis.store(64 * MIB);
    let task = TaskId::new();
    redis.kill();
    assert!(matches!(store.put(task, OWNER, "a", "text/plain", b"a").await, Err(ArtifactError::Store(_))));
    redis.restart().await;
    let since = Instant::now();
    while store.put(task, OWNER, "a", "text/plain", b"a").await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(120), "the store comes back");
    }
    redis.command::<()>("FLUSHALL").await;
    assert_eq!(store.get(task, "a").await.unwrap(), ArtifactLookup::NotFound);
    store.put(task, OWNER, "a", "text/plain", b"a").await.unwrap();
    assert_eq!(names(&store, task).await, ["a"]);
}

#[tokio::test]
async fn nothing_is_changed_in_a_redis_with_another_layout() {
    let redis = Redis::start().await;
    let (store, task) = (redis.store(64 * MIB), TaskId::new());
    store.put(task, OWNER, "a", "text/plain", b"kept").await.unwrap();
    redis.command::<()>("SET {wpclone-artifacts}:layout 7").await;
    let refused = |error: ArtifactError| matches!(error, ArtifactError::OtherLayout(e) if e.found == Some(7));
    assert!(refused(store.put(task, OWNER, "a", "text/plain", b"new").await.unwrap_err()));
    assert!(refused(store.get(task, "a").await.unwrap_err()));
    assert!(refused(store.list(task).await.unwrap_err()));
    redis.command::<()>(&format!("SET {{wpclone-artifacts}}:layout {}", wpclone_redis::LAYOUT)).await;
    assert!(
        matches!(store.get(task, "a").await.unwrap(), ArtifactLookup::Found(_, bytes) if bytes == b"kept")
    );
}
