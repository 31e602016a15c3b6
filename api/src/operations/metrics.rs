//! GET /metrics: the counters of this process, and the state of the queue read from Redis at each scrape.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use wpclone_task::QueueView;

use crate::http::auth::MetricsReader;
use crate::http::error::ApiError;
use crate::operations::PROBE_TIMEOUT;
use crate::state::SharedApp;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageStateLabels {
    stage: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

/// The queue's counters by name.
type Counters = BTreeMap<String, u64>;

/// The queue's metrics; only `queue_up` while Redis does not respond.
fn queue_registry(queue: Option<&(QueueView, Counters)>) -> Registry {
    let mut registry = Registry::with_prefix("wpclone");
    let up: Gauge = Gauge::default();
    up.set(i64::from(queue.is_some()));
    registry.register("queue_up", "Whether Redis responds", up);
    if let Some((queue, counters)) = queue {
        register_counters(&mut registry, counters);
        register_gauges(&mut registry, queue);
    }
    registry
}

/// The queue's counters over all processes, since Redis was empty. Unknown names are left out.
fn register_counters(registry: &mut Registry, counters: &Counters) {
    let dead_lettered: Family<CodeLabel, Counter> = Family::default();
    for (name, count) in counters {
        if let Some(code) = name.strip_prefix("dead_total:") {
            dead_lettered.get_or_create(&CodeLabel { code: code.to_owned() }).inc_by(*count);
        }
    }
    registry.register("dead_lettered", "Tasks and webhooks that failed for good, by code", dead_lettered);
    for (name, metric, help) in [
        ("lease_lost_total", "leases_expired", "Leases that expired: a worker died or was cut off"),
        ("claim_lost_total", "claims_lost", "Claims that no worker confirmed: the response was lost"),
        (
            "late_writes_total",
            "late_writes",
            "Writes of workers after their lease expired, which were refused",
        ),
        ("replayed_total", "replays", "Failed tasks that were replayed"),
        (
            "site_cleanup_done_total",
            "site_cleanups_done",
            "Things left on sites by ended tasks that were undone",
        ),
        (
            "site_cleanup_given_up_total",
            "site_cleanups_given_up",
            "Things left on sites by ended tasks that could not be undone within a day",
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(counters.get(name).copied().unwrap_or(0));
        registry.register(metric, help, counter);
    }
}

fn register_gauges(registry: &mut Registry, queue: &QueueView) {
    let depth: Family<StageStateLabels, Gauge<u64, AtomicU64>> = Family::default();
    let oldest: Family<StageLabel, Gauge<u64, AtomicU64>> = Family::default();
    let slots: Family<StageStateLabels, Gauge<u64, AtomicU64>> = Family::default();
    for (stage, d) in &queue.stages {
        let stage = stage.as_str();
        let numbers = [
            ("ready", d.ready),
            ("running", d.running),
            ("delayed", d.delayed),
            ("waiting_for_site", d.waiting_for_site),
            ("outstanding", d.outstanding),
        ];
        for (state, number) in numbers {
            depth.get_or_create(&StageStateLabels { stage, state }).set(number);
        }
        oldest.get_or_create(&StageLabel { stage }).set(d.oldest_seconds);
        if d.workers > 0 {
            for (state, number) in [("busy", d.busy), ("free", d.slots.saturating_sub(d.busy))] {
                slots.get_or_create(&StageStateLabels { stage, state }).set(number);
            }
        }
    }
    let alive = queue.workers.iter().filter(|w| w.lost.is_none());
    let (workers, memory): (Gauge, Gauge) = (Gauge::default(), Gauge::default());
    workers.set(i64::try_from(alive.clone().count()).unwrap_or(i64::MAX));
    memory.set(alive.map(|w| i64::try_from(w.browser_memory_bytes).unwrap_or(i64::MAX)).sum());
    let unreadable: Gauge<u64, AtomicU64> = Gauge::default();
    unreadable.set(queue.unreadable_tasks);
    registry.register("queue_unreadable_tasks", "Tasks that only another version can read", unreadable);
    registry.register("queue_depth", "Steps by stage and state", depth);
    registry.register("queue_oldest_age_seconds", "Age of the oldest ready step", oldest);
    registry.register(
        "stage_slots",
        "Slots that workers have for a stage, by whether a step runs in them",
        slots,
    );
    registry.register("workers", "Workers with a recent heartbeat", workers);
    registry.register("workers_browser_memory_bytes", "Memory of all workers' browsers", memory);
}

/// Metrics for Prometheus
///
/// OpenMetrics text. The queue's metrics are read from Redis at each request; `wpclone_queue_up` is 0 while Redis does
/// not answer.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
        crate::http::responses::AccessErrors,
    )
)]
pub async fn metrics(State(app): State<SharedApp>, _: MetricsReader) -> Result<Response, ApiError> {
    let read = async { tokio::try_join!(app.queue.stats(), app.queue.counters()) };
    let queue = timeout(PROBE_TIMEOUT, read).await.ok().and_then(Result::ok);
    let queue = queue_registry(queue.as_ref());
    let mut body = String::new();
    encode_registry(&mut body, &queue)
        .and_then(|()| encode_registry(&mut body, app.metrics.registry()))
        .and_then(|()| encode_eof(&mut body))
        .map_err(ApiError::internal)?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], body).into_response())
}
