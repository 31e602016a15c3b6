//! Clones: which copies do I have?

use askama::Template;
use axum::extract::{RawQuery, State as AppState};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::try_join_all;
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_clones::DeletedClone;
use wpclone_task::{CloneName, ClonePhase, CloneView, Isolation, TaskId};

use crate::clones::read::{ListQuery, list_page as list};
use crate::dashboard::format::{Left, When};
use crate::dashboard::layout::Frame;
use crate::dashboard::{Viewer, html};
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};

/// How many that went lately are shown.
const PAST: u32 = 20;

#[derive(Template)]
#[template(path = "clones.html")]
struct Clones {
    frame: Frame,
    clones: Vec<Card>,
    past: Vec<Gone>,
    first_page: bool,
    next: Option<String>,
    curl: String,
}

struct Card {
    name: CloneName,
    url: String,
    /// The address without its scheme.
    address: String,
    source: String,
    phase: ClonePhase,
    task: TaskId,
    /// Whose it is, for who sees everybody's.
    owner: Option<String>,
    created: When,
    left: Option<Left>,
    /// The word for how much it has for itself, where that is more than usual.
    dedicated: bool,
    /// Whether the viewer can have a login.
    login: bool,
    /// Where the picture of its front page is, while that is kept.
    picture: Option<String>,
}

struct Gone {
    name: CloneName,
    source: String,
    task: TaskId,
    expired: bool,
    at: When,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    Viewer(caller): Viewer,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    clones(&app, &caller, query.as_deref()).await.map_err(ApiError::into_response)
}

async fn clones(app: &App, caller: &Caller, query: Option<&str>) -> Result<Response, ApiError> {
    let wanted = ListQuery::parse(Query::from_form(query))?;
    let list = list(app, caller, &wanted).await?;
    let first_page = wanted.cursor.is_none();
    let past = match first_page {
        true => app.clones.list_deleted(caller.owner_filter().as_deref(), PAST).await?,
        false => Vec::new(),
    };
    html(&Clones {
        frame: Frame::new("Clones", "/dashboard/clones", caller),
        clones: try_join_all(list.clones.into_iter().map(|clone| card(app, clone))).await?,
        past: past.into_iter().map(gone).collect(),
        first_page,
        next: list.next.as_ref().map(|cursor| wanted.next_page(cursor)),
        curl: curl(app, caller.single_user),
    })
}

async fn card(app: &App, clone: CloneView) -> Result<Card, ApiError> {
    let pictured = clone.state == ClonePhase::Published
        && app.artifacts.list(clone.task).await?.iter().any(|kept| kept.name == FRONT_PAGE_SCREENSHOT);
    Ok(Card {
        picture: pictured.then(|| format!("/tasks/{}/artifacts/{FRONT_PAGE_SCREENSHOT}", clone.task)),
        address: bare(clone.url.as_str()),
        url: clone.url.as_str().to_owned(),
        source: bare(clone.source.as_str()),
        phase: clone.state,
        task: clone.task,
        owner: clone.owner,
        created: When(clone.created_at),
        left: clone.expires_at.filter(|_| clone.state == ClonePhase::Published).map(Left),
        dedicated: clone.isolation == Isolation::Dedicated,
        login: clone.links.login.is_some(),
        name: clone.name,
    })
}

fn gone(DeletedClone { entry, deleted_at: at }: DeletedClone) -> Gone {
    Gone {
        source: bare(entry.source.as_str()),
        task: entry.task,
        expired: entry.expires_at.is_some_and(|end| end <= at),
        at: When(at),
        name: entry.name,
    }
}

/// An address without its scheme.
fn bare(url: &str) -> String {
    url.split_once("://").map_or(url, |(_, rest)| rest).to_owned()
}

/// A line to copy for who has no clone yet.
fn curl(app: &App, single_user: bool) -> String {
    let token = if single_user { "" } else { "-H \"Authorization: Bearer $WPCLONE_TOKEN\" " };
    format!(
        "curl {token}--json '{{\"source\": {{\"url\": \"https://example.com\", \"username\": \"admin\", \"password\": \"…\"}}}}' {}/clone",
        app.public_url.origin()
    )
}
