//! Following a task through whatever happens on the way.

use serde_json::json;
use wpclone_task::{Code, Problem};

use crate::run::{SETUP, end, program, wpclone};
use crate::stub::{Answer, ID, Stub, Then, event, queued, succeeded, task};

#[tokio::test]
async fn a_stream_that_is_cut_is_taken_up_where_it_ended() {
    let running = || task(json!({"state": "running"}));
    let stub = Stub::start(move |asked| match (asked.what.as_str(), asked.before) {
        ("POST /setup", _) => Answer::Json(202, queued()),
        (what, nth) if what.ends_with("/events") => match nth {
            0 => Answer::Events(
                vec![event("1-0", "running", 10, "One"), event("2-0", "running", 20, "Two")],
                Then::IsCut,
            ),
            1 => Answer::Events(vec![], Then::Ends),
            _ => Answer::Events(vec![event("3-0", "succeeded", 100, "Three")], Then::Hangs),
        },
        (_, 0 | 1) => Answer::Json(200, running()),
        _ => Answer::Json(200, succeeded()),
    })
    .await;
    let ran = wpclone(&stub.url, SETUP).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stderr, @r"
     10% setup: One
     20% setup: Two
    connection lost, trying again
    100% setup: Three
    ");
    let streams = stub.asked_for(&format!("GET /tasks/{ID}/events"));
    let resumed: Vec<_> = streams.iter().map(|a| a.headers.get("last-event-id").cloned()).collect();
    assert_eq!(resumed, [None, Some("2-0".into()), Some("2-0".into())]);
}

#[tokio::test]
async fn where_there_are_no_events_the_task_is_asked_for() {
    let stub = Stub::start(|asked| match (asked.what.as_str(), asked.before) {
        (what, _) if what.ends_with("/events") => {
            Answer::Text(404, "text/html", "a proxy that knows no streams".into())
        }
        (_, 0) => Answer::Json(200, queued()),
        _ => Answer::Json(200, succeeded()),
    })
    .await;
    let ran = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stub.asked_for(&format!("GET /tasks/{ID}/events")).len(), 1);
    insta::assert_snapshot!(ran.stderr, @r"
      0% queued: Waiting for a worker
    100% succeeded: Done
    ");
}

#[tokio::test]
async fn where_all_streams_are_taken_the_task_is_asked_for() {
    let stub = Stub::start(|asked| match asked.what.as_str() {
        what if what.ends_with("/events") => {
            Answer::Later(Problem::new(Code::TooManyStreams, "50 are open."), 5)
        }
        _ => Answer::Json(200, succeeded()),
    })
    .await;
    let ran = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stub.asked_for(&format!("GET /tasks/{ID}/events")).len(), 1);
}

#[tokio::test]
async fn an_end_that_nobody_heard_is_found_out() {
    let stub = Stub::start(|asked| {
        if asked.what.ends_with("/events") {
            Answer::Events(vec![], Then::Ends)
        } else {
            Answer::Json(200, succeeded())
        }
    })
    .await;
    let ran = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("0123abcd"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_sent_again_with_the_same_key() {
    let stub = Stub::start(|asked| match (asked.what.as_str(), asked.before) {
        ("POST /setup", 0) => Answer::Problem(Problem::new(Code::Internal, "Oh.")),
        ("POST /setup", _) => Answer::Json(202, queued()),
        (what, _) if what.ends_with("/events") => {
            Answer::Events(vec![event("1-0", "succeeded", 100, "Done")], Then::Ends)
        }
        _ => Answer::Json(200, succeeded()),
    })
    .await;
    let ran = wpclone(&stub.url, SETUP).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let posts = stub.asked_for("POST /setup");
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].headers["idempotency-key"], posts[1].headers["idempotency-key"]);
}

#[tokio::test]
async fn ctrl_c_leaves_the_task_running_and_says_how_to_look_again() {
    let (seen, mut looked) = tokio::sync::mpsc::unbounded_channel();
    let stub = Stub::start(move |asked| match asked.what.as_str() {
        "POST /setup" => Answer::Json(202, queued()),
        what if what.ends_with("/events") => {
            let _ = seen.send(());
            Answer::Events(vec![event("1-0", "running", 10, "One")], Then::Hangs)
        }
        what => panic!("{what} was not to be asked"),
    })
    .await;
    let mut command = program(&stub.url, SETUP);
    let child = command.env("WPCLONE_SITE_PASSWORD", "canary").spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    looked.recv().await.unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = end(child).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (130, ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("wpclone tasks {ID}")), "{}", ran.stderr);
}

#[tokio::test]
async fn events_are_printed_one_a_line() {
    let stub = Stub::ending(succeeded()).await;
    let ran = wpclone(&stub.url, &["tasks", ID, "--events"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    insta::assert_snapshot!(ran.stdout, @r"
    2026-11-23 10:00:02 UTC   40% setup: Logging in
    2026-11-23 10:00:02 UTC  100% setup: The end
    ");
    let ran = wpclone(&stub.url, &["tasks", ID, "--events", "--json"]).await;
    let percents = ran.stdout.lines().map(|line| {
        let event: wpclone_task::Event = serde_json::from_str(line).unwrap();
        event.progress.percent
    });
    assert_eq!(percents.collect::<Vec<_>>(), [40, 100]);
}
