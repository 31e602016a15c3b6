//! One POST to a stranger: through a gate of its own, no redirects, bounded in time and size.

use std::time::{Duration, SystemTime};

use crate::net::AllowedNetworks;
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::message::Message;
use crate::net::{Gate, Outcome, certificate_fault, client};

const USER_AGENT: &str = concat!("wpclone/", env!("CARGO_PKG_VERSION"));
/// How much of an answer's body is taken, so that a receiver that writes one is not cut off; none of it is looked at.
const MAX_BODY: usize = 64 << 10;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A status, and how long the receiver wants to be left alone.
    Status(u16, Option<Duration>),
    /// The address is in a network that we may not call. Nobody was connected to.
    NotAllowed,
    /// No answer; why, without the address.
    None(String),
}

/// Sends it once, within `limit`.
pub(super) async fn post(url: Url, message: Message, networks: AllowedNetworks, limit: Duration) -> Answer {
    let end = Instant::now() + limit;
    // A gate of its own, so that it knows what became of this very connection, which ends with it.
    let gate = match Gate::open(networks).await {
        Ok(gate) => gate,
        Err(error) => return Answer::None(format!("There is no way out to callbacks: {error}.")),
    };
    let place = (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(0));
    match timeout_at(end, send(&gate, url, message)).await {
        Ok(Ok(response)) => {
            let answer = Answer::Status(response.status().as_u16(), retry_after(response.headers()));
            // The status is known; what comes after it changes nothing.
            let _ = timeout_at(end, drain(response)).await;
            answer
        }
        Ok(Err(error)) => explain(&error, gate.latest(&place.0, place.1)),
        Err(_) => Answer::None(format!("The callback address did not answer within {} s.", limit.as_secs())),
    }
}

async fn send(gate: &Gate, url: Url, message: Message) -> reqwest::Result<Response> {
    let client = client(gate, USER_AGENT)?.no_gzip().build()?;
    let request = message.headers.iter().fold(client.post(url), |r, (name, value)| r.header(*name, value));
    request.body(message.body).send().await
}

async fn drain(mut response: Response) {
    let mut taken = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        taken += chunk.len();
        if taken >= MAX_BODY {
            return;
        }
    }
}

/// Why there was no answer. The gate knows better than the client, which sees only that the gate said no.
fn explain(error: &reqwest::Error, visit: Option<Outcome>) -> Answer {
    match visit {
        Some(Outcome::Denied) => Answer::NotAllowed,
        Some(Outcome::Failed(why)) => Answer::None(format!("The callback address cannot be reached: {why}.")),
        _ => match certificate_fault(error) {
            Some(why) => Answer::None(format!("The callback address has no valid certificate: {why}.")),
            None => Answer::None("The callback address broke the connection off.".into()),
        },
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // A date that has passed asks for nothing.
    date.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]))
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_date() {
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert!(asked("Sat, 06 Nov 2094 08:49:37 GMT").unwrap() > Duration::from_secs(365 * 86_400));
        for nothing in ["Sun, 06 Nov 1994 08:49:37 GMT", "", "-5", "soon", "1.5"] {
            assert_eq!(asked(nothing), None, "{nothing}");
        }
    }
}
