//! The registry against a real Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use wpclone_clones::{CloneEntry, CloneLookup, CloneRegistry, RegistryError};
use wpclone_task::{CloneLocation, CloneName, ClonePhase, Isolation, MachineLocation, TaskId};
use wpclone_test_redis::{Cluster, Redis};

const HERE: &str = "state-dir-1";

fn name(n: u32) -> CloneName {
    format!("clone-20261123-{n:06}-abcdef").parse().unwrap()
}

fn entry(n: u32, owner: &str) -> CloneEntry {
    let name = name(n);
    CloneEntry {
        url: format!("http://127.0.0.1:8090/{name}").try_into().unwrap(),
        name,
        phase: ClonePhase::Published,
        problem: None,
        task: TaskId::new(),
        owner: owner.into(),
        source: "https://shop.example".to_owned().try_into().unwrap(),
        username: "wpclone-abcd".into(),
        created_at: "2026-11-23T16:31:05Z".parse().unwrap(),
        deadline: "2026-11-23T17:01:05Z".parse().unwrap(),
        expires_at: Some("2026-11-23T17:31:05Z".parse().unwrap()),
        isolation: Isolation::Shared,
        effective_isolation: json!({"own_user": true, "own_network": false}).as_object().unwrap().clone(),
        location: Some(CloneLocation::Machine(MachineLocation { machine: "m".into(), worker: "m-1".into() })),
        sealed: Some("a seal".into()),
    }
}

async fn names(clones: &CloneRegistry, owner: Option<&str>) -> Vec<CloneName> {
    let page = clones.list(owner, None, 100).await.unwrap();
    assert_eq!(page.next, None);
    page.clones.into_iter().map(|entry| entry.name).collect()
}

async fn is_gone(clones: &CloneRegistry, n: u32) -> bool {
    match clones.get(&name(n)).await.unwrap() {
        CloneLookup::Gone(past) => {
            assert_eq!((&past.entry.name, &past.entry.sealed), (&name(n), &None), "its seal went with it");
            true
        }
        _ => false,
    }
}

#[tokio::test]
async fn an_entry_is_stored_and_replaced_as_a_whole() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::NotFound);
    let making =
        CloneEntry { phase: ClonePhase::Creating, expires_at: None, sealed: None, ..entry(1, "alice") };
    clones.put(HERE, &making).await.unwrap();
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::Found(Box::new(making)));
    let published = entry(1, "bob");
    clones.put("state-dir-2", &published).await.unwrap();
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::Found(Box::new(published.clone())));
    assert_eq!(clones.list(None, None, 10).await.unwrap().clones, [published]);
    assert_eq!(names(&clones, Some("alice")).await, [], "it has another owner now");
    assert_eq!(names(&clones, Some("bob")).await, [name(1)]);
    // Nor is it the first provisioner's any more.
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &[], &[]).await.unwrap();
    assert_eq!(names(&clones, None).await, [name(1)]);
}

#[tokio::test]
async fn clones_that_a_provisioner_no_longer_names_are_gone() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    let all: Vec<CloneEntry> = (0..230).map(|n| entry(n, "alice")).collect();
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &all, &[]).await.unwrap();
    clones.put("another", &entry(900, "alice")).await.unwrap();
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &all[..2], &[]).await.unwrap();
    assert_eq!(names(&clones, None).await, [name(900), name(1), name(0)], "another's are another's");
    assert!(is_gone(&clones, 2).await && is_gone(&clones, 229).await);
    let past = clones.list_deleted(Some("alice"), 100).await.unwrap();
    assert_eq!(past.len(), 100);
    assert!(past.windows(2).all(|two| two[0].deleted_at >= two[1].deleted_at));
    assert_eq!(clones.list_deleted(Some("bob"), 100).await.unwrap(), []);
}

