//! A task's result: the outputs of its steps, merged.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// Merges the output of a later step into the result: where both have an object, its members are merged too; else the
/// later value replaces the earlier one.
pub fn merge_output(result: &mut Map<String, Value>, output: Map<String, Value>) {
    for (name, value) in output {
        match (result.get_mut(&name), value) {
            (Some(Value::Object(result)), Value::Object(output)) => merge_output(result, output),
            (Some(result), value) => *result = value,
            (None, value) => drop(result.insert(name, value)),
        }
    }
}

/// Puts a secret at its JSON pointer (RFC 6901). A result without that field is left as it is.
pub fn insert_secret(result: &mut Map<String, Value>, pointer: &str, secret: &SecretString) {
    let mut fields = pointer.split('/').skip(1);
    let Some(mut field) = fields.next().and_then(|first| result.get_mut(first)) else { return };
    for name in fields {
        let Some(member) = field.get_mut(name) else { return };
        field = member;
    }
    *field = Value::from(secret.expose_secret());
}
