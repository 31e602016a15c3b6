//! What keeps the queue well: the sweep, workers' reports, depths, and what an operator should know.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use redis::{RedisError, Value, from_redis_value};
use wpclone_task::{Code, Problem, QueueView, Stage, StageDepth, WorkerView};

use crate::leased::LONGEST_DELAY;
use crate::record::{millis, unreadable};
use crate::{Queue, QueueError, SweepReport, WorkerReport, ms};

/// A worker that is silent for this long is shown as lost.
const SILENT: Duration = Duration::from_secs(15);
/// A silent worker is shown for this long.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// The most workers that are remembered.
const WORKERS: u32 = 1000;

impl Queue {
    /// Does what time has made due. Idempotent and bounded; everyone runs it each second.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn sweep(&self) -> Result<SweepReport, QueueError> {
        let options = self.options();
        let fault = Self::unreadable_task();
        let mut call = self.write("sweep");
        call.arg(ms(options.finished_retention)).arg(options.finished_max_bytes).arg(options.max_crashes);
        call.arg(json(&fault)?).arg(fault.code.as_str()).arg(fault.code.title());
        call.arg(Code::Poison.as_str()).arg(Code::Poison.title()).arg(ms(REMEMBERED));
        call.arg(ms(options.lease_duration)).arg(ms(LONGEST_DELAY));
        for stage in Stage::ALL {
            let detail = format!("The {stage} stage lost {} workers over this task.", options.max_crashes);
            call.arg(stage.as_str()).arg(json(&Problem::new(Code::Poison, detail).at(*stage))?);
        }
        let (promoted, expired, poisoned, trimmed, more): (u32, u32, u32, u32, u32) =
            self.store().run(&call).await?;
        Ok(SweepReport { promoted, expired, poisoned, trimmed, more: more == 1 })
    }

    /// A worker says that it lives; every few seconds.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn report_worker(&self, worker: &WorkerReport) -> Result<(), QueueError> {
        let mut call = self.write("report");
        call.arg(&worker.id).arg(serde_json::to_string(worker).map_err(|_| unreadable("report"))?);
        call.arg(ms(REMEMBERED)).arg(WORKERS);
        self.store().run::<()>(&call).await
    }

    /// A worker says that it goes.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn remove_worker(&self, worker: &str) -> Result<(), QueueError> {
        let store = self.store();
        redis::pipe()
            .zrem(store.key("workers"), worker)
            .del(store.key(&format!("worker:{worker}")))
            .query_async::<()>(&mut store.connection().await?)
            .await?;
        Ok(())
    }

    /// Depths, and up to 100 workers, those seen last first.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn stats(&self) -> Result<QueueView, QueueError> {
        let mut call = self.read("stats");
        call.arg(ms(REMEMBERED)).arg(Stage::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>());
        let mut answer = self.store().run::<Vec<Value>>(&call).await?.into_iter();
        let mut next = || answer.next().ok_or_else(|| QueueError::Unexpected("too short an answer".into()));
        let now = millis(&read::<String>(next()?)?)?;
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
            };
            stages.insert(*stage, depth);
        }
        let workers: Vec<(String, String)> = read(next()?)?;
        Ok(QueueView {
            stages,
            workers: workers.iter().filter_map(|(report, seen)| shown(report, seen, now)).collect(),
        })
    }

    /// What has been counted since Redis was empty: `dead_total:CODE` (failed tasks by code) and
    /// `lease_lost_total` (leases that ran out).
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn counters(&self) -> Result<BTreeMap<String, u64>, QueueError> {
        let store = self.store();
        Ok(redis::cmd("HGETALL")
            .arg(store.key("counters"))
            .query_async(&mut store.connection().await?)
            .await?)
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), QueueError> {
        let store = self.store();
        // A key of ours: of a cluster, only the node that has it matters.
        redis::cmd("EXISTS")
            .arg(store.key("fence"))
            .query_async::<()>(&mut store.connection().await?)
            .await?;
        Ok(())
    }

    /// What an operator should know of this Redis: eviction policy, version, what it can lose. Empty when all is
    /// well. A provider that hides its settings is no error.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn redis_warnings(&self) -> Result<Vec<String>, QueueError> {
        let mut connection = self.store().connection().await?;
        let info = shown_to_us(redis::cmd("INFO").query_async(&mut connection).await)?.and_then(one_of);
        let mut setting = async |name: &str| {
            let found =
                redis::cmd("CONFIG").arg("GET").arg(name).query_async::<Vec<String>>(&mut connection).await;
            Ok::<_, QueueError>(shown_to_us(found)?.and_then(|pair| pair.into_iter().nth(1)))
        };
        let told = |name: &str| {
            let info = info.as_deref().unwrap_or_default();
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
        };
        let policy = setting("maxmemory-policy").await?.or_else(|| told("maxmemory_policy"));
        let aof =
            setting("appendonly").await?.or_else(|| told("aof_enabled")).map(|on| on == "yes" || on == "1");
        let fsync = setting("appendfsync").await?;
        Ok(concerns(told("redis_version").as_deref(), policy.as_deref(), aof, fsync.as_deref()))
    }
}

/// The sentences of [`Queue::redis_warnings`]; `None` stands for what Redis did not tell.
fn concerns(
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

/// An answer's text; that of one node when a cluster gave one for each.
fn one_of(answer: Value) -> Option<String> {
    match answer {
        Value::Map(nodes) => nodes.into_iter().find_map(|(_, node)| from_redis_value(node).ok()),
        answer => from_redis_value(answer).ok(),
    }
}

/// What Redis tells; `None` when it refuses to.
fn shown_to_us<T>(answer: Result<T, RedisError>) -> Result<Option<T>, QueueError> {
    match answer.map_err(|e| (matches!(e.code(), Some("ERR" | "NOPERM")), e)) {
        Ok(answer) => Ok(Some(answer)),
        Err((true, _)) => Ok(None),
        Err((false, e)) => Err(e.into()),
    }
}

fn shown(report: &str, seen: &str, now: Timestamp) -> Option<WorkerView> {
    let report: WorkerReport = serde_json::from_str(report).ok()?;
    let seen_at = millis(seen).ok()?;
    let silent = now.duration_since(seen_at).unsigned_abs() > SILENT;
    Some(WorkerView {
        id: report.id,
        stages: report.stages,
        slots: report.slots,
        busy: u32::try_from(report.tasks.len()).unwrap_or(u32::MAX),
        seen_at,
        started_at: report.started_at,
        tasks: report.tasks,
        browser_memory_bytes: report.browser_memory_bytes,
        lost: silent
            .then(|| format!("Silent since {}, without saying that it goes.", seen_at.strftime("%F %T UTC"))),
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
    fn a_redis_that_loses_nothing_raises_no_concern() {
        assert!(concerns(Some("7.0.15"), Some("noeviction"), Some(true), Some("always")).is_empty());
        assert!(concerns(Some("10.1"), Some("noeviction"), Some(true), Some("always")).is_empty());
    }

    #[test]
    fn each_way_to_lose_a_task_is_told() {
        let told = |v, p, a, f| concerns(Some(v), p, a, f).join(" ");
        assert!(told("6.2.1", Some("noeviction"), Some(true), Some("always")).contains("too old"));
        assert!(told("8.0", Some("allkeys-lru"), Some(true), Some("always")).contains("allkeys-lru"));
        assert!(told("8.0", Some("noeviction"), Some(true), Some("everysec")).contains("last seconds"));
        assert!(told("8.0", Some("noeviction"), Some(false), Some("always")).contains("append-only"));
        assert_eq!(concerns(None, None, None, None).len(), 2);
    }
}
