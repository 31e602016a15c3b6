//! What can be had besides a plain Redis.

use std::time::Duration;

use redis::ErrorKind;
use wpclone_test_redis::{Cluster, Fsync, Options, Redis, valkey};

#[tokio::test]
async fn a_server_has_its_options() {
    let options = Options::default().fsync(Fsync::EverySecond).maxmemory(100 << 20).arg("--hz", "20");
    let mut redis = Redis::start_with(options).await;
    for _ in 0..2 {
        for (name, value) in [("appendfsync", "everysec"), ("maxmemory", "104857600"), ("hz", "20")] {
            assert_eq!(redis.command::<(String, String)>(&format!("CONFIG GET {name}")).await.1, value);
        }
        redis.restart().await;
    }
}

#[tokio::test]
async fn valkey_keeps_what_it_has_acknowledged() {
    let mut redis = Redis::start_with(Options::default().program(valkey())).await;
    assert!(redis.command::<String>("INFO server").await.contains("server_name:valkey"));
    redis.command::<()>("SET a 1").await;
    redis.kill();
    assert!(redis.connect().await.is_err());
    redis.restart().await;
    assert_eq!(redis.command::<u8>("GET a").await, 1);
}

#[tokio::test]
async fn a_cluster_has_each_key_on_one_node_and_survives_its_restart() {
    let mut cluster = Cluster::start().await;
    let owner = cluster.owner("{q}:a").await;
    cluster.nodes()[owner].command::<()>("SET {q}:a 1").await;
    for stranger in [(owner + 1) % 3, (owner + 2) % 3] {
        let mut connection = cluster.nodes()[stranger].connect().await.unwrap();
        let refused = redis::cmd("GET").arg("{q}:a").exec_async(&mut connection).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Server(redis::ServerErrorKind::Moved));
    }
    cluster.kill(owner);
    cluster.restart(owner).await;
    assert_eq!(cluster.nodes()[owner].command::<u8>("GET {q}:a").await, 1);
}

/// Writes once, cuts the power, and tells whether the write is still there.
async fn survives_a_power_cut(fsync: Fsync) -> bool {
    let options = Options::default().fsync(fsync).simulated_disk(Duration::from_millis(1));
    let mut redis = Redis::start_with(options).await;
    redis.command::<()>("SET a 1").await;
    redis.cut_power();
    redis.restart().await;
    redis.command::<u8>("EXISTS a").await == 1
}

#[tokio::test]
async fn a_power_cut_loses_what_was_not_synced() {
    assert!(survives_a_power_cut(Fsync::Always).await);
    assert!(!survives_a_power_cut(Fsync::Never).await);
}
