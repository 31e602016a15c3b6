//! Which test programs the workspace has.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use crate::libtest::{ProgramReport, finished};
use crate::report;

/// How long all doc tests may take.
const DOC_TESTS_LIMIT: Duration = Duration::from_secs(3600);

/// A program made by `cargo test`.
#[derive(Debug, Clone)]
pub(crate) struct TestProgram {
    /// Package and target, such as `wpclone-queue queue`.
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    /// The package's folder, which `cargo test` runs its programs in.
    pub(crate) folder: PathBuf,
    /// Programs of this workspace that it may start: those of its own package, or all.
    pub(crate) starts: Vec<PathBuf>,
}

impl TestProgram {
    pub(crate) fn is_end_to_end(&self) -> bool {
        self.name == "wpclone-tests e2e"
    }

    /// Whether it needs a Kubernetes; such tests run alone, with `--cluster`.
    pub(crate) fn is_of_cluster(&self) -> bool {
        self.name.starts_with("wpclone-cluster ")
    }
}

/// A line of `cargo --message-format=json`, as far as it is needed.
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds all test programs of the workspace.
///
/// # Errors
/// Something does not compile; cargo has said what.
pub(crate) async fn build() -> Result<Vec<TestProgram>> {
    let output = cargo()
        .args(["test", "--quiet", "--locked", "--workspace", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cargo")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let text = String::from_utf8(output.stdout).context("cargo's messages")?;
    let (mut tests, mut programs) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("a message of cargo: {line}"))?;
        let Some((program, is_test)) = program(message) else { continue };
        if is_test { &mut tests } else { &mut programs }.push(program);
    }
    if tests.is_empty() {
        bail!("cargo names no test program");
    }
    for test in &mut tests {
        test.starts =
            if test.is_end_to_end() { beside(&test.executable)? } else { of_package(&programs, test) };
    }
    Ok(tests)
}

/// A program that cargo has built, and whether it is one of tests.
fn program(message: Message) -> Option<(TestProgram, bool)> {
    if message.reason != "compiler-artifact" {
        return None;
    }
    let folder = message.manifest_path?.parent()?.to_owned();
    let package = folder.file_name()?.to_str()?.to_owned();
    let name = format!("wpclone-{package} {}", message.target?.name);
    let program = TestProgram { name, executable: message.executable?, folder, starts: Vec::new() };
    Some((program, message.profile?.test))
}

fn of_package(programs: &[TestProgram], test: &TestProgram) -> Vec<PathBuf> {
    let own = programs.iter().filter(|program| program.folder == test.folder);
    own.map(|program| program.executable.clone()).collect()
}

/// All programs of the folder above a test program's, where cargo puts those of the workspace. End-to-end tests find
/// programs there by their names.
fn beside(test: &Path) -> Result<Vec<PathBuf>> {
    let folder = test.parent().and_then(Path::parent).context("a test program that is in no folder")?;
    let mut found = Vec::new();
    for file in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let file = file?;
        let metadata = file.metadata()?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            found.push(file.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Runs the examples in documentation comments; cargo has no program for them.
pub(crate) async fn doc_tests(words: &[String]) -> ProgramReport {
    let began = Instant::now();
    let run = cargo()
        .args(["test", "--quiet", "--locked", "--workspace", "--doc", "--no-fail-fast", "--"])
        .args(words)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(DOC_TESTS_LIMIT, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return ProgramReport::broken("doc tests", began.elapsed(), error.to_string()),
        Err(_) => {
            return ProgramReport::broken("doc tests", began.elapsed(), "they did not end in time".into());
        }
    };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let mut report = finished("doc tests", began.elapsed(), &text);
    if !output.status.success() {
        report.broken = Some(text);
    }
    report::program(&report);
    report
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").as_deref().map_or(Path::new("cargo"), Path::new))
}
