//! Runs each test in a process of its own, some at once: most of a test's time is waiting.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use tokio::process::Command;

use crate::support::{PREPARED, prepare};

/// Before the name of the one test that a process runs.
pub(crate) const EXACT: &str = "--exact";
/// No test takes two minutes on an idle machine.
const LIMIT: Duration = Duration::from_secs(1800);
/// How long a process may take longer than its test.
const END_LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn within_limit(test: impl Future<Output = ()>) {
    tokio::time::timeout(LIMIT, test).await.expect("the test within half an hour");
}

/// Tests that take the whole machine or watch it at full speed; no other test of this program runs beside them.
const ALONE: [&str; 2] = [
    "a_fork_bomb_is_bounded_and_others_go_on",
    "a_clone_that_fills_the_disk_at_full_speed_is_stopped_before_the_reserve_is_gone",
];

/// Runs the tests whose names contain a word of the arguments, or all, in their order.
pub(crate) async fn run(names: &[&str], args: &[String]) -> ExitCode {
    let threads = args
        .iter()
        .find_map(|arg| arg.strip_prefix("--test-threads="))
        .map_or(1, |number| number.parse().expect("--test-threads=N"));
    let is_shown = args.iter().any(|arg| arg == "--nocapture");
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let prepared = prepare().await;
    let (alone, beside): (Vec<&str>, Vec<&str>) =
        names.iter().copied().filter(|name| is_chosen(name)).partition(|name| ALONE.contains(name));
    let mut ended = Vec::new();
    for (names, threads) in [(beside, threads), (alone, 1)] {
        let prepared = prepared.path();
        let runs =
            names.into_iter().map(|name| async move { (name, run_one(name, prepared, is_shown).await) });
        ended.extend(stream::iter(runs).buffer_unordered(threads).collect::<Vec<_>>().await);
    }
    let failed: Vec<&str> = ended.iter().filter(|(_, is_ok)| !is_ok).map(|(name, _)| *name).collect();
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("test result: {word}. {} passed; {} failed", ended.len() - failed.len(), failed.len());
    failed.iter().for_each(|name| println!("    {name}"));
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Runs one test; says whether it passed. What it wrote is shown if it did not, or if it always is.
async fn run_one(name: &str, prepared: &Path, is_shown: bool) -> bool {
    // A file: what outlives a test would keep a pipe open.
    let mut output = tempfile::tempfile().expect("a file");
    let stream = |output: &File| Stdio::from(output.try_clone().expect("the file once more"));
    let begun = Instant::now();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([EXACT, name])
        .env(PREPARED, prepared)
        .stdin(Stdio::null())
        .stdout(stream(&output))
        .stderr(stream(&output))
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let ended = tokio::time::timeout(LIMIT + END_LIMIT, child.wait()).await;
    let is_ok = matches!(ended, Ok(Ok(status)) if status.success());
    if !is_ok || is_shown {
        let mut text = Vec::new();
        output.rewind().and_then(|()| output.read_to_end(&mut text)).expect("what it wrote");
        let mut errors = std::io::stderr().lock();
        let _ = write!(errors, "---- {name} ----\n{}", String::from_utf8_lossy(&text));
    }
    let word = if is_ok { "ok" } else { "FAILED" };
    println!("test {name} ... {word} ({:.1} s)", begun.elapsed().as_secs_f32());
    is_ok
}
