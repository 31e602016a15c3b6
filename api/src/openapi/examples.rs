//! Example responses, built from the types that the API returns.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use wpclone_queue::NewTask;
use wpclone_task::schema::{self, ObjectSchema};
use wpclone_task::{CloneRef, FieldErrors, LoginLink, Request, State, TaskId, TaskList, TaskView};

use crate::operations::health::Readiness;
use crate::tasks::view::newly_accepted;

const TASK: &str = "0198c5a0-7c1e-7d3a-9f52-3b1d2c4e5f60";
const CLONE: &str = "clone-20261123-163105-abcdef";
const CREATED_AT: &str = "2026-11-23T16:31:05Z";
const FINISHED_AT: &str = "2026-11-23T16:31:36Z";

/// An example of an operation's JSON response with this status.
pub(super) fn response(operation: &str, status: &str) -> Option<Value> {
    match (operation, status) {
        ("setup", "202") => json(&setup()?),
        ("setup" | "read_task", "200") => json(&succeeded(
            setup()?,
            json!({
                "api_key": "4f1d".repeat(16), "plugin_status": "installed", "plugin_version": "1.0.0",
                "import_enabled": false,
            }),
        )),
        ("create_app_password", "202") => json(&app_password()?),
        ("create_app_password", "200") => json(&succeeded(
            app_password()?,
            json!({
                "application_password": "abcd EFGH ijkl MNOP qrst UVWX", "username": "admin",
                "uuid": "5e2b1d0c-3f4a-4b6c-8d7e-9f0a1b2c3d4e", "app_name": "deploy script",
            }),
        )),
        ("clone_site", "202") => json(&queued(&schema::CLONE, Request::parse_clone)?),
        ("extend_clone", "202") => {
            json(&queued(&schema::EXTEND_CLONE, |body| Request::parse_extend_clone(clone()?, body))?)
        }
        ("delete_clone", "202") => json(&task(Request::DeleteClone(clone().ok()?))?),
        ("replay_task", "202") => json(&TaskView { replays: 1, ..setup()? }),
        ("cancel_task", "202") => json(&ended(setup()?, State::Cancelled)),
        ("list_tasks", "200") => json(&TaskList { tasks: vec![setup()?], next: Some(TASK.to_owned()) }),
        ("login_to_clone", "200") => json(&LoginLink {
            url: format!("http://127.0.0.1:8090/{CLONE}/?wpclone_login=1795451765.5d41402abc4b2a76.9f86d081"),
            expires_at: at(FINISHED_AT),
        }),
        ("readyz", "200") => {
            json(&Readiness { ready: true, redis: true, shutting_down: false, problem: None })
        }
        ("readyz", "503") => {
            json(&Readiness { ready: false, redis: false, shutting_down: false, problem: None })
        }
        _ => None,
    }
}

fn json(example: &impl Serialize) -> Option<Value> {
    serde_json::to_value(example).ok()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap_or_default()
}

fn setup() -> Option<TaskView> {
    queued(&schema::SETUP, Request::parse_setup)
}

fn app_password() -> Option<TaskView> {
    queued(&schema::CREATE_APP_PASSWORD, Request::parse_create_app_password)
}

fn clone() -> Result<CloneRef, FieldErrors> {
    let parsed = CLONE.parse().ok().zip(TASK.parse().ok());
    parsed.map(|(name, created_by)| CloneRef { name, created_by }).ok_or_else(Vec::new)
}

/// The queued task of a body's example.
fn queued(
    body: &ObjectSchema,
    parse: impl FnOnce(Value) -> Result<Request, FieldErrors>,
) -> Option<TaskView> {
    task(parse(body.example()).ok()?)
}

fn task(request: Request) -> Option<TaskView> {
    let (request, _) = request.split_secrets();
    let id: TaskId = TASK.parse().ok()?;
    let task = newly_accepted(NewTask { id, ..NewTask::new(request, String::new(), String::new()) });
    Some(TaskView { created_at: at(CREATED_AT), ..task })
}

fn succeeded(task: TaskView, result: Value) -> TaskView {
    let result: Option<Map<String, Value>> = serde_json::from_value(result).ok();
    TaskView { result, ..ended(task, State::Succeeded) }
}

fn ended(mut task: TaskView, state: State) -> TaskView {
    let (started, finished) = (Some(at(CREATED_AT)), Some(at(FINISHED_AT)));
    for step in &mut task.steps {
        (step.state, step.started_at, step.finished_at) = (state, started, finished);
    }
    task.links.cancel = None;
    TaskView { state, started_at: started, finished_at: finished, ..task }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_starts_a_task_has_an_example_response() {
        for operation in
            ["setup", "create_app_password", "clone_site", "extend_clone", "delete_clone", "replay_task"]
        {
            assert!(response(operation, "202").is_some(), "{operation}");
        }
    }
}
