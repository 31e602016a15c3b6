//! Reading clones: GET /clones and GET /clones/{name}.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::LINK;
use wpclone_task::{CloneList, CloneName, CloneView};

use crate::clones::find;
use crate::clones::view::view;
use crate::http::auth::{Caller, TaskUser};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};
use crate::tasks::view::Secrets;

/// How many clones a page has when nothing else is said, and at most.
const PAGE: (u32, u32) = (20, 100);

/// What a list of clones was asked for.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Where the page begins.
    pub cursor: Option<CloneName>,
    /// How many.
    pub limit: u32,
}

impl ListQuery {
    /// Reads it from a query string.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(mut query: Query) -> Result<Self, ApiError> {
        let cursor = query.parsed_if_any("cursor");
        let limit = query.number("limit", PAGE.1).unwrap_or(PAGE.0);
        query.finish()?;
        Ok(Self { cursor, limit })
    }

    /// The query string of the page that begins at this cursor.
    #[must_use]
    pub fn at(&self, cursor: &CloneName) -> String {
        let limit = if self.limit == PAGE.0 { String::new() } else { format!("limit={}&", self.limit) };
        format!("{limit}cursor={cursor}")
    }
}

/// A page of clones, without their secrets.
///
/// # Errors
/// Redis.
pub async fn page(app: &App, caller: &Caller, wanted: &ListQuery) -> Result<CloneList, ApiError> {
    let only = caller.only();
    let page = app.clones.list(only.as_deref(), wanted.cursor.as_ref(), wanted.limit).await?;
    let views = page.clones.into_iter().map(|entry| view(app, caller, entry, Secrets::Hidden));
    Ok(CloneList { clones: views.collect(), next: page.next })
}

/// List clones
///
/// Newest first. A token sees its own clones, an operator's all. Passwords are null here.
#[utoipa::path(
    get, path = "/clones", operation_id = "list_clones", tag = "clones",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "How many a page has; 20 by default"),
        ("cursor" = Option<String>, Query, pattern = "^(clone-[0-9]{8}-[0-9]{6}-[a-z2-7]{6})?$", description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = CloneList, headers(
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
    let wanted = ListQuery::read(Query::of(query.as_deref()))?;
    let list = page(&app, &caller, &wanted).await?;
    let link = list.next.as_ref().map(|cursor| format!("</clones?{}>; rel=\"next\"", wanted.at(cursor)));
    let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
    let mut response = Json(list).into_response();
    response.headers_mut().extend(link.map(|value| (LINK, value)));
    Ok(response)
}

/// Read a clone
///
/// Its password is shown to the token that owns it, for as long as the clone is there. A clone that has expired or was
/// deleted is 410 for a day, then 404.
#[utoipa::path(
    get, path = "/clones/{name}", operation_id = "read_clone", tag = "clones",
    params(("name" = CloneName, Path, description = "The clone's name")),
    responses(
        (status = 200, description = "The clone", body = CloneView),
        (status = 404, description = "No such clone", body = wpclone_task::Problem, content_type = "application/problem+json"),
        (status = 410, description = "No longer there", body = wpclone_task::Problem, content_type = "application/problem+json"),
        crate::openapi::TurnedAway,
        crate::openapi::Failed,
    )
)]
pub async fn read(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(name): Path<String>,
) -> Result<Json<CloneView>, ApiError> {
    let entry = find(&app, &caller, &name).await?;
    Ok(Json(view(&app, &caller, entry, Secrets::ForOwner)))
}
