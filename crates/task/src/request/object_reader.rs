//! Reading a JSON object field by field, so that every fault is reported at once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema::Field;
use crate::UnknownName;

/// A fault of a request's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The field as a JSON pointer (RFC 6901); empty for the whole body.
    pub pointer: String,
    /// What is wrong with it, without the value that was sent.
    pub detail: String,
}

/// Every fault of a request's body; never empty.
pub type FieldErrors = Vec<FieldError>;

/// A JSON object being read: returns its fields, collects faults, and knows which fields were never read.
pub(crate) struct ObjectReader {
    object: Map<String, Value>,
    errors: FieldErrors,
    /// The object's own JSON pointer; empty for the body.
    pointer: String,
}

impl ObjectReader {
    /// # Errors
    /// The body is no object.
    pub(crate) fn new(body: Value) -> Result<Self, FieldErrors> {
        match body {
            Value::Object(object) => Ok(Self { object, errors: Vec::new(), pointer: String::new() }),
            _ => Err(vec![FieldError { pointer: String::new(), detail: "must be a JSON object".into() }]),
        }
    }

    /// Whether a field is present and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether a field is an object.
    pub(crate) fn has_object(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(Value::is_object)
    }

    /// Reports a fault of a field.
    pub(crate) fn report(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = self.pointer_to(name);
        self.errors.push(FieldError { pointer, detail: detail.into() });
    }

    /// Drops a field, so that it does not count as unknown.
    pub(crate) fn ignore(&mut self, name: &str) {
        self.object.remove(name);
    }

    /// A string, or the field's default, as `parse` understands it.
    pub(crate) fn text<T>(
        &mut self,
        field: &Field,
        parse: impl FnOnce(String) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(field, |value| match value {
            Value::String(text) => parse(text),
            _ => Err("must be a string".to_owned()),
        })
    }

    /// One of the names of a `Choice`.
    pub(crate) fn choice<T: std::str::FromStr<Err = UnknownName>>(&mut self, field: &Field) -> Option<T> {
        self.text(field, |text| text.parse().map_err(|e: UnknownName| e.to_string()))
    }

    /// A whole number, or the field's default, as `parse` understands it.
    pub(crate) fn integer<T>(
        &mut self,
        field: &Field,
        parse: impl FnOnce(u64) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(field, |value| {
            let number = value.as_u64().ok_or_else(|| "must be a whole number".to_owned());
            number.and_then(parse)
        })
    }

    /// True or false.
    pub(crate) fn boolean(&mut self, field: &Field) -> Option<bool> {
        self.parsed(field, |value| value.as_bool().ok_or_else(|| "must be true or false".to_owned()))
    }

    /// An object within this one, read by `read`. Its faults become this one's.
    pub(crate) fn object<T>(
        &mut self,
        field: &Field,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let pointer = self.pointer_to(field.name);
        let object = self.parsed(field, |value| match value {
            Value::Object(object) => Ok(object),
            _ => Err("must be an object".to_owned()),
        })?;
        let mut inner = Self { object, errors: Vec::new(), pointer };
        let read = read(&mut inner);
        inner.finish(read).map_err(|errors| self.errors.extend(errors)).ok()
    }

    /// What was read, or every fault, one for each field that was never read included.
    pub(crate) fn finish<T>(mut self, read: Option<T>) -> Result<T, FieldErrors> {
        let unknown: Vec<String> = self.object.keys().take(20).cloned().collect();
        for name in unknown {
            self.report(&name, "is not a field of this request");
        }
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(self.errors),
        }
    }

    /// The field's value or default as `parse` understands it; `None` too when an optional field is absent.
    fn parsed<T>(&mut self, field: &Field, parse: impl FnOnce(Value) -> Result<T, String>) -> Option<T> {
        let value = self.object.remove(field.name).filter(|value| !value.is_null());
        let parsed = match value.or_else(|| field.default()) {
            Some(value) => parse(value),
            None if field.required => Err("is required".to_owned()),
            None => return None,
        };
        parsed.map_err(|detail| self.report(field.name, detail)).ok()
    }

    fn pointer_to(&self, name: &str) -> String {
        // RFC 6901, section 3. The client chose the name: bounded.
        let name: String = name.chars().take(100).collect();
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }
}
