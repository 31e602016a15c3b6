//! A stub of the API that records requests and sends the replies that a test defines.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use wpclone_task::{Code, FieldError, Problem, Stage};

pub(crate) const ID: &str = "019ac0de-0000-7000-8000-000000000001";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    /// Method and path, such as `POST /setup`.
    pub(crate) route: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// Number of earlier requests to the same route.
    pub(crate) earlier: usize,
}

/// How an event stream ends after its events.
pub(crate) enum StreamEnd {
    /// The response ends.
    Closes,
    /// The connection breaks.
    Breaks,
    /// Nothing more is sent.
    StaysOpen,
}

pub(crate) enum Reply {
    Json(u16, Value),
    Problem(Problem),
    /// A problem with `Retry-After` in seconds.
    RetryAfter(Problem, u64),
    Text(u16, &'static str, String),
    Redirect(String),
    Events(Vec<Value>, StreamEnd),
}

pub(crate) struct Stub {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Stub {
    pub(crate) async fn start(reply: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (reply, recorded) = (Arc::new(reply), Arc::clone(&requests));
        let app = Router::new().fallback(move |request: Request| {
            let (reply, recorded) = (Arc::clone(&reply), Arc::clone(&recorded));
            async move {
                let request = record(request, &recorded).await;
                respond(reply(&request))
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, requests, server }
    }

    /// A stub where every task ends like this one, after two events.
    pub(crate) async fn ending(task: Value) -> Self {
        Self::start(move |request| match request.route.as_str() {
            "POST /setup" | "POST /create-app-password" | "POST /clone" => Reply::Json(202, queued()),
            route if route.starts_with("PATCH ") || route.starts_with("DELETE ") => {
                Reply::Json(202, queued())
            }
            route if route.ends_with("/events") => {
                let state = task["state"].as_str().unwrap();
                let events =
                    vec![event("1-0", "running", 40, "Logging in"), event("2-0", state, 100, "The end")];
                Reply::Events(events, StreamEnd::StaysOpen)
            }
            _ => Reply::Json(200, task.clone()),
        })
        .await
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn requests_to(&self, route: &str) -> Vec<ReceivedRequest> {
        self.requests().into_iter().filter(|r| r.route == route).collect()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn record(request: Request, recorded: &Mutex<Vec<ReceivedRequest>>) -> ReceivedRequest {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let route = format!("{} {}", head.method, head.uri.path());
    let headers = head.headers.iter();
    let mut recorded = recorded.lock().unwrap();
    let request = ReceivedRequest {
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        earlier: recorded.iter().filter(|r| r.route == route).count(),
        route,
    };
    recorded.push(request.clone());
    request
}

fn respond(reply: Reply) -> Response {
    match reply {
        Reply::Json(status, value) => text(status, "application/json", value.to_string()),
        Reply::Problem(problem) => {
            let status = problem.status.unwrap();
            text(status, "application/problem+json", json!(problem).to_string())
        }
        Reply::RetryAfter(problem, seconds) => {
            let mut response = respond(Reply::Problem(problem));
            response.headers_mut().insert("retry-after", seconds.into());
            response
        }
        Reply::Text(status, kind, body) => text(status, kind, body),
        Reply::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        Reply::Events(events, then) => {
            let lines = events.into_iter().map(|mut event| {
                let id = event["id"].take();
                event.as_object_mut().unwrap().remove("id");
                // The API's stream of changes has none.
                let id = id.as_str().map(|id| format!("id: {id}\n")).unwrap_or_default();
                format!(": still here\n\n{id}data: {event}\n\n")
            });
            let sent =
                stream::iter(lines.map(|l| Ok::<_, std::io::Error>(Bytes::from(l))).collect::<Vec<_>>());
            let body = match then {
                StreamEnd::Closes => Body::from_stream(sent),
                StreamEnd::Breaks => {
                    let broken = stream::once(async { Err(std::io::Error::other("broken")) });
                    // Lets the server send the events before the connection breaks, or they are lost as well.
                    let pause = stream::once(async {
                        tokio::task::yield_now().await;
                        Ok(Bytes::from(": last words\n\n"))
                    });
                    Body::from_stream(sent.chain(pause).chain(broken))
                }
                StreamEnd::StaysOpen => Body::from_stream(sent.chain(stream::pending())),
            };
            ([("content-type", "text/event-stream")], body).into_response()
        }
    }
}

fn text(status: u16, kind: &'static str, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    Result::<_, Infallible>::Ok((status, [("content-type", kind)], body)).into_response()
}

pub(crate) fn event(id: &str, state: &str, percent: u8, message: &str) -> Value {
    json!({
        "id": id, "at": "2026-11-23T10:00:02Z", "state": state, "step": "setup", "stage": "browser",
        "progress": {"percent": percent, "message": message},
    })
}

pub(crate) fn queued() -> Value {
    task(json!({"state": "queued", "started_at": null, "finished_at": null,
        "progress": {"percent": 0, "message": "Waiting for a worker"}}))
}

/// A task as the API sends it; `changes` replaces fields.
pub(crate) fn task(changes: Value) -> Value {
    let mut task = json!({
        "id": ID, "kind": "setup", "stage": "browser", "state": "succeeded",
        "progress": {"percent": 100, "message": "Done"},
        "attempts": 0, "crashes": 0,
        "created_at": "2026-11-23T10:00:00Z", "started_at": "2026-11-23T10:00:01Z",
        "finished_at": "2026-11-23T10:01:13Z",
        "steps": [{"name": "setup", "stage": "browser", "state": "succeeded", "attempts": 0, "crashes": 0,
            "started_at": "2026-11-23T10:00:01Z", "finished_at": "2026-11-23T10:01:13Z"}],
        "request": {"kind": "setup", "url": "https://example.com/blog", "username": "admin", "role": "source"},
        "artifacts": [],
        "links": {"self": format!("/tasks/{ID}"), "events": format!("/tasks/{ID}/events")},
    });
    let fields = task.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    task
}

pub(crate) fn succeeded() -> Value {
    task(json!({"result": {
        "api_key": "0123abcd", "plugin_status": "installed", "plugin_version": "0.1.0", "import_enabled": false,
    }}))
}

pub(crate) fn failed() -> Value {
    let mut problem = Problem::new(
        Code::AuthBadCredentials,
        "WordPress showed its login form again:\n\u{1b}[31mwrong\u{1b}[0m password",
    )
    .at(Stage::Browser);
    problem.achieved = vec!["The site responds as a WordPress".into()];
    task(json!({"state": "failed", "problem": problem, "attempts": 1, "artifacts": [
        {"name": "login-after.png", "kind": "image/png", "bytes": 34_567,
            "href": format!("/tasks/{ID}/artifacts/login-after.png")},
    ]}))
}

pub(crate) fn invalid_request() -> Reply {
    let mut problem = Problem::new(Code::InvalidRequest, "2 fields are wrong.");
    problem.instance = Some("req-1".into());
    let fault = |pointer: &str, detail: &str| FieldError { pointer: pointer.into(), detail: detail.into() };
    problem.errors = vec![fault("/username", "must not be empty"), fault("/role", "is unknown")];
    Reply::Problem(problem)
}
