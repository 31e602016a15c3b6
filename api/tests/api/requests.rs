//! Starting tasks: validation, idempotency keys and `Prefer: wait`.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use wpclone_service::sealed_task::open_request;
use wpclone_task::ExposeSecret as _;

use crate::support::{Api, body, problem, token};

#[tokio::test]
async fn a_request_returns_its_task_and_its_password_is_sealed() {
    let api = Api::start().await;
    let answer = api.post("/setup").json(&body("https://www.Example.com/wp-admin/")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["retry-after"], "2");
    assert!(answer.headers().get("preference-applied").is_none());
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let task: Value = answer.json().await.unwrap();
    assert_eq!(location, format!("/tasks/{}", task["id"].as_str().unwrap()));
    assert_eq!(task["state"], "queued");
    assert_eq!(task["stage"], "browser");
    assert_eq!(
        task["request"],
        json!({"kind": "setup", "url": "https://www.example.com", "username": "admin", "role": "source"})
    );
    assert_eq!(task["links"]["cancel"], format!("{location}/cancel"));
    assert_eq!(api.json(&location).await, task);

    let claim = api.claim().await;
    let secrets = open_request(&api.app.sealer, claim.lease.task, &claim.sealed_secrets.unwrap()).unwrap();
    assert_eq!(secrets[0].1.expose_secret(), "correct horse");
    assert_eq!(claim.owner, "local");
}

#[tokio::test]
async fn every_fault_of_a_body_is_reported_at_once() {
    let api = Api::start().await;
    let sent = json!({"url": "https://me:pw@a.example", "password": 5, "role": "boss", "callback_url": "x"});
    let answer = api.post("/setup").json(&sent).send().await.unwrap();
    let problem = problem(answer, 422, "INVALID_REQUEST").await;
    let pointers: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/url", "/username", "/password", "/role", "/callback_url"]);
    assert_eq!(problem["detail"], "5 fields are invalid.");
    assert_eq!(api.json("/tasks").await["tasks"], json!([]));
}

#[tokio::test]
async fn an_invalid_site_address_is_refused_with_a_reason() {
    let api = Api::start().await;
    for (url, why) in [
        ("example.com", "absolute URL"),
        ("ftp://example.com", "http:// or https://"),
        ("https://a:b@example.com", "user name or password"),
        ("https://example.com/?p=1", "query"),
    ] {
        let answer = api.post("/create-app-password").json(&body(url)).send().await.unwrap();
        let problem = problem(answer, 422, "INVALID_REQUEST").await;
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(why), "{url}");
    }
}

#[tokio::test]
async fn a_repeat_with_the_same_key_returns_the_same_task_and_another_body_is_refused() {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user")]).await;
    let ask = |name: &str, site: &str| {
        api.post("/create-app-password")
            .bearer_auth(token(name))
            .header("Idempotency-Key", "once")
            .json(&body(site))
            .send()
    };
    let first: Value = ask("alice", "https://a.example").await.unwrap().json().await.unwrap();
    let again = ask("alice", "https://a.example").await.unwrap();
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    assert_eq!(again.headers()["location"], format!("/tasks/{}", first["id"].as_str().unwrap()));
    problem(ask("alice", "https://b.example").await.unwrap(), 422, "IDEMPOTENCY_MISMATCH").await;
    // Idempotency keys are per token.
    let other: Value = ask("bob", "https://b.example").await.unwrap().json().await.unwrap();
    assert_ne!(other["id"], first["id"]);
}

#[tokio::test]
async fn an_invalid_idempotency_key_is_refused() {
    let api = Api::start().await;
    let long = "k".repeat(256);
    for key in ["", "with space", long.as_str()] {
        let request = api.post("/setup").header("Idempotency-Key", key).json(&body("https://a.example"));
        problem(request.send().await.unwrap(), 400, "BAD_PARAMETER").await;
    }
}

#[tokio::test]
async fn prefer_wait_returns_the_finished_task() {
    let api = Api::start().await;
    let request =
        api.post("/create-app-password").header("Prefer", "wait=30").json(&body("https://a.example"));
    let waiting = tokio::spawn(request.send());
    crate::support::eventually("the task is in the queue", || async {
        api.json("/queue").await["stages"]["browser"]["ready"] == 1
    })
    .await;
    let claim = api.claim().await;
    api.complete(&claim.lease, "abcd efgh").await;
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["preference-applied"], "wait=30");
    assert!(answer.headers().get("retry-after").is_none());
    let task: Value = answer.json().await.unwrap();
    assert_eq!(task["state"], "succeeded");
    assert_eq!(task["result"]["application_password"], "abcd efgh");
}

#[tokio::test]
async fn a_wait_that_is_too_short_returns_202() {
    let api = Api::start().await;
    let request =
        api.post("/setup").header("Prefer", "respond-async, wait=0").json(&body("https://a.example"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["preference-applied"], "wait=0");
    assert_eq!(answer.headers()["retry-after"], "2");
}

#[tokio::test]
async fn shutdown_ends_a_wait() {
    let api = Api::start().await;
    let request = api.post("/setup").header("Prefer", "wait=60").json(&body("https://a.example"));
    let waiting = tokio::spawn(request.timeout(Duration::from_secs(50)).send());
    crate::support::eventually("the task is in the queue", || async {
        api.json("/queue").await["stages"]["browser"]["ready"] == 1
    })
    .await;
    api.app.shutdown.cancel();
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_document_describes_exactly_the_fields_that_are_parsed() {
    let api = Api::start().await;
    let document = api.json("/openapi.json").await;
    for (path, schema) in
        [("/setup", "SetupBody"), ("/create-app-password", "CreateAppPasswordBody"), ("/clone", "CloneBody")]
    {
        let fields = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let sent: Value = fields
            .iter()
            .map(|(name, _)| (name.clone(), json!([])))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let answer = api.post(path).json(&sent).send().await.unwrap();
        let errors = problem(answer, 422, "INVALID_REQUEST").await["errors"].clone();
        // No field takes a list, so each known field has exactly that fault, and none is unknown.
        assert_eq!(errors.as_array().unwrap().len(), fields.len(), "{errors}");
        for error in errors.as_array().unwrap() {
            assert!(error["detail"].as_str().unwrap().starts_with("must be"), "{error}");
        }
    }
}
