//! One POST to a callback address: through an egress proxy of its own, without redirects, bounded in time and size.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::message::Message;
use crate::net::{ConnectOutcome, EgressProxy, EgressRules, PRODUCT, certificate_fault, proxied_client};

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
pub(super) async fn post(url: Url, message: Message, egress: EgressRules, limit: Duration) -> Response {
    let end = Instant::now() + limit;
    // A proxy of its own, which records this very connection only.
    let proxy = match EgressProxy::start(egress).await {
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
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A receiver that sends this once and then a part again and again, `pause` apart, as long as it is read. Returns its
    /// address and how many bytes it has sent.
    async fn endless(once: &'static str, again: Bytes, pause: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((mut visitor, _)) = listener.accept().await {
                let _ = visitor.read(&mut [0; 4096]).await;
                let _ = visitor.write_all(once.as_bytes()).await;
                while visitor.write_all(&again).await.is_ok() {
                    counter.fetch_add(again.len(), Ordering::SeqCst);
                    tokio::time::sleep(pause).await;
                }
            }
        });
        (address, sent)
    }

    /// Posts to a receiver on loopback, and returns the outcome and how long it took.
    async fn post_to(address: SocketAddr, limit: Duration) -> (Response, Duration) {
        let networks: crate::net::AllowedNetworks = "127.0.0.1".parse().unwrap();
        let egress = EgressRules { networks, ..EgressRules::default() };
        let message = Message { headers: Vec::new(), body: Bytes::from_static(b"{}") };
        let started = Instant::now();
        let response = post(format!("http://{address}/").parse().unwrap(), message, egress, limit).await;
        (response, started.elapsed())
    }

    #[tokio::test]
    async fn of_an_endless_response_only_the_beginning_is_read() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = Bytes::from(format!("10000\r\n{}\r\n", "x".repeat(0x10000)));
        let (address, sent) = endless(head, chunk, Duration::ZERO).await;
        let (response, took) = post_to(address, Duration::from_secs(120)).await;
        assert_eq!(response, Response::Status(200, None));
        assert!(took < Duration::from_secs(90), "{took:?}");
        // What was not read is in the buffers of sockets and of the proxy.
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < 64 << 20, "{sent}");
    }

    #[tokio::test]
    async fn endless_headers_end_the_request() {
        let header = Bytes::from(format!("X-Header: {}\r\n", "x".repeat(8000)));
        let (address, sent) = endless("HTTP/1.1 200 OK\r\n", header, Duration::ZERO).await;
        let (response, took) = post_to(address, Duration::from_secs(120)).await;
        assert!(matches!(response, Response::Failed(_)), "{response:?}");
        assert!(took < Duration::from_secs(90) && sent.load(Ordering::SeqCst) < 64 << 20, "{took:?}");
    }

    #[tokio::test]
    async fn a_response_that_trickles_in_ends_at_the_deadline() {
        let byte = Bytes::from_static(b"x");
        let (address, _) = endless("HTTP/1.1 200 OK\r\nX: ", byte, Duration::from_millis(50)).await;
        let (response, took) = post_to(address, Duration::from_secs(2)).await;
        assert!(matches!(&response, Response::Failed(why) if why.contains("within 2 s")), "{response:?}");
        assert!(took < Duration::from_secs(60), "{took:?}");
    }

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
