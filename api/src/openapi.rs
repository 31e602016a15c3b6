//! The OpenAPI document, made from the handlers.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wpclone_task::Problem;

use crate::state::Shared;
use crate::{docs, metrics, operations, session, tasks};

/// The body of `POST /setup`. Documentation only: `wpclone_task::Request` reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what wpclone_task::Request reads")]
pub struct SetupBody {
    /// The site's address, http or https. Pages of wp-admin are understood too.
    #[schema(example = "https://example.com", max_length = 2048)]
    url: String,
    /// An administrator's login name or e-mail address.
    #[schema(example = "admin", min_length = 1, max_length = 100)]
    username: String,
    /// The administrator's password; kept sealed until the task ends.
    #[schema(example = "correct horse battery staple", min_length = 1, max_length = 4096, format = Password)]
    password: String,
    /// `source`: content comes from the site. `target`: content goes to it, so that the migrator's import is on.
    #[schema(default = "source", pattern = "^(source|target)$")]
    role: Option<String>,
}

/// The body of `POST /create-app-password`. Documentation only: `wpclone_task::Request` reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what wpclone_task::Request reads")]
pub struct CreateAppPasswordBody {
    /// The site's address, http or https. Pages of wp-admin are understood too.
    #[schema(example = "https://example.com", max_length = 2048)]
    url: String,
    /// The login name or e-mail address of the user who gets the application password.
    #[schema(example = "admin", min_length = 1, max_length = 100)]
    username: String,
    /// That user's password; kept sealed until the task ends.
    #[schema(example = "correct horse battery staple", min_length = 1, max_length = 4096, format = Password)]
    password: String,
    /// The name to list it under; when it is taken, six characters are added.
    #[schema(default = "wpclone", min_length = 1, max_length = 100)]
    app_name: Option<String>,
}

/// The headers that every POST that starts work takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what crate::http::headers reads")]
pub struct WorkHeaders {
    /// `wait=N`: hold the answer up to N (at most 60) seconds, and give 200 with the finished task.
    #[param(rename = "Prefer", example = "wait=30")]
    prefer: Option<String>,
    /// 1 to 255 visible ASCII characters: a repeat within a day returns the same task.
    #[param(rename = "Idempotency-Key", max_length = 255)]
    idempotency_key: Option<String>,
}

/// How a caller may be turned away anywhere. Documentation only.
#[derive(IntoResponses)]
pub enum TurnedAway {
    /// No valid token or session
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(Problem),
    /// Not with this scope, or not from this page or host
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
}

/// What is answered instead of a task. Documentation only.
#[derive(IntoResponses)]
pub enum NoTask {
    /// No such task
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// No longer kept
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(Problem),
}

/// How a request that is well formed may still fail. Documentation only.
#[derive(IntoResponses)]
pub enum Failed {
    /// Something in the address or a header is not understood
    #[response(status = 400, content_type = "application/problem+json")]
    BadParameter(Problem),
    /// Redis does not answer
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wpclone",
        description = "Works on live WordPress sites, with nothing but an address and a wp-admin login. Work is a \
            *task*: a POST answers 202 with it, and it is followed by polling, by server-sent events, or by \
            `Prefer: wait`. Errors are `application/problem+json` (RFC 9457) with a stable `code`."
    ),
    tags(
        (name = "work", description = "Asking for work"),
        (name = "tasks", description = "Following it"),
        (name = "operations", description = "Looking at the whole"),
    ),
    security(("token" = []), ("session" = [])),
    modifiers(&Schemes),
    components(schemas(wpclone_task::Event, tasks::events::Change)),
)]
struct Base;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token from the tokens file. Without one only this machine is served."));
        components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
        let cookie = ApiKeyValue::with_description(session::COOKIE, "The dashboard's session.");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// Every route of the API, each with its description.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(tasks::accept::setup))
        .routes(routes!(tasks::accept::create_app_password))
        .routes(routes!(tasks::read::list))
        .routes(routes!(tasks::read::read))
        .routes(routes!(tasks::events::of_task))
        .routes(routes!(tasks::events::of_all))
        .routes(routes!(tasks::read::cancel))
        .routes(routes!(tasks::artifacts::read))
        .routes(routes!(operations::queue))
        .routes(routes!(metrics::metrics))
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(openapi_json))
        .routes(routes!(docs::docs))
        .routes(routes!(docs::problem))
}

/// The document.
pub static DOCUMENT: LazyLock<Document> = LazyLock::new(|| routes().into_openapi());

static JSON: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_json().unwrap_or_default());

/// This API as an OpenAPI document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"))
)]
pub async fn openapi_json() -> Response {
    ([(CONTENT_TYPE, "application/json")], JSON.as_str()).into_response()
}
