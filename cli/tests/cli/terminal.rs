//! Behaviour on a terminal, which `script` of bsdutils provides.

use std::process::Stdio;
use std::time::Duration;

use rustix::termios::{LocalModes, Termios, tcgetattr};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use wpclone_task::{Code, Problem};

use crate::program::{DEADLINE, SETUP, isolated, read_until};
use crate::stub::{ID, Reply, StreamEnd, Stub, event, failed, queued, succeeded, task};

struct Terminal {
    child: Child,
    seen: String,
}

impl Terminal {
    fn run(url: &str, args: &[&str]) -> Self {
        let line = [&["tty; exec", env!("CARGO_BIN_EXE_wpclone")], args].concat().join(" ");
        let mut command = isolated(Command::new("script"), url, &["-qefc", &line, "/dev/null"]);
        let child = command.env("TERM", "xterm").stdin(Stdio::piped()).spawn();
        let child = child.expect("this test needs `script` of the package bsdutils");
        Self { child, seen: String::new() }
    }

    /// Reads until the text appears.
    async fn until(&mut self, text: &str) {
        read_until(&mut self.child, &mut self.seen, text).await;
    }

    /// Waits until echo is off.
    async fn until_echo_is_off(&mut self) {
        self.until("\n").await;
        let tty = self.seen.lines().next().unwrap().to_owned();
        let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let tty = rustix::fs::open(tty, flags, rustix::fs::Mode::empty()).unwrap();
        let echo_off = async {
            let has_echo = |modes: Termios| modes.local_modes.contains(LocalModes::ECHO);
            while has_echo(tcgetattr(&tty).unwrap()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, echo_off).await.expect("echo is switched off before the deadline");
    }

    async fn type_keys(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).await.unwrap();
    }

    async fn wait_for_output(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.child.stdout.as_mut().unwrap().read_to_string(&mut rest).await.unwrap();
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap();
        (status.code().unwrap(), self.seen + &rest)
    }
}

#[tokio::test]
async fn a_terminal_prompts_for_the_password_and_shows_a_bar() {
    let stub = Stub::start(|request| match (request.route.as_str(), request.earlier) {
        ("POST /setup", _) => Reply::Json(202, queued()),
        (route, 0) if route.ends_with("/events") => {
            Reply::Events(vec![event("1-0", "running", 40, "Logging in")], StreamEnd::StaysOpen)
        }
        _ => Reply::Json(200, succeeded()),
    })
    .await;
    let mut terminal = Terminal::run(&stub.url, SETUP);
    terminal.until("Password of admin on https://example.com/blog: ").await;
    terminal.until_echo_is_off().await;
    terminal.type_keys("canary-typed\n").await;
    terminal.until("40% setup: Logging in").await;
    assert!(terminal.seen.contains("[====="), "{:?}", terminal.seen);
    terminal.type_keys("\u{3}").await;
    terminal.until("cancel it? [y/N]").await;
    terminal.type_keys("n\n").await;
    let (code, seen) = terminal.wait_for_output().await;
    assert_eq!(code, 130, "{seen}");
    assert!(!seen.contains("canary"), "{seen}");
    assert_eq!(stub.requests_to("POST /setup")[0].body["password"], "canary-typed");
    assert!(stub.requests_to(&format!("POST /tasks/{ID}/cancel")).is_empty());
}

#[tokio::test]
async fn a_terminal_prompts_for_a_password_that_is_no_longer_kept() {
    let stub = Stub::start(|request| match (request.route.as_str(), request.earlier) {
        (route, 0) if route.ends_with("/replay") => {
            Reply::Problem(Problem::new(Code::CredentialsGone, "No longer kept."))
        }
        (route, _) if route.ends_with("/replay") => Reply::Json(202, queued()),
        _ => Reply::Json(200, failed()),
    })
    .await;
    let mut terminal = Terminal::run(&stub.url, &["replay", ID, "--no-wait"]);
    terminal.until("Password of admin on https://example.com/blog: ").await;
    terminal.until_echo_is_off().await;
    terminal.type_keys("canary-typed\n").await;
    let (code, seen) = terminal.wait_for_output().await;
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("canary"), "{seen}");
    let sent = stub.requests_to(&format!("POST /tasks/{ID}/replay"));
    assert_eq!(sent[1].body, json!({"password": "canary-typed"}));
}

#[tokio::test]
async fn ctrl_c_cancels_the_task_when_the_user_confirms() {
    let stub = Stub::start(|request| match request.route.as_str() {
        route if route.ends_with("/events") => {
            Reply::Events(vec![event("1-0", "running", 40, "Logging in")], StreamEnd::StaysOpen)
        }
        _ => Reply::Json(202, task(json!({"state": "cancelled"}))),
    })
    .await;
    let mut terminal = Terminal::run(&stub.url, &["watch", ID]);
    terminal.until("Logging in").await;
    terminal.type_keys("\u{3}").await;
    terminal.until("cancel it? [y/N]").await;
    terminal.type_keys("y\n").await;
    let (code, seen) = terminal.wait_for_output().await;
    assert_eq!(code, 130, "{seen}");
    assert_eq!(stub.requests_to(&format!("POST /tasks/{ID}/cancel")).len(), 1);
}

#[tokio::test]
async fn a_terminal_shows_the_newest_list_of_clones_alone() {
    let stub = Stub::start(|request| match (request.route.as_str(), request.earlier) {
        ("GET /events", _) => Reply::Events(vec![json!({"tasks": [], "all": true})], StreamEnd::StaysOpen),
        _ => Reply::Json(200, json!({"clones": []})),
    })
    .await;
    let mut terminal = Terminal::run(&stub.url, &["clones", "--watch"]);
    terminal.until("\u{1b}[H\u{1b}[2Jno clones").await;
    terminal.type_keys("\u{3}").await;
    let (code, seen) = terminal.wait_for_output().await;
    assert_eq!(code, 130, "{seen}");
    let mut terminal = Terminal::run(&stub.url, &["clones", "--watch", "--json"]);
    terminal.until("\u{1b}[H\u{1b}[2J{").await;
    terminal.until("}\r\n").await;
    terminal.type_keys("\u{3}").await;
    let (code, seen) = terminal.wait_for_output().await;
    assert_eq!(code, 130, "{seen}");
    assert!(!seen.contains("no clones"), "JSON stands alone: {seen:?}");
}

#[tokio::test]
async fn a_rewrite_shows_its_progress() {
    let line = "rewrite --from http://example.com --to http://example.org --sql <\"$FIFO\" >/dev/null";
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().await.unwrap();
    assert!(made.success());
    let line = line.replace("$FIFO", fifo.to_str().unwrap());
    let mut terminal = Terminal::run("not a URL", &[&line]);
    let mut writer = tokio::fs::OpenOptions::new().write(true).open(&fifo).await.unwrap();
    writer.write_all(&vec![b'\n'; 3_000_000]).await.unwrap();
    terminal.until("3.00 MB").await;
    terminal.until("MB/s").await;
    drop(writer);
    let (code, seen) = terminal.wait_for_output().await;
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("values              0"), "{seen}");
}
