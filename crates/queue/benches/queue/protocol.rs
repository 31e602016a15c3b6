//! Orders to both sides and their answers: a line of JSON each.

use serde::{Deserialize, Serialize};

/// How many calls are in flight.
pub(crate) const IN_FLIGHT: usize = 50;
/// Bytes of a task: its request as JSON together with its sealed secret.
pub(crate) const BYTES: usize = 370;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Order {
    /// Add tasks, [`IN_FLIGHT`] at once; each on a site of its own, or in turn on one of `sites`.
    Add {
        count: u64,
        bytes: usize,
        #[serde(default)]
        sites: Option<u64>,
    },
    /// Claim and complete this many tasks, [`IN_FLIGHT`] at once.
    Work { count: u64 },
    /// Become an idle worker, answer, and claim this many tasks.
    Hear { count: u64 },
    /// Add a task every `every` ms, with the time in it.
    Pace { count: u64, every: u64, bytes: usize },
    /// Read the depths this many times in sequence. Only our side.
    Stats { count: u64 },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// Name and version: the first line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// The duration in seconds.
    pub(crate) seconds: f64,
    /// The duration of each in ms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ms: Vec<f64>,
}
