//! One POST to a callback address: through an egress proxy of its own, without redirects, bounded in time and size.

use std::time::{Duration, SystemTime};

use crate::net::AllowedNetworks;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::message::Message;
use crate::net::{ConnectOutcome, EgressProxy, PRODUCT, certificate_fault, proxied_client};

/// The most bytes that are read of a response's body, so that its sender is not cut off. They are discarded.
const MAX_BODY: usize = 64 << 10;

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// Answered: the status, and how long the receiver asks to wait.
    Status(u16, Option<Duration>),
    /// The address is in a network that is not allowed. There was no connection.
    NotAllowed,
    /// Not answered; why, without the address.
    Failed(String),
}

/// Sends it once, within `limit`.
pub(super) async fn post(url: Url, message: Message, networks: AllowedNetworks, limit: Duration) -> Response {
    let end = Instant::now() + limit;
    // A proxy of its own, which records this very connection only.
    let proxy = match EgressProxy::start(networks).await {
        Ok(proxy) => proxy,
        Err(error) => return Response::Failed(format!("Callbacks cannot be sent: {error}.")),
    };
    let endpoint = (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(0));
    match timeout_at(end, send(&proxy, url, message)).await {
        Ok(Ok(response)) => {
            let answered = Response::Status(response.status().as_u16(), retry_after(response.headers()));
            // The status is known; the body changes nothing.
            let _ = timeout_at(end, drain(response)).await;
            answered
        }
        Ok(Err(error)) => explain(&error, proxy.last_outcome(&endpoint.0, endpoint.1)),
        Err(_) => {
            Response::Failed(format!("The callback address did not respond within {} s.", limit.as_secs()))
        }
    }
}

async fn send(proxy: &EgressProxy, url: Url, message: Message) -> reqwest::Result<reqwest::Response> {
    let client = proxied_client(proxy, PRODUCT)?.no_gzip().build()?;
    let request = message.headers.iter().fold(client.post(url), |r, (name, value)| r.header(*name, value));
    request.body(message.body).send().await
}

async fn drain(mut response: reqwest::Response) {
    let mut taken = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        taken += chunk.len();
        if taken >= MAX_BODY {
            return;
        }
    }
}

/// Why there was no response. The proxy knows the cause; the client sees only that the proxy rejected the connection.
fn explain(error: &reqwest::Error, outcome: Option<ConnectOutcome>) -> Response {
    match outcome {
        Some(ConnectOutcome::Denied) => Response::NotAllowed,
        Some(ConnectOutcome::Failed(why)) => {
            Response::Failed(format!("The callback address cannot be reached: {why}."))
        }
        _ => match certificate_fault(error) {
            Some(why) => Response::Failed(format!("The callback address has no valid certificate: {why}.")),
            None => Response::Failed("The callback address closed the connection.".into()),
        },
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or an HTTP date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    // A date in the past asks for no delay.
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(value: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]))
    }

    #[test]
    fn a_delay_is_asked_for_in_seconds_or_by_date() {
        assert_eq!(delay("120"), Some(Duration::from_secs(120)));
        assert_eq!(delay("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert!(delay("Sat, 06 Nov 2094 08:49:37 GMT").unwrap() > Duration::from_secs(365 * 86_400));
        for ignored in ["Sun, 06 Nov 1994 08:49:37 GMT", "", "-5", "soon", "1.5"] {
            assert_eq!(delay(ignored), None, "{ignored}");
        }
    }
}
