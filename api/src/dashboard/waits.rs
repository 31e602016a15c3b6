//! Why tasks wait, as rows of pages.

use wpclone_task::{Stage, TaskId, WaitView};

use crate::dashboard::format::Countdown;

/// Why a step waits.
pub(crate) struct WaitRow {
    pub(crate) task: TaskId,
    pub(crate) step: String,
    pub(crate) stage: Stage,
    pub(crate) detail: String,
    /// The task that comes first.
    pub(crate) ahead: Option<TaskId>,
    /// When the next attempt is.
    pub(crate) until: Option<Countdown>,
}

pub(crate) fn wait_rows(waits: &[WaitView]) -> Vec<WaitRow> {
    let row = |wait: &WaitView| WaitRow {
        task: wait.task,
        step: wait.step.clone(),
        stage: wait.stage,
        detail: wait.detail.clone(),
        ahead: wait.ahead,
        until: wait.until.map(Countdown),
    };
    waits.iter().map(row).collect()
}
