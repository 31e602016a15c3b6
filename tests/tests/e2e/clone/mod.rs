//! POST /clone: an exact copy of a live WordPress at an address of its own, which expires; under faults, and of sites
//! with edge cases.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod address_bound;
mod checker;
mod configuration;
mod edge_cases;
mod fidelity;
mod folders;
mod https;
mod interruptions;
mod kills;
mod lies;
mod lifecycle;
mod migrator_removal;
mod one_source;
mod plugin_content;
mod values;
mod verification;
mod world;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wpclone_task::{Problem, State, TaskId, TaskView};
use wpclone_tests::{Builder, Client, Result, Site, TestApp, processes_with, until};

/// The time limit of a clone whose requests are held.
const CLONE_TIMEOUT: Duration = Duration::from_secs(900);

/// The migrator's folder in WordPress's.
const PLUGIN: &str = "wp-content/plugins/wpclone-migrator";

/// Whether nothing is shortened, as in `./dev test long`.
fn is_long_run() -> bool {
    std::env::var_os("WPCLONE_TEST_ALL").is_some()
}

/// Starts a site and visits it, so that WordPress has created what the first visit creates. Its posts have
/// distinct dates, so that each database sorts them the same way.
async fn start_visited(builder: Builder) -> Result<Site> {
    let site = builder.start().await?;
    date_posts_apart(&site).await?;
    for page in ["", "?p=999999"] {
        reqwest::get(format!("{}/{page}", site.url())).await?.text().await?;
    }
    Ok(site)
}

async fn date_posts_apart(site: &Site) -> Result {
    let apart =
        "post_date = post_date - INTERVAL ID MINUTE, post_date_gmt = post_date_gmt - INTERVAL ID MINUTE";
    site.sql(&format!("UPDATE wp_posts SET {apart}")).await.map(drop)
}

/// Clones a site; the task must succeed.
async fn cloned(client: &Client, site: &Site) -> Result<TaskView> {
    let body = json!({"source": site.login(&site.admin())});
    let task = client.accepted("/clone", &body).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Ok(task)
}

/// Clones a site; the task must fail.
async fn failed(client: &Client, site: &Site) -> Result<TaskView> {
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    let task = ended(client, task.id).await?;
    assert_eq!(task.state, State::Failed, "{task:#?}");
    Ok(task)
}

/// What a fidelity report says of a table.
fn reported_table<'a>(fidelity: &'a Value, name: &str) -> &'a Value {
    let table = fidelity["tables"].as_array().unwrap().iter().find(|table| table["name"] == name);
    table.unwrap_or_else(|| panic!("{name} in {fidelity:#}"))
}

/// A field of a task's result.
fn at<'a>(task: &'a TaskView, pointer: &str) -> &'a Value {
    let result = task.result.as_ref().unwrap_or_else(|| panic!("no result: {task:#?}"));
    let mut parts = pointer.split('/').skip(1);
    let first = parts.next().and_then(|first| result.get(first));
    parts.fold(first, |value, part| value?.get(part)).unwrap_or_else(|| panic!("{pointer} in {result:#?}"))
}

/// Waits for a task's end, longer than [`Client::wait`].
async fn ended(client: &Client, id: TaskId) -> Result<TaskView> {
    let end = Instant::now() + CLONE_TIMEOUT;
    while Instant::now() < end {
        // The API may be overloaded.
        if let Ok(task) = client.wait(id).await {
            return Ok(task);
        }
    }
    client.wait(id).await
}

/// Whether a clone's transfer has begun.
fn transfer_has_begun(task: &TaskView) -> bool {
    task.steps.iter().any(|step| step.name == "transfer" && step.started_at.is_some())
}

/// A task's events, as the API lists them.
async fn events(client: &Client, task: &TaskView) -> Result<String> {
    Ok(client.get(&task.links.events).await?.text().await?)
}

/// The problem of a task that failed.
fn problem(task: &TaskView) -> &Problem {
    task.problem.as_ref().unwrap_or_else(|| panic!("no problem: {task:#?}"))
}

/// Nothing of any clone is left: in the API, the state folder, the database, the processes.
async fn assert_nothing_left(app: &TestApp, client: &Client) -> Result {
    let list: Value = client.get("/clones").await?.json().await?;
    assert_eq!(list["clones"], json!([]));
    let state = app.clones_state().unwrap();
    let names = |folder: &str| {
        let entries = std::fs::read_dir(state.join(folder)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("clone-") || name.starts_with("clone@")).collect::<Vec<_>>()
    };
    let programs = || processes_with(&[&format!("{}/clones/clone-", state.display())]);
    let left = || (names("clones"), names("mariadb/shared/data"), programs());
    let gone = async || left() == Default::default();
    let what = format!("{:?} to be gone", left());
    until(&what, Duration::from_secs(180), None, gone).await
}
