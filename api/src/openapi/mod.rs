//! The OpenAPI document: completes what the handlers' descriptions give, and serves it.

mod examples;

use std::sync::Arc;

use axum::Extension;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};
use wpclone_task::SESSION_COOKIE;
use wpclone_task::schema::ObjectSchema;

/// The document, complete and as JSON.
pub struct ApiDocument {
    document: OpenApi,
    json: String,
}

impl ApiDocument {
    /// Completes the document that the routes gave.
    #[must_use]
    pub fn new(mut document: OpenApi) -> Self {
        add_security_schemes(&mut document);
        for path in document.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                operation.parameters.iter_mut().flatten().for_each(remove_null);
                add_request_example(operation);
                add_response_examples(operation);
            }
        }
        let json = document.to_json().unwrap_or_default();
        Self { document, json }
    }

    /// The document.
    #[must_use]
    pub fn openapi(&self) -> &OpenApi {
        &self.document
    }
}

fn add_security_schemes(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token from the tokens file. Without a tokens file only this machine has access.",
    ));
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    let cookie = ApiKeyValue::with_description(
        SESSION_COOKIE,
        "The session of the dashboard. Where the API is reached by https its name is `__Host-wpclone_session`.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
}

/// An optional parameter may be absent, but never null: query strings and headers have no null.
fn remove_null(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(Parameter { schema: Some(RefOr::T(schema)), .. }) = parameter else { return };
    let reference = match schema {
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
    if let (Some(reference), RefOr::T(parameter)) = (reference, parameter) {
        parameter.schema = Some(reference);
    }
}

fn add_request_example(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let schema = content.schema.as_ref().and_then(body_schema);
        content.example = schema.map(ObjectSchema::example);
    }
}

/// The declaration of a body that the document refers to.
fn body_schema(schema: &RefOr<Schema>) -> Option<&'static ObjectSchema> {
    match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next()?;
            wpclone_task::schema::BODIES.iter().copied().find(|schema| schema.name == name)
        }
        RefOr::T(Schema::OneOf(one_of)) => one_of.items.iter().find_map(body_schema),
        RefOr::T(_) => None,
    }
}

fn add_response_examples(operation: &mut Operation) {
    let Some(id) = &operation.operation_id else { return };
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if let Some(RefOr::T(content)) = response.content.get_mut("application/json") {
            content.example = examples::response(id, status);
        }
    }
}

/// This API as an OpenAPI document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"))
)]
pub async fn openapi_json(Extension(document): Extension<Arc<ApiDocument>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.json.clone()).into_response()
}
