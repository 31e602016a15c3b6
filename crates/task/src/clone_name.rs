//! The names of clones.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::TaskId;

/// The base32 alphabet of RFC 4648 in lower case: a name is also a DNS label.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `clone-YYYYMMDD-HHMMSS-xxxxxx`: when its task was created (UTC), and six characters of a hash of the task and its
/// run. The same task and run always have the same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^clone-[0-9]{8}-[0-9]{6}-[a-z2-7]{6}$"))]
pub struct CloneName(String);

/// A text that is not the name of a clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a clone's name has the form clone-YYYYMMDD-HHMMSS-xxxxxx")]
pub struct CloneNameError;

impl CloneName {
    /// The name of the clone that this run of a task creates; `run` counts replays.
    #[must_use]
    pub fn derive(created_at: Timestamp, task: TaskId, run: u32) -> Self {
        let hash =
            Sha256::new().chain_update(task.to_string()).chain_update(b"\0").chain_update(run.to_be_bytes());
        let hash = hash.finalize();
        let bits = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let suffix = (0..6).map(|i| char::from(ALPHABET[((bits >> (27 - 5 * i)) & 31) as usize]));
        let time = created_at.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S");
        Self(format!("clone-{time}-{}", suffix.collect::<String>()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CloneName {
    type Err = CloneNameError;

    fn from_str(text: &str) -> Result<Self, CloneNameError> {
        let fits =
            |part: &str, len: usize, allowed: fn(u8) -> bool| part.len() == len && part.bytes().all(allowed);
        let mut parts = text.split('-');
        let found = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        match found {
            [Some("clone"), Some(day), Some(time), Some(mark), None]
                if fits(day, 8, |b| b.is_ascii_digit())
                    && fits(time, 6, |b| b.is_ascii_digit())
                    && fits(mark, 6, |b| ALPHABET.contains(&b)) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(CloneNameError),
        }
    }
}

impl TryFrom<String> for CloneName {
    type Error = CloneNameError;

    fn try_from(text: String) -> Result<Self, CloneNameError> {
        text.parse()
    }
}

impl From<CloneName> for String {
    fn from(name: CloneName) -> Self {
        name.0
    }
}

impl fmt::Display for CloneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CloneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_and_its_run_have_one_name() {
        let at: Timestamp = "2026-11-23T16:31:05.7Z".parse().unwrap();
        let task = |n: u8| format!("0191d5a0-0000-7000-8000-00000000000{n}").parse::<TaskId>().unwrap();
        let name = CloneName::derive(at, task(1), 0);
        assert!(name.as_str().starts_with("clone-20261123-163105-"), "{name}");
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
        assert_eq!(name, CloneName::derive(at, task(1), 0));
        assert_ne!(name, CloneName::derive(at, task(1), 1));
        assert_ne!(name, CloneName::derive(at, task(2), 0));
    }

    #[test]
    fn nothing_else_is_a_name() {
        for text in [
            "",
            "clone-20261123-163105-abcde",
            "clone-20261123-163105-abcdeF",
            "clone-20261123-163105-abcde1",
            "clone-20261123-163105-abcdef-",
            "clone-2026112x-163105-abcdef",
            "../clone-20261123-163105-abcdef",
            "clone-20261123-163105-abcdef/..",
            "clone-20261123-163105-abcdef\0",
        ] {
            assert_eq!(text.parse::<CloneName>(), Err(CloneNameError), "{text:?}");
        }
    }
}
