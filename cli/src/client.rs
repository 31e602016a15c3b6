//! HTTP client of the API: bounded responses, a deadline on every call, few and short retries.

use std::cell::Cell;
use std::time::Duration;

use backon::Retryable as _;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wpclone_task::{CloneName, Code, LoginLink, Problem, TaskId, TaskView};

use crate::failure::Failure;
use crate::retry::{RetryPolicy, retry_after, short_outage};
use crate::sse::{SseEvent, SseReader};

/// Largest page of tasks or clones that the API returns.
pub(crate) const PAGE_SIZE: u32 = 100;
/// Maximum number of pages. A filter that matches little makes the API return pages that are not full.
pub(crate) const MAX_PAGES: u32 = 200;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of a response. The API responds at once, because this client never sends `Prefer: wait`.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence of an event stream. The API sends a keep-alive comment every 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// Largest response body in bytes. A page of 100 tasks has some hundred KiB.
const MAX_RESPONSE: usize = 4 << 20;
/// The most events that are skipped at once.
const MAX_SKIPPED: usize = 10_000;

/// A task, parsed and as received.
pub(crate) struct Task {
    /// The parsed task.
    pub(crate) view: TaskView,
    /// The received JSON, which `--json` prints unchanged.
    pub(crate) raw: Value,
}

/// A client of the API.
pub(crate) struct Api {
    http: Client,
    base: String,
}

