//! The network that fails when it is told to.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use wpclone_test_redis::{Direction, Proxy, Redis};

/// A connection that waits for answers as long as the test likes.
async fn through(proxy: &Proxy) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Client::open(proxy.url())?.get_multiplexed_async_connection_with_config(&config).await
}

async fn set(mut connection: MultiplexedConnection, key: &str) -> RedisResult<()> {
    redis::cmd("SET").arg(key).arg("x".repeat(100)).exec_async(&mut connection).await
}

async fn exists(redis: &Redis, key: &str) -> bool {
    redis.command::<u8>(&format!("EXISTS {key}")).await == 1
}

#[tokio::test]
async fn a_cut_proxy_closes_and_refuses_connections_until_it_heals() {
    let redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    let before = through(&proxy).await.unwrap();
    set(before.clone(), "a").await.unwrap();
    proxy.cut().await;
    assert!(set(before, "b").await.unwrap_err().is_io_error());
    assert!(through(&proxy).await.unwrap_err().is_connection_refusal());
    assert!(!exists(&redis, "b").await);
    proxy.heal().await;
    set(through(&proxy).await.unwrap(), "b").await.unwrap();
}

#[tokio::test]
async fn held_data_arrives_after_healing() {
    let redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    let connection = through(&proxy).await.unwrap();
    proxy.hold(&[Direction::ToClient]);
    let unanswered = tokio::spawn(set(connection.clone(), "a"));
    while !exists(&redis, "a").await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!unanswered.is_finished());
    proxy.heal().await;
    unanswered.await.unwrap().unwrap();

    proxy.hold(&[Direction::ToServer]);
    let unheard = tokio::spawn(set(connection, "b"));
    tokio::task::yield_now().await;
    assert!(!exists(&redis, "b").await);
    assert!(!unheard.is_finished());
    proxy.heal().await;
    unheard.await.unwrap().unwrap();
    assert!(exists(&redis, "b").await);
}

#[tokio::test]
async fn a_proxy_can_be_cut_in_the_middle_of_a_request_and_an_answer() {
    let redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    for (way, bytes, key, done) in [
        (Direction::ToServer, 20, "a", false),
        (Direction::ToClient, 0, "b", true),
        (Direction::ToClient, 2, "c", true),
    ] {
        let connection = through(&proxy).await.unwrap();
        proxy.cut_after_bytes(way, bytes);
        set(connection, key).await.unwrap_err();
        proxy.wait_until_cut().await;
        assert_eq!(exists(&redis, key).await, done, "{key}");
        proxy.heal().await;
    }
}

#[tokio::test]
async fn a_slow_proxy_loses_nothing_and_one_without_a_server_closes() {
    let mut redis = Redis::start().await;
    let proxy = Proxy::in_front_of(&redis).await;
    proxy.delay(Duration::from_millis(20));
    let connection = through(&proxy).await.unwrap();
    let keys: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for answer in futures_util::future::join_all(keys.iter().map(|k| set(connection.clone(), k))).await {
        answer.unwrap();
    }
    assert_eq!(redis.command::<u8>("DBSIZE").await, 50);
    redis.kill();
    assert!(through(&proxy).await.is_err());
    redis.restart().await;
    set(through(&proxy).await.unwrap(), "a").await.unwrap();
}
