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

/// Clones per page.
const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// The query of a list of clones.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Where the page begins; `None` for the newest.
    pub cursor: Option<CloneName>,
    /// Clones per page.
    pub limit: u32,
}

impl ListQuery {
    /// Parses it.
    ///
    /// # Errors
    /// Every fault of the query string at once.
    pub fn parse(mut query: Query) -> Result<Self, ApiError> {
        let cursor = query.parsed_unless_empty("cursor");
        let limit = query.number("limit", MAX_LIMIT).unwrap_or(DEFAULT_LIMIT);
        query.finish()?;
        Ok(Self { cursor, limit })
    }

    /// The query string of the page that begins at this cursor.
    #[must_use]
    pub fn next_page(&self, cursor: &CloneName) -> String {
        let limit =
            if self.limit == DEFAULT_LIMIT { String::new() } else { format!("limit={}&", self.limit) };
        format!("{limit}cursor={cursor}")
    }
}

/// A page of clones, without their secrets.
///
/// # Errors
/// Redis does not respond.
pub async fn list_page(app: &App, caller: &Caller, query: &ListQuery) -> Result<CloneList, ApiError> {
    let owner = caller.owner_filter();
    let page = app.clones.list(owner.as_deref(), query.cursor.as_ref(), query.limit).await?;
    let views = page.clones.into_iter().map(|entry| view(app, caller, entry, Secrets::Hidden));
    Ok(CloneList { clones: views.collect(), next: page.next })
}

/// List clones
///
/// Newest first. A token sees its own clones, an operator's token all. Passwords are null here.
#[utoipa::path(
    get, path = "/clones", operation_id = "list_clones", tag = "clones",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Clones per page; 20 by default"),
        ("cursor" = Option<String>, Query, pattern = "^(clone-[0-9]{8}-[0-9]{6}-[a-z2-7]{6})?$", description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of clones", body = CloneList, headers(
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
    let query = ListQuery::parse(Query::new(query.as_deref()))?;
    let list = list_page(&app, &caller, &query).await?;
    let link =
        list.next.as_ref().map(|cursor| format!("</clones?{}>; rel=\"next\"", query.next_page(cursor)));
    let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
    let mut response = Json(list).into_response();
    response.headers_mut().extend(link.map(|value| (LINK, value)));
    Ok(response)
}

/// Read a clone
///
/// The password is shown to the token that owns the clone, as long as the clone exists. A clone that has expired or was
/// deleted is 410 for a day, then 404.
#[utoipa::path(
    get, path = "/clones/{name}", operation_id = "read_clone", tag = "clones",
    params(("name" = CloneName, Path, description = "The clone's name")),
    responses(
        (status = 200, description = "The clone", body = CloneView),
        (status = 404, description = "No such clone", body = wpclone_task::Problem, content_type = "application/problem+json"),
        (status = 410, description = "The clone has expired or was deleted", body = wpclone_task::Problem, content_type = "application/problem+json"),
        crate::http::responses::AccessErrors,
        crate::http::responses::CommonErrors,
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
