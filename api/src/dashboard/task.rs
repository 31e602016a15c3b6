//! The page of one task: progress, result, problem, steps and request.

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

use crate::dashboard::format::{
    Countdown, RelativeTime, StateBadge, duration_between, format_bytes, kind_label,
};
use crate::dashboard::layout::PageLayout;
use crate::dashboard::new_task;
use crate::dashboard::tasks::{duration, site};
use crate::dashboard::waits::{WaitRow, wait_rows};
use crate::dashboard::{DashboardUser, html};
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
    page: PageLayout,
    task: TaskView,
    badge: StateBadge,
    finished: bool,
    running: bool,
    cancelling: bool,
    retry: Option<Retry>,
    /// Where the form for a new task with the same request is; only of a finished task.
    run_again: Option<String>,
    /// The state of the webhook to the callback address, and why it was given up.
    callback: Option<(StateBadge, Option<Code>)>,
    created: RelativeTime,
    ended: Option<RelativeTime>,
    duration: String,
    steps: Vec<Step>,
    /// Why it waits.
    waits: Vec<WaitRow>,
    result: Vec<ResultGroup>,
    request: Vec<(String, String)>,
    /// Whether the request has a password.
    has_secret: bool,
    screenshots: Vec<Artifact>,
    files: Vec<File>,
}

/// The retry form of a failed task.
struct Retry {
    /// The passwords that can be entered anew: those of the request may have been wrong.
    passwords: Vec<Password>,
    /// Whether they have to be entered: those of the request are no longer kept.
    required: bool,
}

struct Password {
    field: SecretField,
    /// The user and the site it is for.
    account: String,
}

struct Step {
    name: String,
    stage: Stage,
    badge: StateBadge,
    open: bool,
    attempts: u32,
    crashes: u32,
    started: Option<RelativeTime>,
    ended: Option<RelativeTime>,
    duration: String,
    problem: Option<Problem>,
}

/// The fields of one object in the result.
struct ResultGroup {
    /// Its heading; empty for the result's own fields.
    title: String,
    fields: Vec<ResultField>,
}

struct ResultField {
    /// The names that lead to it in the result, joined by dots.
    path: String,
    name: String,
    value: FieldValue,
}

enum FieldValue {
    Text(String),
    Link(String),
    Time(RelativeTime),
    /// A time in the future.
    Countdown(Countdown),
    /// A secret, and whether it can still be shown to this user.
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
    DashboardUser(caller): DashboardUser,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    task(&app, &caller, &id).await.map_err(ApiError::into_response)
}

async fn task(app: &App, caller: &Caller, id: &str) -> Result<Response, ApiError> {
    let record = find(app, caller, id).await?;
    let opened = open_secrets(app, caller, &record).unwrap_or_default();
    let secrets: Vec<String> = opened.into_iter().map(|(pointer, _)| dotted_path(&pointer)).collect();
    let retry = retry_form(&record);
    let run_again = record.state.is_final().then(|| new_task::run_again_path(&record)).flatten();
    let cancelling = record.cancel_requested && !record.state.is_final();
    let (task, _) = view(app, caller, record, Secrets::Hidden).await?;
    let title = format!("{} · {}", kind_label(task.kind), site(&task.request));
    let (screenshots, files): (Vec<_>, Vec<_>) =
        task.artifacts.iter().cloned().partition(|a| a.kind.starts_with("image/"));
    html(&TaskPage {
        page: PageLayout::new(&title, "/dashboard/tasks", caller),
        badge: StateBadge(task.state),
        finished: task.state.is_final(),
        running: task.state == State::Running,
        cancelling,
        retry,
        run_again,
        callback: task.callback.map(|call| (StateBadge(call.state), call.code)),
        created: RelativeTime(task.created_at),
        ended: task.finished_at.map(RelativeTime),
        duration: duration(&task),
        steps: steps(&task),
        waits: wait_rows(&task.waits),
        result: result_groups(&task, &secrets),
        request: request_fields(&task),
        has_secret: !task.request.secret_fields().is_empty(),
        screenshots,
        files: files.into_iter().map(file).collect(),
        task,
    })
}

