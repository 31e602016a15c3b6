//! The sweep, workers' reports, and what operators read: depths, counters, warnings.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use redis::{RedisError, Value, from_redis_value};
use wpclone_task::{Code, Problem, QueueView, Stage, StageDepth, WorkerView};

use crate::leased::MAX_DELAY;
use crate::record::{millis, unreadable};
use crate::{Queue, QueueError, SweepReport, WorkerReport, ms};

/// A worker that did not report for this long is shown as lost.
const LOST_AFTER: Duration = Duration::from_secs(15);
/// How long a worker is shown after its last report.
const WORKER_RETENTION: Duration = Duration::from_secs(3600);
/// The most workers that are kept.
const MAX_WORKERS: u32 = 1000;
/// The most workers that [`Queue::stats`] returns. The slots of all are summed up.
const MAX_SHOWN_WORKERS: usize = 100;

impl Queue {
    /// Does what has become due: promotes delayed steps, expires leases, deletes old tasks, repairs locks. Idempotent and
    /// bounded; every api and worker calls it each second. Records of another version are never deleted.
    ///
    /// # Errors
    /// Redis does not respond, or has another layout.
    pub async fn sweep(&self) -> Result<SweepReport, QueueError> {
        let options = self.options();
        let corrupt = Self::corrupt_record();
        let mut call = self.write_call("sweep");
        call.arg(ms(options.finished_retention)).arg(options.finished_max_bytes).arg(options.max_crashes);
        call.arg(json(&corrupt)?).arg(corrupt.code.as_str()).arg(corrupt.code.title());
        call.arg(Code::Poison.as_str()).arg(Code::Poison.title()).arg(ms(WORKER_RETENTION));
        call.arg(ms(options.lease_duration)).arg(ms(MAX_DELAY));
        for stage in Stage::ALL {
            let detail = format!("The {stage} stage lost {} workers over this task.", options.max_crashes);
            call.arg(stage.as_str()).arg(json(&Problem::new(Code::Poison, detail).at(*stage))?);
        }
        let (promoted, expired, poisoned, trimmed, more): (u32, u32, u32, u32, u32) =
            self.store().run(&call).await?;
        Ok(SweepReport { promoted, expired, poisoned, trimmed, more: more == 1 })
    }

    /// Stores a worker's report; called every few seconds.
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn report_worker(&self, worker: &WorkerReport) -> Result<(), QueueError> {
        let mut call = self.write_call("report_worker");
        let started_at = worker.started_at.as_millisecond();
        let started_at = Timestamp::from_millisecond(started_at).map_err(|_| unreadable("time"))?;
        let worker = &WorkerReport { started_at, ..worker.clone() };
        call.arg(&worker.id).arg(serde_json::to_string(worker).map_err(|_| unreadable("report"))?);
        call.arg(ms(WORKER_RETENTION)).arg(MAX_WORKERS);
        self.store().run::<()>(&call).await
    }

    /// Deletes a worker's report, when the worker ends.
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn remove_worker(&self, worker: &str) -> Result<(), QueueError> {
        let mut call = self.write_call("remove_worker");
        call.arg(worker);
        self.store().run::<()>(&call).await
    }

