//! Clones of one source at once: one of them sets it up, two read it at a time, and the last one removes the migrator.

use serde_json::json;
use wpclone_task::{Code, Role, State, StepView, TaskId, TaskView};
use wpclone_tests::{Client, Result, Site, TestApp, Version};

use crate::clone::checker::Pair;
use crate::clone::{PLUGIN, assert_nothing_left, at, ended, events, start_visited, transfer_has_begun};
use crate::recording_source::RecordingSource;

const JOINED: &str = "Using the migrator that another clone has set up";

async fn accept(client: &Client, site: &Site) -> Result<TaskId> {
    Ok(client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?.id)
}

async fn uploads(site: &Site) -> Result<usize> {
    let hits = site.hits().await?;
    Ok(hits.iter().filter(|hit| hit.path.contains("action=upload-plugin")).count())
}

fn step<'a>(task: &'a TaskView, name: &str) -> &'a StepView {
    task.steps.iter().find(|step| step.name == name).unwrap()
}

async fn all_succeeded(client: &Client, ids: &[TaskId]) -> Result<Vec<TaskView>> {
    let mut tasks = Vec::new();
    for id in ids {
        let task = ended(client, *id).await?;
        assert_eq!(task.state, State::Succeeded, "{task:#?}");
        tasks.push(task);
    }
    Ok(tasks)
}

/// How many of the tasks have used the set-up of another one.
async fn joined(client: &Client, tasks: &[TaskView]) -> Result<usize> {
    let mut joined = 0;
    for task in tasks {
        joined += usize::from(events(client, task).await?.contains(JOINED));
    }
    Ok(joined)
}

#[tokio::test]
async fn clones_of_one_source_are_made_two_at_a_time_with_one_login_and_one_upload() -> Result {
    const CLONES: usize = 5;
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let mut ids = Vec::new();
    for _ in 0..CLONES {
        ids.push(accept(&client, &site).await?);
    }
    let tasks = all_succeeded(&client, &ids).await?;
    assert_eq!((site.logins().await?, uploads(&site).await?), (1, 1));
    assert_eq!(joined(&client, &tasks).await?, CLONES - 1);
    // From its preparation on a clone reads the source, until it leaves it.
    let reads: Vec<_> = tasks
        .iter()
        .map(|task| (step(task, "prepare").finished_at, step(task, "transfer").finished_at))
        .collect();
    let at_once = |from| reads.iter().filter(|(begun, ended)| *begun <= from && from < *ended).count();
    assert_eq!(reads.iter().map(|(begun, _)| at_once(*begun)).max(), Some(2), "{reads:#?}");
    let removals: Vec<_> = tasks.iter().map(|task| at(task, "/migrator/source").as_str().unwrap()).collect();
    let count = |what| removals.iter().filter(|removal| **removal == what).count();
    assert_eq!((count("removed"), count("in_use")), (1, CLONES - 1), "{removals:?}");
    assert!(!site.tree().join(PLUGIN).exists(), "the migrator is left");
    assert!(client.queue().await?.site_cleanups.is_empty());
    Pair::of(&site, &app, &client, tasks.last().unwrap()).await?.assert_equal().await
}

#[tokio::test]
async fn a_setup_that_comes_meanwhile_waits_for_the_readers_and_for_no_later_clone() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let requests = RecordingSource::to(&site, "")?;
    requests.hold("rows", "wp_posts", 0)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let readers = [accept(&client, &site).await?, accept(&client, &site).await?];
    client.wait_until(readers[1], "the second transfer", transfer_has_begun).await?;
    let setup = client.setup(&site, &site.admin(), Role::Source).await?.id;
    let later = accept(&client, &site).await?;
    let waiting = client.task(later).await?;
    assert_eq!(
        (waiting.state, waiting.progress.message.as_str()),
        (State::Queued, "Waiting for other tasks on the same site, which other clones read.")
    );
    requests.release()?;

    let tasks = all_succeeded(&client, &[readers[0], readers[1], setup, later]).await?;
    let removals = [at(&tasks[0], "/migrator/source"), at(&tasks[1], "/migrator/source")];
    assert!(removals.contains(&&json!("removed")) && removals.contains(&&json!("in_use")), "{removals:?}");
    assert_eq!(at(&tasks[2], "/plugin_status"), "installed", "it came after the removal");
    assert_eq!(at(&tasks[3], "/migrator/source"), "kept", "it came after the setup");
    assert!(
        step(&tasks[2], "setup").finished_at <= step(&tasks[3], "prepare").started_at,
        "the clone has overtaken it"
    );
    assert!(site.tree().join(PLUGIN).is_dir());
    Ok(())
}

#[tokio::test]
async fn the_migrator_is_removed_by_the_last_clone_when_the_worker_and_the_one_that_set_it_up_are_gone()
-> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let requests = RecordingSource::to(&site, "")?;
    requests.hold("rows", "wp_posts", 0)?;
    let mut app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let first = accept(&client, &site).await?;
    requests.wait_until_held(&app).await?;
    let second = accept(&client, &site).await?;
    client.wait_until(second, "the second transfer", transfer_has_begun).await?;
    app.workers[0].kill9().await?;
    client.post(&format!("/tasks/{first}/cancel"), &json!({})).await?;
    app.workers[0].restart().await?;
    let cancelled = ended(&client, first).await?;
    assert_eq!(cancelled.state, State::Cancelled, "{cancelled:#?}");
    assert!(!cancelled.progress.message.contains("left"), "{}", cancelled.progress.message);
    assert!(site.tree().join(PLUGIN).is_dir(), "the second clone still reads");
    requests.release()?;

    let task = ended(&client, second).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    assert_eq!(at(&task, "/migrator/source"), "removed", "{task:#?}");
    assert_eq!(site.logins().await?, 1);
    assert!(!site.tree().join(PLUGIN).exists(), "the migrator is left");
    assert!(client.queue().await?.site_cleanups.is_empty());
    let name = at(&task, "/clone/name").as_str().unwrap();
    let answer = client.request(reqwest::Method::DELETE, &format!("/clones/{name}")).send().await?;
    let deleting: TaskView = answer.json().await?;
    assert_eq!(ended(&client, deleting.id).await?.state, State::Succeeded);
    assert_nothing_left(&app, &client).await
}

#[tokio::test]
async fn another_login_does_not_profit_from_what_a_clone_has_set_up() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let requests = RecordingSource::to(&site, "")?;
    requests.hold("rows", "wp_posts", 0)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let first = accept(&client, &site).await?;
    requests.wait_until_held(&app).await?;
    let mut login = site.login(&site.admin());
    login["password"] = "a wrong password".into();
    let wrong = client.accepted("/clone", &json!({"source": login})).await?.id;
    let waiting = client.task(wrong).await?;
    assert_eq!(waiting.progress.message, "Waiting for another task on the same site.");
    requests.release()?;
    all_succeeded(&client, &[first]).await?;
    let task = ended(&client, wrong).await?;
    assert_eq!(task.state, State::Failed, "{task:#?}");
    assert_eq!(task.problem.map(|problem| problem.code), Some(Code::AuthBadCredentials));
    assert!(!site.tree().join(PLUGIN).exists(), "the migrator is left");
    Ok(())
}
