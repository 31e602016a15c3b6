//! What a run prints, and how it ends.

use insta::assert_snapshot;
use serde_json::{Value, json};
use wpclone_task::{Code, Problem};

use crate::run::{SETUP, without_port, wpclone};
use crate::stub::{Answer, ID, Stub, failed, queued, succeeded, task, turned_down};

#[tokio::test]
async fn a_setup_that_succeeds_prints_its_result_and_nothing_else_on_stdout() {
    let stub = Stub::ending(succeeded()).await;
    let ran = wpclone(&stub.url, SETUP).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_snapshot!(ran.stdout);
    assert_snapshot!(ran.stderr, @r"
     40% setup: Logging in
    100% setup: The end
    ");
    let body = &stub.asked_for("POST /setup")[0].body;
    assert_eq!(
        *body,
        json!({"url": "https://example.com/blog", "username": "admin", "password": "canary-password", "role": "source"})
    );
}

#[tokio::test]
async fn an_application_password_is_asked_for_by_name() {
    let done = task(json!({"kind": "create-app-password",
        "request": {"kind": "create-app-password", "url": "https://example.com", "username": "admin", "app_name": "backup"},
        "result": {"application_password": "abcd efgh", "username": "admin", "uuid": "u", "app_name": "backup"}}));
    let stub = Stub::ending(done).await;
    let args = ["app-password", "https://example.com/wp-admin/", "--username", "admin", "--name", "backup"];
    let ran = wpclone(&stub.url, &args).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("application_password  abcd efgh\n"), "{}", ran.stdout);
    let body = &stub.asked_for("POST /create-app-password")[0].body;
    assert_eq!((&body["app_name"], &body["url"]), (&json!("backup"), &json!("https://example.com")));
}

#[tokio::test]
async fn with_json_the_task_is_printed_as_it_came() {
    let mut as_it_came = succeeded();
    as_it_came["of_a_later_api"] = json!([1]);
    let stub = Stub::ending(as_it_came.clone()).await;
    let ran = wpclone(&stub.url, &[SETUP, &["--json"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), as_it_came);
}

#[tokio::test]
async fn a_failed_task_ends_with_1_and_says_what_to_do() {
    let stub = Stub::ending(failed()).await;
    let ran = wpclone(&stub.url, SETUP).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert_snapshot!(without_port(&ran.stderr, &stub.url));

    let ran = wpclone(&stub.url, &[SETUP, &["--json"]].concat()).await;
    assert_eq!(ran.code, 1);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), failed());
}

#[tokio::test]
async fn a_cancelled_task_ends_with_1() {
    let stub = Stub::ending(task(json!({"state": "cancelled"}))).await;
    let ran = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("the task was cancelled\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_request_that_is_turned_down_ends_with_2_and_names_every_fault() {
    let stub = Stub::start(|_| turned_down()).await;
    let ran = wpclone(&stub.url, SETUP).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert_snapshot!(without_port(&ran.stderr, &stub.url));
    assert_eq!(stub.asked().len(), 1, "what was refused is not sent again");
}

#[tokio::test]
async fn a_missing_token_and_an_unknown_task_end_with_2() {
    for code in [Code::Unauthenticated, Code::TaskNotFound, Code::TaskGone] {
        let stub = Stub::start(move |_| Answer::Problem(Problem::new(code, "No."))).await;
        let ran = wpclone(&stub.url, &["tasks", ID]).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(code.as_str()), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_api_that_is_not_there_or_not_well_ends_with_3() {
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let ran = wpclone(&gone, SETUP).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains("cannot be reached") && ran.stderr.contains(&gone), "{}", ran.stderr);

    let ill = Stub::start(|_| Answer::Problem(Problem::new(Code::QueueUnavailable, "No Redis."))).await;
    let ran = wpclone(&ill.url, SETUP).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    let keys: Vec<_> = ill.asked().iter().map(|a| a.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 3, "a few tries and no more");
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() > 16), "{keys:?}");
}

#[tokio::test]
async fn a_busy_api_is_waited_for_when_it_says_how_long_and_that_is_not_too_long() {
    let limited = |seconds| Answer::Later(Problem::new(Code::RateLimited, "Too much."), seconds);
    let stub = Stub::start(move |asked| match asked.before {
        0 => limited(1),
        _ => Answer::Json(202, queued()),
    })
    .await;
    let ran = wpclone(&stub.url, &[SETUP, &["--no-wait"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("Too much. Trying again in 1 s.\n"), "{}", ran.stderr);

    let stub = Stub::start(move |_| limited(50)).await;
    let ran = wpclone(&stub.url, SETUP).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    assert!(ran.stderr.contains("RATE_LIMITED") && ran.stderr.contains("wait 50 s"), "{}", ran.stderr);
    assert_eq!(stub.asked().len(), 1, "as long as that nobody waits for a prompt");
}

#[tokio::test]
async fn a_server_that_is_not_the_api_ends_with_3() {
    let html = |_: &_| Answer::Text(200, "text/html", "<p>Welcome".into());
    let endless = |_: &_| Answer::Text(200, "application/json", "[".repeat(5 << 20));
    let other = |_: &_| Answer::Json(200, json!({"tasks": "none"}));
    for stub in [Stub::start(html).await, Stub::start(endless).await, Stub::start(other).await] {
        let ran = wpclone(&stub.url, &["tasks"]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
    }
}

#[tokio::test]
async fn without_waiting_the_accepted_task_is_printed() {
    let stub = Stub::start(|_| Answer::Json(202, queued())).await;
    let ran = wpclone(&stub.url, &[SETUP, &["--no-wait", "--idempotency-key", "mine"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_snapshot!(ran.stdout);
    assert!(ran.stderr.contains(&format!("wpclone watch {ID}")), "{}", ran.stderr);
    assert_eq!(stub.asked().len(), 1);
    assert_eq!(stub.asked()[0].headers["idempotency-key"], "mine");
}

#[tokio::test]
async fn a_task_is_ended_on_request() {
    let stub = Stub::start(|_| Answer::Json(202, task(json!({"state": "cancelled"})))).await;
    let ran = wpclone(&stub.url, &["cancel", ID]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stub.asked()[0].what, format!("POST /tasks/{ID}/cancel"));

    let stub = Stub::start(|_| Answer::Problem(Problem::new(Code::TaskFinished, "It has ended."))).await;
    assert_eq!(wpclone(&stub.url, &["cancel", ID]).await.code, 2);
}
