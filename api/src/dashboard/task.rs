//! A task's page: what became of it?

use askama::Template;
use axum::extract::{Path, State as AppState};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};
use wpclone_queue::TaskRecord;
use wpclone_task::{Artifact, Code, Problem, Stage, State, StepView, TaskView};

use crate::dashboard::format::{Badge, When, kind, lasted, size};
use crate::dashboard::layout::Frame;
use crate::dashboard::tasks::{site, took};
use crate::dashboard::{Viewer, html};
use crate::http::auth::Caller;
use crate::http::body::FormBody;
use crate::http::error::ApiError;
use crate::state::{App, Shared};
use crate::tasks::find;
use crate::tasks::replay::queue_again;
use crate::tasks::view::{Secrets, opened, view};

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    frame: Frame,
    task: TaskView,
    badge: Badge,
    finished: bool,
    running: bool,
    cancelling: bool,
    again: Option<Again>,
    /// How the call to the callback address stands, and why it was given up.
    callback: Option<(Badge, Option<Code>)>,
    created: When,
    ended: Option<When>,
    took: String,
    steps: Vec<Step>,
    result: Vec<ResultField>,
    request: Vec<(String, String)>,
    pictures: Vec<Artifact>,
    files: Vec<File>,
}

/// How a failed task can be done again.
struct Again {
    /// Whether a password can be given: that of the request may have been wrong.
    password: bool,
    /// Whether it has to be: that of the request is no longer kept.
    must: bool,
}

struct Step {
    name: String,
    stage: Stage,
    badge: Badge,
    open: bool,
    attempts: u32,
    crashes: u32,
    started: Option<When>,
    ended: Option<When>,
    took: String,
    problem: Option<Problem>,
}

struct ResultField {
    name: String,
    /// `None`: a secret.
    value: Option<String>,
    /// Whether the secret can still be shown to the viewer.
    can_show: bool,
}

struct File {
    name: String,
    href: String,
    kind: String,
    size: String,
}

pub(crate) async fn page(
    AppState(app): AppState<Shared>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    task(&app, &caller, &id).await.map_err(ApiError::into_response)
}

async fn task(app: &App, caller: &Caller, id: &str) -> Result<Response, ApiError> {
    let record = find(app, caller, id).await?;
    let can_show = opened(app, caller, &record).is_some();
    let again = again(&record);
    let cancelling = record.cancel_requested && !record.state.is_final();
    let (task, _) = view(app, caller, record, Secrets::Hidden).await?;
    let title = format!("{} · {}", kind(task.kind), site(&task.request));
    let (pictures, files): (Vec<_>, Vec<_>) =
        task.artifacts.iter().cloned().partition(|a| a.kind.starts_with("image/"));
    html(&TaskPage {
        frame: Frame::new(&title, "/dashboard/tasks", caller),
        badge: Badge(task.state),
        finished: task.state.is_final(),
        running: task.state == State::Running,
        cancelling,
        again,
        callback: task.callback.map(|call| (Badge(call.state), call.code)),
        created: When(task.created_at),
        ended: task.finished_at.map(When),
        took: took(&task),
        steps: steps(&task),
        result: result(&task, can_show),
        request: request(&task),
        pictures,
        files: files.into_iter().map(file).collect(),
        task,
    })
}

/// A failed task's way back into the queue; a password that was wrong may be replaced.
fn again(record: &TaskRecord) -> Option<Again> {
    let wrong = record.problem.as_ref().is_some_and(|p| p.code == Code::AuthBadCredentials);
    let must = !record.secrets_kept;
    (record.state == State::Failed).then_some(Again { password: wrong || must, must })
}

/// The button of a failed task.
pub(crate) async fn try_again(
    AppState(app): AppState<Shared>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
    form: FormBody,
) -> Result<Response, ApiError> {
    let record = find(&app, &caller, &id).await?;
    let password = form.field("password").filter(|p| !p.is_empty());
    let body = password.map(|password| json!({"password": password}));
    match queue_again(&app, &caller, &record, body).await {
        // The page tells how the task stands now, and asks for the password when it is gone.
        Err(error) if ![Code::NotFailed, Code::CredentialsGone].contains(&error.problem().code) => Err(error),
        _ => Ok(Redirect::to(&format!("/dashboard/tasks/{}", record.id)).into_response()),
    }
}

fn steps(task: &TaskView) -> Vec<Step> {
    let steps = task.steps.iter();
    steps
        .map(|step| {
            let failed = step.state == State::Failed;
            Step {
                name: step.name.clone(),
                stage: step.stage,
                badge: Badge(step.state),
                open: failed || step.state == State::Running,
                attempts: step.attempts,
                crashes: step.crashes,
                started: step.started_at.map(When),
                ended: step.finished_at.map(When),
                took: step_took(step),
                problem: task.problem.clone().filter(|_| failed),
            }
        })
        .collect()
}

fn step_took(step: &StepView) -> String {
    match (step.started_at, step.finished_at) {
        (Some(from), Some(to)) => lasted(from, to),
        _ => String::new(),
    }
}

/// The result's fields. A null one is a secret: it is never in the page, a button asks the API for it.
fn result(task: &TaskView, can_show: bool) -> Vec<ResultField> {
    let fields = task.result.iter().flatten();
    fields.map(|(name, value)| ResultField { name: name.clone(), value: plain(value), can_show }).collect()
}

/// The request as it was sent, without secrets.
fn request(task: &TaskView) -> Vec<(String, String)> {
    let request = serde_json::to_value(&task.request).unwrap_or_default();
    let fields = request.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), plain(value)?))).collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        other => Some(other.to_string()),
    }
}

fn file(artifact: Artifact) -> File {
    File { size: size(artifact.bytes), name: artifact.name, href: artifact.href, kind: artifact.kind }
}
