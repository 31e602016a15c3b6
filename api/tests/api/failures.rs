//! Error responses, timeouts, and outages of Redis.

use std::time::Duration;

use axum::routing::get;
use futures_util::stream;
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wpclone_api::state::Limits;

use crate::support::{Api, PATIENCE, Setup, body, eventually, problem};

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_without_quoting_it() {
    let api = Api::start().await;
    for sent in ["", "{", "{\"password\": \"canary", "nonsense"] {
        let request = api.post("/setup").header("Content-Type", "application/json; charset=utf-8").body(sent);
        let problem = problem(request.send().await.unwrap(), 400, "MALFORMED_JSON").await;
        assert!(problem["detail"].as_str().unwrap().contains("line 1"), "{problem:?}");
        assert!(!format!("{problem:?}").contains("canary"));
    }
}

#[tokio::test]
async fn another_media_type_is_refused() {
    let api = Api::start().await;
    for kind in ["text/plain", "application/jsonx", ""] {
        let request = api.post("/setup").header("Content-Type", kind).body("{}");
        problem(request.send().await.unwrap(), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    }
    problem(api.post("/setup").send().await.unwrap(), 415, "UNSUPPORTED_MEDIA_TYPE").await;
}

#[tokio::test]
async fn a_too_large_body_is_refused_with_and_without_content_length() {
    let api = Api::start().await;
    let huge = vec![b' '; 65 * 1024];
    let announced = api.post("/setup").header("Content-Type", "application/json").body(huge.clone());
    problem(announced.send().await.unwrap(), 413, "BODY_TOO_LARGE").await;
    let chunks = huge.chunks(1000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>();
    let chunked = reqwest::Body::wrap_stream(stream::iter(chunks));
    let unannounced = api.post("/setup").header("Content-Type", "application/json").body(chunked);
    problem(unannounced.send().await.unwrap(), 413, "BODY_TOO_LARGE").await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let limits = Limits { body_timeout: Duration::from_millis(100), ..Limits::default() };
    let api = Api::with(Setup { limits, ..Setup::default() }).await;
    let host = api.address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /setup HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("REQUEST_TIMEOUT") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_connection() {
    // Dropped together with the response's body, which only the connection holds.
    let (held, mut closed) = tokio::sync::mpsc::channel::<()>(1);
    let held = std::sync::Mutex::new(Some(held));
    let held = std::sync::Arc::new(held);
    let endless = get(move || {
        let held = held.lock().unwrap().take();
        async move {
            axum::body::Body::from_stream(stream::unfold(held, |held| async {
                Some((Ok::<_, std::io::Error>(vec![b'x'; 64 << 10]), held))
            }))
        }
    });
    let limits = Limits { write_timeout: Duration::from_millis(100), ..Limits::default() };
    let extra = axum::Router::new().route("/endless", endless);
    let api = Api::with(Setup { limits, extra, ..Setup::default() }).await;
    let host = api.address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(format!("GET /endless HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, closed.recv()).await;
    assert_eq!(end.expect("the connection is closed"), None);
}

#[tokio::test]
async fn a_head_with_too_many_headers_is_refused() {
    let api = Api::start().await;
    let with = |count: usize| {
        let request = (0..count).fold(api.get("/healthz"), |r, n| r.header(format!("x-{n}"), "x"));
        async move { request.send().await.unwrap().status() }
    };
    assert_eq!(with(50).await, StatusCode::OK);
    assert_eq!(with(65).await, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn unknown_paths_and_methods_return_problems() {
    let api = Api::start().await;
    problem(api.get("/nothing").send().await.unwrap(), 404, "NOT_FOUND").await;
    problem(api.get("/problems/NO_SUCH_CODE").send().await.unwrap(), 404, "NOT_FOUND").await;
    problem(api.get("/assets/nothing.js").send().await.unwrap(), 404, "NOT_FOUND").await;
    for (method, path, allowed) in [
        (Method::GET, "/setup", "POST"),
        (Method::DELETE, "/tasks", "GET,HEAD"),
        (Method::OPTIONS, "/queue", "GET,HEAD"),
        (Method::PUT, "/sign-in", "GET,HEAD,POST"),
    ] {
        let answer = api.request(method, path).send().await.unwrap();
        assert_eq!(answer.headers()["allow"], allowed);
        problem(answer, 405, "METHOD_NOT_ALLOWED").await;
    }
}

#[tokio::test]
async fn a_panic_returns_a_problem_without_its_message() {
    let route = axum::Router::new().route("/panic", get(|| async { broken() }));
    let api = Api::with(Setup { extra: route, ..Setup::default() }).await;
    let problem = problem(api.get("/panic").send().await.unwrap(), 500, "INTERNAL").await;
    assert!(!format!("{problem:?}").contains("canary"));
    assert_eq!(api.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
}

fn broken() -> &'static str {
    panic!("canary")
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_an_invalid_one_replaced() {
    let api = Api::start().await;
    let id = |sent: &'static str| {
        let request = api.get("/nothing").header("X-Request-Id", sent);
        async move { request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned() }
    };
    assert_eq!(id("my-id.1").await, "my-id.1");
    assert_ne!(id("with space").await, "with space");
    assert_eq!(id("").await.len(), 36);
}

#[tokio::test]
async fn without_redis_nothing_is_accepted_and_the_api_recovers() {
    let mut api = Api::start().await;
    let kept = api.ask("https://a.example", None).await;
    api.redis.kill();
    let site = body("https://b.example");
    let answer = api.post("/setup").json(&site).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "5");
    let refused = problem(answer, 503, "QUEUE_UNAVAILABLE").await;
    assert_eq!(refused["retryable"], true);
    for path in [
        "/tasks".to_owned(),
        format!("/tasks/{kept}"),
        format!("/tasks/{kept}/events"),
        format!("/tasks/{kept}/artifacts/before.png"),
        "/queue".to_owned(),
    ] {
        let answer = api.get(&path).send().await.unwrap();
        assert_eq!(answer.headers()["retry-after"], "5", "{path}");
        problem(answer, 503, "QUEUE_UNAVAILABLE").await;
    }
    assert_eq!(api.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    let ready = api.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let metrics = api.get("/metrics").send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK);
    assert!(metrics.text().await.unwrap().contains("wpclone_queue_up 0"));

    api.redis.restart().await;
    eventually("the api is ready again", || async {
        api.get("/readyz").send().await.unwrap().status() == StatusCode::OK
    })
    .await;
    let tasks = api.json("/tasks").await;
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1, "the refused one was not half accepted");
    assert_eq!(tasks["tasks"][0]["id"], kept);
    api.ask("https://c.example", None).await;
}
