//! Timestamps in JSON: RFC 3339, UTC, milliseconds at most. Reading accepts any precision.

use jiff::Timestamp;
use serde::{Serialize as _, Serializer};

/// The same moment without what is finer than a millisecond, which is what Redis' records keep.
#[must_use]
pub fn to_milliseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    to_milliseconds(*at).serialize(serializer)
}

/// For `#[serde(serialize_with)]` of a timestamp that may be null.
#[expect(clippy::ref_option, reason = "serde passes a reference")]
pub(crate) fn serialize_option<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(to_milliseconds).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Event, Progress, State, StepView};

    #[test]
    fn timestamps_have_at_most_milliseconds() {
        for (exact, shown) in [
            ("2026-11-23T16:31:05.123456789Z", "2026-11-23T16:31:05.123Z"),
            ("2026-11-23T16:31:05.999999Z", "2026-11-23T16:31:05.999Z"),
            ("2026-11-23T17:31:05.5+01:00", "2026-11-23T16:31:05.5Z"),
            ("2026-11-23T16:31:05Z", "2026-11-23T16:31:05Z"),
        ] {
            let at: Timestamp = exact.parse().unwrap();
            let event = Event {
                at,
                state: State::Queued,
                step: None,
                stage: None,
                progress: Progress::default(),
                code: None,
            };
            let json = json!(event);
            assert_eq!(json["at"], shown);
            assert_eq!(serde_json::from_value::<Event>(json).unwrap().at, to_milliseconds(at));
        }
    }

    #[test]
    fn a_timestamp_that_is_null_or_absent_reads_as_none() {
        let step = json!({
            "name": "setup", "stage": "browser", "state": "running", "attempts": 0, "crashes": 0,
            "started_at": "2026-11-23T16:31:05.1234Z", "finished_at": null,
        });
        let read: StepView = serde_json::from_value(step).unwrap();
        assert_eq!(json!(read)["started_at"], "2026-11-23T16:31:05.123Z");
        assert_eq!(json!(read)["finished_at"], serde_json::Value::Null);
        let absent = json!({"name": "a", "stage": "browser", "state": "queued", "attempts": 0, "crashes": 0});
        assert_eq!(serde_json::from_value::<StepView>(absent).unwrap().started_at, None);
    }
}
