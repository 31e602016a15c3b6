//! Reading tasks: GET /tasks and GET /tasks/{id}.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{ETAG, IF_NONE_MATCH, LINK, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use wpclone_queue::TaskFilter;
use wpclone_task::{Kind, State as TaskState, TaskId, TaskList, TaskView};

use crate::http::auth::{Caller, TaskUser};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};
use crate::tasks::view::{Secrets, view, views};
use crate::tasks::{POLL_AFTER_SECONDS, find};

/// Tasks per page.
const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// The query of a list of tasks.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Which tasks.
    pub filter: TaskFilter,
    /// Where the page begins; `None` for the newest.
    pub cursor: Option<String>,
    /// Tasks per page.
    pub limit: u32,
}

impl ListQuery {
    /// Parses it.
    ///
    /// # Errors
    /// Every fault of the query string at once.
    pub fn parse(mut query: Query, caller: &Caller) -> Result<Self, ApiError> {
        let list_query = Self {
            filter: TaskFilter {
                owner: caller.owner_filter(),
                state: query.parsed("state"),
                kind: query.parsed("kind"),
                search: query.text("q", 200),
            },
            cursor: query.text("cursor", 200),
            limit: query.number("limit", MAX_LIMIT).unwrap_or(DEFAULT_LIMIT),
        };
        query.finish()?;
        Ok(list_query)
    }

    /// The query string of the page that begins at this cursor.
    #[must_use]
    pub fn next_page(&self, cursor: &str) -> String {
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
        if self.limit != DEFAULT_LIMIT {
            query.append_pair("limit", &self.limit.to_string());
        }
        query.append_pair("cursor", cursor).finish()
    }
}

/// A page of tasks, without the secrets of results.
///
/// # Errors
/// The cursor is invalid, or Redis does not respond.
pub async fn list_page(app: &App, caller: &Caller, query: &ListQuery) -> Result<TaskList, ApiError> {
    let page = app.queue.list(&query.filter, query.cursor.as_deref(), query.limit).await?;
    Ok(TaskList { tasks: views(app, caller, page.tasks).await?, next: page.next })
}

/// List tasks
///
/// Newest first. A token sees its own tasks, an operator's token all. Secrets in results are null here.
#[utoipa::path(
    get, path = "/tasks", operation_id = "list_tasks", tag = "tasks",
    params(
        ("state" = Option<TaskState>, Query, description = "Only tasks in this state"),
        ("kind" = Option<Kind>, Query, description = "Only tasks of this kind"),
        ("q" = Option<String>, Query, max_length = 200, description = "Only tasks on sites whose address contains this, or whose id begins with it"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Tasks per page; 20 by default"),
        ("cursor" = Option<String>, Query, pattern = "^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$", description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of tasks", body = TaskList, headers(
            ("Link" = Option<String>, description = "The next page with rel=\"next\" (RFC 8288); absent on the last page"),
        )),
        crate::http::responses::AccessErrors,
        crate::http::responses::CommonErrors,
    )
)]
pub async fn list(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = ListQuery::parse(Query::new(query.as_deref()), &caller)?;
    let list = list_page(&app, &caller, &query).await?;
    let link = list.next.as_deref();
    let link = link.map(|cursor| format!("</tasks?{}>; rel=\"next\"", query.next_page(cursor)));
    let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
    let mut response = Json(list).into_response();
    response.headers_mut().extend(link.map(|value| (LINK, value)));
    Ok(response)
}

/// Read a task
///
/// A failed task is returned with 200 as well: see `state` and `problem`. Secrets in the result are shown to the token
/// that owns the task, for a day; then they are null.
#[utoipa::path(
    get, path = "/tasks/{id}", operation_id = "read_task", tag = "tasks",
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("If-None-Match" = Option<String>, Header, description = "An earlier ETag: 304 when the task has not changed"),
    ),
    responses(
        (status = 200, description = "The task", body = TaskView, headers(
            ("ETag" = String, description = "Changes with the task"),
            ("Retry-After" = Option<u32>, description = "Seconds until the next poll; absent when the task has ended"),
        )),
        (status = 304, description = "Not changed"),
        crate::http::responses::TaskErrors,
        crate::http::responses::AccessErrors,
        crate::http::responses::CommonErrors,
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
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(POLL_AFTER_SECONDS));
    }
    Ok(response)
}

/// Weak comparison (RFC 9110, section 13.1.2).
fn matches(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let sent = headers.get_all(IF_NONE_MATCH).into_iter();
    let mut sent = sent.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    sent.any(|candidate| {
        let candidate = candidate.trim();
        candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate).as_bytes() == tag.as_bytes()
    })
}
