//! The request body that a form makes.

use serde_json::{Map, Value, json};
use wpclone_task::schema::FieldKind;

use crate::dashboard::new_task::Form;
use crate::dashboard::new_task::fields::{DESTINATION, Field, TO_CLONE, TO_TARGET};
use crate::http::body::FormBody;

/// The request body that a form stands for: what a client of the API would send.
pub(super) fn request_body(form: Form, body: &FormBody) -> Value {
    let to_target = body.field(DESTINATION) == Some(TO_TARGET);
    let destination = if to_target { TO_TARGET } else { TO_CLONE };
    let mut request = Map::new();
    let groups = form.groups().iter();
    let groups = groups.filter(|group| group.destination.is_empty() || group.destination == destination);
    let fields = groups.flat_map(|group| form.fields_of(group));
    for field in fields.filter(|field| field.name() != DESTINATION) {
        let value = field_value(field, body.field(field.name()));
        match (field.name().split_once('.'), value) {
            (None, Some(value)) => drop(request.insert(field.name().to_owned(), value)),
            (Some((object, name)), value) => {
                // The object is there even when it is empty, so that its missing fields are reported.
                let object = request.entry(object).or_insert_with(|| json!({}));
                object
                    .as_object_mut()
                    .zip(value)
                    .map(|(object, value)| object.insert(name.to_owned(), value));
            }
            (None, None) => {}
        }
    }
    Value::Object(request)
}

/// A field's value in the request; `None` for one that was left empty.
fn field_value(field: Field, sent: Option<&str>) -> Option<Value> {
    match field.declared.kind {
        FieldKind::Boolean { .. } => Some(sent.is_some().into()),
        FieldKind::Integer { .. } => {
            let text = sent.map(str::trim).filter(|text| !text.is_empty())?;
            // The parser reports what is not a number.
            Some(text.parse::<u64>().map_or_else(|_| text.into(), Value::from))
        }
        _ => sent.filter(|text| !text.is_empty()).map(Value::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fields_of_the_chosen_destination_are_sent() {
        let mut fields = vec![
            ("source.url", "https://a.example"),
            ("source.username", "admin"),
            ("source.password", " p "),
            ("ttl_minutes", " 30 "),
            ("isolation", "dedicated"),
            ("target.url", "https://b.example"),
            ("target.username", ""),
            ("remove_migrator", "true"),
            ("callback_url", ""),
        ];
        let source = json!({"url": "https://a.example", "username": "admin", "password": " p "});
        assert_eq!(
            request_body(Form::Clone, &FormBody::of(&fields)),
            json!({
                "source": source, "ttl_minutes": 30, "isolation": "dedicated", "remove_migrator": true,
                "copy_unprefixed_tables": false,
            })
        );
        fields.push((DESTINATION, TO_TARGET));
        fields.retain(|(name, _)| *name != "remove_migrator");
        fields.push(("copy_unprefixed_tables", "true"));
        assert_eq!(
            request_body(Form::Clone, &FormBody::of(&fields)),
            json!({
                "source": source, "target": {"url": "https://b.example"}, "remove_migrator": false,
                "copy_unprefixed_tables": true,
            })
        );
    }

    #[test]
    fn an_empty_form_makes_a_request_that_names_every_missing_field() {
        let faults = Form::Clone.read(request_body(Form::Clone, &FormBody::of(&[(DESTINATION, TO_TARGET)])));
        let pointers: Vec<_> = faults.unwrap_err().into_iter().map(|fault| fault.pointer).collect();
        let logins = ["source", "target"];
        let expected =
            logins.map(|site| ["url", "username", "password"].map(|name| format!("/{site}/{name}")));
        assert_eq!(pointers, expected.concat());
    }
}