#[tokio::test]
async fn one_clone_that_cannot_be_described_does_not_stop_the_publication_of_the_others() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    let all: Vec<CloneEntry> = (0..4).map(|n| entry(n, "alice")).collect();
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &all, &[]).await.unwrap();
    clones.put("another", &entry(9, "alice")).await.unwrap();
    // The first is known by its name only, the second has grown too large, the third is gone; the fourth has changed.
    let large = CloneEntry { sealed: Some("x".repeat(16 << 10)), ..entry(1, "alice") };
    let changed = CloneEntry { phase: ClonePhase::Deleting, ..all[3].clone() };
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &[large, changed.clone()], &[name(0), name(7), name(9)]).await.unwrap();
    assert_eq!(names(&clones, None).await, [9, 3, 1, 0].map(name));
    assert_eq!(clones.get(&name(0)).await.unwrap(), CloneLookup::Found(Box::new(all[0].clone())));
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::Found(Box::new(all[1].clone())));
    assert!(is_gone(&clones, 2).await);
    assert_eq!(clones.get(&name(3)).await.unwrap(), CloneLookup::Found(Box::new(changed)));
    // The clone of another provisioner is still that one's.
    let moment = clones.now().await.unwrap();
    clones.publish("another", &moment, &[], &[]).await.unwrap();
    assert_eq!(names(&clones, None).await, [3, 1, 0].map(name));
}

#[tokio::test]
async fn a_slow_publication_brings_back_nothing_old() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    for n in [1, 2] {
        clones.put(HERE, &CloneEntry { phase: ClonePhase::Ready, ..entry(n, "alice") }).await.unwrap();
    }
    let moment = clones.now().await.unwrap();
    let seen = [1, 2].map(|n| CloneEntry { phase: ClonePhase::Ready, ..entry(n, "alice") });
    // Before it is told, one is published, one is deleted, and a new one is made.
    clones.put(HERE, &entry(1, "alice")).await.unwrap();
    assert!(clones.remove(&name(2)).await.unwrap());
    clones.put(HERE, &entry(3, "alice")).await.unwrap();
    clones.publish(HERE, &moment, &seen, &[]).await.unwrap();
    assert_eq!(names(&clones, None).await, [name(3), name(1)]);
    let CloneLookup::Found(first) = clones.get(&name(1)).await.unwrap() else { panic!("it is there") };
    assert_eq!(first.phase, ClonePhase::Published);
    assert!(is_gone(&clones, 2).await);
    // The next one tells how it is.
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &[entry(2, "alice")], &[]).await.unwrap();
    assert_eq!(names(&clones, None).await, [name(2)]);
}

#[tokio::test]
async fn a_deleted_clone_is_known_for_a_day() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    assert!(!clones.remove(&name(1)).await.unwrap(), "nobody knew of it");
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::NotFound);
    clones.put(HERE, &entry(1, "alice")).await.unwrap();
    assert!(clones.remove(&name(1)).await.unwrap() && !clones.remove(&name(1)).await.unwrap());
    assert!(is_gone(&clones, 1).await);
    let left: u64 = redis.command(&format!("TTL {{wpclone-clones}}:gone:{}", name(1))).await;
    assert!((86_000..=86_400).contains(&left), "{left}");
    redis.command::<()>(&format!("DEL {{wpclone-clones}}:gone:{}", name(1))).await; // what its end does
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::NotFound);
    assert_eq!(clones.list_deleted(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_clone_that_nobody_names_for_a_day_is_deleted() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    clones.put("gone-for-good", &entry(1, "alice")).await.unwrap();
    let long_ago = Timestamp::now().as_microsecond() - 25 * 3600 * 1_000_000;
    redis.command::<()>(&format!("ZADD {{wpclone-clones}}:seen {long_ago} {}", name(1))).await;
    clones.put(HERE, &entry(2, "alice")).await.unwrap();
    assert_eq!(names(&clones, None).await, [name(2)]);
    assert_eq!(names(&clones, Some("alice")).await, [name(2)]);
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::NotFound);
}

#[tokio::test]
async fn lists_page_newest_first_and_keep_owners_apart() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    for n in 0..7 {
        clones.put(HERE, &entry(n, if n % 2 == 0 { "alice" } else { "" })).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = clones.list(None, cursor.as_ref(), 3).await.unwrap();
        seen.extend(page.clones.into_iter().map(|entry| entry.name));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0].map(name));
    assert_eq!(names(&clones, Some("alice")).await, [6, 4, 2, 0].map(name));
    assert_eq!(names(&clones, Some("")).await, [5, 3, 1].map(name), "who has no name does not see all");
    let last = clones.list(None, Some(&name(3)), 3).await.unwrap();
    assert_eq!((last.clones.len(), last.next), (3, None), "a page that ends the list has no next");
}

