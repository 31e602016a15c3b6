//! Obstacles on a site, and the problem code for each. Each case is a real WordPress that is configured this way,
//! except where its name says that it is a stub.

mod app_password;
mod capabilities;
mod kept_session;
mod login;
mod login_redirects;
mod plugin;
mod responses;
mod session;
mod site_discovery;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse};
use serde_json::json;
use tokio::sync::OnceCell;
use wpclone_task::{Code, Problem, Role, State, TaskView};
use wpclone_tests::{Builder, Client, Result, Site, Stub, TestApp, User, Version};

/// One app for all cases: a failing site must affect neither the worker nor other tasks.
async fn client() -> Result<Client> {
    static APP: OnceCell<TestApp> = OnceCell::const_new();
    // Whatever ends a task here, it is not a deadline, also on a busy machine.
    let start = || async { TestApp::builder().env("WPCLONE_DEADLINE_PART", "120").start().await };
    APP.get_or_try_init(start).await?.client()
}

fn site() -> Builder {
    Site::builder(Version::Trixie)
}

fn unknown_user() -> User {
    User { name: "admin".into(), role: "administrator".into(), password: "canary-password-of-nobody".into() }
}

fn problem(task: TaskView, code: Code) -> Problem {
    assert_eq!(task.state, State::Failed, "{task:#?}");
    let problem = task.problem.clone().unwrap_or_else(|| panic!("no problem: {task:#?}"));
    assert_eq!(problem.code, code, "{task:#?}");
    assert_eq!(problem.stage, Some(wpclone_task::Stage::Browser));
    assert!(!problem.detail.is_empty() && !problem.user_action.is_empty());
    problem
}

async fn setup_fails(site: &Site, user: &User, code: Code) -> Result<(TaskView, Problem)> {
    let client = client().await?;
    let task = client.wait(client.setup(site, user, Role::Source).await?.id).await?;
    let problem = problem(task.clone(), code);
    if !code.retryable() {
        assert_eq!(task.attempts, 1, "an error that is not retryable is not retried");
    }
    Ok((task, problem))
}

async fn app_password_fails(site: &Site, user: &User, code: Code) -> Result<Problem> {
    let client = client().await?;
    let task = client.wait(client.app_password(site, user, "x").await?.id).await?;
    Ok(problem(task, code))
}

async fn setup_succeeds(site: &Site) -> Result<TaskView> {
    let client = client().await?;
    let task = client.wait(client.setup(site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Ok(task)
}

async fn app_password_succeeds(site: &Site, user: &User) -> Result<TaskView> {
    let client = client().await?;
    let task = client.wait(client.app_password(site, user, "x").await?.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Ok(task)
}

/// The number of application passwords on a site.
async fn app_passwords(site: &Site) -> Result<String> {
    let php = "$all = array_map(fn($user) => WP_Application_Passwords::get_user_application_passwords($user->ID), get_users()); \
        echo count(array_merge(...$all));";
    Ok(site.eval_php(php).await?.trim().to_owned())
}

/// Sets up a stub in place of a site; the task must fail.
async fn stub_setup_fails(url: &str, code: Code) -> Result<Problem> {
    let client = client().await?;
    let body = json!({"url": url, "username": "admin", "password": "canary-password-of-nobody"});
    let task = client.accepted("/setup", &body).await?;
    Ok(problem(client.wait(task.id).await?, code))
}
