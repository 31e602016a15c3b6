//! The API's documentation as pages, made of the OpenAPI document: its operations, their examples, and the problem codes.

mod example;

use std::sync::{Arc, OnceLock};

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse as _, Response};
use serde_json::Value;
use wpclone_task::{Code, Problem};

use crate::dashboard::layout::PageLayout;
use crate::http::error::ApiError;
use crate::openapi::ApiDocument;
use crate::state::SharedApp;

/// The API's documentation as a page
#[utoipa::path(
    get, path = "/docs", tag = "operations", security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub async fn docs(Extension(document): Extension<Arc<ApiDocument>>) -> Result<Response, ApiError> {
    let page = PAGE.get_or_init(|| render(as_json(&document)));
    Ok(Html(page.as_str()).into_response())
}

/// What a problem code means
///
/// A page that explains the problem and what to do. A problem's `type` is its address.
#[utoipa::path(
    get, path = "/problems/{code}", tag = "operations", security(()),
    params(("code" = Code, Path, description = "A problem code, such as AUTH_BAD_CREDENTIALS")),
    responses(
        (status = 200, description = "A page", body = String, content_type = "text/html"),
        (status = 404, description = "No such code", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn problem(Path(code): Path<String>) -> Result<Response, ApiError> {
    let code: Code =
        code.parse().map_err(|_| ApiError::new(Code::NotFound, "There is no problem code of this name."))?;
    let page = ProblemDoc { page: PageLayout::public(code.as_str()), code, text: markdown(code.page()) };
    Ok(Html(page.render().map_err(ApiError::internal)?).into_response())
}

/// Renders Markdown that is part of this program. It is not sanitised.
fn markdown(text: &str) -> String {
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, pulldown_cmark::Parser::new(text));
    html
}

#[derive(Template)]
#[template(path = "problem_doc.html")]
struct ProblemDoc {
    page: PageLayout,
    code: Code,
    text: String,
}

#[derive(Template)]
#[template(path = "docs_example.html")]
struct ExamplePage {
    page: PageLayout,
    id: String,
    request: String,
    response: String,
}

/// The page with an example of an operation: a request with curl, and its response.
pub(crate) async fn example_page(
    State(app): State<SharedApp>,
    Extension(document): Extension<Arc<ApiDocument>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let operation = example::find(as_json(&document), &id);
    let operation =
        operation.ok_or_else(|| ApiError::new(Code::NotFound, "There is no operation of this name."))?;
    let page = ExamplePage {
        page: PageLayout::public(&format!("Example: {}", operation.title())),
        request: operation.request(&app.public_url.origin(), app.tokens.is_some()),
        response: operation.response(),
        id,
    };
    Ok(Html(page.render().map_err(ApiError::internal)?).into_response())
}

/// The document as JSON, which is what its readers get.
fn as_json(document: &ApiDocument) -> &'static Value {
    static JSON: OnceLock<Value> = OnceLock::new();
    JSON.get_or_init(|| serde_json::to_value(document.openapi()).unwrap_or_default())
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs {
    page: PageLayout,
    intro: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
    codes: &'static [Code],
}

/// The operations of one tag.
struct Group {
    name: String,
    about: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    /// Whether it needs no token.
    public: bool,
    parameters: Vec<Field>,
    body: Vec<Field>,
    responses: Vec<ResponseDoc>,
}

/// A parameter of a request or a property of an object.
struct Field {
    name: String,
    /// Where a parameter is: path, query or header; empty for a property.
    place: String,
    type_name: TypeName,
    required: bool,
    about: String,
}

/// The name of a type, and of its schema when it has one.
struct TypeName {
    name: String,
    schema: Option<String>,
}

struct ResponseDoc {
    status: String,
    about: String,
    type_name: Option<TypeName>,
}

struct Schema {
    name: String,
    about: String,
    fields: Vec<Field>,
    /// The values of an enumeration.
    values: String,
}

/// The page; the document does not change while the program runs.
static PAGE: OnceLock<String> = OnceLock::new();

fn render(document: &Value) -> String {
    let page = Docs {
        page: PageLayout::public("API"),
        intro: markdown(text(&document["info"]["description"])),
        groups: groups(document),
        schemas: schemas(document),
        codes: Code::ALL,
    };
    page.render().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn groups(document: &Value) -> Vec<Group> {
    let of_tag = |tag: &str| {
        let paths = entries(&document["paths"]);
        let all = paths.flat_map(|(path, item)| entries(item).map(move |(method, op)| (path, method, op)));
        all.filter(|(.., op)| items(&op["tags"]).any(|t| text(t) == tag))
            .map(|(path, method, op)| operation(document, path, method, op))
            .collect()
    };
    items(&document["tags"])
        .map(|tag| Group {
            name: text(&tag["name"]).to_owned(),
            about: text(&tag["description"]).to_owned(),
            operations: of_tag(text(&tag["name"])),
        })
        .collect()
}

fn operation(document: &Value, path: &str, method: &str, op: &Value) -> Operation {
    let body = &op["requestBody"]["content"]["application/json"]["schema"];
    let parameters = items(&op["parameters"]).map(|p| Field {
        name: text(&p["name"]).to_owned(),
        place: text(&p["in"]).to_owned(),
        type_name: type_name(&p["schema"]),
        required: p["required"] == true,
        about: text(&p["description"]).to_owned(),
    });
    let responses = entries(&op["responses"]).map(|(status, response)| ResponseDoc {
        status: status.clone(),
        about: text(&response["description"]).to_owned(),
        type_name: entries(&response["content"]).next().map(|(_, content)| type_name(&content["schema"])),
    });
    Operation {
        id: text(&op["operationId"]).to_owned(),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&op["summary"]).to_owned(),
        description: markdown(text(&op["description"])),
        public: items(&op["security"]).any(|s| s.as_object().is_some_and(serde_json::Map::is_empty)),
        parameters: parameters.collect(),
        body: type_name(body)
            .schema
            .map(|name| fields(&document["components"]["schemas"][name]))
            .unwrap_or_default(),
        responses: responses.collect(),
    }
}

fn schemas(document: &Value) -> Vec<Schema> {
    entries(&document["components"]["schemas"])
        .map(|(name, schema)| Schema {
            name: name.clone(),
            about: markdown(text(&schema["description"])),
            fields: fields(schema),
            values: items(&schema["enum"]).map(text).collect::<Vec<_>>().join(", "),
        })
        .collect()
}

fn fields(schema: &Value) -> Vec<Field> {
    let required: Vec<&str> = items(&schema["required"]).map(text).collect();
    entries(&schema["properties"])
        .map(|(name, field)| Field {
            name: name.clone(),
            place: String::new(),
            type_name: type_name(field),
            required: required.contains(&name.as_str()),
            about: text(&field["description"]).to_owned(),
        })
        .collect()
}

fn type_name(schema: &Value) -> TypeName {
    if let Some(name) = text(&schema["$ref"]).rsplit('/').next().filter(|n| !n.is_empty()) {
        return TypeName { name: name.to_owned(), schema: Some(name.to_owned()) };
    }
    for keyword in ["oneOf", "anyOf", "allOf"] {
        let mut parts = items(&schema[keyword]).map(type_name);
        if let Some(found) = parts.find(|k| k.name != "null") {
            return found;
        }
    }
    if schema["type"] == "array" {
        let item = type_name(&schema["items"]);
        return TypeName { name: format!("list of {}", item.name), schema: item.schema };
    }
    let name = match &schema["type"] {
        Value::Array(names) => {
            names.iter().map(text).filter(|n| *n != "null").collect::<Vec<_>>().join(" or ")
        }
        name => text(name).to_owned(),
    };
    TypeName { name, schema: None }
}
