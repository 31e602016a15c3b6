//! Progress and events of a task.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{SiteText, Stage, State};

/// The progress of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// 0 to 100; never decreases within one attempt.
    pub percent: u8,
    /// The current activity, as a sentence.
    pub message: String,
}

impl Progress {
    /// Sets the message, which may quote a site, and the percentage unless it would go back.
    pub fn advance(&mut self, percent: u8, message: &str) {
        self.percent = self.percent.max(percent);
        self.message = SiteText::new(message).into();
    }
}

/// A change of a task. Its stream id is the id of the SSE message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// When it happened, by Redis' clock.
    #[serde(serialize_with = "crate::timestamp::serialize")]
    pub at: Timestamp,
    /// The task's state after it.
    pub state: State,
    /// The step that it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The stage of that step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The task's progress after it.
    pub progress: Progress,
    /// The problem code, when an attempt or the task failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_quotes_a_site_does_not_control_a_terminal() {
        let mut progress = Progress::default();
        progress.advance(10, "The source runs PHP 8\u{1b}[2J.\u{202e}1");
        assert_eq!(progress, Progress { percent: 10, message: "The source runs PHP 8.1".into() });
    }
}
