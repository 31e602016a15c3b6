//! Replaying failed tasks.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use wpclone_queue::{Claim, Queue, QueueOptions};
use wpclone_service::sealed_task::open_request;
use wpclone_task::{Code, ExposeSecret as _, Problem, Stage, TaskId};

use crate::events::Stream;
use crate::support::{Api, body, eventually, problem, token};

/// Fails the ready task, as a worker would.
async fn fail(api: &Api) {
    let claim = api.claim().await;
    let failed = Problem::new(Code::AuthBadCredentials, "The site shows its login form again.");
    api.app.queue.fail(&claim.lease, &failed).await.unwrap();
}

async fn failed(api: &Api, name: Option<&str>) -> String {
    let id = api.ask("https://a.example", name).await;
    fail(api).await;
    id
}

/// A failed task whose secrets are deleted at once.
async fn failed_long_ago(api: &Api) -> String {
    let id = api.ask("https://long-ago.example", None).await;
    let options = QueueOptions { secrets_retention: Duration::ZERO, ..QueueOptions::default() };
    let queue = Queue::new(&api.redis.url(), options).unwrap();
    let claim = queue.claim("worker-1", &[Stage::Browser]).await.unwrap().unwrap();
    queue.fail(&claim.lease, &Problem::new(Code::NotWordPress, "x")).await.unwrap();
    id
}

async fn replay(api: &Api, id: &str, name: Option<&str>, body: Option<Value>) -> Response {
    let request = api.post(&format!("/tasks/{id}/replay"));
    let request = name.into_iter().fold(request, |r, name| r.bearer_auth(token(name)));
    body.iter().fold(request, |r, body| r.json(body)).send().await.unwrap()
}

fn password(api: &Api, claim: &Claim) -> String {
    let sealed = claim.sealed_secrets.as_deref().unwrap();
    let secrets = open_request(&api.app.sealer, claim.lease.task, sealed).unwrap();
    secrets[0].1.expose_secret().to_owned()
}

