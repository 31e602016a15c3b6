//! The program: startup, shutdown and tracing.

use std::process::{Command, Output, Stdio};

use reqwest::{Client, StatusCode};
use wpclone_queue::{Queue, QueueOptions};
use wpclone_service::seal::Sealer;
use wpclone_task::Stage;
use wpclone_test_redis::{Process, Redis};

use crate::support::{PATIENCE, body, eventually};

pub(crate) const API: &str = env!("CARGO_BIN_EXE_wpclone-api");

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(API);
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn wrong_settings_are_named_all_at_once_with_exit_64() {
    let out = run(&["--listen", "0.0.0.0:80"], &[("WPCLONE_PUBLIC_URL", "here")]);
    assert_eq!(out.status.code(), Some(64));
    let text = String::from_utf8(out.stderr).unwrap();
    for name in ["WPCLONE_REDIS_URL", "WPCLONE_SEAL_KEYS", "WPCLONE_PUBLIC_URL", "WPCLONE_TOKENS_FILE"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert_eq!(run(&["--no-such-flag"], &[]).status.code(), Some(64));
    assert_eq!(run(&["--help"], &[]).status.code(), Some(0));
}

#[test]
fn the_settings_can_be_checked_without_showing_secrets() {
    let key = Sealer::new_key("k").unwrap();
    let env = [
        ("WPCLONE_REDIS_URL", "redis://:canary@127.0.0.1:1/0"),
        ("WPCLONE_SEAL_KEYS", key.as_str()),
        ("WPCLONE_SLOTS_BROWSER", "another program's"),
    ];
    let out = run(&["--check-config"], &env);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        text.contains("WPCLONE_LISTEN=127.0.0.1:8080")
            && text.contains("WPCLONE_REDIS_URL=redis://[redacted]@"),
        "{text}"
    );
    assert!(!text.contains("canary") && !text.contains(&key[2..]));
}

/// A running program and its log.
pub(crate) struct Program {
    pub(crate) process: Process,
    pub(crate) address: String,
    pub(crate) log: tempfile::NamedTempFile,
}

impl Program {
    pub(crate) async fn start(redis: &Redis, env: &[(&str, &str)]) -> Self {
        Self::start_under(redis, env, "").await
    }

    /// Starts it after this command of a shell.
    pub(crate) async fn start_under(redis: &Redis, env: &[(&str, &str)], before: &str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = log.reopen().unwrap();
        let key = Sealer::new_key("test").unwrap();
        let process = Process::start("/bin/sh", |command| {
            command
                .args(["-c", &format!("{before}\nexec \"$0\""), API])
                .env_clear()
                .env("WPCLONE_REDIS_URL", redis.url())
                .env("WPCLONE_SEAL_KEYS", key)
                .env("WPCLONE_LISTEN", "127.0.0.1:0")
                .envs(env.iter().copied())
                .stderr(output);
        });
        let mut program = Self { process, address: String::new(), log };
        eventually("the api listens", || async { program.logged().contains("listening on http://") }).await;
        let log = program.logged();
        let (_, rest) = log.split_once("listening on ").unwrap();
        program.address = rest.split('"').next().unwrap().to_owned();
        program
    }

    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let waiting = async {
            loop {
                if let Some(status) = self.process.0.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the program ends")
    }
}

#[tokio::test]
async fn sigterm_ends_streams_and_waits_then_the_program() {
    let redis = Redis::start().await;
    let mut program = Program::start(&redis, &[]).await;
    assert!(program.logged().contains("no tokens are configured"));
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    let address = program.address.clone();
    let at = |path: &str| format!("{address}{path}");
    let task = client.post(at("/setup")).json(&body("https://a.example")).send().await.unwrap();
    let events = format!("{}/events", task.headers()["location"].to_str().unwrap());
    let mut stream = client.get(at(&events)).send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    let waiting =
        client.post(at("/setup")).header("Prefer", "wait=60").json(&body("https://b.example")).send();
    let waiting = tokio::spawn(waiting);
    eventually("both tasks are in the queue", || async {
        let queue: serde_json::Value = client.get(at("/queue")).send().await.unwrap().json().await.unwrap();
        queue["stages"]["browser"]["ready"] == 2
    })
    .await;

    program.process.signal("-TERM");
    while stream.chunk().await.unwrap().is_some() {}
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::ACCEPTED);
    assert!(program.ended().await.success());
    assert!(client.get(at("/healthz")).send().await.is_err());
}

#[tokio::test]
async fn the_program_starts_without_redis_and_serves_once_it_answers() {
    let mut redis = Redis::start().await;
    redis.kill();
    let program = Program::start(&redis, &[]).await;
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    let ready = || async {
        let answer = client.get(format!("{}/readyz", program.address)).send().await;
        answer.unwrap().status()
    };
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    redis.restart().await;
    eventually("it is ready", || async { ready().await == StatusCode::OK }).await;
    eventually("it says so", || async { program.logged().contains("Redis responds again") }).await;
}

#[tokio::test]
async fn the_callers_trace_continues_in_the_queue() {
    let redis = Redis::start().await;
    let program = Program::start(&redis, &[]).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = Client::new()
        .post(format!("{}/setup", program.address))
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&body("https://a.example"));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
    let claim = queue.claim("worker-1", &[Stage::Browser]).await.unwrap().unwrap();
    let carried = claim.traceparent.unwrap();
    assert!(
        carried.starts_with(&format!("00-{trace}-")) && !carried.contains("b7ad6b7169203331"),
        "{carried}"
    );
}

/// The soft limit of open files of a process.
fn open_files_limit(process: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let redis = Redis::start().await;
    let program = Program::start_under(&redis, &[], "ulimit -Sn 256; ulimit -Hn 3000").await;
    assert_eq!(open_files_limit(program.process.0.id()), 3000);
}

#[tokio::test]
async fn idle_connections_keep_no_caller_waiting() {
    let redis = Redis::start().await;
    let program = Program::start_under(&redis, &[], "ulimit -n 1024").await;
    let address: std::net::SocketAddr = program.address.strip_prefix("http://").unwrap().parse().unwrap();
    let mut idle = Vec::new();
    for n in 0..1_200_u32 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // Half from one address, the others each from its own.
        let from =
            if n % 2 == 0 { "127.0.0.2".to_owned() } else { format!("127.1.{}.{}", n / 250, n % 250 + 1) };
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        idle.push(tokio::time::timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap());
    }
    let began = std::time::Instant::now();
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    let ready = client.get(format!("{}/readyz", program.address)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    let task = client.post(format!("{}/setup", program.address)).json(&body("https://a.example"));
    assert_eq!(task.send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}
