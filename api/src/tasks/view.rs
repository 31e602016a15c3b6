//! A stored task as the API shows it.

use http::HeaderValue;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use wpclone_artifacts::Meta;
use wpclone_queue::{NewTask, TaskRecord};
use wpclone_service::sealed_task::open_result;
use wpclone_task::{Artifact, Links, Progress, Stage, State, StepView, TaskId, TaskView};

use crate::again::again;
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::App;

/// Whether the secrets of a result may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// To the task's owner: one task was asked for by its id.
    ForOwner,
    /// To nobody: lists and pages.
    Hidden,
}

/// A task as the API shows it, and its ETag.
///
/// # Errors
/// Redis does not answer.
pub async fn view(
    app: &App,
    caller: &Caller,
    task: TaskRecord,
    secrets: Secrets,
) -> Result<(TaskView, HeaderValue), ApiError> {
    let kept = again(|| app.artifacts.list(task.id)).await?;
    let open = secrets == Secrets::ForOwner && caller.owns(&task);
    let tag = etag(&task, kept.len(), open);
    let mut result = task.result.clone();
    if let (true, Some(sealed), Some(result)) = (open, &task.sealed_result, &mut result) {
        match open_result(&app.sealer, task.id, sealed) {
            Ok(secrets) => {
                result.extend(secrets.into_iter().map(|(field, s)| (field, Value::from(s.expose_secret()))));
            }
            // The rest of the task is still worth showing.
            Err(error) => {
                tracing::error!(%error, task.id = %task.id, "the secrets of a result cannot be opened")
            }
        }
    }
    let mut view = bare(task);
    view.result = result;
    view.artifacts = kept.into_iter().map(|meta| artifact(view.id, meta)).collect();
    Ok((view, tag))
}

/// A task as it is at the moment of its acceptance, for when Redis goes away right after it.
#[must_use]
pub fn fresh(task: NewTask) -> TaskView {
    let kind = task.request.kind();
    let step = |plan: wpclone_task::StepPlan| StepView {
        name: plan.name,
        stage: plan.stage,
        state: State::Queued,
        attempts: 0,
        crashes: 0,
        started_at: None,
        finished_at: None,
    };
    bare(TaskRecord {
        id: task.id,
        kind,
        owner: task.owner,
        state: State::Queued,
        cancel_requested: false,
        progress: Progress::default(),
        request: task.request,
        steps: kind.plan().into_iter().flatten().map(step).collect(),
        created_at: jiff::Timestamp::now(),
        started_at: None,
        finished_at: None,
        result: None,
        sealed_result: None,
        problem: None,
        version: 0,
    })
}

/// The view without what needs more than the record: artifacts and the result.
fn bare(task: TaskRecord) -> TaskView {
    let here = format!("/tasks/{}", task.id);
    TaskView {
        id: task.id,
        kind: task.kind,
        stage: stage(&task.steps),
        state: task.state,
        progress: task.progress,
        attempts: task.steps.iter().map(|s| s.attempts).sum(),
        crashes: task.steps.iter().map(|s| s.crashes).sum(),
        created_at: task.created_at,
        started_at: task.started_at,
        finished_at: task.finished_at,
        steps: task.steps,
        request: task.request,
        result: None,
        problem: task.problem,
        artifacts: Vec::new(),
        links: Links {
            events: format!("{here}/events"),
            cancel: (!task.state.is_final()).then(|| format!("{here}/cancel")),
            self_: here,
        },
    }
}

/// The stage of the earliest unfinished step; the last one's when all are finished.
fn stage(steps: &[StepView]) -> Stage {
    let unfinished = steps.iter().find(|s| !s.state.is_final());
    unfinished.or(steps.last()).map_or(Stage::Browser, |step| step.stage)
}

fn artifact(task: TaskId, meta: Meta) -> Artifact {
    Artifact {
        href: format!("/tasks/{task}/artifacts/{}", meta.name),
        name: meta.name,
        kind: meta.kind,
        bytes: meta.bytes,
    }
}

/// Everything that the body depends on.
fn etag(task: &TaskRecord, artifacts: usize, open: bool) -> HeaderValue {
    let secrets = u8::from(open && task.sealed_result.is_some());
    let tag = format!("\"{}-{artifacts}-{secrets}\"", task.version);
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}
