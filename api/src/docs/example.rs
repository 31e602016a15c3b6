//! Examples of operations, made of the examples, defaults and types in the OpenAPI document.

use serde_json::{Map, Value};

use crate::docs::{entries, items, text};

/// An operation of the document.
pub(super) struct Operation<'a> {
    document: &'a Value,
    path: &'a str,
    method: &'a str,
    operation: &'a Value,
}

/// The operation of this id.
pub(super) fn find<'a>(document: &'a Value, id: &str) -> Option<Operation<'a>> {
    entries(&document["paths"]).find_map(|(path, methods)| {
        let (method, operation) = entries(methods).find(|(_, operation)| operation["operationId"] == id)?;
        Some(Operation { document, path, method, operation })
    })
}

impl Operation<'_> {
    pub(super) fn title(&self) -> &str {
        text(&self.operation["summary"])
    }

    /// A curl command. `with_token`: whether the API asks for a token.
    pub(super) fn request(&self, origin: &str, with_token: bool) -> String {
        let mut parts = vec!["curl".to_owned()];
        let public = items(&self.operation["security"]).any(|s| s.as_object().is_some_and(Map::is_empty));
        if with_token && !public {
            parts.push("-H \"Authorization: Bearer $WPCLONE_TOKEN\"".into());
        }
        let content = &self.operation["requestBody"]["content"]["application/json"];
        let json = (!content.is_null()).then(|| {
            example_of(content).cloned().unwrap_or_else(|| self.value(&content["schema"], Fields::All))
        });
        match (self.method, &json) {
            ("get", _) | ("post", Some(_)) => {}
            (method, _) => parts.push(format!("-X {}", method.to_uppercase())),
        }
        if self.is_event_stream() {
            parts.push("-N".into());
        }
        if let Some(json) = json {
            parts.push(format!("--json '{}'", pretty(&json)));
        }
        parts.push(format!("{origin}{}", self.example_path()));
        parts.join(" ")
    }

    /// The response with its status and headers.
    pub(super) fn response(&self) -> String {
        let responses = entries(&self.operation["responses"]);
        // An operation that starts work says 202 at once, 200 only where the client waits.
        let success =
            responses.filter(|(status, _)| status.starts_with('2')).max_by_key(|(status, _)| *status);
        let Some((status, response)) = success else { return String::new() };
        let mut lines = vec![format!("HTTP/1.1 {status}")];
        for (name, header) in entries(&response["headers"]).filter(|(name, _)| *name != "Preference-Applied")
        {
            let value = match name.as_str() {
                "Retry-After" => "2".to_owned(),
                "Location" => "/tasks/0198c5a0-7c1e-7d3a-9f52-3b1d2c4e5f60".to_owned(),
                _ => plain(&self.value(&header["schema"], Fields::Required)),
            };
            lines.push(format!("{name}: {value}"));
        }
        if let Some((media_type, content)) = entries(&response["content"]).next() {
            let schema = &content["schema"];
            let value = example_of(content).cloned().unwrap_or_else(|| self.value(schema, Fields::Required));
            lines.push(format!("Content-Type: {media_type}"));
            lines.push(String::new());
            lines.push(match media_type.as_str() {
                "application/json" => pretty(&value),
                "text/event-stream" => {
                    format!("id: 1764000000000-1\ndata: {}\n\n…", self.event().unwrap_or(value))
                }
                _ => text(&response["description"]).to_owned() + " …",
            });
        }
        lines.join("\n")
    }

    fn is_event_stream(&self) -> bool {
        self.operation["responses"]["200"]["content"].get("text/event-stream").is_some()
    }

    /// The data of an event: of a task's stream, or of the stream of all changes.
    fn event(&self) -> Option<Value> {
        let name = if self.path.contains("{id}") { "Event" } else { "Change" };
        let schema = self.document["components"]["schemas"].get(name)?;
        Some(self.value(schema, Fields::Required))
    }

    fn example_path(&self) -> String {
        let mut path = self.path.to_owned();
        for parameter in items(&self.operation["parameters"]).filter(|p| p["in"] == "path") {
            let name = text(&parameter["name"]);
            let example = example_of(parameter).cloned();
            let value = example.unwrap_or_else(|| self.value(&parameter["schema"], Fields::Required));
            let value = match plain(&value) {
                value if value.is_empty() || value == "string" => name.to_uppercase(),
                value => value,
            };
            path = path.replace(&format!("{{{name}}}"), &value);
        }
        path
    }

    /// A value that fits a schema.
    fn value(&self, schema: &Value, fields: Fields) -> Value {
        if let Some(example) = example_of(schema).or_else(|| schema.get("default")) {
            return example.clone();
        }
        if let Some(name) = text(&schema["$ref"]).rsplit('/').next().filter(|name| !name.is_empty()) {
            return self.value(&self.document["components"]["schemas"][name], fields);
        }
        for keyword in ["oneOf", "anyOf", "allOf"] {
            if let Some(variant) = items(&schema[keyword]).find(|variant| variant["type"] != "null") {
                return self.value(variant, fields);
            }
        }
        if let Some(first) = items(&schema["enum"]).next() {
            return first.clone();
        }
        let nullable = items(&schema["type"]).any(|name| name == "null");
        let type_name =
            items(&schema["type"]).chain([&schema["type"]]).find(|name| name.is_string() && *name != "null");
        match type_name.map(text) {
            _ if nullable => Value::Null,
            Some("array") => Value::from(vec![self.value(&schema["items"], fields)]),
            Some("string") => string(text(&schema["format"])).into(),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
            Some("boolean") => false.into(),
            _ => self.object(schema, fields),
        }
    }

    fn object(&self, schema: &Value, fields: Fields) -> Value {
        let required: Vec<&Value> = items(&schema["required"]).collect();
        let is_required = |name: &str| required.iter().any(|other| *other == name);
        let properties = entries(&schema["properties"]).filter_map(|(name, property)| {
            let value = self.value(property, fields);
            // An optional field is shown in a request where the document has an example or a default of it.
            let shown = is_required(name) || fields == Fields::All && is_plain_value(&value);
            shown.then(|| (name.clone(), value))
        });
        Value::Object(properties.collect())
    }
}

/// Which properties of an object an example has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    Required,
    /// Optional ones too, unless they are objects.
    All,
}

fn is_plain_value(value: &Value) -> bool {
    !value.is_null() && !value.is_object()
}

/// The example that the document has of something.
fn example_of(described: &Value) -> Option<&Value> {
    let examples = &described["examples"];
    described.get("example").or_else(|| items(examples).next())
}

fn string(format: &str) -> &'static str {
    match format {
        "uuid" => "0198c5a0-7c1e-7d3a-9f52-3b1d2c4e5f60",
        "date-time" => "2026-11-23T16:31:05.123Z",
        "uri" => "https://example.com",
        _ => "string",
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
