//! Signing in with a token, which starts a session, and signing out.

use askama::Template;
use axum::extract::{RawQuery, State as AppState};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};

use crate::dashboard::html;
use crate::dashboard::layout::PageLayout;
use crate::http::body::FormBody;
use crate::http::error::ApiError;
use crate::http::session_cookie::{self, SentSession};
use crate::sessions::LIFETIME;
use crate::state::{App, SharedApp};
use crate::tokens::Scope;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    page: PageLayout,
    next: String,
    error: &'static str,
}

/// The sign-in form. `next` in the query is the path to open afterwards.
pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let next = pairs.find(|(name, _)| name == "next");
    let next = local_path(next.as_ref().map_or("/", |(_, path)| path));
    if app.tokens.is_none() {
        return Ok(Redirect::to(&next).into_response());
    }
    form(next, "")
}

fn form(next: String, error: &'static str) -> Result<Response, ApiError> {
    html(&SignIn { page: PageLayout::public("Sign in"), next, error })
}

/// Starts a session, always a new one, when the token that the form sent is valid. A session that the browser had ends.
pub(crate) async fn sign_in(
    AppState(app): AppState<SharedApp>,
    headers: HeaderMap,
    body: FormBody,
) -> Result<Response, ApiError> {
    let next = local_path(body.field("next").unwrap_or("/"));
    let Some(tokens) = &app.tokens else {
        return Ok(Redirect::to(&next).into_response());
    };
    let rejected = |error| {
        let mut response = form(next.clone(), error)?;
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        Ok(response)
    };
    let token = body.field("token").unwrap_or_default().trim();
    match tokens.find(token).await {
        Some(entry) if entry.scope == Scope::Metrics => {
            rejected("This token has the scope metrics, which may not use the dashboard.")
        }
        None => rejected("This token is not valid."),
        Some(entry) => {
            let id = app.sessions.create(&entry).await?;
            end_session(&app, &headers).await?;
            tracing::info!(name = entry.name, "signed in to the dashboard");
            Ok(redirect_with_cookie(&app, Redirect::to(&next), &id, LIFETIME.as_secs())?)
        }
    }
}

/// Ends the session.
pub(crate) async fn sign_out(
    AppState(app): AppState<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    end_session(&app, &headers).await?;
    redirect_with_cookie(&app, Redirect::to("/sign-in"), "", 0)
}

/// Ends the session of a request. Of several none is known to be the user's own.
async fn end_session(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    if let SentSession::One(id) = session_cookie::read(&app.public_url, headers) {
        app.sessions.delete(&id).await?;
    }
    Ok(())
}

fn redirect_with_cookie(app: &App, to: Redirect, id: &str, seconds: u64) -> Result<Response, ApiError> {
    let cookie = session_cookie::set(&app.public_url, id, seconds);
    let cookie = cookie.ok_or_else(|| ApiError::internal("the session's cookie is not a header"))?;
    let mut response = to.into_response();
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// A path of this server to redirect to; anything that could lead to another host becomes the overview.
fn local_path(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
    let local = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(plain);
    if local { path.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_after_sign_in_never_leads_to_another_host() {
        assert_eq!(local_path("/dashboard/tasks?q=a"), "/dashboard/tasks?q=a");
        for elsewhere in ["https://a.example", "//a.example", "/\\a.example", "/a\r\nx: y", "", "a"] {
            assert_eq!(local_path(elsewhere), "/", "{elsewhere}");
        }
    }
}
