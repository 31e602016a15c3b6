//! One test program: started, followed line by line, ended.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::pass_cache::Pass;
use crate::programs::TestProgram;
use crate::report;

/// How long a program may run; then it is killed, and the tests that still ran are named.
const LIMIT: Duration = Duration::from_secs(3 * 3600);
/// How much of what a program writes to its standard error is kept.
const ERROR_OUTPUT: usize = 64 * 1024;
/// How long the end of that output is waited for.
const ERROR_LIMIT: Duration = Duration::from_secs(30);
/// How a line of libtest's JSON begins, also where a child of a test has written something before it.
const EVENT: &str = "{ \"type\":";

/// What became of a test program.
#[derive(Debug)]
pub(crate) struct ProgramReport {
    pub(crate) name: String,
    pub(crate) took: Duration,
    /// How long each test took that ended well.
    pub(crate) passed: Vec<(String, Duration)>,
    /// Each test that failed, with what it wrote.
    pub(crate) failed: Vec<(String, String)>,
    pub(crate) ignored: usize,
    /// Why the program did not end as it should.
    pub(crate) broken: Option<String>,
    /// The earlier run that stands for this one, from the cache.
    pub(crate) cached: Option<Pass>,
}

impl ProgramReport {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            took: Duration::ZERO,
            passed: Vec::new(),
            failed: Vec::new(),
            ignored: 0,
            broken: None,
            cached: None,
        }
    }

    /// A program that was not run, because its pass is cached.
    pub(crate) fn cached(name: &str, pass: Pass) -> Self {
        Self { cached: Some(pass), ..Self::new(name) }
    }

    /// A program that could not be run to its end.
    pub(crate) fn broken(name: &str, took: Duration, why: String) -> Self {
        Self { took, broken: Some(why), ..Self::new(name) }
    }

    pub(crate) fn is_green(&self) -> bool {
        self.failed.is_empty() && self.broken.is_none()
    }
}

/// An event of `--format json`, as far as it is needed.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    event: String,
    name: Option<String>,
    stdout: Option<String>,
    message: Option<String>,
}

/// Runs a program's tests, `threads` at a time; `words` choose among them.
pub(crate) async fn run(program: &TestProgram, threads: usize, words: &[String]) -> ProgramReport {
    let began = Instant::now();
    let mut report = ProgramReport::new(&program.name);
    let mut running = BTreeMap::new();
    let end = tokio::time::timeout(LIMIT, follow(program, threads, words, &mut report, &mut running)).await;
    report.took = began.elapsed();
    report.broken = match end {
        Ok(Ok(None)) => None,
        Ok(Ok(Some(why))) => Some(why),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("it ran for more than {} minutes", LIMIT.as_secs() / 60)),
    };
    if let Some(why) = &mut report.broken
        && !running.is_empty()
    {
        let names: Vec<_> = running.into_keys().collect();
        *why += &format!("\nstill running: {}", names.join(", "));
    }
    report::program(&report);
    report
}

/// Follows a program to its end; says what is wrong with the end.
async fn follow(
    program: &TestProgram,
    threads: usize,
    words: &[String],
    report: &mut ProgramReport,
    running: &mut BTreeMap<String, Instant>,
) -> std::io::Result<Option<String>> {
    let mut child = Command::new(&program.executable)
        // libtest has its JSON, which alone says when a test begins, behind this switch.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["-Zunstable-options", "--format=json"])
        .arg(format!("--test-threads={threads}"))
        .args(words)
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let errors = tokio::spawn(last_of(child.stderr.take()));
    let mut whole = false;
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).split(b'\n');
        while let Some(line) = lines.next_segment().await? {
            whole |= take(&String::from_utf8_lossy(&line), report, running);
            if whole {
                break;
            }
        }
    }
    let status = child.wait().await?;
    let shown = report.failed.iter().all(|(_, output)| !output.is_empty());
    if whole && shown && status.success() == report.failed.is_empty() {
        return Ok(None);
    }
    // A child that outlived its test may keep the pipe open.
    let said = tokio::time::timeout(ERROR_LIMIT, errors).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    Ok(Some(format!("it ended with {status}\n{said}")))
}

/// Takes a line in; says whether it was the program's last event.
fn take(line: &str, report: &mut ProgramReport, running: &mut BTreeMap<String, Instant>) -> bool {
    let event = line.find(EVENT).and_then(|at| serde_json::from_str::<Event>(line[at..].trim()).ok());
    let Some(event) = event else { return take_text(line, report) };
    if event.r#type == "suite" {
        return event.event != "started";
    }
    let Some(name) = event.name else { return false };
    let took = running.get(&name).map(Instant::elapsed).unwrap_or_default();
    match (&*event.r#type, &*event.event) {
        ("test", "started") => {
            running.insert(name, Instant::now());
            return false;
        }
        ("test", "ok") => {
            report::passed(&report.name, &name, took);
            report.passed.push((name.clone(), took));
        }
        ("test", "ignored") => report.ignored += 1,
        ("test", "failed") => {
            let said = [event.stdout, event.message].into_iter().flatten().collect::<Vec<_>>().join("\n");
            report::failed(&report.name, &name, &said);
            report.failed.push((name.clone(), said));
        }
        // A test that runs for more than a minute is announced; it is no end.
        _ => return false,
    }
    running.remove(&name);
    false
}

/// The same for a program without libtest's harness: `test NAME ... ok (1.5 s)`, and `test result: …` at its end.
fn take_text(line: &str, report: &mut ProgramReport) -> bool {
    if line.starts_with("test result: ") {
        if report.passed.len() + report.failed.len() == 0 {
            let counted = finished(&report.name, Duration::ZERO, line);
            (report.passed, report.failed) = (counted.passed, counted.failed);
        }
        return true;
    }
    let Some((name, end)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else {
        return false;
    };
    let (word, took) = end.split_once(" (").unwrap_or((end, ""));
    let took = took.strip_suffix(" s)").and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    let took = Duration::try_from_secs_f64(took).unwrap_or_default();
    match word.trim_end() {
        "ok" => {
            report::passed(&report.name, name, took);
            report.passed.push((name.to_owned(), took));
        }
        "FAILED" => {
            report::failed(&report.name, name, "what it wrote follows when its program ends");
            report.failed.push((name.to_owned(), String::new()));
        }
        _ => {}
    }
    false
}

/// The last part of what a program wrote.
async fn last_of(output: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut output) = output else { return String::new() };
    let (mut kept, mut part) = (Vec::new(), [0; 8192]);
    while let Ok(length @ 1..) = output.read(&mut part).await {
        kept.extend_from_slice(&part[..length]);
        let surplus = kept.len().saturating_sub(ERROR_OUTPUT);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The report of test programs that cargo ran by itself, from their closing lines.
pub(crate) fn finished(name: &str, took: Duration, text: &str) -> ProgramReport {
    let mut report = ProgramReport { took, ..ProgramReport::new(name) };
    for line in text.lines().filter(|line| line.starts_with("test result: ")) {
        let count = |what: &str| {
            let before = line.split(what).next().unwrap_or_default().trim_end();
            before.rsplit([' ', '.']).next().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        report.passed.extend((0..count(" passed")).map(|_| (name.to_owned(), Duration::ZERO)));
        report.failed.extend((0..count(" failed")).map(|_| (name.to_owned(), String::new())));
        report.ignored += count(" ignored");
    }
    report
}
