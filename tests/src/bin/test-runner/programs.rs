//! Which test programs the workspace has.

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
#[derive(Debug)]
pub(crate) struct TestProgram {
    /// Package and target, such as `wpclone-queue queue`.
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    /// The package's folder, which `cargo test` runs its programs in.
    pub(crate) folder: PathBuf,
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
    let mut programs = Vec::new();
    for line in text.lines() {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("a message of cargo: {line}"))?;
        programs.extend(program(message));
    }
    if programs.is_empty() {
        bail!("cargo names no test program");
    }
    Ok(programs)
}

fn program(message: Message) -> Option<TestProgram> {
    if message.reason != "compiler-artifact" || !message.profile?.test {
        return None;
    }
    let folder = message.manifest_path?.parent()?.to_owned();
    let package = folder.file_name()?.to_str()?.to_owned();
    let name = format!("wpclone-{package} {}", message.target?.name);
    Some(TestProgram { name, executable: message.executable?, folder })
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
