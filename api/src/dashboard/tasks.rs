//! The list of tasks with search and filters.

use askama::Template;
use axum::extract::{RawQuery, State as AppState};
use axum::response::{IntoResponse as _, Response};
use wpclone_queue::TaskFilter;
use wpclone_task::{Kind, State, StoredRequest, TaskId, TaskView};

use crate::dashboard::format::{RelativeTime, StateBadge, duration_between, kind_label};
use crate::dashboard::layout::PageLayout;
use crate::dashboard::{DashboardUser, curl_command, html};
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};
use crate::tasks::read::{ListQuery, list_page as list};

/// A row of a task table.
pub(crate) struct TaskRow {
    pub(crate) id: TaskId,
    pub(crate) kind: &'static str,
    pub(crate) site: String,
    pub(crate) badge: StateBadge,
    pub(crate) percent: Option<u8>,
    /// The progress message, or the problem's title.
    pub(crate) message: String,
    pub(crate) created: RelativeTime,
    /// Empty until it has ended.
    pub(crate) duration: String,
}

pub(crate) fn rows(tasks: &[TaskView]) -> Vec<TaskRow> {
    tasks.iter().map(row).collect()
}

fn row(task: &TaskView) -> TaskRow {
    let problem = task.problem.as_ref().map(|p| p.title.clone());
    TaskRow {
        id: task.id,
        kind: kind_label(task.kind),
        site: site(&task.request),
        badge: StateBadge(task.state),
        percent: (task.state == State::Running).then_some(task.progress.percent),
        message: problem.unwrap_or_else(|| task.progress.message.clone()),
        created: RelativeTime(task.created_at),
        duration: duration(task),
    }
}

/// The time from a task's first claim to its end.
pub(crate) fn duration(task: &TaskView) -> String {
    match (task.started_at, task.finished_at) {
        (Some(from), Some(to)) => duration_between(from, to),
        _ => String::new(),
    }
}

/// The site's address without its scheme, or the clone's name: the subject of a task.
pub(crate) fn site(request: &StoredRequest) -> String {
    let text = request.subject();
    text.split_once("://").map_or(text, |(_, rest)| rest).to_owned()
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct Tasks {
    page: PageLayout,
    q: String,
    tabs: Vec<Tab>,
    states: Vec<FilterOption>,
    kinds: Vec<FilterOption>,
    rows: Vec<TaskRow>,
    filtered: bool,
    first_page: bool,
    next: Option<String>,
    curl: String,
}

/// A link to a common filter.
struct Tab {
    label: &'static str,
    href: &'static str,
    current: bool,
}

/// All tasks, the running ones and the failed ones.
fn tabs(filter: &TaskFilter) -> Vec<Tab> {
    let plain = filter.kind.is_none() && filter.search.is_none();
    let tab = |label, href, state| Tab { label, href, current: plain && filter.state == state };
    vec![
        tab("All", "/dashboard/tasks", None),
        tab("Running", "/dashboard/tasks?state=running", Some(State::Running)),
        tab("Failed", "/dashboard/tasks?state=failed", Some(State::Failed)),
    ]
}

/// An `<option>` of a filter.
struct FilterOption {
    value: &'static str,
    label: &'static str,
    selected: bool,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    DashboardUser(caller): DashboardUser,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    tasks(&app, &caller, query.as_deref()).await.map_err(ApiError::into_response)
}

async fn tasks(app: &App, caller: &Caller, query: Option<&str>) -> Result<Response, ApiError> {
    let wanted = ListQuery::parse(Query::from_form(query), caller)?;
    let list = list(app, caller, &wanted).await?;
    let filter = &wanted.filter;
    let states = State::ALL.iter().map(|s| FilterOption {
        value: s.as_str(),
        label: s.as_str(),
        selected: filter.state == Some(*s),
    });
    let kinds = Kind::ALL.iter().map(|k| FilterOption {
        value: k.as_str(),
        label: kind_label(*k),
        selected: filter.kind == Some(*k),
    });
    html(&Tasks {
        page: PageLayout::new("Tasks", "/dashboard/tasks", caller),
        tabs: tabs(filter),
        states: states.collect(),
        kinds: kinds.collect(),
        rows: rows(&list.tasks),
        filtered: filter.state.is_some() || filter.kind.is_some() || filter.search.is_some(),
        first_page: wanted.cursor.is_none(),
        next: list.next.as_deref().map(|cursor| wanted.next_page(cursor)),
        q: filter.search.clone().unwrap_or_default(),
        curl: curl_command::setup(app, caller),
    })
}