#[tokio::test]
async fn a_replay_uses_the_stored_password() {
    let api = Api::start().await;
    let id = failed(&api, None).await;
    let path = format!("/tasks/{id}");
    let before = api.get(&path).send().await.unwrap();
    let tag = before.headers()["etag"].clone();
    let before: Value = before.json().await.unwrap();
    assert_eq!(before["links"]["replay"], format!("{path}/replay"));
    assert!(before.get("replays").is_none());

    let answer = replay(&api, &id, None, None).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["location"], path.as_str());
    assert_eq!(answer.headers()["retry-after"], "2");
    let task: Value = answer.json().await.unwrap();
    assert_eq!((&task["state"], &task["replays"]), (&json!("queued"), &json!(1)));
    assert!(task.get("problem").is_none() && task["links"].get("replay").is_none());
    assert_eq!(task["steps"][0]["attempts"], 0);
    let changed = api.get(&path).header("If-None-Match", tag).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);

    let claim = api.claim().await;
    assert_eq!((claim.lease.task.to_string(), password(&api, &claim)), (id, "correct horse".to_owned()));
    api.complete(&claim.lease, "abcd efgh").await;
    let done = api.json(&path).await;
    assert_eq!((&done["state"], &done["replays"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(done["result"]["application_password"], "abcd efgh");
}

#[tokio::test]
async fn a_replay_replaces_a_wrong_password() {
    let api = Api::start().await;
    let id = failed(&api, None).await;
    let answer = replay(&api, &id, None, Some(json!({"password": "the right one"}))).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let claim = api.claim().await;
    assert_eq!(password(&api, &claim), "the right one");
    let held = String::from_utf8_lossy(&api.redis.raw_files()).into_owned();
    assert!(!held.contains("the right one"), "Redis has only the seal");
}

#[tokio::test]
async fn a_replay_needs_the_password_when_the_stored_one_is_deleted() {
    let api = Api::start().await;
    let id = failed_long_ago(&api).await;
    for body in [None, Some(json!({})), Some(json!({"password": null}))] {
        let refused = problem(replay(&api, &id, None, body).await, 422, "CREDENTIALS_GONE").await;
        assert!(refused["user_action"].as_str().unwrap().contains("password"));
    }
    assert_eq!(api.json(&format!("/tasks/{id}")).await["state"], "failed");
    let answer = replay(&api, &id, None, Some(json!({"password": "brought"}))).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(password(&api, &api.claim().await), "brought");
}

#[tokio::test]
async fn only_a_failed_task_is_replayed_and_a_repeat_is_409() {
    let api = Api::start().await;
    let refused = async |id: &str, state: &str| {
        let problem = problem(replay(&api, id, None, None).await, 409, "NOT_FAILED").await;
        assert!(problem["detail"].as_str().unwrap().contains(state), "{problem:?}");
    };
    let id = api.ask("https://a.example", None).await;
    refused(&id, "queued").await;
    let claim = api.claim().await;
    refused(&id, "running").await;
    api.complete(&claim.lease, "x").await;
    refused(&id, "succeeded").await;
    let cancelled = api.ask("https://b.example", None).await;
    api.post(&format!("/tasks/{cancelled}/cancel")).send().await.unwrap();
    refused(&cancelled, "cancelled").await;

    let id = failed(&api, None).await;
    assert_eq!(replay(&api, &id, None, None).await.status(), StatusCode::ACCEPTED);
    refused(&id, "queued").await;
    fail(&api).await;
    let again = replay(&api, &id, None, None).await;
    assert_eq!(again.json::<Value>().await.unwrap()["replays"], 2);
}

#[tokio::test]
async fn the_body_of_a_replay_is_validated() {
    let api = Api::start().await;
    let id = failed(&api, None).await;
    let wrong = replay(&api, &id, None, Some(json!({"password": "", "username": "b"}))).await;
    let errors = problem(wrong, 422, "INVALID_REQUEST").await["errors"].clone();
    assert_eq!((&errors[0]["pointer"], &errors[1]["pointer"]), (&json!("/password"), &json!("/username")));
    problem(replay(&api, &id, None, Some(json!([]))).await, 422, "INVALID_REQUEST").await;
    let send = |kind: &str, body: &'static str| {
        api.post(&format!("/tasks/{id}/replay")).header("Content-Type", kind).body(body).send()
    };
    problem(send("application/json", "{").await.unwrap(), 400, "MALFORMED_JSON").await;
    problem(send("text/plain", "{}").await.unwrap(), 415, "UNSUPPORTED_MEDIA_TYPE").await;
    // No replay was accepted.
    for none in ["", "null"] {
        assert_eq!(send("application/json", none).await.unwrap().status(), StatusCode::ACCEPTED);
        fail(&api).await;
    }
}

#[tokio::test]
async fn an_unknown_or_another_owners_task_is_not_replayed() {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user"), ("prom", "metrics")]).await;
    let id = failed(&api, Some("alice")).await;
    problem(replay(&api, &id, Some("bob"), None).await, 404, "TASK_NOT_FOUND").await;
    problem(replay(&api, &id, Some("prom"), None).await, 403, "FORBIDDEN").await;
    problem(replay(&api, &id, None, None).await, 401, "UNAUTHENTICATED").await;
    for id in [TaskId::new().to_string(), "nonsense".into()] {
        problem(replay(&api, &id, Some("alice"), None).await, 404, "TASK_NOT_FOUND").await;
    }
    let options = QueueOptions { finished_retention: Duration::ZERO, ..QueueOptions::default() };
    let forgetful = Queue::new(&api.redis.url(), options).unwrap();
    eventually("the task is forgotten", || async {
        forgetful.sweep().await.unwrap();
        replay(&api, &id, Some("alice"), None).await.status() == StatusCode::GONE
    })
    .await;
    problem(replay(&api, &id, Some("alice"), None).await, 410, "TASK_GONE").await;
}

#[tokio::test]
async fn a_replay_counts_against_the_owners_limits_and_an_operator_may_exceed_them() {
    let api = Api::with_tokens(&[("alice", "user:1"), ("root", "operator:1")]).await;
    let id = failed(&api, Some("alice")).await;
    let refused = replay(&api, &id, Some("alice"), None).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 429, "RATE_LIMITED").await;
    for _ in 0..2 {
        assert_eq!(replay(&api, &id, Some("root"), None).await.status(), StatusCode::ACCEPTED);
        fail(&api).await;
    }
    // The operator does not own the replayed task.
    replay(&api, &id, Some("root"), None).await;
    api.complete(&api.claim().await.lease, "abcd").await;
    let seen = api.get(&format!("/tasks/{id}")).bearer_auth(token("root")).send().await.unwrap();
    assert_eq!(seen.json::<Value>().await.unwrap()["result"]["application_password"], Value::Null);
}