    /// Depths, and up to 100 workers, most recently seen first. Clean-ups are listed by [`Queue::site_cleanups`], and why steps
    /// wait by [`Queue::first_waits`].
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn stats(&self) -> Result<QueueView, QueueError> {
        let mut call = self.read_call("stats");
        call.arg(ms(WORKER_RETENTION))
            .arg(MAX_WORKERS)
            .arg(Stage::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>());
        let mut answer = self.store().run::<Vec<Value>>(&call).await?.into_iter();
        let mut next =
            || answer.next().ok_or_else(|| QueueError::Unexpected("the response is too short".into()));
        let now = millis(&read::<String>(next()?)?)?;
        let unreadable_tasks = read::<String>(next()?)?.parse().map_err(|_| unreadable("count"))?;
        let mut stages = BTreeMap::new();
        for stage in Stage::ALL {
            let (ready, running, delayed, waiting_for_site, oldest): (u64, u64, u64, u64, u64) =
                read(next()?)?;
            let depth = StageDepth {
                ready,
                running,
                delayed,
                waiting_for_site,
                oldest_seconds: oldest / 1000,
                outstanding: ready + running,
                ..StageDepth::default()
            };
            stages.insert(*stage, depth);
        }
        let workers: Vec<(String, String)> = read(next()?)?;
        let mut workers: Vec<WorkerView> =
            workers.iter().filter_map(|(report, seen)| worker_view(report, seen, now)).collect();
        add_slots(&mut stages, &workers);
        workers.truncate(MAX_SHOWN_WORKERS);
        Ok(QueueView { stages, unreadable_tasks, workers, site_cleanups: Vec::new(), waits: Vec::new() })
    }

    /// Counters since Redis was empty, such as `dead_total:CODE` (failed tasks by code) and `lease_lost_total` (expired
    /// leases).
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn counters(&self) -> Result<BTreeMap<String, u64>, QueueError> {
        let store = self.store();
        Ok(redis::cmd("HGETALL")
            .arg(store.key("counters"))
            .query_async(&mut store.connection().await?)
            .await?)
    }

    /// Checks that Redis answers and that its data has our layout.
    ///
    /// # Errors
    /// It does not answer, or has another layout.
    pub async fn ping(&self) -> Result<(), QueueError> {
        self.store().run::<()>(&self.read_call("ping")).await
    }

    /// Warnings about this Redis: eviction policy, version, and what it can lose. Settings that a provider hides are no
    /// error.
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn redis_warnings(&self) -> Result<Vec<String>, QueueError> {
        let mut connection = self.store().connection().await?;
        let info = if_permitted(redis::cmd("INFO").query_async(&mut connection).await)?.and_then(first_node);
        let mut setting = async |name: &str| {
            let found =
                redis::cmd("CONFIG").arg("GET").arg(name).query_async::<Vec<String>>(&mut connection).await;
            Ok::<_, QueueError>(if_permitted(found)?.and_then(|pair| pair.into_iter().nth(1)))
        };
        let info_field = |name: &str| {
            let info = info.as_deref().unwrap_or_default();
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
        };
        let policy = setting("maxmemory-policy").await?.or_else(|| info_field("maxmemory_policy"));
        let aof = setting("appendonly")
            .await?
            .or_else(|| info_field("aof_enabled"))
            .map(|on| on == "yes" || on == "1");
        let fsync = setting("appendfsync").await?;
        Ok(redis_warnings(info_field("redis_version").as_deref(), policy.as_deref(), aof, fsync.as_deref()))
    }
}

/// The sentences of [`Queue::redis_warnings`]; `None` is a setting that Redis does not reveal.
fn redis_warnings(
    version: Option<&str>,
    policy: Option<&str>,
    aof: Option<bool>,
    fsync: Option<&str>,
) -> Vec<String> {
    let mut found = Vec::new();
    let major = version.and_then(|v| v.split('.').next()?.parse::<u32>().ok());
    if let (Some(version), Some(..7)) = (version, major) {
        found.push(format!("Redis {version} is too old: the queue needs 7.0 or newer."));
    }
    match policy {
        Some("noeviction") => {}
        Some(policy) => found.push(format!(
            "Redis may drop tasks when its memory is full (maxmemory-policy {policy}): set it to noeviction."
        )),
        None => found.push("Redis hides its maxmemory-policy: make sure that it is noeviction.".into()),
    }
    match (aof, fsync) {
        (Some(true), Some("always")) => {}
        (Some(true), Some("everysec")) => found.push(
            "Redis may lose the last seconds when its machine dies (appendfsync everysec): accepted tasks among them."
                .into(),
        ),
        (Some(true), Some(_)) => found.push(
            "Redis may lose the last half minute when its machine dies (appendfsync no): accepted tasks among it."
                .into(),
        ),
        (Some(true), None) => {
            found.push("Redis hides its appendfsync: ask its provider what a crash can lose.".into());
        }
        (Some(false), _) => found.push(
            "Redis keeps no append-only file: a crash loses every task since its last snapshot. Set appendonly yes."
                .into(),
        ),
        (None, _) => found.push("Redis hides its persistence: ask its provider what a crash can lose.".into()),
    }
    found
}

