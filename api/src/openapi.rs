//! The OpenAPI document, made from the handlers.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wpclone_task::Problem;

use crate::state::SharedApp;
use crate::{clones, docs, metrics, operations, sessions, tasks};

/// The headers that every POST that starts work takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what crate::http::headers reads")]
pub struct WorkHeaders {
    /// `wait=N`: hold the answer up to N (at most 60) seconds, and give 200 with the finished task.
    #[param(rename = "Prefer", example = "wait=30")]
    prefer: Option<String>,
    /// 1 to 255 visible ASCII characters: a repeat within a day returns the same task.
    #[param(rename = "Idempotency-Key", pattern = "^[!-~]{1,255}$")]
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

/// What is answered instead of a clone. Documentation only.
#[derive(IntoResponses)]
pub enum NoClone {
    /// No such clone
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Not yet: it is still being made
    #[response(status = 409, content_type = "application/problem+json")]
    NotReady(Problem),
    /// No longer there; so it is answered for a day
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(Problem),
}

/// What a caller is told who asks for too much at once. Documentation only.
#[derive(IntoResponses)]
pub enum TooMany {
    /// The token has as much as it may have
    #[response(status = 429, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "When to come back, in seconds"),
    ))]
    TooMany(Problem),
}

/// How a request that is well formed may still fail. Documentation only.
#[derive(IntoResponses)]
pub enum Failed {
    /// Something in the address or a header is not understood
    #[response(status = 400, content_type = "application/problem+json")]
    BadParameter(Problem),
    /// Redis does not answer
    #[response(status = 503, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "When to come back, in seconds"),
    ))]
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
        (name = "clones", description = "Keeping clones"),
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
        let cookie = ApiKeyValue::with_description(sessions::COOKIE, "The dashboard's session.");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// Every route of the API, each with its description.
pub fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(tasks::accept::setup))
        .routes(routes!(tasks::accept::create_app_password))
        .routes(routes!(tasks::accept::clone_site))
        .routes(routes!(tasks::read::list))
        .routes(routes!(tasks::read::read))
        .routes(routes!(tasks::events::of_task))
        .routes(routes!(tasks::events::of_all))
        .routes(routes!(tasks::read::cancel))
        .routes(routes!(tasks::replay::replay))
        .routes(routes!(tasks::artifacts::read))
        .routes(routes!(clones::read::list))
        .routes(routes!(clones::read::read, clones::change::extend, clones::change::delete))
        .routes(routes!(clones::login::login))
        .routes(routes!(operations::queue))
        .routes(routes!(metrics::metrics))
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(openapi_json))
        .routes(routes!(docs::docs))
        .routes(routes!(docs::problem))
}

/// The document.
pub static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let mut document = routes().into_openapi();
    for path in document.paths.paths.values_mut() {
        let operations =
            [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete].into_iter().flatten();
        operations.flat_map(|operation| operation.parameters.iter_mut().flatten()).for_each(without_null);
    }
    document
});

/// A parameter that may be left out is none that may be null: addresses and headers know no null.
fn without_null(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(Parameter { schema: Some(RefOr::T(schema)), .. }) = parameter else { return };
    let found = match schema {
        Schema::Object(object) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(only) = types.iter().find(|t| **t != Type::Null)
            {
                object.schema_type = SchemaType::Type(only.clone());
            }
            return;
        }
        Schema::OneOf(one_of) => one_of.items.iter().find(|item| matches!(item, RefOr::Ref(_))).cloned(),
        _ => None,
    };
    if let (Some(found), RefOr::T(parameter)) = (found, parameter) {
        parameter.schema = Some(found);
    }
}

static JSON: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_json().unwrap_or_default());

/// This API as an OpenAPI document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"))
)]
pub async fn openapi_json() -> Response {
    ([(CONTENT_TYPE, "application/json")], JSON.as_str()).into_response()
}
