//! Cursors of paged responses.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// An opaque position in paged content. May be stored and sent back later.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Cursor(Value);

impl Cursor {
    /// The maximum length as JSON, in bytes.
    pub const MOST: usize = 1024;
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !value.is_object() || value.to_string().len() > Self::MOST {
            return Err(D::Error::custom("not a cursor"));
        }
        Ok(Self(value))
    }
}
