//! `callback_url`: validation, and that it is never shown.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wpclone_queue::RetryPolicy;
use wpclone_task::{Code, Problem};

use crate::support::{Api, Setup, body, problem};

const SECRET: &str = "canary-7f3a";

fn with_callback(callback: &str) -> Value {
    let mut sent = body("https://a.example");
    sent["callback_url"] = callback.into();
    sent
}

#[tokio::test]
async fn an_invalid_callback_url_is_refused_without_quoting_it() {
    let api = Api::start().await;
    for (callback, why) in [
        ("canary-7f3a", "absolute URL"),
        ("ftp://canary-7f3a.example", "http:// or https://"),
        ("https://me:canary-7f3a@b.example", "user name or password"),
        ("https://b.example/#canary-7f3a", "fragment"),
        ("https://b.example/canary-7f3a\n", "control characters"),
    ] {
        for path in ["/setup", "/create-app-password"] {
            let answer = api.post(path).json(&with_callback(callback)).send().await.unwrap();
            let problem = problem(answer, 422, "INVALID_REQUEST").await;
            let fault = &problem["errors"][0];
            assert_eq!(fault["pointer"], "/callback_url");
            assert!(fault["detail"].as_str().unwrap().contains(why), "{callback}: {fault}");
            assert!(!json!(problem).to_string().contains(SECRET));
        }
    }
}

#[tokio::test]
async fn without_webhook_secrets_a_callback_url_is_refused() {
    let api = Api::with(Setup { webhooks: false, ..Setup::default() }).await;
    let sent = with_callback("https://b.example/hook");
    let answer = api.post("/setup").json(&sent).send().await.unwrap();
    let problem = problem(answer, 422, "INVALID_REQUEST").await;
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert_eq!(detail, "is not enabled: the API has no WPCLONE_WEBHOOK_SECRETS");
    let none = json!({"url": "https://a.example", "username": "a", "password": "b", "callback_url": null});
    let answer = api.post("/setup").json(&none).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_callback_url_is_part_of_the_idempotency_fingerprint() {
    let api = Api::start().await;
    let ask = |sent: Value| api.post("/setup").header("Idempotency-Key", "once").json(&sent).send();
    let first = ask(with_callback("https://b.example/one")).await.unwrap();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let again = ask(with_callback("https://b.example:443/one")).await.unwrap();
    assert_eq!(again.headers()["location"], first.headers()["location"]);
    let other = ask(with_callback("https://b.example/two")).await.unwrap();
    problem(other, 422, "IDEMPOTENCY_MISMATCH").await;
    problem(ask(body("https://a.example")).await.unwrap(), 422, "IDEMPOTENCY_MISMATCH").await;
}

#[tokio::test]
async fn a_callback_url_is_never_shown() {
    let api = Api::start().await;
    let callback = format!("https://b.example/{SECRET}?key={SECRET}");
    let answer = api.post("/setup").json(&with_callback(&callback)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let task: Value = answer.json().await.unwrap();
    let id = task["id"].as_str().unwrap().to_owned();
    assert!(!task.to_string().contains(SECRET));
    for path in [format!("/tasks/{id}"), "/tasks".into()] {
        let shown = api.json(&path).await.to_string();
        assert!(!shown.contains(SECRET) && !shown.contains("b.example"), "{shown}");
    }
}

#[tokio::test]
async fn the_task_shows_the_state_of_its_webhook_and_why_delivery_failed() {
    let api = Api::start().await;
    let asked = api.post("/setup").json(&with_callback("https://b.example/hook")).send().await.unwrap();
    let id = asked.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("/tasks/{id}");
    assert!(api.json(&path).await.get("callback").is_none());
    api.post(&format!("{path}/cancel")).send().await.unwrap();
    assert_eq!(api.json(&path).await["callback"], json!({"state": "queued"}));

    let delivery = api.app.queue.claim_delivery("worker-1").await.unwrap().unwrap();
    let (backoff_base, backoff_cap, not_before) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let once = RetryPolicy { max_attempts: 1, backoff_base, backoff_cap, not_before };
    let gone = Problem::new(Code::CallbackRefused, "The callback address returned 410.");
    api.app.queue.fail_with(&delivery.lease, &gone, &once).await.unwrap();
    let told = json!({"state": "failed", "code": "CALLBACK_REFUSED"});
    assert_eq!(api.json(&path).await["callback"], told);
    let page = api.get(&format!("/dashboard{path}")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(r#"<a href="/problems/CALLBACK_REFUSED">"#), "{page}");
}
