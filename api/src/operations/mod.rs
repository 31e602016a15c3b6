//! Endpoints for operators and orchestrators: health, queue and metrics.

pub mod health;
pub mod metrics;
pub mod queue;

use std::time::Duration;

/// The timeout of Redis for a probe or a scrape.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
