//! Runs the `wpclone` program as a script does.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// A run that takes longer fails its test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// Exit code and output of a run.
#[derive(Debug)]
pub(crate) struct ProgramOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program without the variables of the tester's environment that it reads.
pub(crate) fn program(url: &str, args: &[&str]) -> Command {
    isolated(Command::new(env!("CARGO_BIN_EXE_wpclone")), url, args)
}

pub(crate) fn isolated(mut command: Command, url: &str, args: &[&str]) -> Command {
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

pub(crate) async fn run(mut command: Command) -> ProgramOutput {
    wait_for_output(command.spawn().unwrap()).await
}

pub(crate) async fn wait_for_output(child: Child) -> ProgramOutput {
    let waited = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let output = waited.expect("wpclone exits before the deadline").unwrap();
    ProgramOutput {
        code: output.status.code().expect("wpclone exits and is not killed by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Reads the program's output until the text appears in what was `seen` of it.
pub(crate) async fn read_until(child: &mut Child, seen: &mut String, text: &str) {
    let stdout = child.stdout.as_mut().unwrap();
    let mut part = [0; 4096];
    while !seen.contains(text) {
        let read = tokio::time::timeout(DEADLINE, stdout.read(&mut part)).await;
        let count = read.unwrap_or_else(|_| panic!("no {text:?} in {seen:?}")).unwrap();
        assert!(count > 0, "the output ended without {text:?}: {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&part[..count]));
    }
}

/// Runs the program with a site password in the environment.
pub(crate) async fn wpclone(url: &str, args: &[&str]) -> ProgramOutput {
    let mut command = program(url, args);
    command.env("WPCLONE_SITE_PASSWORD", "canary-password");
    run(command).await
}

/// Runs the program with `input` on standard input.
pub(crate) async fn run_with_stdin(url: &str, args: &[&str], input: &str) -> ProgramOutput {
    let mut command = program(url, args);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    wait_for_output(child).await
}

/// Replaces the stub's URL, which has a random port.
pub(crate) fn without_port(text: &str, url: &str) -> String {
    text.replace(url, "http://api")
}

pub(crate) const SETUP: &[&str] = &["setup", "https://example.com/blog", "--username", "admin"];
