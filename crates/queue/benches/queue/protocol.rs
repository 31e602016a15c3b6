//! What both sides are told and what they answer: a line of JSON each.

use serde::{Deserialize, Serialize};

/// How many calls are under way at once.
pub(crate) const IN_FLIGHT: usize = 50;
/// Bytes of a task: its request as JSON together with its sealed secret.
pub(crate) const BYTES: usize = 370;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Order {
    /// Add tasks, [`IN_FLIGHT`] at once; each on a site of its own, or turn by turn on one of so many.
    Add {
        count: u64,
        bytes: usize,
        #[serde(default)]
        sites: Option<u64>,
    },
    /// Claim and complete so many tasks, [`IN_FLIGHT`] at once.
    Work { count: u64 },
    /// Be an idle worker, say so, and take so many tasks.
    Hear { count: u64 },
    /// Add a task every so many ms, and note in each when that was.
    Pace { count: u64, every: u64, bytes: usize },
    /// Look at the depths so many times, one after the other. Only ours.
    Stats { count: u64 },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// Who answers: the first line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// How long it took.
    pub(crate) seconds: f64,
    /// How long each took.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ms: Vec<f64>,
}
