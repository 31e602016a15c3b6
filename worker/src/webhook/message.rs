//! The message of a webhook: a small body that is the same for every attempt, and signed headers.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use wpclone_queue::Delivery;
use wpclone_service::webhook::WebhookSecrets;
use wpclone_task::{Code, Kind, State, TaskId};

/// A message, ready to send.
pub(super) struct Message {
    /// Names and values of its headers.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// The body. Its fields are serialised and signed in this order.
#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    type_: String,
    timestamp: Timestamp,
    data: Data,
}

#[derive(Serialize)]
struct Data {
    id: TaskId,
    kind: Kind,
    state: State,
    created_at: Timestamp,
    finished_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemSummary>,
    href: String,
}

#[derive(Serialize)]
struct ProblemSummary {
    code: Code,
    title: &'static str,
}

impl Message {
    /// `id`: the same for every attempt. `now`: the time of this one.
    ///
    /// # Errors
    /// Never: every field of the body can be serialised.
    pub(super) fn new(
        id: &str,
        delivery: &Delivery,
        secrets: &WebhookSecrets,
        now: Timestamp,
    ) -> serde_json::Result<Self> {
        let body = body(delivery)?;
        let timestamp = now.as_second();
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", secrets.sign(id, timestamp, &body)),
        ];
        Ok(Self { headers, body: body.into() })
    }
}

/// Small on purpose: receivers request the rest with their own token. Nothing in it changes after the task's end.
fn body(delivery: &Delivery) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Body {
        type_: format!("task.{}", delivery.state),
        timestamp: delivery.finished_at,
        data: Data {
            id: delivery.task,
            kind: delivery.kind,
            state: delivery.state,
            created_at: delivery.created_at,
            finished_at: delivery.finished_at,
            problem: delivery.code.map(|code| ProblemSummary { code, title: code.title() }),
            href: format!("/tasks/{}", delivery.task),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wpclone_queue::Lease;

    use super::*;

    fn delivery(state: State, code: Option<Code>) -> Delivery {
        let task = "019ac0de-0000-7000-8000-000000000001".parse().unwrap();
        let message = "019ac0de-0000-7000-8000-000000000002".parse().unwrap();
        Delivery {
            lease: Lease { task: message, step: 0, token: 1, worker: "w".into() },
            lease_duration: Duration::from_secs(30),
            task,
            owner: "alice".into(),
            shares_slots: false,
            kind: Kind::Setup,
            state,
            code,
            created_at: "2026-11-01T10:00:00.5Z".parse().unwrap(),
            finished_at: "2026-11-01T10:00:07.25Z".parse().unwrap(),
            sealed_callback: String::new(),
            traceparent: None,
            attempts: 0,
            waited: Duration::ZERO,
        }
    }

    fn text(delivery: &Delivery) -> String {
        String::from_utf8(body(delivery).unwrap()).unwrap()
    }

    #[test]
    fn the_body_is_small_and_names_the_task() {
        assert_eq!(
            text(&delivery(State::Succeeded, None)),
            r#"{"type":"task.succeeded","timestamp":"2026-11-01T10:00:07.25Z","data":{"id":"019ac0de-0000-7000-8000-000000000001","kind":"setup","state":"succeeded","created_at":"2026-11-01T10:00:00.5Z","finished_at":"2026-11-01T10:00:07.25Z","href":"/tasks/019ac0de-0000-7000-8000-000000000001"}}"#
        );
        let failed = text(&delivery(State::Failed, Some(Code::NotWordPress)));
        assert!(failed.starts_with(r#"{"type":"task.failed","#), "{failed}");
        assert!(
            failed.contains(
                r#""problem":{"code":"NOT_WORDPRESS","title":"There is no WordPress at this URL"}"#
            )
        );
        assert!(text(&delivery(State::Cancelled, None)).starts_with(r#"{"type":"task.cancelled","#));
    }

    #[test]
    fn attempts_differ_only_in_time_and_signature() {
        let secrets: WebhookSecrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let delivery = delivery(State::Succeeded, None);
        let at = |second| {
            let now = Timestamp::from_second(second).unwrap();
            Message::new("msg_1", &delivery, &secrets, now).unwrap()
        };
        let (first, second) = (at(1_614_265_330), at(1_614_265_999));
        assert_eq!(first.body, second.body);
        assert_eq!(first.headers[..2], second.headers[..2]);
        assert_eq!(first.headers[1], ("webhook-id", "msg_1".to_owned()));
        assert_eq!(first.headers[2], ("webhook-timestamp", "1614265330".to_owned()));
        assert_ne!(first.headers[3], second.headers[3]);
        assert_eq!(first.headers[3].1, secrets.sign("msg_1", 1_614_265_330, &first.body));
    }
}
