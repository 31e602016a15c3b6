//! wpclone as its clients see it: two requests to the API, each answered when its task has ended.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use wpclone_task::{State, TaskView};
use wpclone_tests::{Client, Site, TestApp};

use crate::run::{Run, Watch};

/// Does the job by `/setup` and `/create-app-password`.
pub(crate) async fn run(app: &TestApp, site: &Site) -> Result<Run> {
    let (client, admin) = (app.client()?, site.admin());
    let mut body =
        json!({ "url": site.url(), "username": admin.name, "password": admin.password, "role": "source" });
    let mut watch = Watch::start();
    let setup = task(&client, "/setup", &body).await?;
    watch.lap("/setup");
    if let Some(fields) = body.as_object_mut() {
        fields.remove("role");
        fields.insert("app_name".to_owned(), "bench".into());
    }
    let password = task(&client, "/create-app-password", &body).await?;
    watch.lap("/create-app-password");
    Ok(Run {
        laps: watch.stop(),
        beside: vec![
            ("/setup, by the task's own times", own_time(&setup)?),
            ("/create-app-password, likewise", own_time(&password)?),
        ],
        key: text(&setup, "api_key")?,
        password: text(&password, "application_password")?,
    })
}

/// The finished task, with its two pictures.
async fn task(client: &Client, path: &str, body: &Value) -> Result<TaskView> {
    let request = client.request(Method::POST, path).header("Prefer", "wait=60").json(body);
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == 200, "{path} answers {status}: {text}");
    let task: TaskView = serde_json::from_str(&text)?;
    ensure!(task.state == State::Succeeded, "{path} did not succeed: {:?}", task.problem);
    ensure!(task.artifacts.len() == 2, "{path} kept {} pictures", task.artifacts.len());
    Ok(task)
}

/// From the moment a worker took it to its end.
fn own_time(task: &TaskView) -> Result<Duration> {
    let (from, to) = task.started_at.zip(task.finished_at).context("the task has no times")?;
    Ok(to.duration_since(from).unsigned_abs())
}

fn text(task: &TaskView, field: &str) -> Result<String> {
    let value = task.result.as_ref().and_then(|r| r[field].as_str());
    value.map(str::to_owned).with_context(|| format!("the result has no {field}"))
}
