//! `wpclone replay`.

use std::io::Write as _;

use serde_json::{Value, json};
use wpclone_task::{Code, Problem};

use crate::program::{program, run, wpclone};
use crate::stub::{ID, Reply, StreamEnd, Stub, event, failed, succeeded, task};

const REPLAY: &[&str] = &["replay", ID];

fn queued_again() -> Reply {
    let waiting = json!({"percent": 0, "message": "Waiting for a worker."});
    Reply::Json(202, task(json!({"state": "queued", "finished_at": null, "replays": 2, "progress": waiting})))
}

fn succeeded_again() -> Value {
    let mut task = succeeded();
    task["replays"] = 2.into();
    task
}

fn bodies(stub: &Stub) -> Vec<Value> {
    stub.requests_to(&format!("POST /tasks/{ID}/replay")).into_iter().map(|request| request.body).collect()
}

#[tokio::test]
async fn a_replay_is_followed_without_the_events_of_earlier_runs() {
    let stub = Stub::start(|request| match (request.route.as_str(), request.earlier) {
        ("POST /setup", _) => panic!("no new task is started"),
        (route, _) if route.ends_with("/replay") => queued_again(),
        (route, 0) if route.ends_with("/events") => Reply::Events(
            vec![
                event("1-0", "running", 10, "Once"),
                event("2-0", "failed", 10, "First end"),
                event("3-0", "failed", 20, "Second end"),
                event("4-0", "running", 50, "Now"),
                event("5-0", "succeeded", 100, "Done"),
            ],
            StreamEnd::StaysOpen,
        ),
        (route, _) if route.ends_with("/events") => {
            panic!("the end of an earlier run does not end the stream")
        }
        (_, 0 | 1) => queued_again(),
        _ => Reply::Json(200, succeeded_again()),
    })
    .await;
    let output = wpclone(&stub.url, REPLAY).await;
    assert_eq!(output.code, 0, "{output:?}");
    insta::assert_snapshot!(output.stderr, @r"
     50% setup: Now
    100% setup: Done
    ");
    assert!(output.stdout.contains("0123abcd"), "{}", output.stdout);
    // The password in the environment may belong to another site, so it is sent only when needed.
    assert_eq!(bodies(&stub), [Value::Null]);
}

#[tokio::test]
async fn all_events_of_a_replayed_task_are_printed() {
    let stub = Stub::start(|request| match request.route.as_str() {
        route if route.ends_with("/events") => Reply::Events(
            vec![
                event("1-0", "failed", 10, "First end"),
                event("2-0", "failed", 20, "Second end"),
                event("3-0", "succeeded", 100, "Done"),
            ],
            StreamEnd::StaysOpen,
        ),
        _ => Reply::Json(200, succeeded_again()),
    })
    .await;
    let output = wpclone(&stub.url, &["tasks", ID, "--events"]).await;
    assert_eq!((output.code, output.stdout.lines().count()), (0, 3), "{output:?}");
}

#[tokio::test]
async fn a_password_that_is_no_longer_kept_is_read_from_the_environment() {
    let credentials_gone = || Reply::Problem(Problem::new(Code::CredentialsGone, "No longer kept."));
    let stub = Stub::start(move |request| match (request.route.as_str(), request.earlier) {
        (route, 0) if route.ends_with("/replay") => credentials_gone(),
        (route, _) if route.ends_with("/replay") => queued_again(),
        _ => Reply::Json(200, failed()),
    })
    .await;
    let output = wpclone(&stub.url, &[REPLAY, &["--no-wait"]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains(&format!("wpclone watch {ID}")), "{}", output.stderr);
    assert_eq!(bodies(&stub), [Value::Null, json!({"password": "canary-password"})]);
    assert!(!format!("{output:?}").contains("canary"));

    let stub = Stub::start(move |_| credentials_gone()).await;
    let output = run(program(&stub.url, REPLAY)).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("CREDENTIALS_GONE") && output.stderr.contains("--password-file"),
        "{}",
        output.stderr
    );
    assert_eq!(bodies(&stub), [Value::Null]);
}

#[tokio::test]
async fn a_password_file_is_sent_with_the_first_request() {
    let stub = Stub::start(|_| queued_again()).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"canary-new\n").unwrap();
    let path = file.path().to_str().unwrap();
    let output = wpclone(&stub.url, &[REPLAY, &["--no-wait", "--password-file", path]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(bodies(&stub), [json!({"password": "canary-new"})]);
}

#[tokio::test]
async fn a_replay_whose_response_was_lost_succeeds() {
    let not_failed = || Reply::Problem(Problem::new(Code::NotFailed, "It is queued."));
    let stub = Stub::start(move |request| match (request.route.as_str(), request.earlier) {
        (route, 0) if route.ends_with("/replay") => Reply::Problem(Problem::new(Code::Internal, "Oh.")),
        (route, _) if route.ends_with("/replay") => not_failed(),
        _ => queued_again(),
    })
    .await;
    let output = wpclone(&stub.url, &[REPLAY, &["--no-wait"]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");

    // A rate-limited attempt changed nothing, so somebody else replayed the task.
    let stub = Stub::start(move |request| match request.earlier {
        0 => Reply::RetryAfter(Problem::new(Code::RateLimited, "Too much."), 0),
        _ => not_failed(),
    })
    .await;
    let output = wpclone(&stub.url, REPLAY).await;
    assert_eq!((output.code, bodies(&stub).len()), (2, 2), "{output:?}");
    assert!(output.stderr.contains("NOT_FAILED"), "{}", output.stderr);

    let stub = Stub::start(move |_| not_failed()).await;
    let output = wpclone(&stub.url, REPLAY).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("NOT_FAILED"), "{}", output.stderr);
    assert_eq!(bodies(&stub).len(), 1);
}