#[tokio::test]
async fn too_large_entries_and_too_many_clones_are_rejected() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    let large = CloneEntry { sealed: Some("x".repeat(16 << 10)), ..entry(1, "alice") };
    assert!(matches!(clones.put(HERE, &large).await, Err(RegistryError::TooLarge)));
    assert!(matches!(clones.put("", &entry(1, "alice")).await, Err(RegistryError::InvalidProvisionerId)));
    let all: Vec<CloneEntry> = (0..10_000).map(|n| entry(n, "alice")).collect();
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &all, &[]).await.unwrap();
    assert!(matches!(clones.put(HERE, &entry(10_000, "alice")).await, Err(RegistryError::Full)));
    assert_eq!(clones.get(&name(10_000)).await.unwrap(), CloneLookup::NotFound);
    clones.put(HERE, &entry(9_999, "bob")).await.unwrap();
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &[], &[]).await.unwrap();
    clones.put(HERE, &entry(10_000, "alice")).await.unwrap();
    clones.remove(&name(10_000)).await.unwrap();
    assert_eq!(redis.command::<u64>("ZCARD {wpclone-clones}:gone").await, 10_000, "the oldest are forgotten");
}

#[tokio::test]
async fn a_redis_that_was_away_or_flushed_is_filled_by_the_next_publication() {
    let mut redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    let all = [entry(1, "alice"), entry(2, "bob")];
    let moment = clones.now().await.unwrap();
    redis.kill();
    assert!(matches!(clones.publish(HERE, &moment, &all, &[]).await, Err(RegistryError::Store(_))));
    redis.restart().await;
    let since = Instant::now();
    while clones.publish(HERE, &moment, &all, &[]).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(120), "the registry comes back");
    }
    redis.command::<()>("FLUSHALL").await;
    assert_eq!(names(&clones, None).await, []);
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &all, &[]).await.unwrap();
    assert_eq!(names(&clones, None).await, [name(2), name(1)]);
}

#[tokio::test]
async fn the_registry_works_on_a_cluster() {
    let cluster = Cluster::start().await;
    let clones = CloneRegistry::new(&cluster.nodes()[0].url()).unwrap();
    let moment = clones.now().await.unwrap();
    clones.publish(HERE, &moment, &[entry(1, "alice")], &[]).await.unwrap();
    assert_eq!(names(&clones, Some("alice")).await, [name(1)]);
    clones.remove(&name(1)).await.unwrap();
    assert!(is_gone(&clones, 1).await);
}

#[tokio::test]
async fn nothing_is_changed_in_a_redis_with_another_layout() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    clones.put(HERE, &entry(1, "alice")).await.unwrap();
    let time = clones.now().await.unwrap();
    redis.command::<()>("SET {wpclone-clones}:layout 7").await;
    let refused = |error: RegistryError| matches!(error, RegistryError::OtherLayout(e) if e.found == Some(7));
    assert!(refused(clones.put(HERE, &entry(2, "alice")).await.unwrap_err()));
    assert!(refused(clones.publish(HERE, &time, &[], &[]).await.unwrap_err()));
    assert!(refused(clones.remove(&name(1)).await.unwrap_err()));
    assert!(refused(clones.get(&name(1)).await.unwrap_err()));
    assert!(refused(clones.list(None, None, 5).await.unwrap_err()));
    redis.command::<()>(&format!("SET {{wpclone-clones}}:layout {}", wpclone_redis::LAYOUT)).await;
    assert!(matches!(clones.get(&name(1)).await.unwrap(), CloneLookup::Found(_)));
    assert_eq!(clones.get(&name(2)).await.unwrap(), CloneLookup::NotFound);
}

#[tokio::test]
async fn an_entry_of_another_version_is_kept_and_counted() {
    let redis = Redis::start().await;
    let clones = CloneRegistry::new(&redis.url()).unwrap();
    for n in [1, 2] {
        clones.put(HERE, &entry(n, "alice")).await.unwrap();
    }
    redis
        .command::<()>(&format!("HSET {{wpclone-clones}}:clone:{} version 2 entry {{\"new\":1}}", name(1)))
        .await;
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::Unreadable);
    let page = clones.list(None, None, 5).await.unwrap();
    assert_eq!((page.clones.len(), page.unreadable), (1, 1));
    redis.command::<()>(&format!("ZADD {{wpclone-clones}}:seen 1 {} 1 {}", name(1), name(2))).await;
    clones.put(HERE, &entry(3, "alice")).await.unwrap();
    assert_eq!(clones.get(&name(1)).await.unwrap(), CloneLookup::Unreadable, "nobody named it for a day");
    assert_eq!(clones.get(&name(2)).await.unwrap(), CloneLookup::NotFound);
}
