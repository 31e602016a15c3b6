//! The list of tasks, with its search and filters.

use askama::Template;
use axum::extract::{RawQuery, State as AppState};
use axum::response::{IntoResponse as _, Response};
use wpclone_queue::TaskFilter;
use wpclone_task::{Kind, State, StoredRequest, TaskId, TaskView};

use crate::dashboard::format::{Badge, When, kind, lasted};
use crate::dashboard::layout::Frame;
use crate::dashboard::overview::curl;
use crate::dashboard::{Viewer, html};
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};
use crate::tasks::read::{ListQuery, list_page as list};

/// A task in a list.
pub(crate) struct Row {
    pub(crate) id: TaskId,
    pub(crate) kind: &'static str,
    pub(crate) site: String,
    pub(crate) badge: Badge,
    pub(crate) percent: Option<u8>,
    /// Its sentence; the problem's title when it failed.
    pub(crate) message: String,
    pub(crate) created: When,
    pub(crate) took: String,
}

pub(crate) fn rows(tasks: &[TaskView]) -> Vec<Row> {
    tasks.iter().map(row).collect()
}

fn row(task: &TaskView) -> Row {
    let problem = task.problem.as_ref().map(|p| p.title.clone());
    Row {
        id: task.id,
        kind: kind(task.kind),
        site: site(&task.request),
        badge: Badge(task.state),
        percent: (task.state == State::Running).then_some(task.progress.percent),
        message: problem.unwrap_or_else(|| task.progress.message.clone()),
        created: When(task.created_at),
        took: took(task),
    }
}

/// How long a task took, without its wait.
pub(crate) fn took(task: &TaskView) -> String {
    match (task.started_at, task.finished_at) {
        (Some(from), Some(to)) => lasted(from, to),
        _ => String::new(),
    }
}

/// The site's address without its scheme, or the clone's name.
pub(crate) fn site(request: &StoredRequest) -> String {
    let text = request.subject();
    text.split_once("://").map_or(text, |(_, rest)| rest).to_owned()
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct Tasks {
    frame: Frame,
    q: String,
    tabs: Vec<Tab>,
    states: Vec<Choice>,
    kinds: Vec<Choice>,
    rows: Vec<Row>,
    filtered: bool,
    first_page: bool,
    next: Option<String>,
    curl: String,
}

/// A filter that is asked for often.
struct Tab {
    word: &'static str,
    href: &'static str,
    here: bool,
}

/// All tasks, those under way, and the failed ones: the dead letter.
fn tabs(filter: &TaskFilter) -> Vec<Tab> {
    let plain = filter.kind.is_none() && filter.search.is_none();
    let tab = |word, href, state| Tab { word, href, here: plain && filter.state == state };
    vec![
        tab("All", "/dashboard/tasks", None),
        tab("Running", "/dashboard/tasks?state=running", Some(State::Running)),
        tab("Failed", "/dashboard/tasks?state=failed", Some(State::Failed)),
    ]
}

/// An entry of a filter.
struct Choice {
    value: &'static str,
    word: &'static str,
    chosen: bool,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    Viewer(caller): Viewer,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    tasks(&app, &caller, query.as_deref()).await.map_err(ApiError::into_response)
}

async fn tasks(app: &App, caller: &Caller, query: Option<&str>) -> Result<Response, ApiError> {
    let wanted = ListQuery::parse(Query::from_form(query), caller)?;
    let list = list(app, caller, &wanted).await?;
    let filter = &wanted.filter;
    let states = State::ALL.iter().map(|s| Choice {
        value: s.as_str(),
        word: s.as_str(),
        chosen: filter.state == Some(*s),
    });
    let kinds = Kind::ALL.iter().map(|k| Choice {
        value: k.as_str(),
        word: kind(*k),
        chosen: filter.kind == Some(*k),
    });
    html(&Tasks {
        frame: Frame::new("Tasks", "/dashboard/tasks", caller),
        tabs: tabs(filter),
        states: states.collect(),
        kinds: kinds.collect(),
        rows: rows(&list.tasks),
        filtered: filter.state.is_some() || filter.kind.is_some() || filter.search.is_some(),
        first_page: wanted.cursor.is_none(),
        next: list.next.as_deref().map(|cursor| wanted.next_page(cursor)),
        q: filter.search.clone().unwrap_or_default(),
        curl: curl(app, caller.single_user),
    })
}
