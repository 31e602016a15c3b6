//! What lists and helps look like.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::run::{finish, program, without_port, wpclone};
use crate::stub::{Answer, ID, Stub, failed, queued, succeeded};

#[tokio::test]
async fn tasks_are_listed_page_by_page() {
    let stub = Stub::start(|asked| match asked.before {
        0 => Answer::Json(200, json!({"tasks": [queued(), failed()], "next": "c/1"})),
        1 => Answer::Json(200, json!({"tasks": [], "next": "c2"})),
        _ => Answer::Json(200, json!({"tasks": [succeeded()], "next": "c3"})),
    })
    .await;
    let ran = wpclone(&stub.url, &["tasks", "--limit", "3", "--kind", "setup"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_snapshot!(ran.stdout);
    assert!(ran.stderr.contains("--cursor c3"), "{}", ran.stderr);
    let queries: Vec<_> = stub.asked().into_iter().map(|a| a.query).collect();
    assert_eq!(
        queries,
        ["limit=3&kind=setup", "limit=1&kind=setup&cursor=c%2F1", "limit=1&kind=setup&cursor=c2"]
    );
}

#[tokio::test]
async fn a_list_as_json_keeps_what_the_api_said() {
    let page = json!({"tasks": [failed()], "next": "c"});
    let stub = Stub::start(move |_| Answer::Json(200, page.clone())).await;
    let ran = wpclone(&stub.url, &["tasks", "--json", "--limit", "1"]).await;
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed, json!({"tasks": [failed()], "next": "c"}));

    let none = Stub::start(|_| Answer::Json(200, json!({"tasks": []}))).await;
    let ran = wpclone(&none.url, &["tasks", "--state", "failed", "--search", "a b"]).await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", "no tasks\n"));
    assert_eq!(none.asked()[0].query, "limit=20&state=failed&q=a+b");
}

#[tokio::test]
async fn a_task_is_shown_whole() {
    let mut task = failed();
    task["callback"] = json!({"state": "failed", "code": "CALLBACK_REFUSED"});
    let stub = Stub::start(move |_| Answer::Json(200, task.clone())).await;
    let ran = wpclone(&stub.url, &["tasks", ID]).await;
    assert_eq!(ran.code, 0, "looking at it went well: {ran:?}");
    assert_snapshot!(without_port(&ran.stdout, &stub.url));
    assert!(!ran.stdout.contains('\u{1b}'), "what a site said does not command the terminal");
}

#[tokio::test]
async fn the_queue_is_shown() {
    let queue = json!({"stages": {"browser": {"ready": 12, "running": 2, "delayed": 0, "waiting_for_site": 1,
        "oldest_seconds": 185, "outstanding": 14}}, "workers": []});
    let kept = queue.clone();
    let stub = Stub::start(move |_| Answer::Json(200, queue.clone())).await;
    let ran = wpclone(&stub.url, &["queue"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_snapshot!(ran.stdout);
    let ran = wpclone(&stub.url, &["queue", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), kept);
}

#[tokio::test]
async fn help_tells_what_there_is() {
    let help = |args: &'static [&'static str]| async move {
        let mut command = program("", args);
        command.env_remove("WPCLONE_URL");
        let ran = finish(command).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        ran.stdout
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
async fn what_is_not_understood_ends_with_2() {
    for args in
        [&["clone"][..], &["tasks", "not-an-id"], &["tasks", "--state", "odd"], &["queue", "--url", "x"], &[]]
    {
        let ran = finish(program("http://127.0.0.1:1", args)).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    }
}
