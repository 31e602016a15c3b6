//! The clones page: the user's clones, and those that ended within the last day.

use askama::Template;
use axum::extract::{RawQuery, State as AppState};
use axum::response::{IntoResponse as _, Response};
use wpclone_artifacts::{ArtifactMeta, FRONT_PAGE_SCREENSHOT};
use wpclone_clones::DeletedClone;
use wpclone_task::{CloneLocation, CloneName, ClonePhase, CloneView, Isolation, TaskId};

use crate::clones::read::{ListQuery, list_page as list};
use crate::dashboard::format::{Countdown, RelativeTime};
use crate::dashboard::layout::PageLayout;
use crate::dashboard::{DashboardUser, curl_command, html};
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};

/// The number of past clones shown.
const PAST_CLONES: u32 = 20;

#[derive(Template)]
#[template(path = "clones.html")]
struct Clones {
    page: PageLayout,
    clones: Vec<CloneCard>,
    past: Vec<PastClone>,
    first_page: bool,
    next: Option<String>,
    curl: String,
}

struct CloneCard {
    name: CloneName,
    url: String,
    /// The address without its scheme.
    address: String,
    source: String,
    phase: ClonePhase,
    /// What is wrong with it, in words.
    problem: Option<String>,
    task: TaskId,
    /// The owner's name; only for operators.
    owner: Option<String>,
    created: RelativeTime,
    expires: Option<Countdown>,
    /// Where it runs, by name and value; only for operators.
    location: Vec<(&'static str, String)>,
    /// Whether it has a database server of its own.
    dedicated: bool,
    /// Whether the user may ask for a one-time login link.
    can_log_in: bool,
    /// The address of the screenshot of its front page, while that is kept.
    screenshot: Option<String>,
}

struct PastClone {
    name: CloneName,
    source: String,
    task: TaskId,
    expired: bool,
    ended: RelativeTime,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    DashboardUser(caller): DashboardUser,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    clones(&app, &caller, query.as_deref()).await.map_err(ApiError::into_response)
}

async fn clones(app: &App, caller: &Caller, query: Option<&str>) -> Result<Response, ApiError> {
    let wanted = ListQuery::parse(Query::from_form(query))?;
    let list = list(app, caller, &wanted).await?;
    let first_page = wanted.cursor.is_none();
    let past = match first_page {
        true => app.clones.list_deleted(caller.owner_filter().as_deref(), PAST_CLONES).await?,
        false => Vec::new(),
    };
    let tasks: Vec<TaskId> = list.clones.iter().map(|clone| clone.task).collect();
    let artifacts = app.artifacts.list_all(&tasks).await?;
    let clones = list.clones.into_iter().zip(artifacts);
    html(&Clones {
        page: PageLayout::new("Clones", "/dashboard/clones", caller),
        clones: clones.map(|(clone, artifacts)| card(clone, &artifacts)).collect(),
        past: past.into_iter().map(past_clone).collect(),
        first_page,
        next: list.next.as_ref().map(|cursor| wanted.next_page(cursor)),
        curl: curl_command::clone(app, caller),
    })
}

/// `artifacts`: those of the clone's task.
fn card(clone: CloneView, artifacts: &[ArtifactMeta]) -> CloneCard {
    let has_screenshot = clone.state == ClonePhase::Published
        && artifacts.iter().any(|kept| kept.name == FRONT_PAGE_SCREENSHOT);
    CloneCard {
        screenshot: has_screenshot
            .then(|| format!("/tasks/{}/artifacts/{FRONT_PAGE_SCREENSHOT}", clone.task)),
        address: without_scheme(clone.url.as_str()),
        url: clone.url.as_str().to_owned(),
        source: without_scheme(clone.source.as_str()),
        phase: clone.state,
        problem: clone.problem.map(|problem| problem.detail.to_string()),
        task: clone.task,
        owner: clone.owner,
        created: RelativeTime(clone.created_at),
        expires: clone.expires_at.filter(|_| clone.state == ClonePhase::Published).map(Countdown),
        location: clone.location.as_ref().map(CloneLocation::rows).unwrap_or_default(),
        dedicated: clone.isolation == Isolation::Dedicated,
        can_log_in: clone.links.login.is_some(),
        name: clone.name,
    }
}

fn past_clone(DeletedClone { entry, deleted_at: at }: DeletedClone) -> PastClone {
    PastClone {
        source: without_scheme(entry.source.as_str()),
        task: entry.task,
        expired: entry.expires_at.is_some_and(|end| end <= at),
        ended: RelativeTime(at),
        name: entry.name,
    }
}

/// An address without its scheme.
fn without_scheme(url: &str) -> String {
    url.split_once("://").map_or(url, |(_, rest)| rest).to_owned()
}
