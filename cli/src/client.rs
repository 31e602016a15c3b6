//! The API as this program sees it: bounded answers, a deadline on every call, few and short retries.

use std::cell::Cell;
use std::time::Duration;

use backon::Retryable as _;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wpclone_task::{CloneName, Code, LoginLink, Problem, TaskId, TaskView};

use crate::failure::Failure;
use crate::patience::{Patience, retry_after, short_outage};
use crate::sse::{SseEvent, SseReader};

const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take. The API answers at once; it never waits for a task unless asked to.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a stream of events may be silent. The API sends a sign of life each 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// The most bytes of an answer: a page of 100 tasks has some hundred KiB.
const MAX_ANSWER: usize = 4 << 20;

/// A task, read and as it came.
pub(crate) struct Task {
    /// Read.
    pub(crate) view: TaskView,
    /// As it came: what `--json` prints.
    pub(crate) raw: Value,
}

/// The API.
pub(crate) struct Api {
    http: Client,
    base: String,
}

impl Api {
    /// # Errors
    /// An address that is none.
    pub(crate) fn new(url: &str, token: Option<&SecretString>) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::Usage(format!("--url {what}"));
        let url =
            Url::parse(url).map_err(|_| wrong("must be an absolute URL such as http://127.0.0.1:8080"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("must hold no login and no query; the token comes from WPCLONE_TOKEN"));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
                .map_err(|_| Failure::Usage("the token has characters that no token has".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("wpclone/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            // A password must not follow a redirect to wherever it leads.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            http = http.no_proxy();
        } else if url.scheme() == "http" {
            eprintln!("warning: {url} is not encrypted: token and password can be read on the way");
        }
        if url.scheme() == "http" {
            // Machines without any root certificates can use the API all the same.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| Failure::Usage(format!("no TLS: {}", causes(&error))))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base })
    }

    /// The whole address of something that the API names by its path.
    pub(crate) fn address(&self, href: &str) -> String {
        if href.starts_with('/') { format!("{}{href}", self.base) } else { href.to_owned() }
    }

    /// Starts a task. The key makes it safe to send the request again when no answer came.
    pub(crate) async fn start(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: &str,
    ) -> Result<Task, Failure> {
        let key = HeaderValue::from_str(key)
            .map_err(|_| Failure::Usage("--idempotency-key has characters that no header takes".into()))?;
        let request = || {
            let request = self.request(method.clone(), path).header("Idempotency-Key", key.clone());
            body.iter().fold(request, |request, body| request.json(body))
        };
        self.patiently(request, &short_outage()).await.and_then(|raw| self.task_of(raw))
    }

    /// A task.
    pub(crate) async fn task(&self, id: TaskId, patience: &Patience) -> Result<Task, Failure> {
        let path = format!("/tasks/{id}");
        let request = || self.request(Method::GET, &path);
        self.patiently(request, patience).await.and_then(|raw| self.task_of(raw))
    }

    /// Asks for a task's end.
    pub(crate) async fn cancel(&self, id: TaskId) -> Result<Task, Failure> {
        let path = format!("/tasks/{id}/cancel");
        let request = || self.request(Method::POST, &path);
        self.patiently(request, &short_outage()).await.and_then(|raw| self.task_of(raw))
    }

    /// Does a failed task again. The body brings passwords instead of those of its request.
    pub(crate) async fn replay(&self, id: TaskId, body: Option<&Value>) -> Result<Task, Failure> {
        let path = format!("/tasks/{id}/replay");
        let may_be_done = Cell::new(false);
        let request = || {
            let request = self.request(Method::POST, &path);
            body.iter().fold(request, |request, body| request.json(body))
        };
        let note = |failure: &Failure| may_be_done.set(may_be_done.get() || failure.may_be_done());
        match self.patiently_noting(request, &short_outage(), note).await {
            // The answer to a try before was lost: that one has done it.
            Err(failure) if may_be_done.get() && failure.is(Code::NotFailed) => {
                self.task(id, &short_outage()).await
            }
            answered => answered.and_then(|raw| self.task_of(raw)),
        }
    }

    /// A link that logs in to a clone once.
    pub(crate) async fn login(&self, name: &CloneName) -> Result<(LoginLink, Value), Failure> {
        let path = format!("/clones/{name}/login");
        let raw = self.patiently(|| self.request(Method::POST, &path), &short_outage()).await?;
        Ok((self.read(&raw)?, raw))
    }

    /// Anything else, read and as it came.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<(T, Value), Failure> {
        let mut url = Url::parse(&self.address(path)).map_err(|e| Failure::Usage(format!("--url {e}")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let raw = self.patiently(|| self.http.get(url.clone()), &short_outage()).await?;
        Ok((self.read(&raw)?, raw))
    }

    /// The events of a task, those after `last` only.
    pub(crate) async fn events(&self, id: TaskId, last: Option<&str>) -> Result<EventStream, Failure> {
        let mut request =
            self.http.get(self.address(&format!("/tasks/{id}/events"))).header(ACCEPT, "text/event-stream");
        if let Some(last) = last.and_then(|id| HeaderValue::from_str(id).ok()) {
            request = request.header("Last-Event-ID", last);
        }
        let answer = tokio::time::timeout(ANSWER, request.send()).await;
        let answer = answer.map_err(|_| self.unreachable("no answer in time"))?;
        let response = answer.map_err(|error| self.unreachable(&causes(&error)))?;
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        // 204: the task has ended and there is nothing more to tell.
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

    async fn patiently(
        &self,
        request: impl Fn() -> RequestBuilder,
        patience: &Patience,
    ) -> Result<Value, Failure> {
        self.patiently_noting(request, patience, |_| {}).await
    }

    /// The same; `note` hears of each try that failed and is followed by another.
    async fn patiently_noting(
        &self,
        request: impl Fn() -> RequestBuilder,
        patience: &Patience,
        note: impl Fn(&Failure),
    ) -> Result<Value, Failure> {
        (|| self.once(request().timeout(ANSWER)))
            .retry(patience.plan)
            .when(Failure::passes)
            .adjust(|failure, planned| patience.wait(failure, planned))
            .notify(|failure, wait| {
                note(failure);
                patience.say(failure, wait);
            })
            .await
    }

    async fn once(&self, request: RequestBuilder) -> Result<Value, Failure> {
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
                if body.len() > MAX_ANSWER {
                    return Err(format!("an answer of more than {} MiB", MAX_ANSWER >> 20));
                }
            }
            Ok(())
        };
        match tokio::time::timeout(ANSWER, read).await {
            Ok(Ok(())) => Ok(body),
            Ok(Err(why)) => Err(self.unreachable(&why)),
            Err(_) => Err(self.unreachable("no whole answer in time")),
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

/// A task's events as they happen.
pub(crate) struct EventStream {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    reader: SseReader,
    ready: std::vec::IntoIter<SseEvent>,
}

impl EventStream {
    /// The next event; `None` when the stream has ended, was cut, fell silent or speaks nonsense.
    pub(crate) async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some(event);
            }
            let part = tokio::time::timeout(SILENCE, self.bytes.next()).await.ok()??.ok()?;
            self.ready = self.reader.push(&part).ok()?.into_iter();
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|a| a.is_loopback())
}

/// An error and its causes in one line, without the address, which the caller names.
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
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
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
    fn an_address_that_is_none_is_refused_without_being_repeated() {
        for url in ["api", "ftp://api", "http://me:canary@api", "http://api?token=canary"] {
            let failure = Api::new(url, None).err().unwrap();
            assert!(!failure.to_string().contains("canary"), "{failure}");
            assert_eq!(failure.exit_code(), 2);
        }
        let prefixed = Api::new("https://example.com/wpclone/", None).unwrap();
        assert_eq!(prefixed.address("/tasks"), "https://example.com/wpclone/tasks");
    }
}
