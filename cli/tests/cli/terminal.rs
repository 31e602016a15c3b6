//! On a real terminal, made by `script` of bsdutils.

use std::process::Stdio;
use std::time::Duration;

use rustix::termios::{LocalModes, Termios, tcgetattr};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use wpclone_task::{Code, Problem};

use crate::run::{PATIENCE, SETUP, clean};
use crate::stub::{Answer, ID, Stub, Then, event, failed, queued, succeeded, task};

struct Terminal {
    child: Child,
    seen: String,
}

impl Terminal {
    fn run(url: &str, args: &[&str]) -> Self {
        let line = [&["tty; exec", env!("CARGO_BIN_EXE_wpclone")], args].concat().join(" ");
        let mut command = clean(Command::new("script"), url, &["-qefc", &line, "/dev/null"]);
        let child = command.env("TERM", "xterm").stdin(Stdio::piped()).spawn();
        let child = child.expect("this test needs `script` of the package bsdutils");
        Self { child, seen: String::new() }
    }

    /// Reads until the text is there.
    async fn until(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut part = [0; 4096];
        while !self.seen.contains(text) {
            let read = tokio::time::timeout(PATIENCE, stdout.read(&mut part)).await;
            let count = read.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen)).unwrap();
            assert!(count > 0, "the end came without {text:?}: {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&part[..count]));
        }
    }

    /// Waits until what is typed is no longer shown.
    async fn until_it_hides(&mut self) {
        self.until("\n").await;
        let tty = self.seen.lines().next().unwrap().to_owned();
        let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let tty = rustix::fs::open(tty, flags, rustix::fs::Mode::empty()).unwrap();
        let hidden = async {
            let shows = |modes: Termios| modes.local_modes.contains(LocalModes::ECHO);
            while shows(tcgetattr(&tty).unwrap()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, hidden).await.expect("what is typed is hidden");
    }

    async fn types(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).await.unwrap();
    }

    async fn end(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.child.stdout.as_mut().unwrap().read_to_string(&mut rest).await.unwrap();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        (status.code().unwrap(), self.seen + &rest)
    }
}

#[tokio::test]
async fn a_terminal_is_asked_for_the_password_and_shows_a_bar() {
    let stub = Stub::start(|asked| match (asked.what.as_str(), asked.before) {
        ("POST /setup", _) => Answer::Json(202, queued()),
        (what, 0) if what.ends_with("/events") => {
            Answer::Events(vec![event("1-0", "running", 40, "Logging in")], Then::Hangs)
        }
        _ => Answer::Json(200, succeeded()),
    })
    .await;
    let mut terminal = Terminal::run(&stub.url, SETUP);
    terminal.until("Password of admin on https://example.com/blog: ").await;
    terminal.until_it_hides().await;
    terminal.types("canary-typed\n").await;
    terminal.until("40% setup: Logging in").await;
    assert!(terminal.seen.contains("[====="), "{:?}", terminal.seen);
    terminal.types("\u{3}").await;
    terminal.until("end it? [y/N]").await;
    terminal.types("n\n").await;
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 130, "{seen}");
    assert!(!seen.contains("canary"), "{seen}");
    assert_eq!(stub.asked_for("POST /setup")[0].body["password"], "canary-typed");
    assert!(stub.asked_for(&format!("POST /tasks/{ID}/cancel")).is_empty());
}

#[tokio::test]
async fn a_terminal_is_asked_for_a_password_that_is_no_longer_kept() {
    let stub = Stub::start(|asked| match (asked.what.as_str(), asked.before) {
        (what, 0) if what.ends_with("/replay") => {
            Answer::Problem(Problem::new(Code::CredentialsGone, "No longer kept."))
        }
        (what, _) if what.ends_with("/replay") => Answer::Json(202, queued()),
        _ => Answer::Json(200, failed()),
    })
    .await;
    let mut terminal = Terminal::run(&stub.url, &["replay", ID, "--no-wait"]);
    terminal.until("Password of admin on https://example.com/blog: ").await;
    terminal.until_it_hides().await;
    terminal.types("canary-typed\n").await;
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(!seen.contains("canary"), "{seen}");
    let sent = stub.asked_for(&format!("POST /tasks/{ID}/replay"));
    assert_eq!(sent[1].body, json!({"password": "canary-typed"}));
}

#[tokio::test]
async fn ctrl_c_ends_the_task_when_the_person_says_so() {
    let stub = Stub::start(|asked| match asked.what.as_str() {
        what if what.ends_with("/events") => {
            Answer::Events(vec![event("1-0", "running", 40, "Logging in")], Then::Hangs)
        }
        _ => Answer::Json(202, task(json!({"state": "cancelled"}))),
    })
    .await;
    let mut terminal = Terminal::run(&stub.url, &["watch", ID]);
    terminal.until("Logging in").await;
    terminal.types("\u{3}").await;
    terminal.until("end it? [y/N]").await;
    terminal.types("y\n").await;
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 130, "{seen}");
    assert_eq!(stub.asked_for(&format!("POST /tasks/{ID}/cancel")).len(), 1);
}

#[tokio::test]
async fn a_rewrite_shows_how_far_it_is() {
    let line = "rewrite --from http://example.com --to http://example.org --sql <\"$FIFO\" >/dev/null";
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().await.unwrap();
    assert!(made.success());
    let line = line.replace("$FIFO", fifo.to_str().unwrap());
    let mut terminal = Terminal::run("no address", &[&line]);
    let mut writer = tokio::fs::OpenOptions::new().write(true).open(&fifo).await.unwrap();
    writer.write_all(&vec![b'\n'; 3_000_000]).await.unwrap();
    terminal.until("3.00 MB").await;
    terminal.until("MB/s").await;
    drop(writer);
    let (code, seen) = terminal.end().await;
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("values     0"), "{seen}");
}
