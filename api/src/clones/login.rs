//! Logging in to a clone once: POST /clones/{name}/login.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use wpclone_task::{CloneName, Code, ExposeSecret as _, LoginLink};

use crate::clones::view::opened;
use crate::clones::{find, is_published};
use crate::http::auth::TaskUser;
use crate::http::error::ApiError;
use crate::state::SharedApp;

/// For how long a link logs in.
const LASTS: Duration = Duration::from_secs(300);

/// Make a link that logs in once
///
/// The address logs its visitor in to the clone's wp-admin as its administrator: once, within five minutes, and whoever
/// that is. Only the token that owns the clone gets one.
#[utoipa::path(
    post, path = "/clones/{name}/login", operation_id = "login_to_clone", tag = "clones",
    params(("name" = CloneName, Path, description = "The clone's name")),
    responses(
        (status = 200, description = "The address", body = LoginLink),
        crate::openapi::NoClone,
        crate::openapi::TurnedAway,
        crate::openapi::Failed,
    )
)]
pub async fn login(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(name): Path<String>,
) -> Result<Json<LoginLink>, ApiError> {
    let entry = find(&app, &caller, &name).await?;
    if !caller.is(&entry.owner) {
        return Err(ApiError::new(Code::Forbidden, "Only the token that owns the clone gets a login."));
    }
    is_published(&entry)?;
    if entry.sealed.is_none() {
        return Err(ApiError::new(Code::CloneNotReady, "Its login is not known here yet."));
    }
    let secrets = opened(&app, &caller, &entry)
        .ok_or_else(|| ApiError::internal("a clone's login key cannot be opened"))?;
    let end = Timestamp::now().as_second() + LASTS.as_secs().cast_signed();
    let expires_at = Timestamp::from_second(end).map_err(ApiError::internal)?;
    let url = secrets.login_link(&entry.name, entry.url.as_str(), expires_at)?;
    tracing::info!(clone = %entry.name, by = caller.name, "a login to the clone was made");
    Ok(Json(LoginLink { url: url.expose_secret().to_owned(), expires_at }))
}
