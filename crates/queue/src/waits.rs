//! Why steps wait.

use jiff::Timestamp;
use wpclone_task::{Stage, TaskId};

use crate::record::{millis, unreadable};
use crate::{Queue, QueueError};

/// The most tasks whose waits are listed.
const MAX_TASKS: u32 = 30;

/// A step that no worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingStep {
    /// Its task.
    pub task: TaskId,
    /// The step's name.
    pub step: String,
    /// Its stage.
    pub stage: Stage,
    /// What it waits for.
    pub cause: WaitCause,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitCause {
    /// A worker may claim it.
    Worker {
        /// Since when.
        since: Timestamp,
    },
    /// The pause before its next attempt.
    Retry {
        /// When that is.
        until: Timestamp,
    },
    /// Another task on the site, or in line before it.
    Site {
        /// The site: host without www, with port and path.
        site: String,
        /// That task and its owner; `None` when it is a clean-up, or has just gone.
        ahead: Option<(TaskId, String)>,
    },
}

impl Queue {
    /// What the steps of a task wait for that no worker has and that are next.
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn waits_of(&self, task: TaskId) -> Result<Vec<WaitingStep>, QueueError> {
        self.list_waits(&task.to_string(), 1).await
    }

    /// Steps that wait, of up to 30 tasks: the first ones of each stage and of each cause.
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn first_waits(&self) -> Result<Vec<WaitingStep>, QueueError> {
        self.list_waits("", MAX_TASKS).await
    }

    async fn list_waits(&self, task: &str, most: u32) -> Result<Vec<WaitingStep>, QueueError> {
        let mut call = self.read_call("list_waits");
        call.arg(task).arg(most).arg(Stage::OF_TASKS.iter().map(|s| s.as_str()).collect::<Vec<_>>());
        let answer: Vec<Vec<String>> = self.store().run_idempotent(&call).await?;
        answer.iter().map(|wait| read(wait)).collect()
    }
}

fn read(wait: &[String]) -> Result<WaitingStep, QueueError> {
    let bad = || unreadable("waits");
    let texts: Vec<&str> = wait.iter().map(String::as_str).collect();
    let [task, step, stage, why, at, of_site @ ..] = texts.as_slice() else { return Err(bad()) };
    let at = millis(at)?;
    let cause = match (*why, of_site) {
        ("ready", _) => WaitCause::Worker { since: at },
        ("delayed", _) => WaitCause::Retry { until: at },
        ("site", [site, ahead, owner]) => WaitCause::Site {
            site: (*site).to_owned(),
            ahead: ahead.parse().ok().map(|id| (id, (*owner).to_owned())),
        },
        _ => return Err(bad()),
    };
    Ok(WaitingStep {
        task: task.parse().map_err(|_| bad())?,
        step: (*step).to_owned(),
        stage: stage.parse().map_err(|_| bad())?,
        cause,
    })
}
