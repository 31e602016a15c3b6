//! A password sent to the API appears nowhere else.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use reqwest::Client;
use serde_json::json;
use wpclone_test_redis::Redis;

use crate::process::Program;
use crate::support::{PATIENCE, token, token_line};

const CANARY: &str = "c4n4ry-p4ssw0rd";

#[tokio::test]
async fn a_password_is_in_no_response_no_log_and_nowhere_in_redis() {
    let redis = Redis::start().await;
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), token_line("root", "operator")).unwrap();
    let collector = Collector::start().await;
    let env = [
        ("WPCLONE_TOKENS_FILE", tokens.path().to_str().unwrap()),
        ("RUST_LOG", "trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address),
    ];
    let mut program = Program::start(&redis, &env).await;
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    let address = program.address.clone();
    let at = |path: &str| format!("{address}{path}");
    let good = json!({"url": "https://a.example", "username": "admin", "password": CANARY});
    let bodies = [
        good.to_string(),
        good.to_string(),
        json!({"url": format!("https://me:{CANARY}@a.example"), "username": "a", "password": CANARY})
            .to_string(),
        json!({"url": "https://a.example", "username": 1, "password": CANARY, "role": CANARY.len()})
            .to_string(),
        json!({"url": CANARY, "username": "a", "password": CANARY, "app_name": "<"}).to_string(),
        format!("{{\"password\": \"{CANARY}\" nonsense"),
    ];
    let mut told = String::new();
    for (n, body) in bodies.iter().enumerate() {
        for path in ["/setup", "/create-app-password"] {
            let request = client
                .post(at(path))
                .bearer_auth(token("root"))
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", format!("{path}-{}", n / 2))
                .body(body.clone());
            let answer = request.send().await.unwrap();
            told += &format!("{:?}\n{}\n", answer.headers().clone(), answer.text().await.unwrap());
        }
    }
    for path in
        ["/tasks", "/queue", "/metrics", "/", "/dashboard/tasks", "/dashboard/clones", "/dashboard/workers"]
    {
        let answer = client.get(at(path)).bearer_auth(token("root")).send().await.unwrap();
        told += &answer.text().await.unwrap();
    }
    let form = [("token", token("root"))];
    told += &format!("{:?}", client.post(at("/sign-in")).form(&form).send().await.unwrap());
    assert!(
        told.contains("\"state\":\"queued\"")
            && told.contains("INVALID_REQUEST")
            && told.contains("MALFORMED_JSON")
    );

    program.process.signal("-TERM");
    assert!(program.ended().await.success());
    let (log, held, spans) = (program.logged(), redis.raw_files(), collector.heard());
    let held = String::from_utf8_lossy(&held);
    assert!(log.contains("the task is queued") && held.contains("a.example"));
    assert!(spans.contains("POST /create-app-password"), "spans are sent before the program ends");
    for secret in [CANARY.to_owned(), token("root")] {
        assert!(!told.contains(&secret), "an answer holds {secret}");
        assert!(!log.contains(&secret), "the log holds {secret}");
        assert!(!held.contains(&secret), "Redis holds {secret}");
        assert!(!spans.contains(&secret), "a span holds {secret}");
    }
}

/// An OTLP collector that keeps the bytes of received spans.
struct Collector {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = heard.clone();
        let take = async move |body: Bytes| keep.lock().unwrap().extend_from_slice(&body);
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, heard }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}
