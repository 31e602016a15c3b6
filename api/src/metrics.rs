//! Numbers for Prometheus: what this process counts, and what Redis says at the moment of asking.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use wpclone_task::QueueView;

use crate::http::auth::MetricsReader;
use crate::http::error::ApiError;
use crate::operations::PROBE;
use crate::state::SharedApp;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageState {
    stage: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageOnly {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

type Durations = Family<Route, Histogram, fn() -> Histogram>;

/// What this process counts.
pub struct Metrics {
    registry: Registry,
    answers: Family<Answered, Counter>,
    durations: Durations,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wpclone_api");
        let answers = Family::default();
        let durations: Durations = Family::new_with_constructor(|| {
            Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0])
        });
        registry.register("requests", "Requests answered", answers.clone());
        registry.register("request_duration_seconds", "Time until the head of an answer", durations.clone());
        Self { registry, answers, durations }
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, spent: Duration) {
        let route = route.to_owned();
        self.durations.get_or_create(&Route { route: route.clone() }).observe(spent.as_secs_f64());
        self.answers.get_or_create(&Answered { method, route, status }).inc();
    }
}

/// What the queue has counted, by its names of it.
type Counted = BTreeMap<String, u64>;

/// What the queue is like now; nothing of it but `up` while Redis does not answer.
fn of_queue(queue: Option<&(QueueView, Counted)>) -> Registry {
    let mut registry = Registry::with_prefix("wpclone");
    let up: Gauge = Gauge::default();
    up.set(i64::from(queue.is_some()));
    registry.register("queue_up", "Whether Redis answers", up);
    if let Some((queue, counted)) = queue {
        counters(&mut registry, counted);
        gauges(&mut registry, queue);
    }
    registry
}

/// What the queue counts, over all processes and since Redis was empty. Names that are not known here are left out.
fn counters(registry: &mut Registry, counted: &Counted) {
    let dead: Family<Reason, Counter> = Family::default();
    for (name, count) in counted {
        if let Some(reason) = name.strip_prefix("dead_total:") {
            dead.get_or_create(&Reason { reason: reason.to_owned() }).inc_by(*count);
        }
    }
    registry.register("dead", "Tasks and callbacks that failed, by their code", dead);
    for (name, about) in [
        ("lease_lost", "Leases that ran out: a worker died or was cut off"),
        ("late_writes", "Writes of workers that had lost their lease, which were refused"),
        ("replayed", "Failed tasks that were queued again"),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(counted.get(&format!("{name}_total")).copied().unwrap_or(0));
        registry.register(name, about, counter);
    }
}

fn gauges(registry: &mut Registry, queue: &QueueView) {
    let depth: Family<StageState, Gauge<u64, AtomicU64>> = Family::default();
    let oldest: Family<StageOnly, Gauge<u64, AtomicU64>> = Family::default();
    let slots: Family<StageState, Gauge<u64, AtomicU64>> = Family::default();
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
            depth.get_or_create(&StageState { stage, state }).set(number);
        }
        oldest.get_or_create(&StageOnly { stage }).set(d.oldest_seconds);
    }
    let alive = queue.workers.iter().filter(|w| w.lost.is_none());
    for worker in alive.clone() {
        for stage in &worker.stages {
            let stage = stage.as_str();
            let numbers = [("all", worker.slots), ("busy", worker.busy)];
            for (state, number) in numbers {
                slots.get_or_create(&StageState { stage, state }).inc_by(number.into());
            }
        }
    }
    let (workers, memory): (Gauge, Gauge) = (Gauge::default(), Gauge::default());
    workers.set(i64::try_from(alive.clone().count()).unwrap_or(i64::MAX));
    memory.set(alive.map(|w| i64::try_from(w.browser_memory_bytes).unwrap_or(i64::MAX)).sum());
    registry.register("queue_depth", "Steps by stage and where they stand", depth);
    registry.register("queue_oldest_age_seconds", "How long the oldest ready step has waited", oldest);
    registry.register("worker_slots", "Slots of the workers that serve a stage", slots);
    registry.register("workers", "Workers that were seen lately", workers);
    registry.register("browser_memory_bytes", "Memory of all workers' browsers", memory);
}

/// Numbers for Prometheus
///
/// OpenMetrics text. The queue's numbers are read from Redis now; `wpclone_queue_up` is 0 while it does not answer.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
        crate::openapi::TurnedAway,
    )
)]
pub async fn metrics(State(app): State<SharedApp>, _: MetricsReader) -> Result<Response, ApiError> {
    let asked = async { tokio::try_join!(app.queue.stats(), app.queue.counters()) };
    let queue = timeout(PROBE, asked).await.ok().and_then(Result::ok);
    let now = of_queue(queue.as_ref());
    let mut body = String::new();
    encode_registry(&mut body, &now)
        .and_then(|()| encode_registry(&mut body, &app.metrics.registry))
        .and_then(|()| encode_eof(&mut body))
        .map_err(ApiError::internal)?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], body).into_response())
}
