//! Counters of this process's HTTP requests.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

type Durations = Family<RouteLabel, Histogram, fn() -> Histogram>;

/// Counters of this process's HTTP requests.
pub struct RequestMetrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Durations,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wpclone_api");
        let requests = Family::default();
        let durations: Durations = Family::new_with_constructor(|| {
            Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0])
        });
        registry.register("requests", "Requests", requests.clone());
        registry.register("request_duration_seconds", "Time until the response's head", durations.clone());
        Self { registry, requests, durations }
    }
}

impl RequestMetrics {
    /// Counts a request that was answered after `duration`.
    pub fn record(&self, method: &'static str, route: &str, status: u16, duration: Duration) {
        let route = route.to_owned();
        self.durations.get_or_create(&RouteLabel { route: route.clone() }).observe(duration.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    }

    /// The metrics, for encoding.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}