/// The retry form of a failed task, where a password that was wrong can be replaced.
fn retry_form(record: &TaskRecord) -> Option<Retry> {
    let wrong = record.problem.as_ref().is_some_and(|p| p.code == Code::AuthBadCredentials);
    let required = !record.secrets_kept && !record.request.secret_fields().is_empty();
    let fields = record.request.secret_fields().iter().filter(|_| wrong || required);
    let passwords = fields.filter_map(|field| {
        let account = record.request.account_of(*field)?;
        Some(Password { field: *field, account: format!("{} on {}", account.username.as_str(), account.url) })
    });
    (record.state == State::Failed).then(|| Retry { passwords: passwords.collect(), required })
}

/// Queues a failed task again, with the passwords that the retry form sent.
pub(crate) async fn retry(
    AppState(app): AppState<SharedApp>,
    DashboardUser(caller): DashboardUser,
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
        // The page shows the task's state, and asks for the password when that is no longer kept.
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
                badge: StateBadge(step.state),
                open: failed || step.state == State::Running,
                attempts: step.attempts,
                crashes: step.crashes,
                started: step.started_at.map(RelativeTime),
                ended: step.finished_at.map(RelativeTime),
                duration: step_duration(step),
                problem: task.problem.clone().filter(|_| failed),
            }
        })
        .collect()
}

fn step_duration(step: &StepView) -> String {
    match (step.started_at, step.finished_at) {
        (Some(from), Some(to)) => duration_between(from, to),
        _ => String::new(),
    }
}

/// A JSON pointer as names joined by dots.
fn dotted_path(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// The result's fields, grouped by the object they are in. A secret is never in the page: a button requests it from the
/// API. `secrets`: the paths of those that the user may see.
fn result_groups(task: &TaskView, secrets: &[String]) -> Vec<ResultGroup> {
    let mut groups: Vec<ResultGroup> = Vec::new();
    for field in task.result.iter().flat_map(readable) {
        let (title, name) = field.path.split_once('.').unwrap_or(("", &field.path));
        let (title, name) = (heading(title), name.replace(['_', '.'], " "));
        let Some(value) = field_value(task, &field, secrets) else { continue };
        let field = ResultField { name, value, path: field.path };
        match groups.iter_mut().find(|group| group.title == title) {
            Some(group) => group.fields.push(field),
            None => groups.push(ResultGroup { title, fields: vec![field] }),
        }
    }
    groups
}

fn heading(object: &str) -> String {
    match object {
        "clone" => "Clone",
        "source" => "Source",
        "target" => "Target",
        "fidelity" => "Copied content",
        "verification" => "Verification in a browser",
        other => other,
    }
    .to_owned()
}

/// How a field is shown; `None` for one that is left out.
fn field_value(task: &TaskView, field: &ReadableField, secrets: &[String]) -> Option<FieldValue> {
    let can_show = secrets.contains(&field.path);
    let Some(text) = field.text.clone() else {
        return match (field.path.as_str(), &task.request) {
            _ if can_show => Some(FieldValue::Secret(true)),
            // Null not because it is a secret, but because there is no value.
            ("clone" | "clone.expires_at", _) => None,
            ("source_api_key", StoredRequest::Clone { remove_migrator: true, .. })
            | ("target_api_key", StoredRequest::Clone { target: None, .. }) => None,
            _ => Some(FieldValue::Secret(false)),
        };
    };
    let is_link = field.path.ends_with("url") && ["http://", "https://"].iter().any(|s| text.starts_with(s));
    let time = field.path.ends_with("_at").then(|| text.parse().ok()).flatten();
    let bytes = field.path.ends_with("bytes").then(|| text.parse().ok()).flatten();
    let text = bytes.map_or(text, format_bytes);
    Some(match time {
        Some(at) if at > Timestamp::now() => FieldValue::Countdown(Countdown(at)),
        Some(at) => FieldValue::Time(RelativeTime(at)),
        None if is_link => FieldValue::Link(text),
        None => FieldValue::Text(text),
    })
}

/// The request without its secrets.
fn request_fields(task: &TaskView) -> Vec<(String, String)> {
    let request = serde_json::to_value(&task.request).unwrap_or_default();
    let fields = request.as_object().into_iter().flat_map(readable);
    fields.filter_map(|field| Some((field.path, field.text?))).collect()
}

fn file(artifact: Artifact) -> File {
    File { size: format_bytes(artifact.bytes), name: artifact.name, href: artifact.href, kind: artifact.kind }
}
