//! Cursors of paged responses.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::kept_json::Bounded;

/// An opaque position in paged content. May be stored and sent back later. One is kept for each table, so it is kept as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor(String);

impl Cursor {
    /// The maximum length as JSON, in bytes.
    pub const MOST: usize = 1024;
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bounded::<{ Self::MOST / 4 }>(value) = Bounded::deserialize(deserializer)?;
        let text = value.to_string();
        if !value.is_object() || text.len() > Self::MOST {
            return Err(D::Error::custom("not a cursor"));
        }
        Ok(Self(text))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}