impl Api {
    /// Creates a client. A URL without TLS that is not loopback prints a warning.
    ///
    /// # Errors
    /// The URL is not an http(s) URL, or contains credentials or a query.
    pub(crate) fn new(url: &str, token: Option<&SecretString>) -> Result<Self, Failure> {
        let invalid = |what: &str| Failure::Usage(format!("--url {what}"));
        let url =
            Url::parse(url).map_err(|_| invalid("must be an absolute URL such as http://127.0.0.1:8080"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(invalid(
                "must not contain credentials or a query; the token comes from WPCLONE_TOKEN",
            ));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value =
                HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| {
                    Failure::Usage("the token contains characters that are not allowed in a header".into())
                })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("wpclone/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect must not carry a password to another host.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            http = http.no_proxy();
        } else if url.scheme() == "http" {
            eprintln!(
                "warning: {url} is not encrypted: others on the network can read the token and passwords"
            );
        }
        if url.scheme() == "http" {
            // Without TLS no root certificates are needed, and a machine may have none.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| Failure::Usage(format!("no TLS: {}", causes(&error))))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base })
    }

    /// The absolute URL of a path that the API returned.
    pub(crate) fn address(&self, href: &str) -> String {
        if href.starts_with('/') { format!("{}{href}", self.base) } else { href.to_owned() }
    }

    /// Starts a task. The idempotency key makes retries safe.
    pub(crate) async fn start(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: &str,
    ) -> Result<Task, Failure> {
        let key = HeaderValue::from_str(key).map_err(|_| {
            Failure::Usage("--idempotency-key contains characters that are not allowed in a header".into())
        })?;
        let request = || {
            let request = self.request(method.clone(), path).header("Idempotency-Key", key.clone());
            body.iter().fold(request, |request, body| request.json(body))
        };
        self.send_with_retries(request, &short_outage()).await.and_then(|raw| self.task_of(raw))
    }

    /// Reads a task.
    pub(crate) async fn task(&self, id: TaskId, policy: &RetryPolicy) -> Result<Task, Failure> {
        let path = format!("/tasks/{id}");
        let request = || self.request(Method::GET, &path);
        self.send_with_retries(request, policy).await.and_then(|raw| self.task_of(raw))
    }

    /// Cancels a task.
    pub(crate) async fn cancel(&self, id: TaskId) -> Result<Task, Failure> {
        let path = format!("/tasks/{id}/cancel");
        let request = || self.request(Method::POST, &path);
        self.send_with_retries(request, &short_outage()).await.and_then(|raw| self.task_of(raw))
    }

    /// Replays a failed task. Passwords in the body replace those of its request.
    pub(crate) async fn replay(&self, id: TaskId, body: Option<&Value>) -> Result<Task, Failure> {
        let path = format!("/tasks/{id}/replay");
        let may_have_succeeded = Cell::new(false);
        let request = || {
            let request = self.request(Method::POST, &path);
            body.iter().fold(request, |request, body| request.json(body))
        };
        let observe = |failure: &Failure| {
            may_have_succeeded.set(may_have_succeeded.get() || failure.may_have_succeeded())
        };
        match self.send_with_retries_observed(request, &short_outage(), observe).await {
            // An earlier attempt replayed the task, and only its response was lost.
            Err(failure) if may_have_succeeded.get() && failure.has_code(Code::NotFailed) => {
                self.task(id, &short_outage()).await
            }
            response => response.and_then(|raw| self.task_of(raw)),
        }
    }

    /// Creates a one-time login link of a clone.
    pub(crate) async fn login(&self, name: &CloneName) -> Result<(LoginLink, Value), Failure> {
        let path = format!("/clones/{name}/login");
        let raw = self.send_with_retries(|| self.request(Method::POST, &path), &short_outage()).await?;
        Ok((self.read(&raw)?, raw))
    }

    /// Sends a GET request; returns the response parsed and as received.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<(T, Value), Failure> {
        self.get_with(path, query, &short_outage()).await
    }

    /// [`Self::get`] with another policy of retries.
    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        policy: &RetryPolicy,
    ) -> Result<(T, Value), Failure> {
        let mut url = Url::parse(&self.address(path)).map_err(|e| Failure::Usage(format!("--url {e}")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let raw = self.send_with_retries(|| self.http.get(url.clone()), policy).await?;
        Ok((self.read(&raw)?, raw))
    }

    /// Opens a task's event stream, after the event `last`.
    pub(crate) async fn events(&self, id: TaskId, last: Option<&str>) -> Result<EventStream, Failure> {
        self.stream(&format!("/tasks/{id}/events"), last).await
    }

    /// Opens the stream of changes of all tasks.
    pub(crate) async fn changes(&self) -> Result<EventStream, Failure> {
        self.stream("/events", None).await
    }

    async fn stream(&self, path: &str, last: Option<&str>) -> Result<EventStream, Failure> {
        let mut request = self.http.get(self.address(path)).header(ACCEPT, "text/event-stream");
        if let Some(last) = last.and_then(|id| HeaderValue::from_str(id).ok()) {
            request = request.header("Last-Event-ID", last);
        }
        let sent = tokio::time::timeout(RESPONSE_TIMEOUT, request.send()).await;
        let sent = sent.map_err(|_| self.unreachable("no response in time"))?;
        let response = sent.map_err(|error| self.unreachable(&causes(&error)))?;
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        // 204: the task has ended and has no further events.
        let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if status == StatusCode::NO_CONTENT || status.is_success() && is_stream {
            Ok(EventStream {
                bytes: response.bytes_stream().map(|part| part.map(Into::into)).boxed(),
                reader: SseReader::default(),
                ready: Vec::new().into_iter(),
            })
        } else {
            let retry_after = retry_after(response.headers());
            Err(self.failure_of(status, retry_after, &self.body(response).await?))
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.address(path))
    }

    async fn send_with_retries(
        &self,
        request: impl Fn() -> RequestBuilder,
        policy: &RetryPolicy,
    ) -> Result<Value, Failure> {
        self.send_with_retries_observed(request, policy, |_| {}).await
    }

    /// [`Self::send_with_retries`] that calls `observe` with each failure that is retried.
    async fn send_with_retries_observed(
        &self,
        request: impl Fn() -> RequestBuilder,
        policy: &RetryPolicy,
        observe: impl Fn(&Failure),
    ) -> Result<Value, Failure> {
        (|| self.send_once(request().timeout(RESPONSE_TIMEOUT)))
            .retry(policy.plan)
            .when(Failure::is_transient)
            .adjust(|failure, planned| policy.wait(failure, planned))
            .notify(|failure, wait| {
                observe(failure);
                policy.announce(failure, wait);
            })
            .await
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&causes(&error)))?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = self.body(response).await?;
        if !status.is_success() {
            return Err(self.failure_of(status, retry_after, &body));
        }
        serde_json::from_slice(&body).map_err(|_| self.not_our_api(status))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        let read = async {
            while let Some(part) = response.chunk().await.map_err(|error| causes(&error))? {
                body.extend_from_slice(&part);
                if body.len() > MAX_RESPONSE {
                    return Err(format!("the response is larger than {} MiB", MAX_RESPONSE >> 20));
                }
            }
            Ok(())
        };
        match tokio::time::timeout(RESPONSE_TIMEOUT, read).await {
            Ok(Ok(())) => Ok(body),
            Ok(Err(why)) => Err(self.unreachable(&why)),
            Err(_) => Err(self.unreachable("the response was not complete in time")),
        }
    }

