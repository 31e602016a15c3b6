//! Every route of the service, and what surrounds each request.

use std::sync::Arc;

use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wpclone_task::Code;

use crate::http::error::ApiError;
use crate::http::{origin_check, request_context, session_cookie};
use crate::openapi::ApiDocument;
use crate::state::SharedApp;
use crate::{clones, dashboard, docs, openapi, operations, tasks};

/// The document's head; the operations come from [`api`].
#[derive(OpenApi)]
#[openapi(
    info(
        title = "wpclone",
        description = "Clones live WordPress sites and works on them with an address and a wp-admin login. Work is a \
            *task*: a POST returns 202 with the task, which is followed by polling, by server-sent events or by \
            waiting synchronously (`Prefer: wait`). Errors are `application/problem+json` (RFC 9457) with a stable `code`."
    ),
    tags(
        (name = "work", description = "Starting tasks"),
        (name = "tasks", description = "Following, cancelling and replaying tasks"),
        (name = "clones", description = "Listing, extending and deleting clones"),
        (name = "operations", description = "Health, queue, metrics and documentation"),
    ),
    security(("token" = []), ("session" = [])),
    components(schemas(wpclone_task::Event, tasks::events::ChangeEvent)),
)]
struct DocumentHead;

/// The routes of the REST interface with their descriptions.
fn api() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::with_openapi(DocumentHead::openapi())
        .routes(routes!(tasks::submit::setup))
        .routes(routes!(tasks::submit::create_app_password))
        .routes(routes!(tasks::submit::clone_site))
        .routes(routes!(tasks::read::list))
        .routes(routes!(tasks::read::read))
        .routes(routes!(tasks::events::of_task))
        .routes(routes!(tasks::events::of_all))
        .routes(routes!(tasks::cancel::cancel))
        .routes(routes!(tasks::replay::replay))
        .routes(routes!(tasks::artifacts::read))
        .routes(routes!(clones::read::list))
        .routes(routes!(clones::read::read, clones::extend::extend, clones::delete::delete))
        .routes(routes!(clones::login::login))
        .routes(routes!(operations::queue::queue))
        .routes(routes!(operations::metrics::metrics))
        .routes(routes!(operations::health::healthz))
        .routes(routes!(operations::health::readyz))
        .routes(routes!(openapi::openapi_json))
        .routes(routes!(docs::docs))
        .routes(routes!(docs::problem))
}

/// The API's OpenAPI document.
#[must_use]
pub fn document() -> ApiDocument {
    ApiDocument::new(api().into_openapi())
}

/// Every route of the service: the REST interface and the dashboard.
pub fn routes() -> Router<SharedApp> {
    let (api, document) = api().split_for_parts();
    // A page for people: the document does not describe it.
    let api = api.route("/docs/examples/{operation}", get(docs::example_page));
    api.layer(Extension(Arc::new(ApiDocument::new(document)))).merge(dashboard::routes())
}

/// Surrounds routes with what every request passes, from the outside in: request id, log and metrics; error pages for
/// browsers; panics; the origin check; answers for unknown addresses and methods.
pub fn with_middleware(routes: Router<SharedApp>, app: &SharedApp) -> Router {
    routes
        .fallback(|| async { ApiError::new(Code::NotFound, "There is nothing at this path.") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(Code::MethodNotAllowed, "The path does not support this method.")
        })
        .layer(from_fn_with_state(Arc::clone(app), origin_check::check_origin))
        .layer(CatchPanicLayer::custom(request_context::panic_response))
        .layer(from_fn(dashboard::problem_pages))
        .layer(from_fn_with_state(Arc::clone(app), session_cookie::remove_ambiguous))
        .layer(from_fn_with_state(Arc::clone(app), request_context::with_request_context))
        .with_state(Arc::clone(app))
}

/// The whole service.
pub fn router(app: &SharedApp) -> Router {
    with_middleware(routes(), app)
}
