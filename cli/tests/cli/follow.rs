//! Following a task through lost connections, missing streams and Ctrl-C.

use serde_json::json;
use wpclone_task::{Code, Problem};

use crate::program::{SETUP, program, wait_for_output, wpclone};
use crate::stub::{ID, Reply, StreamEnd, Stub, event, queued, succeeded, task};

#[tokio::test]
async fn a_broken_stream_resumes_after_the_last_event() {
    let running = || task(json!({"state": "running"}));
    let stub = Stub::start(move |request| match (request.route.as_str(), request.earlier) {
        ("POST /setup", _) => Reply::Json(202, queued()),
        (route, nth) if route.ends_with("/events") => match nth {
            0 => Reply::Events(
                vec![event("1-0", "running", 10, "One"), event("2-0", "running", 20, "Two")],
                StreamEnd::Breaks,
            ),
            1 => Reply::Events(vec![], StreamEnd::Closes),
            _ => Reply::Events(vec![event("3-0", "succeeded", 100, "Three")], StreamEnd::StaysOpen),
        },
        (_, 0 | 1) => Reply::Json(200, running()),
        _ => Reply::Json(200, succeeded()),
    })
    .await;
    let output = wpclone(&stub.url, SETUP).await;
    assert_eq!(output.code, 0, "{output:?}");
    insta::assert_snapshot!(output.stderr, @r"
     10% setup: One
     20% setup: Two
    connection lost, reconnecting
    100% setup: Three
    ");
    let streams = stub.requests_to(&format!("GET /tasks/{ID}/events"));
    let resumed: Vec<_> = streams.iter().map(|a| a.headers.get("last-event-id").cloned()).collect();
    assert_eq!(resumed, [None, Some("2-0".into()), Some("2-0".into())]);
}

#[tokio::test]
async fn a_task_is_polled_where_event_streams_do_not_work() {
    let stub = Stub::start(|request| match (request.route.as_str(), request.earlier) {
        (route, _) if route.ends_with("/events") => {
            Reply::Text(404, "text/html", "a proxy without event streams".into())
        }
        (_, 0) => Reply::Json(200, queued()),
        _ => Reply::Json(200, succeeded()),
    })
    .await;
    let output = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(stub.requests_to(&format!("GET /tasks/{ID}/events")).len(), 1);
    insta::assert_snapshot!(output.stderr, @r"
      0% queued: Waiting for a worker
    100% succeeded: Done
    ");
}

#[tokio::test]
async fn a_task_is_polled_when_the_token_has_no_streams_left() {
    let stub = Stub::start(|request| match request.route.as_str() {
        route if route.ends_with("/events") => {
            Reply::RetryAfter(Problem::new(Code::TooManyStreams, "50 are open."), 5)
        }
        _ => Reply::Json(200, succeeded()),
    })
    .await;
    let output = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(stub.requests_to(&format!("GET /tasks/{ID}/events")).len(), 1);
}

#[tokio::test]
async fn the_end_of_a_task_is_noticed_without_its_event() {
    let stub = Stub::start(|request| {
        if request.route.ends_with("/events") {
            Reply::Events(vec![], StreamEnd::Closes)
        } else {
            Reply::Json(200, succeeded())
        }
    })
    .await;
    let output = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("0123abcd"), "{}", output.stdout);
}

#[tokio::test]
async fn a_failed_request_is_retried_with_the_same_idempotency_key() {
    let stub = Stub::start(|request| match (request.route.as_str(), request.earlier) {
        ("POST /setup", 0) => Reply::Problem(Problem::new(Code::Internal, "Oh.")),
        ("POST /setup", _) => Reply::Json(202, queued()),
        (route, _) if route.ends_with("/events") => {
            Reply::Events(vec![event("1-0", "succeeded", 100, "Done")], StreamEnd::Closes)
        }
        _ => Reply::Json(200, succeeded()),
    })
    .await;
    let output = wpclone(&stub.url, SETUP).await;
    assert_eq!(output.code, 0, "{output:?}");
    let posts = stub.requests_to("POST /setup");
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].headers["idempotency-key"], posts[1].headers["idempotency-key"]);
}

#[tokio::test]
async fn ctrl_c_leaves_the_task_running_and_prints_how_to_see_it() {
    let (connected, mut connections) = tokio::sync::mpsc::unbounded_channel();
    let stub = Stub::start(move |request| match request.route.as_str() {
        "POST /setup" => Reply::Json(202, queued()),
        route if route.ends_with("/events") => {
            let _ = connected.send(());
            Reply::Events(vec![event("1-0", "running", 10, "One")], StreamEnd::StaysOpen)
        }
        route => panic!("unexpected request {route}"),
    })
    .await;
    let mut command = program(&stub.url, SETUP);
    let child = command.env("WPCLONE_SITE_PASSWORD", "canary").spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    connections.recv().await.unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = wait_for_output(child).await;
    assert_eq!((output.code, output.stdout.as_str()), (130, ""), "{output:?}");
    assert!(output.stderr.contains(&format!("wpclone tasks {ID}")), "{}", output.stderr);
}

#[tokio::test]
async fn events_are_printed_one_per_line() {
    let stub = Stub::ending(succeeded()).await;
    let output = wpclone(&stub.url, &["tasks", ID, "--events"]).await;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    insta::assert_snapshot!(output.stdout, @r"
    2026-11-23 10:00:02 UTC   40% setup: Logging in
    2026-11-23 10:00:02 UTC  100% setup: The end
    ");
    let output = wpclone(&stub.url, &["tasks", ID, "--events", "--json"]).await;
    let percents = output.stdout.lines().map(|line| {
        let event: wpclone_task::Event = serde_json::from_str(line).unwrap();
        event.progress.percent
    });
    assert_eq!(percents.collect::<Vec<_>>(), [40, 100]);
}
