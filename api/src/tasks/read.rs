//! Reading tasks, and ending them.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::try_join_all;
use http::header::{ETAG, IF_NONE_MATCH, LINK, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use wpclone_queue::{CancelOutcome, TaskFilter};
use wpclone_task::{Code, Kind, Problem, State as TaskState, TaskId, TaskList, TaskView};

use crate::http::auth::{Caller, TaskUser};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};
use crate::tasks::view::{Secrets, view};
use crate::tasks::{ASK_AGAIN, find};

/// How many tasks a page has when nothing else is said, and at most.
const PAGE: (u32, u32) = (20, 100);

/// What a list of tasks was asked for.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Which tasks.
    pub filter: TaskFilter,
    /// Where the page begins.
    pub cursor: Option<String>,
    /// How many.
    pub limit: u32,
}

impl ListQuery {
    /// Reads it from a query string.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(mut query: Query, caller: &Caller) -> Result<Self, ApiError> {
        let wanted = Self {
            filter: TaskFilter {
                owner: caller.only(),
                state: query.parsed("state"),
                kind: query.parsed("kind"),
                search: query.text("q", 200),
            },
            cursor: query.text("cursor", 200),
            limit: query.number("limit", PAGE.1).unwrap_or(PAGE.0),
        };
        query.finish()?;
        Ok(wanted)
    }

    /// The query string of the page that begins at this cursor.
    #[must_use]
    pub fn at(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(state) = self.filter.state {
            query.append_pair("state", state.as_str());
        }
        if let Some(kind) = self.filter.kind {
            query.append_pair("kind", kind.as_str());
        }
        if let Some(search) = &self.filter.search {
            query.append_pair("q", search);
        }
        if self.limit != PAGE.0 {
            query.append_pair("limit", &self.limit.to_string());
        }
        query.append_pair("cursor", cursor).finish()
    }
}

/// A page of tasks, without the secrets of results.
///
/// # Errors
/// A bad cursor, or Redis.
pub async fn page(app: &App, caller: &Caller, wanted: &ListQuery) -> Result<TaskList, ApiError> {
    let page = app.queue.list(&wanted.filter, wanted.cursor.as_deref(), wanted.limit).await?;
    let views = page.tasks.into_iter();
    let views = views.map(|task| view(app, caller, task, Secrets::Hidden));
    let tasks = try_join_all(views).await?;
    Ok(TaskList { tasks: tasks.into_iter().map(|(view, _)| view).collect(), next: page.next })
}

/// List tasks
///
/// Newest first. A token sees its own tasks, an operator's all. Secrets of results are null here.
#[utoipa::path(
    get, path = "/tasks", operation_id = "list_tasks", tag = "tasks",
    params(
        ("state" = Option<TaskState>, Query, description = "Only in this state"),
        ("kind" = Option<Kind>, Query, description = "Only of this kind"),
        ("q" = Option<String>, Query, max_length = 200, description = "Only on sites whose address contains this, or with an id that begins with it"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "How many a page has; 20 by default"),
        ("cursor" = Option<String>, Query, pattern = "^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$", description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = TaskList, headers(
            ("Link" = Option<String>, description = "The next page, with rel=\"next\" (RFC 8288); absent on the last"),
        )),
        crate::openapi::TurnedAway,
        crate::openapi::Failed,
    )
)]
pub async fn list(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let wanted = ListQuery::read(Query::of(query.as_deref()), &caller)?;
    let list = page(&app, &caller, &wanted).await?;
    let link = list.next.as_deref();
    let link = link.map(|cursor| format!("</tasks?{}>; rel=\"next\"", wanted.at(cursor)));
    let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
    let mut response = Json(list).into_response();
    response.headers_mut().extend(link.map(|value| (LINK, value)));
    Ok(response)
}

/// Read a task
///
/// A failed task is 200 as well: look at `state` and `problem`. Secrets of the result are shown to the token that
/// owns the task, for a day; then they are null.
#[utoipa::path(
    get, path = "/tasks/{id}", operation_id = "read_task", tag = "tasks",
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("If-None-Match" = Option<String>, Header, description = "An ETag of before: 304 when nothing has changed"),
    ),
    responses(
        (status = 200, description = "The task", body = TaskView, headers(
            ("ETag" = String, description = "Changes with the task"),
            ("Retry-After" = Option<u32>, description = "When to ask again, in seconds; absent when it has ended"),
        )),
        (status = 304, description = "Not changed"),
        crate::openapi::NoTask,
        crate::openapi::TurnedAway,
        crate::openapi::Failed,
    )
)]
pub async fn read(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let task = find(&app, &caller, &id).await?;
    let (view, tag) = view(&app, &caller, task, Secrets::ForOwner).await?;
    let unfinished = !view.state.is_final();
    let mut response = if matches(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(view).into_response()
    };
    response.headers_mut().insert(ETAG, tag);
    if unfinished {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(ASK_AGAIN));
    }
    Ok(response)
}

/// Weak comparison, as RFC 9110 section 13.1.2 asks for.
fn matches(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let sent = headers.get_all(IF_NONE_MATCH).into_iter();
    let mut sent = sent.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    sent.any(|candidate| {
        let candidate = candidate.trim();
        candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate).as_bytes() == tag.as_bytes()
    })
}

/// End a task
///
/// A waiting task ends at once, a running one with its worker's next heartbeat. Asking twice does no harm.
#[utoipa::path(
    post, path = "/tasks/{id}/cancel", operation_id = "cancel_task", tag = "tasks",
    params(("id" = TaskId, Path, description = "The task's id")),
    responses(
        (status = 202, description = "It ends, or has been ended before", body = TaskView),
        (status = 409, description = "It had ended by itself", body = Problem, content_type = "application/problem+json"),
        crate::openapi::NoTask,
        crate::openapi::TurnedAway,
        crate::openapi::Failed,
    )
)]
pub async fn cancel(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let task = find(&app, &caller, &id).await?;
    let done = app.queue.cancel(task.id).await?;
    let task = find(&app, &caller, &id).await?;
    if done == CancelOutcome::AlreadyFinished && task.state != TaskState::Cancelled {
        return Err(ApiError::new(Code::TaskFinished, format!("The task has {} before.", task.state)));
    }
    tracing::info!(task.id = %task.id, "the task's end was asked for");
    let (view, _) = view(&app, &caller, task, Secrets::ForOwner).await?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}
