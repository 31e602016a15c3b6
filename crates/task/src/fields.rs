//! Reading a JSON object field by field, so that every fault is named at once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole body.
    pub pointer: String,
    /// What, as a sentence without the value that was sent.
    pub detail: String,
}

/// All that is wrong with a request; never empty.
pub type Faults = Vec<Fault>;

/// A JSON object being read: hands out fields, collects faults, knows which fields nobody asked for.
pub(crate) struct Fields {
    object: Map<String, Value>,
    faults: Faults,
    /// Where the object is (RFC 6901); empty for the body.
    at: String,
}

impl Fields {
    /// # Errors
    /// A body that is not an object.
    pub(crate) fn of(body: Value) -> Result<Self, Faults> {
        match body {
            Value::Object(object) => Ok(Self { object, faults: Vec::new(), at: String::new() }),
            _ => Err(vec![Fault { pointer: String::new(), detail: "must be a JSON object".into() }]),
        }
    }

    /// Whether a field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = self.pointer(name);
        self.faults.push(Fault { pointer, detail: detail.into() });
    }

    /// Whether something is wrong with a field.
    pub(crate) fn is_faulty(&self, name: &str) -> bool {
        let pointer = self.pointer(name);
        self.faults.iter().any(|fault| fault.pointer == pointer)
    }

    /// A field that has been dealt with.
    pub(crate) fn ignore(&mut self, name: &str) {
        self.object.remove(name);
    }

    /// A text that has to be there; `read` makes it into what is wanted or says why not.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(String) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.needed(name)?;
        self.read(name, value, read)
    }

    /// A text that may be absent or null.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        default: T,
        read: impl FnOnce(String) -> Result<T, String>,
    ) -> Option<T> {
        match self.take(name) {
            None => Some(default),
            Some(value) => self.read(name, value, read),
        }
    }

    /// A whole number; it has to be there unless there is a default.
    pub(crate) fn number<T>(
        &mut self,
        name: &str,
        default: Option<T>,
        read: impl FnOnce(u64) -> Result<T, String>,
    ) -> Option<T> {
        if default.is_some() && !self.has(name) {
            self.ignore(name);
            return default;
        }
        let value = self.needed(name)?;
        let number = value.as_u64().ok_or_else(|| "must be a whole number".to_owned());
        number.and_then(read).map_err(|detail| self.fault(name, detail)).ok()
    }

    /// Yes or no; it may be absent or null.
    pub(crate) fn flag(&mut self, name: &str, default: bool) -> Option<bool> {
        match self.take(name) {
            None => Some(default),
            Some(Value::Bool(flag)) => Some(flag),
            Some(_) => {
                self.fault(name, "must be true or false");
                None
            }
        }
    }

    /// An object within this one, if it is there and one. Give it back with [`Fields::within`].
    pub(crate) fn object(&mut self, name: &str) -> Option<Self> {
        match self.take(name)? {
            Value::Object(object) => Some(Self { object, faults: Vec::new(), at: self.pointer(name) }),
            _ => {
                self.fault(name, "must be an object");
                None
            }
        }
    }

    /// What was read of an object within this one; its faults are this one's.
    pub(crate) fn within<T>(&mut self, read: Option<T>, inner: Self) -> Option<T> {
        match inner.finish(read) {
            Ok(read) => Some(read),
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }

    /// What was read, or every fault, one for each field that nobody asked for among them.
    pub(crate) fn finish<T>(mut self, read: Option<T>) -> Result<T, Faults> {
        let unknown: Vec<String> = self.object.keys().take(20).cloned().collect();
        for name in unknown {
            self.fault(&name, "is not a field of this request");
        }
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(self.faults),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    fn needed(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            self.fault(name, "is required");
        }
        value
    }

    fn read<T>(
        &mut self,
        name: &str,
        value: Value,
        read: impl FnOnce(String) -> Result<T, String>,
    ) -> Option<T> {
        let Value::String(text) = value else {
            self.fault(name, "must be a string");
            return None;
        };
        read(text).map_err(|detail| self.fault(name, detail)).ok()
    }

    fn pointer(&self, name: &str) -> String {
        // RFC 6901, section 3. The name comes from the client: bounded.
        let name: String = name.chars().take(100).collect();
        format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"))
    }
}
