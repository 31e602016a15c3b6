//! A stored task as the API shows it.

use http::HeaderValue;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use wpclone_artifacts::ArtifactMeta;
use wpclone_queue::{NewTask, TaskRecord};
use wpclone_service::sealed_task::open_result;
use wpclone_task::{
    Artifact, Links, Progress, Stage, State, StepView, TaskId, TaskView, WaitView, insert_secret,
};

use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::App;
use crate::tasks::waits;

/// Whether the secrets of a result are decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// For the owner, in the response for a single task.
    ForOwner,
    /// For nobody: lists and pages.
    Hidden,
}

/// A task as the API shows it, and its ETag.
///
/// # Errors
/// Redis does not respond.
pub async fn view(
    app: &App,
    caller: &Caller,
    task: TaskRecord,
    secrets: Secrets,
) -> Result<(TaskView, HeaderValue), ApiError> {
    let (artifacts, waits) = tokio::try_join!(
        async { Ok::<_, ApiError>(app.artifacts.list(task.id).await?) },
        waits::of_task(app, caller, &task)
    )?;
    Ok(view_with(app, caller, task, (artifacts, waits), secrets))
}

/// A page of tasks as the API shows it, without the secrets of results. What Redis holds beside the records is read in one
/// call.
///
/// # Errors
/// Redis does not respond.
pub async fn views(app: &App, caller: &Caller, tasks: Vec<TaskRecord>) -> Result<Vec<TaskView>, ApiError> {
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    let artifacts = app.artifacts.list_all(&ids).await?;
    let views = tasks.into_iter().zip(artifacts);
    Ok(views
        .map(|(task, artifacts)| view_with(app, caller, task, (artifacts, Vec::new()), Secrets::Hidden).0)
        .collect())
}

fn view_with(
    app: &App,
    caller: &Caller,
    task: TaskRecord,
    (artifacts, waits): (Vec<ArtifactMeta>, Vec<WaitView>),
    secrets: Secrets,
) -> (TaskView, HeaderValue) {
    let opened = match secrets {
        Secrets::ForOwner => open_secrets(app, caller, &task),
        Secrets::Hidden => None,
    };
    let tag = etag(&task, &artifacts, &waits, opened.is_some());
    let mut result = task.result.clone();
    if let (Some(secrets), Some(result)) = (opened, &mut result) {
        for (field, secret) in &secrets {
            insert_secret(result, field, secret);
        }
    }
    let mut view = from_record(task);
    view.result = result;
    view.waits = waits;
    view.artifacts = artifacts.into_iter().map(|meta| artifact(view.id, meta)).collect();
    (view, tag)
}

/// The secrets of a result, when the caller owns the task and they can be decrypted.
pub fn open_secrets(app: &App, caller: &Caller, task: &TaskRecord) -> Option<Vec<(String, SecretString)>> {
    if !caller.owns(task) || task.sealed_results.is_empty() {
        return None;
    }
    let open = |(step, sealed): &(String, String)| open_result(&app.sealer, task.id, step, sealed);
    let opened: Result<Vec<_>, _> = task.sealed_results.iter().map(open).collect();
    // The rest of the task is shown without them.
    opened
        .map(|steps| steps.into_iter().flatten().collect())
        .inspect_err(|error| {
            tracing::error!(%error, task.id = %task.id, "the secrets of a result cannot be decrypted");
        })
        .ok()
}

/// A task at the moment of its acceptance, for when Redis fails right after it.
#[must_use]
pub fn newly_accepted(task: NewTask) -> TaskView {
    let (kind, plan) = (task.request.kind(), task.request.plan());
    let step = |plan: wpclone_task::StepPlan| StepView {
        name: plan.name,
        stage: plan.stage,
        state: State::Queued,
        attempts: 0,
        crashes: 0,
        started_at: None,
        finished_at: None,
    };
    from_record(TaskRecord {
        id: task.id,
        kind,
        owner: task.owner,
        state: State::Queued,
        cancel_requested: false,
        progress: Progress::default(),
        request: task.request,
        steps: plan.phases.into_iter().flatten().map(step).collect(),
        created_at: jiff::Timestamp::now(),
        started_at: None,
        finished_at: None,
        result: None,
        sealed_results: Vec::new(),
        problem: None,
        secrets_kept: true,
        replays: 0,
        callback: None,
        revision: 0,
    })
}

/// A task at the moment of its replay, for when Redis fails right after it.
#[must_use]
pub fn newly_replayed(task: TaskRecord) -> TaskView {
    let replays = task.replays + 1;
    from_record(TaskRecord {
        state: State::Queued,
        problem: None,
        finished_at: None,
        callback: None,
        replays,
        ..task
    })
}

/// The view of a record, without artifacts and result.
fn from_record(task: TaskRecord) -> TaskView {
    let path = format!("/tasks/{}", task.id);
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
        waits: Vec::new(),
        request: task.request,
        result: None,
        problem: task.problem,
        replays: task.replays,
        callback: task.callback,
        artifacts: Vec::new(),
        links: Links {
            events: format!("{path}/events"),
            cancel: (!task.state.is_final()).then(|| format!("{path}/cancel")),
            replay: (task.state == State::Failed).then(|| format!("{path}/replay")),
            self_: path,
        },
    }
}

/// The stage of the earliest unfinished step; the last one's when all are finished.
fn stage(steps: &[StepView]) -> Stage {
    let unfinished = steps.iter().find(|s| !s.state.is_final());
    unfinished.or(steps.last()).map_or(Stage::Browser, |step| step.stage)
}

fn artifact(task: TaskId, meta: ArtifactMeta) -> Artifact {
    Artifact {
        href: format!("/tasks/{task}/artifacts/{}", meta.name),
        name: meta.name,
        kind: meta.kind,
        bytes: meta.bytes,
    }
}

/// Changes with everything that the view shows.
fn etag(task: &TaskRecord, artifacts: &[ArtifactMeta], waits: &[WaitView], opened: bool) -> HeaderValue {
    let mut digest = Sha256::new();
    for ArtifactMeta { name, kind, bytes } in artifacts {
        digest.update(format!("{name}\n{kind}\n{bytes}\n"));
    }
    for wait in waits {
        digest.update(serde_json::to_vec(wait).unwrap_or_default());
    }
    let beside = hex::encode(&digest.finalize()[..8]);
    let tag = format!("\"{}-{beside}-{}\"", task.revision, u8::from(opened));
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}
