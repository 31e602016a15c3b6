//! Running `wpclone` like a script does.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// No run takes longer, or the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program with nothing of the tester's own environment that it would read.
pub(crate) fn program(url: &str, args: &[&str]) -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_wpclone")), url, args)
}

pub(crate) fn clean(mut command: Command, url: &str, args: &[&str]) -> Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("WPCLONE_") || name.to_ascii_lowercase().ends_with("_proxy") || name == "COLUMNS"
        {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .env("WPCLONE_URL", url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) async fn finish(mut command: Command) -> Ran {
    end(command.spawn().unwrap()).await
}

pub(crate) async fn end(child: tokio::process::Child) -> Ran {
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = ended.expect("wpclone ends").unwrap();
    Ran {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it with a password in the environment.
pub(crate) async fn wpclone(url: &str, args: &[&str]) -> Ran {
    let mut command = program(url, args);
    command.env("WPCLONE_SITE_PASSWORD", "canary-password");
    finish(command).await
}

/// Runs it with this on its standard input.
pub(crate) async fn fed(url: &str, args: &[&str], input: &str) -> Ran {
    let mut command = program(url, args);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    end(child).await
}

/// A text without the stub's port.
pub(crate) fn without_port(text: &str, url: &str) -> String {
    text.replace(url, "http://api")
}

pub(crate) const SETUP: &[&str] = &["setup", "https://example.com/blog", "--username", "admin"];
