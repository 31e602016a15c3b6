//! One-time logins to a clone: POST /clones/{name}/login.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use wpclone_task::{CloneName, Code, ExposeSecret as _, LoginLink};

use crate::clones::view::open_secrets;
use crate::clones::{find, require_published};
use crate::http::auth::TaskUser;
use crate::http::error::ApiError;
use crate::state::SharedApp;

/// How long a link is valid.
const LINK_LIFETIME: Duration = Duration::from_secs(300);

/// Create a one-time login link
///
/// The link logs any visitor in to the clone's wp-admin as its administrator, once and within five minutes. Only the
/// token that owns the clone can create it.
#[utoipa::path(
    post, path = "/clones/{name}/login", operation_id = "login_to_clone", tag = "clones",
    params(("name" = CloneName, Path, description = "The clone's name")),
    responses(
        (status = 200, description = "The link", body = LoginLink),
        crate::http::responses::CloneErrors,
        crate::http::responses::AccessErrors,
        crate::http::responses::CommonErrors,
    )
)]
pub async fn login(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path(name): Path<String>,
) -> Result<Json<LoginLink>, ApiError> {
    let entry = find(&app, &caller, &name).await?;
    if !caller.is_owner(&entry.owner) {
        return Err(ApiError::new(Code::Forbidden, "Only the token that owns the clone can log in."));
    }
    require_published(&entry)?;
    if entry.sealed.is_none() {
        return Err(ApiError::new(Code::CloneNotReady, "The clone's login is not known yet."));
    }
    let secrets = open_secrets(&app, &caller, &entry)
        .ok_or_else(|| ApiError::internal("a clone's login key cannot be decrypted"))?;
    let end = Timestamp::now().as_second() + LINK_LIFETIME.as_secs().cast_signed();
    let expires_at = Timestamp::from_second(end).map_err(ApiError::internal)?;
    let url = secrets.login_link(&entry.name, entry.url.as_str(), expires_at)?;
    tracing::info!(clone = %entry.name, by = caller.name, "a login link for the clone was created");
    Ok(Json(LoginLink { url: url.expose_secret().to_owned(), expires_at }))
}
