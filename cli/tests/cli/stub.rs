//! The stub of the API: keeps what it was asked, answers what the test says.

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
use wpclone_task::{Code, Fault, Problem, Stage};

pub(crate) const ID: &str = "019ac0de-0000-7000-8000-000000000001";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `POST /setup`
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// How often this was asked before.
    pub(crate) before: usize,
}

/// How a stream of events goes on after the events.
pub(crate) enum Then {
    Ends,
    IsCut,
    Hangs,
}

pub(crate) enum Answer {
    Json(u16, Value),
    Problem(Problem),
    /// With `Retry-After`, in seconds.
    Later(Problem, u64),
    Text(u16, &'static str, String),
    Redirect(String),
    Events(Vec<Value>, Then),
}

pub(crate) struct Stub {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Stub {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), Arc::clone(&asked));
        let app = Router::new().fallback(move |request: Request| {
            let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
            async move {
                let asked = read(request, &kept).await;
                respond(answer(&asked))
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, asked, server }
    }

    /// A stub whose every task ends like this one, after two events.
    pub(crate) async fn ending(task: Value) -> Self {
        Self::start(move |asked| match asked.what.as_str() {
            "POST /setup" | "POST /create-app-password" | "POST /clone" => Answer::Json(202, queued()),
            what if what.starts_with("PATCH ") || what.starts_with("DELETE ") => Answer::Json(202, queued()),
            what if what.ends_with("/events") => {
                let state = task["state"].as_str().unwrap();
                let events =
                    vec![event("1-0", "running", 40, "Logging in"), event("2-0", state, 100, "The end")];
                Answer::Events(events, Then::Hangs)
            }
            _ => Answer::Json(200, task.clone()),
        })
        .await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn asked_for(&self, what: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| a.what == what).collect()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn read(request: Request, kept: &Mutex<Vec<Asked>>) -> Asked {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let what = format!("{} {}", head.method, head.uri.path());
    let headers = head.headers.iter();
    let mut kept = kept.lock().unwrap();
    let asked = Asked {
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        before: kept.iter().filter(|a| a.what == what).count(),
        what,
    };
    kept.push(asked.clone());
    asked
}

fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Json(status, value) => text(status, "application/json", value.to_string()),
        Answer::Problem(problem) => {
            let status = problem.status.unwrap();
            text(status, "application/problem+json", json!(problem).to_string())
        }
        Answer::Later(problem, seconds) => {
            let mut response = respond(Answer::Problem(problem));
            response.headers_mut().insert("retry-after", seconds.into());
            response
        }
        Answer::Text(status, kind, body) => text(status, kind, body),
        Answer::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        Answer::Events(events, then) => {
            let lines = events.into_iter().map(|mut event| {
                let id = event["id"].take();
                event.as_object_mut().unwrap().remove("id");
                format!(": still here\n\nid: {}\ndata: {event}\n\n", id.as_str().unwrap())
            });
            let sent =
                stream::iter(lines.map(|l| Ok::<_, std::io::Error>(Bytes::from(l))).collect::<Vec<_>>());
            let body = match then {
                Then::Ends => Body::from_stream(sent),
                Then::IsCut => {
                    let cut = stream::once(async { Err(std::io::Error::other("cut")) });
                    // What was sent must leave before the cut, or it is lost with it.
                    let pause = stream::once(async {
                        tokio::task::yield_now().await;
                        Ok(Bytes::from(": last words\n\n"))
                    });
                    Body::from_stream(sent.chain(pause).chain(cut))
                }
                Then::Hangs => Body::from_stream(sent.chain(stream::pending())),
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

/// A task in the API's form; `differs` overwrites.
pub(crate) fn task(differs: Value) -> Value {
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
    fields.extend(differs.as_object().unwrap().clone());
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
    problem.achieved = vec!["The site answers as a WordPress".into()];
    task(json!({"state": "failed", "problem": problem, "attempts": 1, "artifacts": [
        {"name": "login-after.png", "kind": "image/png", "bytes": 34_567,
            "href": format!("/tasks/{ID}/artifacts/login-after.png")},
    ]}))
}

pub(crate) fn turned_down() -> Answer {
    let mut problem = Problem::new(Code::InvalidRequest, "2 fields are wrong.");
    problem.instance = Some("req-1".into());
    let fault = |pointer: &str, detail: &str| Fault { pointer: pointer.into(), detail: detail.into() };
    problem.errors = vec![fault("/username", "must not be empty"), fault("/role", "is unknown")];
    Answer::Problem(problem)
}
