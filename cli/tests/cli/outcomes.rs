//! Output and exit codes.

use insta::assert_snapshot;
use serde_json::{Value, json};
use wpclone_task::{Code, Problem};

use crate::program::{SETUP, without_port, wpclone};
use crate::stub::{ID, Reply, Stub, failed, invalid_request, queued, succeeded, task};

#[tokio::test]
async fn a_successful_setup_prints_only_its_result_to_stdout() {
    let stub = Stub::ending(succeeded()).await;
    let output = wpclone(&stub.url, SETUP).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stdout);
    assert_snapshot!(output.stderr, @r"
     40% setup: Logging in
    100% setup: The end
    ");
    let body = &stub.requests_to("POST /setup")[0].body;
    assert_eq!(
        *body,
        json!({"url": "https://example.com/blog", "username": "admin", "password": "canary-password", "role": "source"})
    );
}

#[tokio::test]
async fn app_password_sends_the_name_and_prints_the_password() {
    let done = task(json!({"kind": "create-app-password",
        "request": {"kind": "create-app-password", "url": "https://example.com", "username": "admin", "app_name": "backup"},
        "result": {"application_password": "abcd efgh", "username": "admin", "uuid": "u", "app_name": "backup"}}));
    let stub = Stub::ending(done).await;
    let args = ["app-password", "https://example.com/wp-admin/", "--username", "admin", "--name", "backup"];
    let output = wpclone(&stub.url, &args).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("application_password  abcd efgh\n"), "{}", output.stdout);
    let body = &stub.requests_to("POST /create-app-password")[0].body;
    assert_eq!((&body["app_name"], &body["url"]), (&json!("backup"), &json!("https://example.com")));
}

#[tokio::test]
async fn with_json_the_task_is_printed_as_received() {
    let mut received = succeeded();
    received["of_a_later_api"] = json!([1]);
    let stub = Stub::ending(received.clone()).await;
    let output = wpclone(&stub.url, &[SETUP, &["--json"]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), received);
}

#[tokio::test]
async fn a_failed_task_exits_with_1_and_prints_the_action() {
    let stub = Stub::ending(failed()).await;
    let output = wpclone(&stub.url, SETUP).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert_snapshot!(without_port(&output.stderr, &stub.url));

    let output = wpclone(&stub.url, &[SETUP, &["--json"]].concat()).await;
    assert_eq!(output.code, 1);
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), failed());
}

#[tokio::test]
async fn a_cancelled_task_exits_with_1() {
    let stub = Stub::ending(task(json!({"state": "cancelled"}))).await;
    let output = wpclone(&stub.url, &["watch", ID]).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("the task was cancelled\n"), "{}", output.stderr);
}

#[tokio::test]
async fn a_rejected_request_exits_with_2_and_lists_every_error() {
    let stub = Stub::start(|_| invalid_request()).await;
    let output = wpclone(&stub.url, SETUP).await;
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    assert_snapshot!(without_port(&output.stderr, &stub.url));
    assert_eq!(stub.requests().len(), 1, "a rejected request is not retried");
}

#[tokio::test]
async fn a_missing_token_and_an_unknown_task_exit_with_2() {
    for code in [Code::Unauthenticated, Code::TaskNotFound, Code::TaskGone] {
        let stub = Stub::start(move |_| Reply::Problem(Problem::new(code, "No."))).await;
        let output = wpclone(&stub.url, &["tasks", ID]).await;
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains(code.as_str()), "{}", output.stderr);
    }
}

#[tokio::test]
async fn an_unreachable_or_failing_api_exits_with_3() {
    let unreachable = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let output = wpclone(&unreachable, SETUP).await;
    assert_eq!((output.code, output.stdout.as_str()), (3, ""), "{output:?}");
    assert!(
        output.stderr.contains("cannot be reached") && output.stderr.contains(&unreachable),
        "{}",
        output.stderr
    );

    let failing = Stub::start(|_| Reply::Problem(Problem::new(Code::QueueUnavailable, "No Redis."))).await;
    let output = wpclone(&failing.url, SETUP).await;
    assert_eq!(output.code, 3, "{output:?}");
    let keys: Vec<_> = failing.requests().iter().map(|a| a.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 3, "a request is sent three times at most");
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() > 16), "{keys:?}");
}

#[tokio::test]
async fn retry_after_is_honoured_unless_it_is_too_long() {
    let limited = |seconds| Reply::RetryAfter(Problem::new(Code::RateLimited, "Too much."), seconds);
    let stub = Stub::start(move |request| match request.earlier {
        0 => limited(1),
        _ => Reply::Json(202, queued()),
    })
    .await;
    let output = wpclone(&stub.url, &[SETUP, &["--no-wait"]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("Too much. Retrying in 1 s.\n"), "{}", output.stderr);

    let stub = Stub::start(move |_| limited(50)).await;
    let output = wpclone(&stub.url, SETUP).await;
    assert_eq!((output.code, output.stdout.as_str()), (3, ""), "{output:?}");
    assert!(
        output.stderr.contains("RATE_LIMITED") && output.stderr.contains("Try again in 50 s"),
        "{}",
        output.stderr
    );
    assert_eq!(stub.requests().len(), 1, "a long Retry-After is not waited for");
}

#[tokio::test]
async fn a_server_that_is_not_the_api_exits_with_3() {
    let html = |_: &_| Reply::Text(200, "text/html", "<p>Welcome".into());
    let endless = |_: &_| Reply::Text(200, "application/json", "[".repeat(5 << 20));
    let other = |_: &_| Reply::Json(200, json!({"tasks": "none"}));
    for stub in [Stub::start(html).await, Stub::start(endless).await, Stub::start(other).await] {
        let output = wpclone(&stub.url, &["tasks"]).await;
        assert_eq!((output.code, output.stdout.as_str()), (3, ""), "{output:?}");
    }
}

#[tokio::test]
async fn with_no_wait_the_accepted_task_is_printed() {
    let stub = Stub::start(|_| Reply::Json(202, queued())).await;
    let output = wpclone(&stub.url, &[SETUP, &["--no-wait", "--idempotency-key", "mine"]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stdout);
    assert!(output.stderr.contains(&format!("wpclone watch {ID}")), "{}", output.stderr);
    assert_eq!(stub.requests().len(), 1);
    assert_eq!(stub.requests()[0].headers["idempotency-key"], "mine");
}

#[tokio::test]
async fn cancel_requests_cancellation_and_rejects_finished_tasks() {
    let stub = Stub::start(|_| Reply::Json(202, task(json!({"state": "cancelled"})))).await;
    let output = wpclone(&stub.url, &["cancel", ID]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(stub.requests()[0].route, format!("POST /tasks/{ID}/cancel"));

    let stub = Stub::start(|_| Reply::Problem(Problem::new(Code::TaskFinished, "It has ended."))).await;
    assert_eq!(wpclone(&stub.url, &["cancel", ID]).await.code, 2);
}