/// The text of an answer; the first of all nodes' answers in a cluster.
fn first_node(answer: Value) -> Option<String> {
    match answer {
        Value::Map(nodes) => nodes.into_iter().find_map(|(_, node)| from_redis_value(node).ok()),
        answer => from_redis_value(answer).ok(),
    }
}

/// The answer; `None` when Redis refuses the command.
fn if_permitted<T>(answer: Result<T, RedisError>) -> Result<Option<T>, QueueError> {
    match answer.map_err(|e| (matches!(e.code(), Some("ERR" | "NOPERM")), e)) {
        Ok(answer) => Ok(Some(answer)),
        Err((true, _)) => Ok(None),
        Err((false, e)) => Err(e.into()),
    }
}

/// Sums up the slots that workers with a recent report have for each stage.
fn add_slots(stages: &mut BTreeMap<Stage, StageDepth>, workers: &[WorkerView]) {
    for worker in workers.iter().filter(|worker| worker.lost.is_none()) {
        for (stage, of_worker) in &worker.stages {
            let depth = stages.entry(*stage).or_default();
            depth.slots += u64::from(of_worker.slots);
            depth.busy += u64::from(of_worker.busy);
            depth.workers += 1;
        }
    }
}

fn worker_view(report: &str, seen: &str, now: Timestamp) -> Option<WorkerView> {
    let report: WorkerReport = serde_json::from_str(report).ok()?;
    let seen_at = millis(seen).ok()?;
    let silent = now.duration_since(seen_at).unsigned_abs() > LOST_AFTER;
    Some(WorkerView {
        id: report.id,
        stages: report.stages,
        seen_at,
        started_at: report.started_at,
        tasks: report.tasks,
        browser_memory_bytes: report.browser_memory_bytes,
        unavailable: report.unavailable,
        lost: silent.then(|| {
            format!("No report since {}, and it did not end normally.", seen_at.strftime("%F %T UTC"))
        }),
    })
}

fn read<T: redis::FromRedisValue>(value: Value) -> Result<T, QueueError> {
    Ok(from_redis_value(value).map_err(RedisError::from)?)
}

fn json(problem: &Problem) -> Result<String, QueueError> {
    serde_json::to_string(problem).map_err(|_| unreadable("problem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_that_loses_nothing_has_no_warning() {
        assert!(redis_warnings(Some("7.0.15"), Some("noeviction"), Some(true), Some("always")).is_empty());
        assert!(redis_warnings(Some("10.1"), Some("noeviction"), Some(true), Some("always")).is_empty());
    }

    #[test]
    fn each_way_to_lose_a_task_has_a_warning() {
        let info_field = |v, p, a, f| redis_warnings(Some(v), p, a, f).join(" ");
        assert!(info_field("6.2.1", Some("noeviction"), Some(true), Some("always")).contains("too old"));
        assert!(info_field("8.0", Some("allkeys-lru"), Some(true), Some("always")).contains("allkeys-lru"));
        assert!(info_field("8.0", Some("noeviction"), Some(true), Some("everysec")).contains("last seconds"));
        assert!(info_field("8.0", Some("noeviction"), Some(false), Some("always")).contains("append-only"));
        assert_eq!(redis_warnings(None, None, None, None).len(), 2);
    }
}
