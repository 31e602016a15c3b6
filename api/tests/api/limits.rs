//! Limits of a token: rate, unfinished tasks, streams and waits.

use reqwest::{Response, StatusCode};
use serde_json::Value;
use wpclone_api::state::Limits;

use crate::support::{Api, PATIENCE, Setup, body, eventually, problem, token};

async fn ask(api: &Api, name: &str, site: &str, key: Option<&str>) -> Response {
    let request = api.post("/setup").bearer_auth(token(name)).json(&body(site));
    let request = key.into_iter().fold(request, |r, key| r.header("Idempotency-Key", key));
    request.send().await.unwrap()
}

fn retry_after(answer: &Response) -> u64 {
    answer.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_rate_limited_request_says_when_to_retry() {
    let api = Api::with_tokens(&[("alice", "user:2"), ("bob", "user")]).await;
    assert_eq!(ask(&api, "alice", "https://a.example", Some("one")).await.status(), StatusCode::ACCEPTED);
    assert_eq!(ask(&api, "alice", "https://b.example", None).await.status(), StatusCode::ACCEPTED);
    let refused = ask(&api, "alice", "https://c.example", None).await;
    let wait = retry_after(&refused);
    assert!((1..=30).contains(&wait), "{wait}");
    let refused = problem(refused, 429, "RATE_LIMITED").await;
    assert_eq!(refused["retryable"], true);
    // A repeat does not count, a mismatch is reported as usual, and other tokens are not affected.
    assert_eq!(ask(&api, "alice", "https://a.example", Some("one")).await.status(), StatusCode::ACCEPTED);
    problem(ask(&api, "alice", "https://b.example", Some("one")).await, 422, "IDEMPOTENCY_MISMATCH").await;
    assert_eq!(ask(&api, "bob", "https://c.example", None).await.status(), StatusCode::ACCEPTED);
    let list = api.get("/tasks").bearer_auth(token("alice")).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap()["tasks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_number_of_a_tokens_unfinished_tasks_is_limited() {
    let api = Api::with_tokens(&[("alice", "user::1"), ("bob", "user::1")]).await;
    let first = ask(&api, "alice", "https://a.example", None).await;
    let first = first.headers()["location"].to_str().unwrap().to_owned();
    let refused = ask(&api, "alice", "https://b.example", None).await;
    assert_eq!(retry_after(&refused), 5);
    problem(refused, 429, "TOO_MANY_TASKS").await;
    assert_eq!(ask(&api, "bob", "https://b.example", None).await.status(), StatusCode::ACCEPTED);
    let cancel = api.post(&format!("{first}/cancel")).bearer_auth(token("alice"));
    assert_eq!(cancel.send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(ask(&api, "alice", "https://b.example", None).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_changed_limit_in_the_file_applies_at_once() {
    let api = Api::with_tokens(&[("alice", "user::1")]).await;
    ask(&api, "alice", "https://a.example", None).await;
    problem(ask(&api, "alice", "https://b.example", None).await, 429, "TOO_MANY_TASKS").await;
    api.rewrite_tokens(&crate::support::token_line("alice", "user::2"));
    eventually("the new limit holds", || async {
        ask(&api, "alice", "https://b.example", None).await.status() == StatusCode::ACCEPTED
    })
    .await;
}

#[tokio::test]
async fn the_number_of_a_tokens_streams_is_limited() {
    let limits = Limits { streams_per_token: 2, ..Limits::default() };
    let tokens = Some(&[("alice", "user"), ("bob", "user")][..]);
    let api = Api::with(Setup { limits, tokens, ..Setup::default() }).await;
    let id = api.ask("https://a.example", Some("alice")).await;
    let open = async |name: &str, path: &str| api.get(path).bearer_auth(token(name)).send().await.unwrap();
    let of_task = format!("/tasks/{id}/events");
    let (one, _two) = (open("alice", "/events").await, open("alice", &of_task).await);
    for path in ["/events", of_task.as_str()] {
        let refused = open("alice", path).await;
        assert_eq!(retry_after(&refused), 5);
        problem(refused, 429, "TOO_MANY_STREAMS").await;
    }
    assert_eq!(open("bob", "/events").await.status(), StatusCode::OK);
    drop(one);
    eventually("the closed one makes room", || async {
        open("alice", "/events").await.status() == StatusCode::OK
    })
    .await;
    // A stream that is answered at once takes no permit.
    api.post(&format!("/tasks/{id}/cancel")).bearer_auth(token("alice")).send().await.unwrap();
    let all = open("alice", &of_task).await.text().await.unwrap();
    assert!(all.contains("cancelled"), "{all}");
}

#[tokio::test]
async fn beyond_the_limit_of_waits_a_response_is_sent_at_once() {
    let limits = Limits { waits_per_token: 1, ..Limits::default() };
    let api = Api::with(Setup { limits, ..Setup::default() }).await;
    let wait = |site: &str| api.post("/setup").header("Prefer", "wait=60").json(&body(site)).send();
    let held = tokio::spawn(wait("https://a.example"));
    eventually("the first one waits", || async { api.app.prefer_waits.try_acquire("local", 1).is_none() })
        .await;
    let second = tokio::time::timeout(PATIENCE, wait("https://b.example")).await.unwrap().unwrap();
    assert_eq!(second.status(), StatusCode::ACCEPTED);
    assert!(second.headers().get("preference-applied").is_none(), "it was not granted");
    let claim = api.claim().await;
    api.complete(&claim.lease, "abcd").await;
    let held = tokio::time::timeout(PATIENCE, held).await.unwrap().unwrap().unwrap();
    assert_eq!(
        (held.status(), &held.headers()["preference-applied"]),
        (StatusCode::OK, &"wait=60".parse().unwrap())
    );
}
