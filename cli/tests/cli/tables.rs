//! Tables, lists and help texts.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::program::{program, run, without_port, wpclone};
use crate::stub::{ID, Reply, Stub, failed, queued, succeeded};

#[tokio::test]
async fn task_lists_follow_the_cursor_up_to_the_limit() {
    let stub = Stub::start(|request| match request.earlier {
        0 => Reply::Json(200, json!({"tasks": [queued(), failed()], "next": "c/1"})),
        1 => Reply::Json(200, json!({"tasks": [], "next": "c2"})),
        _ => Reply::Json(200, json!({"tasks": [succeeded()], "next": "c3"})),
    })
    .await;
    let output = wpclone(&stub.url, &["tasks", "--limit", "3", "--kind", "setup"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stdout);
    assert!(output.stderr.contains("--cursor c3"), "{}", output.stderr);
    let queries: Vec<_> = stub.requests().into_iter().map(|a| a.query).collect();
    assert_eq!(
        queries,
        ["limit=3&kind=setup", "limit=1&kind=setup&cursor=c%2F1", "limit=1&kind=setup&cursor=c2"]
    );
}

#[tokio::test]
async fn a_list_as_json_keeps_the_apis_fields() {
    let page = json!({"tasks": [failed()], "next": "c"});
    let stub = Stub::start(move |_| Reply::Json(200, page.clone())).await;
    let output = wpclone(&stub.url, &["tasks", "--json", "--limit", "1"]).await;
    let printed: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(printed, json!({"tasks": [failed()], "next": "c"}));

    let none = Stub::start(|_| Reply::Json(200, json!({"tasks": []}))).await;
    let output = wpclone(&none.url, &["tasks", "--state", "failed", "--search", "a b"]).await;
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "", "no tasks\n"));
    assert_eq!(none.requests()[0].query, "limit=20&state=failed&q=a+b");
}

#[tokio::test]
async fn a_task_is_shown_with_all_its_fields() {
    let mut task = failed();
    task["callback"] = json!({"state": "failed", "code": "CALLBACK_REFUSED"});
    let stub = Stub::start(move |_| Reply::Json(200, task.clone())).await;
    let output = wpclone(&stub.url, &["tasks", ID]).await;
    assert_eq!(output.code, 0, "showing a failed task succeeds: {output:?}");
    assert_snapshot!(without_port(&output.stdout, &stub.url));
    assert!(!output.stdout.contains('\u{1b}'), "control characters are removed");
}

#[tokio::test]
async fn the_queue_is_shown_per_stage() {
    let queue = json!({"stages": {"browser": {"ready": 12, "running": 2, "delayed": 0, "waiting_for_site": 1,
        "oldest_seconds": 185, "outstanding": 14, "slots": 4, "busy": 2, "workers": 2}}, "workers": []});
    let kept = queue.clone();
    let stub = Stub::start(move |_| Reply::Json(200, queue.clone())).await;
    let output = wpclone(&stub.url, &["queue"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stdout);
    let output = wpclone(&stub.url, &["queue", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), kept);
}

#[tokio::test]
async fn help_texts_are_stable() {
    let help = |args: &'static [&'static str]| async move {
        let mut command = program("", args);
        command.env_remove("WPCLONE_URL");
        let output = run(command).await;
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        output.stdout
    };
    assert_snapshot!("help", help(&["--help"]).await);
    assert_snapshot!("help_rewrite", help(&["rewrite", "--help"]).await);
    assert_snapshot!("help_setup", help(&["setup", "--help"]).await);
    assert_snapshot!("help_clone", help(&["clone", "--help"]).await);
    assert_snapshot!("help_clones", help(&["clones", "--help"]).await);
    assert_snapshot!("help_tasks", help(&["tasks", "--help"]).await);
    assert_snapshot!("help_token", help(&["token", "--help"]).await);
    assert_snapshot!("help_token_new", help(&["token", "new", "--help"]).await);
}

#[tokio::test]
async fn invalid_arguments_exit_with_2() {
    for args in
        [&["clone"][..], &["tasks", "not-an-id"], &["tasks", "--state", "odd"], &["queue", "--url", "x"], &[]]
    {
        let output = run(program("http://127.0.0.1:1", args)).await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    }
}
