//! Reading tasks and artifacts, and cancelling tasks.

use reqwest::StatusCode;
use serde_json::{Value, json};
use wpclone_task::{Code, Problem, SecretString, TaskId};

use crate::support::{Api, problem, token};

#[tokio::test]
async fn an_unchanged_task_is_304() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let path = format!("/tasks/{id}");
    let first = api.get(&path).send().await.unwrap();
    assert_eq!(first.headers()["retry-after"], "2");
    let tag = first.headers()["etag"].clone();
    for sent in [tag.to_str().unwrap().to_owned(), format!("\"x\", W/{}", tag.to_str().unwrap())] {
        let same = api.get(&path).header("If-None-Match", sent).send().await.unwrap();
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(same.headers()["etag"], tag);
    }
    let claim = api.claim().await;
    api.progress(&claim.lease, 40, "Uploading the plugin.").await;
    let changed = api.get(&path).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    let task: Value = changed.json().await.unwrap();
    assert_eq!(task["progress"], json!({"percent": 40, "message": "Uploading the plugin."}));

    api.complete(&claim.lease, "abcd").await;
    let done = api.get(&path).header("If-None-Match", &tag).send().await.unwrap();
    assert!(done.headers().get("retry-after").is_none());
    let done: Value = done.json().await.unwrap();
    assert_eq!((&done["state"], &done["links"]["cancel"]), (&json!("succeeded"), &Value::Null));
}

#[tokio::test]
async fn a_failed_task_is_returned_with_200() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let claim = api.claim().await;
    let failed = Problem::new(Code::AuthBadCredentials, "The site shows its login form again.");
    api.app.queue.fail(&claim.lease, &failed).await.unwrap();
    let answer = api.get(&format!("/tasks/{id}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let task: Value = answer.json().await.unwrap();
    assert_eq!(task["state"], "failed");
    assert_eq!(task["problem"]["code"], "AUTH_BAD_CREDENTIALS");
    assert_eq!(task["steps"][0]["state"], "failed");
    assert!(task["problem"].get("status").is_none());
}

#[tokio::test]
async fn an_unknown_task_is_404_and_a_deleted_one_410() {
    let api = Api::start().await;
    for id in [TaskId::new().to_string(), "nonsense".into(), "..%2f..".into()] {
        problem(api.get(&format!("/tasks/{id}")).send().await.unwrap(), 404, "TASK_NOT_FOUND").await;
    }
    // A queue with no retention of finished tasks deletes one at its next sweep.
    let id = api.ask("https://a.example", None).await;
    let claim = api.claim().await;
    api.complete(&claim.lease, "abcd").await;
    let forgetful = wpclone_queue::QueueOptions {
        finished_retention: std::time::Duration::ZERO,
        ..wpclone_queue::QueueOptions::default()
    };
    let forgetful = wpclone_queue::Queue::new(&api.redis.url(), forgetful).unwrap();
    crate::support::eventually("the task is forgotten", || async {
        forgetful.sweep().await.unwrap();
        api.get(&format!("/tasks/{id}")).send().await.unwrap().status() == StatusCode::GONE
    })
    .await;
    problem(api.get(&format!("/tasks/{id}")).send().await.unwrap(), 410, "TASK_GONE").await;
    problem(api.get(&format!("/tasks/{id}/events")).send().await.unwrap(), 410, "TASK_GONE").await;
}

#[tokio::test]
async fn a_list_asks_redis_as_often_for_many_tasks_as_for_one() {
    let api = Api::start().await;
    for n in 0..25 {
        api.ask(&format!("https://a{n}.example"), None).await;
    }
    for path in ["/tasks?limit=100", "/tasks?limit=1", "/dashboard/tasks", "/dashboard/clones"] {
        let read = async || api.get(path).send().await.unwrap().error_for_status().unwrap();
        read().await; // loads what Redis does not have yet
        api.redis.command::<()>("CONFIG RESETSTAT").await;
        read().await;
        let stats: String = api.redis.command("INFO commandstats").await;
        let calls = |command: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
            line.map_or(0, |line| line.split(',').next().unwrap().parse::<u32>().unwrap())
        };
        let calls = calls("fcall") + calls("evalsha");
        assert!((1..=4).contains(&calls), "{path}: {calls}");
    }
}

