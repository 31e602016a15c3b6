//! A result as rows of a table, for people.

use serde_json::{Map, Value};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadableField {
    /// Where it stands: names with dots between them, such as `clone.url`.
    pub path: String,
    /// What stands there; `None` for null, which a secret is that is not shown.
    pub text: Option<String>,
}

/// How deep objects become rows of their own; deeper ones are one row, such as `3 theme, 1 cache`.
const DEPTH: usize = 2;

/// What is needed first, and so stands first.
const FIRST: [&str; 4] = ["clone.url", "clone.username", "clone.password", "clone.expires_at"];

/// The fields of a result or a request in order, those of objects within it with the object's name before theirs.
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
            Value::Object(inner) if depth < DEPTH => collect(inner, &format!("{path}."), depth + 1, fields),
            value => fields.push(ReadableField { text: text(value), path }),
        }
    }
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

/// `3 theme` of a count, else `name: value`.
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
    fn a_result_becomes_rows() {
        let result = json!({
            "clone": {"url": "http://a", "password": null, "separation": {"own_user": true, "own_network": false}},
            "source_api_key": null,
            "fidelity": {"rows": 3, "left_over": {"root-relative": 2, "unreadable": 1}, "left_out": {}, "warnings": ["a", "b"]},
        });
        let rows = readable(result.as_object().unwrap());
        let rows: Vec<String> =
            rows.into_iter().map(|f| format!("{} = {}", f.path, f.text.unwrap_or("?".into()))).collect();
        insta::assert_json_snapshot!(rows, @r#"
        [
          "clone.url = http://a",
          "clone.password = ?",
          "clone.separation = own network: no, own user: yes",
          "fidelity.left_out = none",
          "fidelity.left_over = 2 root relative, 1 unreadable",
          "fidelity.rows = 3",
          "fidelity.warnings = a; b",
          "source_api_key = ?"
        ]
        "#);
    }
}
