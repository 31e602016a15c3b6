//! The dashboard: HTML pages made of the same data as the API's responses.

mod clones;
mod curl_command;
pub mod format;
pub mod layout;
mod new_task;
mod overview;
mod sign_in;
mod task;
mod tasks;
mod waits;
mod workers;

use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Path, Request};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use wpclone_task::{Code, Problem};

use crate::dashboard::layout::PageLayout;
use crate::http::auth::{Caller, TaskUser};
use crate::http::error::{ApiError, render_problem};
use crate::http::headers::prefers_html;
use crate::http::request_context::RequestId;
use crate::state::SharedApp;

/// Name, media type and content of the style sheet, the script and the icon.
const ASSETS: [(&str, &str, &str); 3] = [
    ("dashboard.css", "text/css; charset=utf-8", include_str!("../../assets/dashboard.css")),
    ("dashboard.js", "text/javascript; charset=utf-8", include_str!("../../assets/dashboard.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// The routes of the pages and assets. The OpenAPI document does not list them.
pub fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/", get(overview::page))
        .route("/dashboard/tasks", get(tasks::page))
        .route("/dashboard/tasks/{id}", get(task::page).post(task::retry))
        .route("/dashboard/clones", get(clones::page))
        .route("/dashboard/workers", get(workers::page))
        .route("/new/{form}", get(new_task::page).post(new_task::start))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/assets/{name}", get(asset))
}

/// Middleware: errors are pages where a browser asked for one.
pub async fn problem_pages(request: Request, next: Next) -> Response {
    let known = request.extensions().get::<MatchedPath>().is_some();
    let as_page = errors_are_pages(&request, known);
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    if let (true, Some(RequestId(id))) = (as_page, id) {
        render_problem(&mut response, &id, "text/html; charset=utf-8", problem_page);
    }
    response
}

/// Whether an error response to this request is a page. `known`: whether a route matches.
fn errors_are_pages(request: &Request, known: bool) -> bool {
    let path = request.uri().path();
    let page = path == "/"
        || ["/dashboard", "/new/", "/sign-", "/docs", "/problems/"].iter().any(|p| path.starts_with(p));
    prefers_html(request.headers()) && (page || !known)
}

async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = ASSETS.iter().find(|(n, ..)| *n == name);
    let (_, kind, text) =
        found.ok_or_else(|| ApiError::new(Code::NotFound, "There is nothing at this path."))?;
    // Addresses carry the version: see `layout::VERSION`.
    let headers = [(CONTENT_TYPE, *kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, *text).into_response())
}

/// The user of the dashboard. Without a session the request is redirected to the sign-in form.
pub struct DashboardUser(pub Caller);

impl FromRequestParts<SharedApp> for DashboardUser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, Response> {
        match TaskUser::from_request_parts(parts, app).await {
            Ok(TaskUser(caller)) => Ok(Self(caller)),
            Err(error) if error.problem().code == Code::Unauthenticated => {
                let here = parts.uri.path_and_query().map_or("/", |p| p.as_str());
                let next: String = url::form_urlencoded::byte_serialize(here.as_bytes()).collect();
                Err(Redirect::to(&format!("/sign-in?next={next}")).into_response())
            }
            Err(error) => Err(error.into_response()),
        }
    }
}

fn html(page: &impl Template) -> Result<Response, ApiError> {
    Ok(Html(page.render().map_err(ApiError::internal)?).into_response())
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    page: PageLayout,
    problem: &'a Problem,
}

/// The page of an error response.
fn problem_page(problem: &Problem) -> String {
    let page = ProblemPage { page: PageLayout::public(&problem.title), problem };
    page.render().unwrap_or_else(|_| problem.code.to_string())
}
