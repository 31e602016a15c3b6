//! What the tests of others rely on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::TcpSocket;
use wpclone_test_redis::Redis;

/// Says to this program that it is to be killed.
const VICTIM: &str = "WPCLONE_TEST_REDIS_VICTIM";

async fn pid_and_folder(redis: &Redis) -> (String, String) {
    let info: String = redis.command("INFO server").await;
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().to_owned();
    let (_, folder): (String, String) = redis.command("CONFIG GET dir").await;
    (pid, folder)
}

#[tokio::test]
async fn after_a_kill_and_restart_it_has_its_port_and_its_data() {
    let mut redis = Redis::start().await;
    let url = redis.url();
    redis.command::<()>("SET a 1").await;
    redis.kill();
    assert!(redis.connect().await.is_err());
    let address = url.strip_prefix("redis://").unwrap().parse().unwrap();
    let taken = TcpSocket::new_v4().unwrap().bind(address).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse, "the port stays ours");
    redis.restart().await;
    assert_eq!(redis.url(), url);
    assert_eq!(redis.command::<u8>("GET a").await, 1);
}

#[tokio::test]
async fn nothing_is_left_after_a_drop() {
    let redis = Redis::start().await;
    let (pid, folder) = pid_and_folder(&redis).await;
    assert!(Path::new("/proc").join(&pid).exists() && Path::new(&folder).exists());
    drop(redis);
    assert!(!Path::new("/proc").join(&pid).exists() && !Path::new(&folder).exists());
}

#[tokio::test]
async fn a_server_dies_with_its_killed_test() {
    let story = "a_server_dies_with_its_killed_test";
    if std::env::var_os(VICTIM).is_some() {
        let redis = Redis::start().await;
        let (pid, folder) = pid_and_folder(&redis).await;
        println!("\nvictim {pid} {folder}");
        std::future::pending::<()>().await;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([story, "--exact", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(victim.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("victim ") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the victim starts a Redis");
    }
    let [_, pid, folder] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    victim.kill().unwrap();
    victim.wait().unwrap();
    let gone = async {
        while Path::new("/proc").join(pid).join("fd/0").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(120), gone).await;
    std::fs::remove_dir_all(folder).unwrap();
    gone.expect("Redis is gone");
}
