//! wpclone as its clients see it: POST /clone, and the clone taken away again.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wpclone_task::{State, TaskView};
use wpclone_tests::{Client, Site, TestApp};

/// A clone takes seconds or minutes; one that takes this long is stuck.
const LIMIT: Duration = Duration::from_secs(1800);

/// The times and sizes of one clone.
#[derive(Debug, Clone)]
pub(crate) struct CloneRun {
    /// From the request until its client sees the result.
    pub(crate) whole: Duration,
    /// Its steps, by their own times.
    pub(crate) steps: Vec<(String, Duration)>,
    /// PHP's peak memory above idle, in export and import, if reported.
    pub(crate) export: Option<u64>,
    pub(crate) import: Option<u64>,
    /// The worker's peak memory.
    pub(crate) worker: u64,
    /// What was transferred.
    pub(crate) rows: u64,
    pub(crate) files: u64,
    pub(crate) file_bytes: u64,
    pub(crate) addresses: u64,
}

impl CloneRun {
    pub(crate) fn step(&self, name: &str) -> Duration {
        self.steps.iter().find(|(step, _)| step == name).map_or(Duration::ZERO, |(_, took)| *took)
    }
}

/// Clones the site once. The clone is deleted after all measurements, for the same reason as the folder of the lower bound.
pub(crate) async fn run(app: &TestApp, site: &Site) -> Result<CloneRun> {
    let (client, admin) = (app.client()?, site.admin());
    let pid = app.workers.first().and_then(|worker| worker.pid()).context("there is no worker")?;
    // Resets the peak memory (proc(5), `clear_refs`).
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    let begun = Instant::now();
    let task = client.accepted("/clone", &json!({ "source": site.login(&admin), "ttl_minutes": 60 })).await?;
    let task = client.wait_within(task.id, LIMIT).await?;
    let whole = begun.elapsed();
    ensure!(task.state == State::Succeeded, "the clone did not succeed: {:?}", task.problem);
    let worker = high_water(pid)?;
    let told = fidelity(&client, &task).await?;
    let result = task.result.as_ref().context("the task has no result")?;
    let number = |pointer: &str| result["fidelity"].pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let steps = task.steps.iter().filter_map(|step| {
        let (from, to) = step.started_at.zip(step.finished_at)?;
        Some((step.name.to_string(), to.duration_since(from).unsigned_abs()))
    });
    Ok(CloneRun {
        whole,
        steps: steps.collect(),
        export: above_baseline(&told["php_memory"]["source"]),
        import: above_baseline(&told["php_memory"]["target"]),
        worker,
        rows: number("/rows"),
        files: number("/files"),
        file_bytes: number("/file_bytes"),
        addresses: number("/addresses"),
    })
}

async fn fidelity(client: &Client, task: &TaskView) -> Result<Value> {
    let report = task.artifacts.iter().find(|artifact| artifact.name == "fidelity.json");
    let href = &report.context("there is no fidelity.json")?.href;
    Ok(client.shown(href).await?)
}

fn above_baseline(memory: &Value) -> Option<u64> {
    Some(memory["peak"].as_u64()?.saturating_sub(memory["baseline"].as_u64()?))
}

/// The most memory that a process had, in bytes: `VmHWM` of proc(5).
fn high_water(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