#[tokio::test]
async fn an_operators_replay_counts_among_the_owners_unfinished_tasks() {
    let api = Api::with_tokens(&[("alice", "user::1"), ("root", "operator")]).await;
    let id = failed(&api, Some("alice")).await;
    let ask = || api.post("/setup").bearer_auth(token("alice")).json(&body("https://b.example")).send();
    assert_eq!(ask().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(replay(&api, &id, Some("root"), None).await.status(), StatusCode::ACCEPTED);
    for _ in 0..2 {
        problem(ask().await.unwrap(), 429, "TOO_MANY_TASKS").await;
        api.complete(&api.claim().await.lease, "abcd").await;
    }
    assert_eq!(ask().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn prefer_wait_returns_the_replayed_task() {
    let api = Api::start().await;
    let id = failed(&api, None).await;
    let request = api.post(&format!("/tasks/{id}/replay")).header("Prefer", "wait=30");
    let waiting = tokio::spawn(request.send());
    eventually("it is in the queue again", || async {
        api.json("/queue").await["stages"]["browser"]["ready"] == 1
    })
    .await;
    api.complete(&api.claim().await.lease, "abcd").await;
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["preference-applied"], "wait=30");
    assert_eq!(answer.json::<Value>().await.unwrap()["state"], "succeeded");
}

#[tokio::test]
async fn without_redis_nothing_is_replayed() {
    let mut api = Api::start().await;
    let id = failed(&api, None).await;
    api.redis.kill();
    let answer = replay(&api, &id, None, None).await;
    assert_eq!(answer.headers()["retry-after"], "5");
    problem(answer, 503, "QUEUE_UNAVAILABLE").await;
    api.redis.restart().await;
    eventually("it is replayed", || async {
        replay(&api, &id, None, None).await.status() == StatusCode::ACCEPTED
    })
    .await;
}

#[tokio::test]
async fn a_task_stream_continues_with_the_replay() {
    let api = Api::start().await;
    let id = failed(&api, None).await;
    let events = async |after: &str| {
        let request = api.get(&format!("/tasks/{id}/events")).header("Last-Event-ID", after);
        request.send().await.unwrap().text().await.unwrap()
    };
    let first = events("").await;
    let last = first.lines().filter_map(|l| l.strip_prefix("id: ")).next_back().unwrap().to_owned();
    assert!(first.contains("AUTH_BAD_CREDENTIALS"), "{first}");
    replay(&api, &id, None, None).await;
    api.complete(&api.claim().await.lease, "abcd").await;
    let rest = events(&last).await;
    assert!(rest.contains("succeeded") && !rest.contains("AUTH_BAD_CREDENTIALS"), "{rest}");
}

#[tokio::test]
async fn a_stream_resumes_after_a_replayed_end() {
    let api = Api::start().await;
    let id = failed(&api, None).await;
    replay(&api, &id, None, None).await;
    let claim = api.claim().await;
    let mut stream = Stream::open(&api, &format!("/tasks/{id}/events"), None).await;
    while stream.event().await.expect("the stream goes on").1["state"] != "failed" {}
    api.complete(&claim.lease, "abcd").await;
    assert_eq!(stream.rest().await.last().expect("more").1["state"], "succeeded");
}

#[tokio::test]
async fn the_dashboard_offers_to_replay_a_failed_task() {
    let api = Api::start().await;
    let id = failed(&api, None).await;
    let path = format!("/dashboard/tasks/{id}");
    let page = async || api.get(&path).send().await.unwrap().text().await.unwrap();
    let text = page().await;
    assert!(text.contains("Retry") && text.contains("if the old one was wrong"));
    let list = api.get("/dashboard/tasks?state=failed").send().await.unwrap().text().await.unwrap();
    assert!(list.contains("<a href=\"/dashboard/tasks?state=failed\" aria-current=\"page\">Failed</a>"));

    let press = async |path: &str, fields: &[(&str, &str)]| {
        let pressed = api.post(path).header("Accept", "text/html").form(&fields).send().await.unwrap();
        (pressed.status(), pressed.headers().get("location").cloned())
    };
    let foreign = api.post(&path).header("Origin", "https://evil.example").form(&[("password", "x")]);
    problem(foreign.send().await.unwrap(), 403, "ORIGIN_REFUSED").await;
    let (status, to) = press(&path, &[("password", "")]).await;
    assert_eq!((status, to.unwrap().to_str().unwrap()), (StatusCode::SEE_OTHER, path.as_str()));
    let text = page().await;
    assert!(text.contains("Back in the queue") && text.contains("retried once"), "{text}");
    assert!(!text.contains("Retry"));
    // Submitting the form twice does no harm.
    assert_eq!(press(&path, &[]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(password(&api, &api.claim().await), "correct horse");

    let gone = failed_long_ago(&api).await;
    let path = format!("/dashboard/tasks/{gone}");
    let text = api.get(&path).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("no longer kept <input type=\"password\"") && text.contains("required"), "{text}");
    assert_eq!(press(&path, &[]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(api.json(&format!("/tasks/{gone}")).await["state"], "failed");
    assert_eq!(press(&path, &[("password", "typed")]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(password(&api, &api.claim().await), "typed");
}

#[tokio::test]
async fn a_setup_can_be_replayed() {
    let api = Api::start().await;
    let task: Value =
        api.post("/setup").json(&body("https://a.example")).send().await.unwrap().json().await.unwrap();
    fail(&api).await;
    assert_eq!(replay(&api, task["id"].as_str().unwrap(), None, None).await.status(), StatusCode::ACCEPTED);
    assert_eq!(api.claim().await.request.kind().as_str(), "setup");
}
