//! A request or result as rows of a table, for people.

use serde_json::{Map, Value};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadableField {
    /// Names joined by dots, such as `clone.url`.
    pub path: String,
    /// The value as text; `None` for null, which stands for a secret that is not shown.
    pub text: Option<String>,
}

/// Depth up to which each field of an object is a row. Deeper objects are one row.
const DEPTH: usize = 3;
/// Depth from which an object of counts or flags alone is one row, such as `3 theme, 1 cache`.
const COMPACT_DEPTH: usize = 2;

/// Prefix of what is known of a site ([`crate::SiteFacts`]). Null is not a secret there.
const FACTS: &str = ".facts.";
/// The compared pages of a source and of its copy: too long for a row. What differs is listed beside them.
const PAGES: &str = ".pages";
/// The origins that the pages of a copy lead to or load from. Each is a row.
const HOSTS: &str = "verification.hosts";
/// Fields that come first because people need them first.
const FIRST: [&str; 4] = ["clone.url", "clone.username", "clone.password", "clone.expires_at"];

/// The fields of a result or a request in order. Fields of a nested object are prefixed with the object's name.
#[must_use]
pub fn readable(object: &Map<String, Value>) -> Vec<ReadableField> {
    let mut fields = Vec::new();
    collect(object, "", 1, &mut fields);
    fields.sort_by_key(|field| FIRST.iter().position(|name| *name == field.path).unwrap_or(FIRST.len()));
    fields
}

fn collect(object: &Map<String, Value>, before: &str, depth: usize, fields: &mut Vec<ReadableField>) {
    for (name, value) in object {
        let path = format!("{before}{name}");
        match value {
            Value::Array(_) if path.ends_with(PAGES) => {}
            Value::Array(hosts) if path == HOSTS && !hosts.is_empty() => {
                fields.extend(hosts.iter().map(|it| ReadableField { path: path.clone(), text: host(it) }));
            }
            Value::Object(inner) if depth < DEPTH && !(depth >= COMPACT_DEPTH && is_compact(inner)) => {
                collect(inner, &format!("{path}."), depth + 1, fields);
            }
            value if before.ends_with(FACTS) => {
                fields.push(ReadableField { text: Some(fact(name, value)), path })
            }
            value => fields.push(ReadableField { text: text(value), path }),
        }
    }
}

/// Whether an object is readable as one row: counts or flags alone, or nothing.
fn is_compact(object: &Map<String, Value>) -> bool {
    object.values().all(Value::is_number) || object.values().all(Value::is_boolean)
}

/// A fact of a site, with its unit.
fn fact(name: &str, value: &Value) -> String {
    match (name, value.as_u64()) {
        ("memory_limit", Some(bytes)) => format!("{} MiB", bytes >> 20),
        ("memory_limit", None) if value.is_null() => "no limit".to_owned(),
        ("max_execution_time", Some(0)) => "no limit".to_owned(),
        ("max_execution_time", Some(seconds)) => format!("{seconds} s"),
        _ => text(value).unwrap_or_else(|| "unknown".to_owned()),
    }
}

/// An origin that pages of a copy lead to or load from, such as `https://cdn.example (front page loads …)`.
fn host(value: &Value) -> Option<String> {
    let known = |name| value.get(name).and_then(Value::as_str);
    let (Some(origin), Some(page)) = (known("origin"), known("page")) else { return text(value) };
    let source = if value.get("is_source") == Some(&Value::Bool(true)) { ", the source" } else { "" };
    Some(match known("requested") {
        Some(address) => format!("{origin}{source} ({page} loads {address})"),
        None => format!("{origin}{source} ({page} leads there)"),
    })
}

fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => joined(items.iter().filter_map(text), "; "),
        Value::Object(inner) => joined(inner.iter().map(|(name, value)| named(name, value)), ", "),
    })
}

/// `3 theme` for a count, otherwise `name: value`.
fn named(name: &str, value: &Value) -> String {
    let name = name.replace(['_', '-'], " ");
    match value {
        Value::Number(number) => format!("{number} {name}"),
        value => format!("{name}: {}", text(value).unwrap_or_default()),
    }
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(between) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_fields_are_rows_and_counts_and_flags_are_one_row() {
        let result = json!({
            "clone": {"url": "http://a", "password": null, "effective_isolation": {"own_user": true, "own_network": false}},
            "source_api_key": null,
            "source": {"url": "http://b", "facts": {
                "php": "8.2.7", "memory_limit": 268_435_456, "max_execution_time": 30, "max_input_vars": null,
            }},
            "fidelity": {"rows": 3, "unreplaced_addresses": {"root-relative": 2, "unreadable": 1}, "omitted": {}, "warnings": ["a", "b"]},
            "verification": {"differences": [], "pages": [{"page": "x"}], "hosts": [
                {"origin": "http://c", "page": "front page", "is_source": false, "requested": "http://c/x.js"},
                {"origin": "http://b", "page": "page p/1", "is_source": true},
                {"origin": "http://d", "is_source": false},
            ]},
        });
        let rows = readable(result.as_object().unwrap());
        let rows: Vec<String> =
            rows.into_iter().map(|f| format!("{} = {}", f.path, f.text.unwrap_or("?".into()))).collect();
        insta::assert_json_snapshot!(rows, @r#"
        [
          "clone.url = http://a",
          "clone.password = ?",
          "clone.effective_isolation = own network: no, own user: yes",
          "fidelity.omitted = none",
          "fidelity.rows = 3",
          "fidelity.unreplaced_addresses = 2 root relative, 1 unreadable",
          "fidelity.warnings = a; b",
          "source.facts.max_execution_time = 30 s",
          "source.facts.max_input_vars = unknown",
          "source.facts.memory_limit = 256 MiB",
          "source.facts.php = 8.2.7",
          "source.url = http://b",
          "source_api_key = ?",
          "verification.differences = none",
          "verification.hosts = http://c (front page loads http://c/x.js)",
          "verification.hosts = http://b, the source (page p/1 leads there)",
          "verification.hosts = is source: no, origin: http://d"
        ]
        "#);
        let none = json!({"verification": {"hosts": []}});
        assert_eq!(readable(none.as_object().unwrap())[0].text.as_deref(), Some("none"));
    }
}
