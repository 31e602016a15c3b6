//! Signing in: a token becomes a cookie.

use askama::Template;
use axum::extract::{RawQuery, State as AppState};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::dashboard::html;
use crate::dashboard::layout::Frame;
use crate::http::auth::session_cookies;
use crate::http::body::FormBody;
use crate::http::error::ApiError;
use crate::sessions::{COOKIE, LIFETIME};
use crate::state::{App, SharedApp};
use crate::tokens::Scope;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    next: String,
    fault: &'static str,
}

/// The form.
pub(crate) async fn form(
    AppState(app): AppState<SharedApp>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let next = pairs.find(|(name, _)| name == "next");
    let next = own_path(next.as_ref().map_or("/", |(_, path)| path));
    if app.tokens.is_none() {
        return Ok(Redirect::to(&next).into_response());
    }
    show(next, "")
}

fn show(next: String, fault: &'static str) -> Result<Response, ApiError> {
    html(&SignIn { frame: Frame::open("Sign in"), next, fault })
}

/// The token, sent by the form.
pub(crate) async fn begin(AppState(app): AppState<SharedApp>, form: FormBody) -> Result<Response, ApiError> {
    let next = own_path(form.field("next").unwrap_or("/"));
    let Some(tokens) = &app.tokens else {
        return Ok(Redirect::to(&next).into_response());
    };
    let refused = |fault| {
        let mut page = show(next.clone(), fault)?;
        *page.status_mut() = StatusCode::UNAUTHORIZED;
        Ok(page)
    };
    let token = form.field("token").unwrap_or_default().trim();
    match tokens.find(token) {
        Some(entry) if entry.scope == Scope::Metrics => refused("This token may only read metrics."),
        None => refused("This token is not known."),
        Some(entry) => {
            let id = app.sessions.create(&entry).await?;
            tracing::info!(name = entry.name, "signed in to the dashboard");
            Ok(with_cookie(&app, Redirect::to(&next), &id, LIFETIME.as_secs())?)
        }
    }
}

/// Ends the session.
pub(crate) async fn end(
    AppState(app): AppState<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    for id in session_cookies(&headers) {
        app.sessions.delete(&id).await?;
    }
    with_cookie(&app, Redirect::to("/sign-in"), "", 0)
}

fn with_cookie(app: &App, to: Redirect, id: &str, seconds: u64) -> Result<Response, ApiError> {
    let secure = if app.public_url.scheme() == "https" { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::from_str(&cookie).map_err(ApiError::internal)?;
    cookie.set_sensitive(true);
    let mut response = to.into_response();
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// A path of ours to go on to; anything that could lead elsewhere becomes the overview.
fn own_path(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
    let ours = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(plain);
    if ours { path.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_never_leads_elsewhere() {
        assert_eq!(own_path("/dashboard/tasks?q=a"), "/dashboard/tasks?q=a");
        for elsewhere in ["https://a.example", "//a.example", "/\\a.example", "/a\r\nx: y", "", "a"] {
            assert_eq!(own_path(elsewhere), "/", "{elsewhere}");
        }
    }
}
