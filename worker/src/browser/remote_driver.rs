//! A chromedriver that the worker does not start: in a pod it runs with its browsers in a container of its own, so that they
//! have none of the worker's secrets. Both containers share loopback, where the worker's egress proxy listens as well.
//!
//! The driver belongs to one worker. What a worker that was killed has left there is ended by the next one at its start.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::limited_connector::{DriverEndpoint, LimitedConnector};
use super::webdriver::END_LIMIT;

/// The deadline of a question to the driver.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// The deadline of ending all browsers that an earlier worker has left.
const END_ALL_LIMIT: Duration = Duration::from_secs(60);
/// The most sessions that are ended at once. A worker has up to 64 slots.
const MAX_SESSIONS: usize = 100;

/// Where such a driver listens: at a port of the worker's loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteDriver {
    port: u16,
}

/// The URL of a driver is not of this form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("it must be http://127.0.0.1:PORT, where browsers reach the worker's egress proxy")]
pub(crate) struct NotADriver;

impl FromStr for RemoteDriver {
    type Err = NotADriver;

    fn from_str(text: &str) -> Result<Self, NotADriver> {
        let url = Url::parse(text).map_err(|_| NotADriver)?;
        let port = url.port_or_known_default().ok_or(NotADriver)?;
        let driver = Self { port };
        let canonical = Url::parse(&driver.url()).map_err(|_| NotADriver)?;
        if url == canonical { Ok(driver) } else { Err(NotADriver) }
    }
}

impl RemoteDriver {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn url(&self) -> String {
        self.endpoint().url()
    }

    pub(super) fn endpoint(&self) -> DriverEndpoint {
        DriverEndpoint::Tcp { port: self.port }
    }

    /// Whether it takes sessions; else why not.
    pub(super) async fn check(&self) -> Result<(), String> {
        let status = self.ask(Method::GET, "status", QUESTION_LIMIT).await?;
        match status["value"]["ready"].as_bool() {
            Some(true) => Ok(()),
            _ => Err(format!("the driver at {} takes no sessions", self.url())),
        }
    }

    /// Ends all browsers of this driver; returns how many there were. What the driver says of itself is not trusted: it fails
    /// when there are too many of them, or when it takes too long.
    pub(super) async fn end_all(&self) -> Result<usize, String> {
        let too_long = |_| format!("the driver at {} takes too long to end its sessions", self.url());
        timeout(END_ALL_LIMIT, self.end_sessions()).await.map_err(too_long)?
    }

    async fn end_sessions(&self) -> Result<usize, String> {
        let sessions = self.ask(Method::GET, "sessions", QUESTION_LIMIT).await?;
        let sessions = sessions["value"].as_array().into_iter().flatten();
        let ids: Vec<&str> =
            sessions.filter_map(|session| session["id"].as_str()).filter(|id| is_id(id)).collect();
        for id in ids.iter().take(MAX_SESSIONS) {
            self.ask(Method::DELETE, &format!("session/{id}"), END_LIMIT).await?;
        }
        if ids.len() > MAX_SESSIONS {
            return Err(format!("the driver at {} has {} sessions", self.url(), ids.len()));
        }
        Ok(ids.len())
    }

    async fn ask(&self, method: Method, path: &str, limit: Duration) -> Result<Value, String> {
        let base = self.url();
        let failed = |what: &dyn std::fmt::Display| format!("the driver at {base} does not respond: {what}");
        let client = Client::builder(TokioExecutor::new()).build(LimitedConnector::new(self.endpoint()));
        let request = Request::builder().method(method).uri(format!("{base}/{path}"));
        let request = request.body(String::new()).map_err(|error| failed(&error))?;
        let answer = async {
            let response = client.request(request).await.map_err(|error| failed(&error))?;
            let body = response.into_body().collect().await.map_err(|error| failed(&error))?;
            serde_json::from_slice(&body.to_bytes()).map_err(|_| failed(&"its answer is not WebDriver"))
        };
        timeout(limit, answer).await.map_err(|_| failed(&"it takes too long"))?
    }
}

/// Whether it can be a session's id: the browsers' container is not trusted with our requests' paths.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A driver that names this many sessions, and how many of them it was told to end.
    async fn driver_with(sessions: usize) -> (RemoteDriver, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let driver = RemoteDriver { port: listener.local_addr().unwrap().port() };
        let ended = Arc::<AtomicUsize>::default();
        let list: Vec<Value> =
            (0..sessions).map(|n| serde_json::json!({"id": format!("{n:032x}")})).collect();
        let answer = serde_json::json!({"value": list}).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        tokio::spawn({
            let ended = Arc::clone(&ended);
            async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let (mut request, mut part) = (Vec::new(), [0; 1024]);
                    while !request.ends_with(b"\r\n\r\n") {
                        let count = stream.read(&mut part).await.unwrap();
                        request.extend_from_slice(&part[..count]);
                    }
                    ended.fetch_add(usize::from(request.starts_with(b"DELETE /session/")), Ordering::Relaxed);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        (driver, ended)
    }

    #[tokio::test]
    async fn no_more_sessions_are_ended_than_a_worker_can_have_left() {
        let (driver, ended) = driver_with(3).await;
        assert_eq!(driver.end_all().await, Ok(3));
        assert_eq!(ended.load(Ordering::Relaxed), 3);
        let (driver, ended) = driver_with(MAX_SESSIONS + 1).await;
        assert!(driver.end_all().await.unwrap_err().ends_with("has 101 sessions"));
        assert_eq!(ended.load(Ordering::Relaxed), MAX_SESSIONS);
    }

    #[test]
    fn a_driver_is_named_by_a_port_of_loopback() {
        for (text, port) in [("http://127.0.0.1:9515", Some(9515)), ("http://127.0.0.1:9515/", Some(9515))] {
            assert_eq!(text.parse::<RemoteDriver>().ok().map(|driver| driver.port), port);
        }
        for text in [
            "",
            "9515",
            "https://127.0.0.1:9515",
            "http://selenium.example:4444",
            "http://10.0.0.1:9515",
            "http://127.0.0.1:9515/wd/hub",
            "http://user@127.0.0.1:9515",
            "http://127.0.0.1:9515/?a",
        ] {
            assert_eq!(text.parse::<RemoteDriver>(), Err(NotADriver), "{text}");
        }
    }

    #[test]
    fn only_what_can_be_a_session_is_ended() {
        assert!(is_id("efddc225d4e34e7db2ea250db2973e66"));
        assert!(!is_id("../shutdown") && !is_id("") && !is_id("a/b"));
    }
}
