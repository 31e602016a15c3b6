//! A task's page: what became of it?

use askama::Template;
use axum::extract::{Path, State as AppState};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use serde_json::{Map, Value};
use wpclone_queue::TaskRecord;
use wpclone_task::{
    Artifact, Code, Kind, Problem, ReadableField, SecretField, Stage, State, StepView, StoredRequest,
    TaskView, readable,
};

use crate::dashboard::format::{Badge, Left, When, kind, lasted, size};
use crate::dashboard::layout::Frame;
use crate::dashboard::tasks::{site, took};
use crate::dashboard::{Viewer, html};
use crate::http::auth::Caller;
use crate::http::body::FormBody;
use crate::http::error::ApiError;
use crate::state::{App, SharedApp};
use crate::tasks::find;
use crate::tasks::replay::requeue_failed_task;
use crate::tasks::view::{Secrets, open_secrets, view};

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
    result: Vec<Part>,
    request: Vec<(String, String)>,
    /// Whether a secret came with the request.
    has_secret: bool,
    pictures: Vec<Artifact>,
    files: Vec<File>,
}

/// How a failed task can be done again.
struct Again {
    /// The passwords that can be given: those of the request may have been wrong.
    passwords: Vec<Password>,
    /// Whether they have to be: those of the request are no longer kept.
    must: bool,
}

struct Password {
    field: SecretField,
    /// Who logs in where with it.
    who: String,
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

/// Fields of the result that belong together.
struct Part {
    /// Its heading; none for fields that stand alone.
    title: String,
    fields: Vec<ResultField>,
}

struct ResultField {
    /// Where it stands in the result.
    path: String,
    name: String,
    value: Shown,
}

enum Shown {
    Text(String),
    Link(String),
    Time(When),
    /// A moment to come.
    Left(Left),
    /// A secret, and whether it can still be shown to the viewer.
    Secret(bool),
}

struct File {
    name: String,
    href: String,
    kind: String,
    size: String,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    task(&app, &caller, &id).await.map_err(ApiError::into_response)
}

async fn task(app: &App, caller: &Caller, id: &str) -> Result<Response, ApiError> {
    let record = find(app, caller, id).await?;
    let opened = open_secrets(app, caller, &record).unwrap_or_default();
    let secrets: Vec<String> = opened.into_iter().map(|(pointer, _)| path(&pointer)).collect();
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
        result: result(&task, &secrets),
        request: request(&task),
        has_secret: !task.request.secret_fields().is_empty(),
        pictures,
        files: files.into_iter().map(file).collect(),
        task,
    })
}

/// A failed task's way back into the queue; a password that was wrong may be replaced.
fn again(record: &TaskRecord) -> Option<Again> {
    let wrong = record.problem.as_ref().is_some_and(|p| p.code == Code::AuthBadCredentials);
    let must = !record.secrets_kept && !record.request.secret_fields().is_empty();
    let fields = record.request.secret_fields().iter().filter(|_| wrong || must);
    let passwords = fields.filter_map(|field| {
        let account = record.request.account_of(*field)?;
        Some(Password { field: *field, who: format!("{} on {}", account.username.as_str(), account.url) })
    });
    (record.state == State::Failed).then(|| Again { passwords: passwords.collect(), must })
}

/// The button of a failed task.
pub(crate) async fn try_again(
    AppState(app): AppState<SharedApp>,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
    form: FormBody,
) -> Result<Response, ApiError> {
    let record = find(&app, &caller, &id).await?;
    let mut body = Map::new();
    for field in record.request.secret_fields() {
        if let Some(password) = form.field(field.as_str()).filter(|p| !p.is_empty()) {
            field.insert_into(&mut body, password);
        }
    }
    let body = (!body.is_empty()).then_some(Value::Object(body));
    match requeue_failed_task(&app, &caller, &record, body).await {
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

/// A JSON pointer with dots for slashes.
fn path(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// The result's fields, those of an object within it under its name. A secret is never in the page: a button asks the
/// API for it. `secrets`: those that the viewer may see.
fn result(task: &TaskView, secrets: &[String]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for field in task.result.iter().flat_map(readable) {
        let (title, name) = field.path.split_once('.').unwrap_or(("", &field.path));
        let (title, name) = (heading(title), name.replace(['_', '.'], " "));
        let Some(value) = shown(task, &field, secrets) else { continue };
        let field = ResultField { name, value, path: field.path };
        match parts.iter_mut().find(|part| part.title == title) {
            Some(part) => part.fields.push(field),
            None => parts.push(Part { title, fields: vec![field] }),
        }
    }
    parts
}

fn heading(object: &str) -> String {
    match object {
        "clone" => "The clone",
        "source" => "The source",
        "target" => "The target",
        "fidelity" => "What was copied",
        "verification" => "Verified in a browser",
        other => other,
    }
    .to_owned()
}

/// How a field is shown; `None`: not at all.
fn shown(task: &TaskView, field: &ReadableField, secrets: &[String]) -> Option<Shown> {
    let can_show = secrets.contains(&field.path);
    let Some(text) = field.text.clone() else {
        return match (field.path.as_str(), &task.request) {
            _ if can_show => Some(Shown::Secret(true)),
            // Null not because it is secret, but because there is none.
            ("clone" | "clone.expires_at", _) => None,
            ("source_api_key", StoredRequest::Clone { remove_migrator: true, .. })
            | ("target_api_key", StoredRequest::Clone { target: None, .. }) => None,
            _ => Some(Shown::Secret(false)),
        };
    };
    let is_link = field.path.ends_with("url") && ["http://", "https://"].iter().any(|s| text.starts_with(s));
    let time = field.path.ends_with("_at").then(|| text.parse().ok()).flatten();
    let bytes = field.path.ends_with("bytes").then(|| text.parse().ok()).flatten();
    let text = bytes.map_or(text, size);
    Some(match time {
        Some(at) if at > Timestamp::now() => Shown::Left(Left(at)),
        Some(at) => Shown::Time(When(at)),
        None if is_link => Shown::Link(text),
        None => Shown::Text(text),
    })
}

/// The request as it was sent, without secrets.
fn request(task: &TaskView) -> Vec<(String, String)> {
    let request = serde_json::to_value(&task.request).unwrap_or_default();
    let fields = request.as_object().into_iter().flat_map(readable);
    fields.filter_map(|field| Some((field.path, field.text?))).collect()
}

fn file(artifact: Artifact) -> File {
    File { size: size(artifact.bytes), name: artifact.name, href: artifact.href, kind: artifact.kind }
}
