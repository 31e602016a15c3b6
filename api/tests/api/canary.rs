//! A password goes in, and comes out nowhere.

use reqwest::Client;
use serde_json::json;

use crate::program::Program;
use crate::support::{PATIENCE, Redis, token, token_line};

const CANARY: &str = "c4n4ry-p4ssw0rd";

#[tokio::test]
async fn a_password_is_in_no_answer_no_log_and_nothing_that_redis_keeps() {
    let redis = Redis::start().await;
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), token_line("root", "operator")).unwrap();
    let env = [
        ("WPCLONE_TOKENS_FILE", tokens.path().to_str().unwrap()),
        ("RUST_LOG", "trace"),
    ];
    let program = Program::start(&redis, &env).await;
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    let at = |path: &str| format!("{}{path}", program.address);
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
            told += &format!(
                "{:?}\n{}\n",
                answer.headers().clone(),
                answer.text().await.unwrap()
            );
        }
    }
    for path in [
        "/tasks",
        "/queue",
        "/metrics",
        "/",
        "/dashboard/tasks",
        "/dashboard/workers",
    ] {
        let answer = client
            .get(at(path))
            .bearer_auth(token("root"))
            .send()
            .await
            .unwrap();
        told += &answer.text().await.unwrap();
    }
    let form = [("token", token("root"))];
    told += &format!(
        "{:?}",
        client.post(at("/sign-in")).form(&form).send().await.unwrap()
    );
    assert!(
        told.contains("\"state\":\"queued\"")
            && told.contains("INVALID_REQUEST")
            && told.contains("MALFORMED_JSON")
    );

    let (log, held) = (program.logged(), redis.everything());
    let held = String::from_utf8_lossy(&held);
    assert!(log.contains("the task is in the queue") && held.contains("a.example"));
    for secret in [CANARY.to_owned(), token("root")] {
        assert!(!told.contains(&secret), "an answer holds {secret}");
        assert!(!log.contains(&secret), "the log holds {secret}");
        assert!(!held.contains(&secret), "Redis holds {secret}");
    }
}
