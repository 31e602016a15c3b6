//! Doing a failed task again.

use std::io::Write as _;

use serde_json::{Value, json};
use wpclone_task::{Code, Problem};

use crate::run::{finish, program, wpclone};
use crate::stub::{Answer, ID, Stub, Then, event, failed, succeeded, task};

const REPLAY: &[&str] = &["replay", ID];

fn again() -> Answer {
    let waiting = json!({"percent": 0, "message": "Waiting for a worker."});
    Answer::Json(
        202,
        task(json!({"state": "queued", "finished_at": null, "replays": 2, "progress": waiting})),
    )
}

fn done_again() -> Value {
    let mut task = succeeded();
    task["replays"] = 2.into();
    task
}

fn bodies(stub: &Stub) -> Vec<Value> {
    stub.asked_for(&format!("POST /tasks/{ID}/replay")).into_iter().map(|asked| asked.body).collect()
}

#[tokio::test]
async fn a_replay_is_followed_and_what_was_before_it_is_not_told_again() {
    let stub = Stub::start(|asked| match (asked.what.as_str(), asked.before) {
        ("POST /setup", _) => panic!("nothing new"),
        (what, _) if what.ends_with("/replay") => again(),
        (what, 0) if what.ends_with("/events") => Answer::Events(
            vec![
                event("1-0", "running", 10, "Once"),
                event("2-0", "failed", 10, "First end"),
                event("3-0", "failed", 20, "Second end"),
                event("4-0", "running", 50, "Now"),
                event("5-0", "succeeded", 100, "Done"),
            ],
            Then::Hangs,
        ),
        (what, _) if what.ends_with("/events") => panic!("an end of before closes no stream"),
        (_, 0 | 1) => again(),
        _ => Answer::Json(200, done_again()),
    })
    .await;
    let ran = wpclone(&stub.url, REPLAY).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stderr, @r"
     50% setup: Now
    100% setup: Done
    ");
    assert!(ran.stdout.contains("0123abcd"), "{}", ran.stdout);
    // The password of the environment may be another site's: it is used only when it is needed.
    assert_eq!(bodies(&stub), [Value::Null]);
}

#[tokio::test]
async fn all_events_of_a_task_that_was_replayed_are_told() {
    let stub = Stub::start(|asked| match asked.what.as_str() {
        what if what.ends_with("/events") => Answer::Events(
            vec![
                event("1-0", "failed", 10, "First end"),
                event("2-0", "failed", 20, "Second end"),
                event("3-0", "succeeded", 100, "Done"),
            ],
            Then::Hangs,
        ),
        _ => Answer::Json(200, done_again()),
    })
    .await;
    let ran = wpclone(&stub.url, &["tasks", ID, "--events"]).await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 3), "{ran:?}");
}

#[tokio::test]
async fn a_password_that_is_no_longer_kept_is_taken_from_where_there_is_one() {
    let gone = || Answer::Problem(Problem::new(Code::CredentialsGone, "No longer kept."));
    let stub = Stub::start(move |asked| match (asked.what.as_str(), asked.before) {
        (what, 0) if what.ends_with("/replay") => gone(),
        (what, _) if what.ends_with("/replay") => again(),
        _ => Answer::Json(200, failed()),
    })
    .await;
    let ran = wpclone(&stub.url, &[REPLAY, &["--no-wait"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains(&format!("wpclone watch {ID}")), "{}", ran.stderr);
    assert_eq!(bodies(&stub), [Value::Null, json!({"password": "canary-password"})]);
    assert!(!format!("{ran:?}").contains("canary"));

    let stub = Stub::start(move |_| gone()).await;
    let ran = finish(program(&stub.url, REPLAY)).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("CREDENTIALS_GONE") && ran.stderr.contains("--password-file"),
        "{}",
        ran.stderr
    );
    assert_eq!(bodies(&stub), [Value::Null]);
}

#[tokio::test]
async fn a_password_of_a_file_is_sent_at_once() {
    let stub = Stub::start(|_| again()).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"canary-new\n").unwrap();
    let path = file.path().to_str().unwrap();
    let ran = wpclone(&stub.url, &[REPLAY, &["--no-wait", "--password-file", path]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(bodies(&stub), [json!({"password": "canary-new"})]);
}

#[tokio::test]
async fn a_replay_whose_answer_was_lost_is_not_taken_for_a_refusal() {
    let not_failed = || Answer::Problem(Problem::new(Code::NotFailed, "It is queued."));
    let stub = Stub::start(move |asked| match (asked.what.as_str(), asked.before) {
        (what, 0) if what.ends_with("/replay") => Answer::Problem(Problem::new(Code::Internal, "Oh.")),
        (what, _) if what.ends_with("/replay") => not_failed(),
        _ => again(),
    })
    .await;
    let ran = wpclone(&stub.url, &[REPLAY, &["--no-wait"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");

    // A try that was turned away has done nothing: that the task has not failed is somebody else's doing.
    let stub = Stub::start(move |asked| match asked.before {
        0 => Answer::Later(Problem::new(Code::RateLimited, "Too much."), 0),
        _ => not_failed(),
    })
    .await;
    let ran = wpclone(&stub.url, REPLAY).await;
    assert_eq!((ran.code, bodies(&stub).len()), (2, 2), "{ran:?}");
    assert!(ran.stderr.contains("NOT_FAILED"), "{}", ran.stderr);

    let stub = Stub::start(move |_| not_failed()).await;
    let ran = wpclone(&stub.url, REPLAY).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("NOT_FAILED"), "{}", ran.stderr);
    assert_eq!(bodies(&stub).len(), 1);
}