    fn failure_of(&self, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Failure {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => Failure::Problem { status, problem: Box::new(problem), retry_after },
            Err(_) => self.not_our_api(status),
        }
    }

    fn task_of(&self, raw: Value) -> Result<Task, Failure> {
        Ok(Task { view: self.read(&raw)?, raw })
    }

    fn read<T: DeserializeOwned>(&self, raw: &Value) -> Result<T, Failure> {
        T::deserialize(raw).map_err(|_| self.not_our_api(StatusCode::OK))
    }

    fn not_our_api(&self, status: StatusCode) -> Failure {
        Failure::NotOurApi { url: self.base.clone(), status }
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::Unreachable { url: self.base.clone(), why: why.to_owned() }
    }
}

/// A stream of events.
pub(crate) struct EventStream {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    reader: SseReader,
    ready: std::vec::IntoIter<SseEvent>,
}

impl EventStream {
    /// The next event; `None` when the stream ended, broke, was silent for too long or is invalid.
    pub(crate) async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some(event);
            }
            let part = tokio::time::timeout(IDLE_TIMEOUT, self.bytes.next()).await.ok()??.ok()?;
            self.ready = self.reader.push(&part).ok()?.into_iter();
        }
    }

    /// Skips the events that have arrived. Returns whether the stream goes on.
    pub(crate) fn skip_arrived(&mut self) -> bool {
        for _ in 0..MAX_SKIPPED {
            match self.next().now_or_never() {
                Some(Some(_)) => {}
                Some(None) => return false,
                None => return true,
            }
        }
        true
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|a| a.is_loopback())
}

/// An error and its sources in one line, without the URL, which the caller adds.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        let part = part.split(" for url (").next().unwrap_or_default();
        if !text.contains(part) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(part);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn events_that_have_arrived_are_skipped_at_once() {
        let event = |n: u32| Ok(format!("id: {n}-0\ndata: {{}}\n\n").into_bytes());
        let open = |bytes| EventStream { bytes, reader: SseReader::default(), ready: Vec::new().into_iter() };
        let mut goes_on = open(stream::iter((0..50).map(event)).chain(stream::pending()).boxed());
        assert!(goes_on.next().await.is_some());
        assert!(goes_on.skip_arrived());
        assert!(goes_on.next().now_or_never().is_none(), "nothing is left");
        let mut ended = open(stream::iter((0..50).map(event)).boxed());
        assert!(!ended.skip_arrived());
    }

    #[test]
    fn only_loopback_hosts_are_recognised_as_loopback() {
        for (url, loopback) in [
            ("http://127.0.0.1:8080", true),
            ("http://[::1]/", true),
            ("http://localhost", true),
            ("http://api.localhost", true),
            ("http://10.0.0.1", false),
            ("https://localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }

    #[test]
    fn an_invalid_api_url_is_rejected_and_not_repeated_in_the_error() {
        for url in ["api", "ftp://api", "http://me:canary@api", "http://api?token=canary"] {
            let failure = Api::new(url, None).err().unwrap();
            assert!(!failure.to_string().contains("canary"), "{failure}");
            assert_eq!(failure.exit_code(), 2);
        }
        let prefixed = Api::new("https://example.com/wpclone/", None).unwrap();
        assert_eq!(prefixed.address("/tasks"), "https://example.com/wpclone/tasks");
    }
}