#[tokio::test]
async fn lists_filter_and_page() {
    let api = Api::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(api.ask(&format!("https://shop-{n}.example"), None).await);
    }
    api.post("/setup").json(&crate::support::body("https://blog.example")).send().await.unwrap();
    let claim = api.claim().await;
    api.app.queue.fail(&claim.lease, &Problem::new(Code::NotWordPress, "x")).await.unwrap();
    let count = |list: &Value| list["tasks"].as_array().unwrap().len();

    assert_eq!(count(&api.json("/tasks").await), 6);
    assert_eq!(count(&api.json("/tasks?kind=setup").await), 1);
    assert_eq!(count(&api.json("/tasks?state=failed").await), 1);
    assert_eq!(count(&api.json("/tasks?q=shop-").await), 5);
    assert_eq!(count(&api.json(&format!("/tasks?q={}", ids[2])).await), 1);
    assert_eq!(count(&api.json("/tasks?q=shop-&state=failed&kind=setup").await), 0);

    let (mut path, mut seen) = ("/tasks?q=shop-&limit=2".to_owned(), Vec::new());
    loop {
        let answer = api.get(&path).send().await.unwrap();
        let link = answer.headers().get("link").map(|l| l.to_str().unwrap().to_owned());
        let list: Value = answer.json().await.unwrap();
        seen.extend(list["tasks"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()));
        assert_eq!(link.is_some(), list.get("next").is_some());
        let Some(link) = link else { break };
        let (next, rel) = link.split_once(">; ").unwrap();
        assert_eq!(rel, "rel=\"next\"");
        path = next.trim_start_matches('<').to_owned();
    }
    ids.reverse();
    assert_eq!(seen, ids, "newest first, each once");
}

#[tokio::test]
async fn every_invalid_parameter_is_reported() {
    let api = Api::start().await;
    let answer = api.get("/tasks?state=tired&kind=x&limit=1000&page=2").send().await.unwrap();
    let detail = problem(answer, 400, "BAD_PARAMETER").await["detail"].to_string();
    for part in ["`state` is invalid", "`kind` is invalid", "`limit` must be", "`page` is not a parameter"] {
        assert!(detail.contains(part), "{detail}");
    }
    for (sent, said) in [
        ("q=a&q=b".to_owned(), "`q` must be sent once"),
        ("limit=".to_owned(), "`limit` must be between 1 and 100"),
        ("state=".to_owned(), "`state` is invalid"),
        ("state=&state=queued".to_owned(), "`state` must be sent once"),
        ("q=a&".repeat(33), "more than 32 parameters"),
    ] {
        let answer = api.get(&format!("/tasks?{sent}")).send().await.unwrap();
        let detail = problem(answer, 400, "BAD_PARAMETER").await["detail"].to_string();
        assert!(detail.contains(said), "{detail}");
    }
    problem(api.get("/tasks?cursor=nonsense").send().await.unwrap(), 400, "BAD_PARAMETER").await;
}

#[tokio::test]
async fn a_token_sees_its_own_tasks_and_an_operator_all_of_them() {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user"), ("root", "operator")]).await;
    let id = api.ask("https://a.example", Some("alice")).await;
    let claim = api.claim().await;
    api.app.artifacts.put(claim.lease.task, "local", "after.png", "image/png", b"picture").await.unwrap();
    api.complete(&claim.lease, "abcd efgh").await;
    let get = |path: String, name: &str| api.get(&path).bearer_auth(token(name)).send();
    let below = ["", "/events", "/artifacts/after.png"].map(|end| format!("/tasks/{id}{end}"));
    for path in &below {
        problem(get(path.clone(), "bob").await.unwrap(), 404, "TASK_NOT_FOUND").await;
        assert_eq!(get(path.clone(), "alice").await.unwrap().status(), StatusCode::OK);
        assert_eq!(get(path.clone(), "root").await.unwrap().status(), StatusCode::OK);
    }
    let cancel = api.post(&format!("/tasks/{id}/cancel")).bearer_auth(token("bob"));
    problem(cancel.send().await.unwrap(), 404, "TASK_NOT_FOUND").await;

    let list = |name| async move {
        let list: Value = get("/tasks".into(), name).await.unwrap().json().await.unwrap();
        list["tasks"].as_array().unwrap().clone()
    };
    assert_eq!((list("alice").await.len(), list("bob").await.len(), list("root").await.len()), (1, 0, 1));
}

#[tokio::test]
async fn only_the_owner_sees_the_secrets_of_a_result() {
    let api = Api::with_tokens(&[("alice", "user"), ("root", "operator")]).await;
    let id = api.ask("https://a.example", Some("alice")).await;
    let claim = api.claim().await;
    api.complete(&claim.lease, "abcd efgh").await;
    let result = |name: &'static str, path: String| {
        let request = api.get(&path).bearer_auth(token(name));
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let own = result("alice", format!("/tasks/{id}")).await;
    assert_eq!(own["result"]["application_password"], "abcd efgh");
    assert_eq!(own["result"]["username"], "admin");
    let seen = result("root", format!("/tasks/{id}")).await;
    let tag = |name: &'static str| {
        let request = api.get(&format!("/tasks/{id}")).bearer_auth(token(name));
        async move { request.send().await.unwrap().headers()["etag"].clone() }
    };
    assert_ne!(tag("alice").await, tag("root").await, "they see different bodies");
    assert_eq!(
        (&seen["result"]["application_password"], &seen["result"]["username"]),
        (&Value::Null, &json!("admin"))
    );
    let listed = result("alice", "/tasks".into()).await;
    assert_eq!(listed["tasks"][0]["result"]["application_password"], Value::Null);
}

