//! The worker's own metrics. Queue depths are in the api's metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use wpclone_provision::CloneProblemKind;
use wpclone_task::{Stage, StageSlots};

/// Labels of a step. Neither sites nor tasks, so that the number of series is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StepLabels {
    pub(crate) kind: &'static str,
    pub(crate) stage: &'static str,
    pub(crate) outcome: &'static str,
}

/// Labels of a webhook delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DeliveryLabels {
    /// `delivered`, `retrying`, `failed` (for good), `deferred`, `released` or `lost`.
    pub(crate) outcome: &'static str,
    /// The problem's code; empty when there is none.
    pub(crate) code: &'static str,
}

/// Labels of a stage's slots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SlotLabels {
    stage: &'static str,
    /// `busy` or `free`.
    state: &'static str,
}

/// Labels of clones with a problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloneProblemLabels {
    kind: &'static str,
}

fn buckets() -> Histogram {
    // 0.25 s to 128 s.
    Histogram::new(exponential_buckets(0.25, 2.0, 10))
}

/// The worker's metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    steps: Family<StepLabels, Histogram>,
    waits: Family<StepLabels, Histogram>,
    deliveries: Family<DeliveryLabels, Counter>,
    slots: Family<SlotLabels, Gauge>,
    browsers: Gauge,
    browser_memory: Gauge<u64, AtomicU64>,
    clone_problems: Family<CloneProblemLabels, Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("wpclone_worker");
        let steps = Family::new_with_constructor(buckets as fn() -> Histogram);
        let waits = Family::new_with_constructor(buckets as fn() -> Histogram);
        let (deliveries, slots) = (Family::default(), Family::<SlotLabels, Gauge>::default());
        let (browsers, browser_memory) = (Gauge::default(), Gauge::default());
        registry.register_with_unit("step_duration", "How long steps took", Unit::Seconds, steps.clone());
        registry.register_with_unit(
            "step_wait",
            "How long steps were ready before they were claimed",
            Unit::Seconds,
            waits.clone(),
        );
        registry.register("deliveries", "Webhook delivery attempts by outcome", deliveries.clone());
        registry.register("slots", "Slots for a stage, by whether a step runs in them", slots.clone());
        registry.register("browsers", "Running browsers", browsers.clone());
        registry.register_with_unit(
            "browser_memory",
            "Memory of all browsers",
            Unit::Bytes,
            browser_memory.clone(),
        );
        let clone_problems = Family::default();
        registry.register("clone_problems", "Clones with a problem by its kind", clone_problems.clone());
        Self {
            clone_problems,
            registry: Arc::new(registry),
            steps,
            waits,
            deliveries,
            slots,
            browsers,
            browser_memory,
        }
    }

    /// A step that ended: how long it had waited, and how long it took.
    pub(crate) fn step(&self, labels: StepLabels, waited: Duration, took: Duration) {
        self.waits.get_or_create(&labels).observe(waited.as_secs_f64());
        self.steps.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn delivery(&self, labels: DeliveryLabels) {
        self.deliveries.get_or_create(&labels).inc();
    }

    /// The slots for each stage that is served now; other stages are not shown.
    pub(crate) fn slots(&self, stages: &BTreeMap<Stage, StageSlots>) {
        self.slots.clear();
        for (stage, of_stage) in stages {
            let free = of_stage.slots.saturating_sub(of_stage.busy);
            for (state, number) in [("busy", of_stage.busy), ("free", free)] {
                let labels = SlotLabels { stage: stage.as_str(), state };
                self.slots.get_or_create(&labels).set(number.into());
            }
        }
    }

    pub(crate) fn browsers(&self, count: usize, memory: u64) {
        self.browsers.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.browser_memory.set(memory);
    }

    /// What is wrong with clones; those without a problem are left out.
    pub(crate) fn clone_problems(&self, of_clones: impl Iterator<Item = CloneProblemKind>) {
        let of_clones: Vec<_> = of_clones.collect();
        for kind in CloneProblemKind::ALL {
            let count = of_clones.iter().filter(|found| *found == kind).count();
            let labels = CloneProblemLabels { kind: kind.as_str() };
            self.clone_problems.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The metrics in OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry);
        text
    }
}
