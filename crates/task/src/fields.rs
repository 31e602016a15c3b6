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
}

impl Fields {
    /// # Errors
    /// A body that is not an object.
    pub(crate) fn of(body: Value) -> Result<Self, Faults> {
        match body {
            Value::Object(object) => Ok(Self { object, faults: Vec::new() }),
            _ => Err(vec![Fault { pointer: String::new(), detail: "must be a JSON object".into() }]),
        }
    }

    /// Whether a field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault { pointer: pointer(name), detail: detail.into() });
    }

    /// A text that has to be there; `read` makes it into what is wanted or says why not.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(String) -> Result<T, String>,
    ) -> Option<T> {
        match self.object.remove(name) {
            None | Some(Value::Null) => {
                self.fault(name, "is required");
                None
            }
            Some(value) => self.read(name, value, read),
        }
    }

    /// A text that may be absent or null.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        default: T,
        read: impl FnOnce(String) -> Result<T, String>,
    ) -> Option<T> {
        match self.object.remove(name) {
            None | Some(Value::Null) => Some(default),
            Some(value) => self.read(name, value, read),
        }
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

    /// Every fault so far, and one for each field that nobody asked for.
    pub(crate) fn finish(mut self) -> Faults {
        let unknown: Vec<String> = self.object.keys().take(20).cloned().collect();
        for name in unknown {
            self.fault(&name, "is not a field of this request");
        }
        self.faults
    }
}

fn pointer(name: &str) -> String {
    // RFC 6901, section 3. The name comes from the client: bounded.
    let name: String = name.chars().take(100).collect();
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}
