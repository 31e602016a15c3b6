//! Pages that explain the API: its operations, and each problem code.

use std::sync::{Arc, OnceLock};

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use axum::response::{Html, IntoResponse as _, Response};
use serde_json::Value;
use wpclone_task::{Code, Problem};

use crate::dashboard::layout::Frame;
use crate::http::error::ApiError;
use crate::openapi::ApiDocument;

/// The API's documentation as a page
#[utoipa::path(
    get, path = "/docs", tag = "operations", security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub async fn docs(Extension(document): Extension<Arc<ApiDocument>>) -> Result<Response, ApiError> {
    let page = PAGE.get_or_init(|| render(&document));
    Ok(Html(page.as_str()).into_response())
}

/// What a problem code means
///
/// A page that says what happened and what to do. `type` in a problem leads here.
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
    let page = ProblemDoc { frame: Frame::open(code.as_str()), code, text: markdown(code.page()) };
    Ok(Html(page.render().map_err(ApiError::internal)?).into_response())
}

/// Our own Markdown as HTML. The page's first heading becomes the page's.
fn markdown(text: &str) -> String {
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, pulldown_cmark::Parser::new(text));
    html
}

#[derive(Template)]
#[template(path = "problem_doc.html")]
struct ProblemDoc {
    frame: Frame,
    code: Code,
    text: String,
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs {
    frame: Frame,
    intro: String,
    groups: Vec<Group>,
    schemas: Vec<Shape>,
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
    open: bool,
    parameters: Vec<Field>,
    body: Vec<Field>,
    answers: Vec<Answer>,
}

/// A parameter of a request or a field of an object.
struct Field {
    name: String,
    place: String,
    kind: Kind,
    required: bool,
    about: String,
}

/// A type: its name, and the shape it leads to when it has one.
struct Kind {
    name: String,
    shape: Option<String>,
}

struct Answer {
    status: String,
    about: String,
    kind: Option<Kind>,
}

struct Shape {
    name: String,
    about: String,
    fields: Vec<Field>,
    values: String,
}

/// The page; the document does not change while the program runs.
static PAGE: OnceLock<String> = OnceLock::new();

fn render(document: &ApiDocument) -> String {
    let document = serde_json::to_value(document.openapi()).unwrap_or_default();
    let page = Docs {
        frame: Frame::open("API"),
        intro: markdown(text(&document["info"]["description"])),
        groups: groups(&document),
        schemas: shapes(&document),
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
        kind: kind(&p["schema"]),
        required: p["required"] == true,
        about: text(&p["description"]).to_owned(),
    });
    let answers = entries(&op["responses"]).map(|(status, answer)| Answer {
        status: status.clone(),
        about: text(&answer["description"]).to_owned(),
        kind: entries(&answer["content"]).next().map(|(_, content)| kind(&content["schema"])),
    });
    Operation {
        id: text(&op["operationId"]).to_owned(),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&op["summary"]).to_owned(),
        description: markdown(text(&op["description"])),
        open: items(&op["security"]).any(|s| s.as_object().is_some_and(serde_json::Map::is_empty)),
        parameters: parameters.collect(),
        body: kind(body)
            .shape
            .map(|name| fields(&document["components"]["schemas"][name]))
            .unwrap_or_default(),
        answers: answers.collect(),
    }
}

fn shapes(document: &Value) -> Vec<Shape> {
    entries(&document["components"]["schemas"])
        .map(|(name, schema)| Shape {
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
            kind: kind(field),
            required: required.contains(&name.as_str()),
            about: text(&field["description"]).to_owned(),
        })
        .collect()
}

fn kind(schema: &Value) -> Kind {
    if let Some(name) = text(&schema["$ref"]).rsplit('/').next().filter(|n| !n.is_empty()) {
        return Kind { name: name.to_owned(), shape: Some(name.to_owned()) };
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        let mut parts = items(&schema[word]).map(kind);
        if let Some(found) = parts.find(|k| k.name != "null") {
            return found;
        }
    }
    if schema["type"] == "array" {
        let inner = kind(&schema["items"]);
        return Kind { name: format!("list of {}", inner.name), shape: inner.shape };
    }
    let name = match &schema["type"] {
        Value::Array(names) => {
            names.iter().map(text).filter(|n| *n != "null").collect::<Vec<_>>().join(" or ")
        }
        name => text(name).to_owned(),
    };
    Kind { name, shape: None }
}