#[tokio::test]
async fn a_result_that_cannot_be_decrypted_is_shown_without_its_secrets() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let claim = api.claim().await;
    let output = wpclone_queue::StoredOutput {
        result: json!({"application_password": null, "username": "admin"}).as_object().unwrap().clone(),
        sealed: Some(api.app.sealer.seal(TaskId::new(), "result.x", &SecretString::from("{}")).unwrap()),
    };
    api.app.queue.complete(&claim.lease, &output).await.unwrap();
    let task = api.json(&format!("/tasks/{id}")).await;
    assert_eq!(task["result"], json!({"application_password": null, "username": "admin"}));
    let page = api.get(&format!("/dashboard/tasks/{id}")).send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains("no longer kept") && !page.contains("Show once"),
        "what cannot be opened is not offered"
    );
}

#[tokio::test]
async fn cancelling_a_task_twice_does_no_harm() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let path = format!("/tasks/{id}/cancel");
    for _ in 0..2 {
        let answer = api.post(&path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let task: Value = answer.json().await.unwrap();
        assert_eq!(task["state"], "cancelled");
    }
    problem(
        api.post(&format!("/tasks/{}/cancel", TaskId::new())).send().await.unwrap(),
        404,
        "TASK_NOT_FOUND",
    )
    .await;

    let done = api.ask("https://b.example", None).await;
    let claim = api.claim().await;
    let running = api.post(&format!("/tasks/{done}/cancel")).send().await.unwrap();
    assert_eq!(running.status(), StatusCode::ACCEPTED);
    assert!(api.app.queue.heartbeat(&claim.lease, None).await.unwrap().cancel_requested);
    api.app.queue.confirm_cancel(&claim.lease).await.unwrap();
    assert_eq!(api.json(&format!("/tasks/{done}")).await["state"], "cancelled");
}

#[tokio::test]
async fn a_finished_task_cannot_be_cancelled() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let claim = api.claim().await;
    api.complete(&claim.lease, "abcd").await;
    problem(api.post(&format!("/tasks/{id}/cancel")).send().await.unwrap(), 409, "TASK_FINISHED").await;
}

#[tokio::test]
async fn artifacts_are_served_so_that_no_script_runs() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let task: TaskId = id.parse().unwrap();
    api.app.artifacts.put(task, "local", "before.png", "image/png", b"picture").await.unwrap();
    api.app.artifacts.put(task, "local", "page.html", "text/html", b"<script>1</script>").await.unwrap();
    let listed = api.json(&format!("/tasks/{id}")).await["artifacts"].clone();
    assert_eq!(
        listed[0],
        json!({"name": "before.png", "kind": "image/png", "bytes": 7, "href": format!("/tasks/{id}/artifacts/before.png")})
    );
    for (name, kind, disposition) in [
        ("before.png", "image/png", "inline"),
        ("page.html", "text/html; charset=utf-8", "attachment; filename=\"page.html\""),
    ] {
        let answer = api.get(&format!("/tasks/{id}/artifacts/{name}")).send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["content-type"], kind);
        assert_eq!(headers["content-disposition"], disposition);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("sandbox;"));
    }
    let tag = |answer: reqwest::Response| answer.headers()["etag"].clone();
    let before = tag(api.get(&format!("/tasks/{id}")).send().await.unwrap());
    api.app.artifacts.put(task, "local", "before.png", "image/png", b"another picture").await.unwrap();
    let after = tag(api.get(&format!("/tasks/{id}")).send().await.unwrap());
    assert_ne!(before, after, "a replaced artifact changes the task");
    for name in ["other.png", "..%2fx", "UPPER.PNG"] {
        let answer = api.get(&format!("/tasks/{id}/artifacts/{name}")).send().await.unwrap();
        problem(answer, 404, "ARTIFACT_NOT_FOUND").await;
    }
}

#[tokio::test]
async fn an_evicted_artifact_is_410() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let task: TaskId = id.parse().unwrap();
    api.app.artifacts.put(task, "local", "old.bin", "application/octet-stream", b"x").await.unwrap();
    // The smallest store evicts the oldest artifact for a large one.
    let small = wpclone_artifacts::Artifacts::new(&api.redis.url(), 64 << 10).unwrap();
    let mut noise = vec![0; 60 << 10];
    getrandom::fill(&mut noise).unwrap();
    small.put(task, "local", "new.bin", "application/octet-stream", &noise).await.unwrap();
    small.put(task, "local", "newer.bin", "application/octet-stream", &noise).await.unwrap();
    let answer = api.get(&format!("/tasks/{id}/artifacts/old.bin")).send().await.unwrap();
    problem(answer, 410, "ARTIFACT_GONE").await;
}
