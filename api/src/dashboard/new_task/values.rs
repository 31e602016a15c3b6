//! The values of a form's fields: those that were sent, or those of a task's request.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;
use wpclone_queue::TaskRecord;
use wpclone_task::CallbackUrl;
use wpclone_task::schema::FieldKind;

use crate::dashboard::new_task::Form;
use crate::dashboard::new_task::fields::{DESTINATION, Field, TO_CLONE, TO_TARGET};
use crate::http::body::FormBody;

/// The values of a form's fields by name. Secrets are never among them.
#[derive(Default)]
pub(super) struct Values {
    values: BTreeMap<String, String>,
    /// Whether a callback URL was given that has to be entered again.
    pub(super) callback_hidden: bool,
}

impl Values {
    /// The values that were sent.
    pub(super) fn of_form(form: Form, body: &FormBody) -> Self {
        let value = |field: Field| {
            let sent = body.field(field.name());
            let value = match field.declared.kind {
                FieldKind::Boolean { .. } => sent.is_some().to_string(),
                _ if field.declared.is_secret() => return None,
                FieldKind::Url { .. } if has_login(sent?) => return None,
                _ => sent?.to_owned(),
            };
            Some((field.name().to_owned(), value))
        };
        let callback = body.field(CallbackUrl::FIELD).unwrap_or_default();
        Self { values: form.fields().filter_map(value).collect(), callback_hidden: !callback.is_empty() }
    }

    /// The values of a task's request.
    pub(super) fn of_task(task: &TaskRecord) -> Self {
        let mut values = BTreeMap::new();
        let request = serde_json::to_value(&task.request).unwrap_or_default();
        flatten("", &request, &mut values);
        let to_target = request["target"].is_object();
        values.insert(DESTINATION.to_owned(), if to_target { TO_TARGET } else { TO_CLONE }.to_owned());
        Self { values, callback_hidden: task.callback.is_some() }
    }

    /// The value of a field: its default where there is none.
    pub(super) fn get(&self, field: Field) -> String {
        let value = self.values.get(field.name()).cloned();
        value.or_else(|| field.declared.default().map(text_of)).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Whether a URL holds a username or password.
fn has_login(url: &str) -> bool {
    let parsed = Url::parse(url.trim());
    // What cannot be parsed may hold one all the same.
    parsed.map_or(url.contains('@'), |url| !url.username().is_empty() || url.password().is_some())
}

fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&path, value, into);
            }
        }
        Value::Null => {}
        value => drop(into.insert(prefix.to_owned(), text_of(value.clone()))),
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_kept() {
        let fields = [
            ("url", "https://admin:hunter2@a.example"),
            ("username", "admin"),
            ("password", "hunter3"),
            ("callback_url", "https://b.example/?token=hunter4"),
        ];
        let values = Values::of_form(Form::Setup, &FormBody::of(&fields));
        assert!(!format!("{:?}", values.values).contains("hunter"), "{:?}", values.values);
        assert!(values.callback_hidden);
        assert_eq!(values.values["username"], "admin");
    }
}
