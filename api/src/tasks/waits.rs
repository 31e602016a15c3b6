//! Why tasks wait.

use wpclone_queue::{TaskRecord, WaitCause, WaitingStep};
use wpclone_task::{QueueView, Stage, WaitReason, WaitView};

use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::App;

/// Why the next steps of a task wait.
///
/// # Errors
/// Redis does not respond.
pub async fn of_task(app: &App, caller: &Caller, task: &TaskRecord) -> Result<Vec<WaitView>, ApiError> {
    if task.state.is_final() {
        return Ok(Vec::new());
    }
    let waits = app.queue.waits_of(task.id).await?;
    if waits.is_empty() {
        return Ok(Vec::new());
    }
    // Only what waits for a worker depends on the workers.
    let waits_for_worker = waits.iter().any(|wait| matches!(wait.cause, WaitCause::Worker { .. }));
    let queue = if waits_for_worker { Some(app.queue.stats().await?) } else { None };
    Ok(waits.into_iter().map(|wait| view(caller, queue.as_ref(), Counts::Hidden, wait)).collect())
}

/// Why steps wait: the first ones of each stage and cause. Only for operators, who see all tasks.
///
/// # Errors
/// Redis does not respond.
pub async fn first(app: &App, caller: &Caller, queue: &QueueView) -> Result<Vec<WaitView>, ApiError> {
    let waits = app.queue.first_waits().await?;
    Ok(waits.into_iter().map(|wait| view(caller, Some(queue), Counts::Shown, wait)).collect())
}

/// Whether the number of ready steps is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// To operators, with the queue.
    Shown,
    /// With a single task: they are those of all owners, and would change its ETag all the time.
    Hidden,
}

fn view(caller: &Caller, queue: Option<&QueueView>, counts: Counts, wait: WaitingStep) -> WaitView {
    let WaitingStep { task, step, stage, cause } = wait;
    let view =
        |reason, detail| WaitView { task, step, stage, reason, detail, site: None, ahead: None, until: None };
    match cause {
        WaitCause::Worker { .. } => {
            let (reason, detail) = for_worker(caller, queue, counts, stage);
            view(reason, detail)
        }
        WaitCause::Retry { until } => {
            let detail = "An attempt has failed; the next one follows after a pause.".to_owned();
            WaitView { until: Some(until), ..view(WaitReason::Retry, detail) }
        }
        WaitCause::Site { site, ahead } => {
            let detail = format!("Another task on {site} comes first.");
            let visible = ahead.filter(|(_, owner)| caller.is_operator() || caller.is_owner(owner));
            let ahead = visible.map(|(task, _)| task);
            WaitView { site: Some(site), ahead, ..view(WaitReason::Site, detail) }
        }
    }
}

/// Why a step waits for a worker.
fn for_worker(
    caller: &Caller,
    queue: Option<&QueueView>,
    counts: Counts,
    stage: Stage,
) -> (WaitReason, String) {
    let depth = queue.and_then(|queue| queue.stages.get(&stage)).copied().unwrap_or_default();
    if depth.workers == 0 {
        // What a worker lacks is for operators.
        let workers = queue.into_iter().flat_map(|queue| &queue.workers);
        let why = workers.filter(|worker| caller.is_operator() && worker.lost.is_none());
        let why = why.filter_map(|worker| worker.unavailable.get(&stage)).next();
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        (WaitReason::NoWorker, format!("No worker does {stage} work now{why}."))
    } else if depth.busy >= depth.slots {
        let steps = match (counts, depth.ready) {
            (Counts::Hidden, _) => String::new(),
            (Counts::Shown, 1) => "; 1 step is ready".to_owned(),
            (Counts::Shown, ready) => format!("; {ready} steps are ready"),
        };
        let detail = match depth.slots {
            1 => format!("The one slot for {stage} work is busy{steps}."),
            slots => format!("All {slots} slots for {stage} work are busy{steps}."),
        };
        (WaitReason::WorkersBusy, detail)
    } else {
        (WaitReason::Turn, "A worker takes it in its turn.".to_owned())
    }
}
