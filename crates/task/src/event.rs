//! What is told while a task is under way.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Stage, State};

/// How far a task has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// 0 to 100; never goes back within one attempt.
    pub percent: u8,
    /// A sentence that a person understands.
    pub message: String,
}

impl Progress {
    /// Sets the message, and the percentage unless it would go back.
    pub fn advance(&mut self, percent: u8, message: &str) {
        self.percent = self.percent.max(percent);
        message.clone_into(&mut self.message);
    }
}

/// Something that happened to a task. Its stream id is the id of the SSE event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// When, by Redis' clock.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub at: Timestamp,
    /// The task's state after it.
    pub state: State,
    /// The step it happened to, when it happened to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// That step's stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// How far the task has come.
    pub progress: Progress,
    /// The problem's code, when an attempt or the task ended with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}
