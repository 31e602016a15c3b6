//! Why tasks wait.

use serde_json::{Value, json};
use wpclone_queue::WorkerReport;
use wpclone_task::{Code, Problem, Stage, StageSlots};

use crate::operations::report;
use crate::support::{Api, body, token};

async fn waits(api: &Api, id: &Value, who: &str) -> Vec<Value> {
    let task =
        api.get(&format!("/tasks/{}", id.as_str().unwrap())).bearer_auth(token(who)).send().await.unwrap();
    let task: Value = task.json().await.unwrap();
    task.get("waits").and_then(Value::as_array).cloned().unwrap_or_default()
}

async fn ask(api: &Api, site: &str, who: &str) -> Value {
    let answer = api.post("/setup").bearer_auth(token(who)).json(&body(site)).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["id"].clone()
}

#[tokio::test]
async fn a_task_says_why_it_waits_and_names_no_task_of_others() {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user"), ("root", "operator")]).await;
    let first = ask(&api, "https://a.example", "alice").await;
    let none = waits(&api, &first, "alice").await;
    assert_eq!((&none[0]["reason"], &none[0]["step"]), (&json!("no_worker"), &json!("setup")));
    assert_eq!(none[0]["detail"], "No worker does browser work now.");
    // A worker that is there cannot do it.
    let unavailable = [(Stage::Browser, "Chromium is missing".to_owned())].into();
    let broken = WorkerReport { unavailable, stages: Default::default(), ..report("worker-1") };
    api.app.queue.report_worker(&broken).await.unwrap();
    assert_eq!(waits(&api, &first, "alice").await[0]["detail"], "No worker does browser work now.");
    let for_operator = waits(&api, &first, "root").await;
    assert_eq!(for_operator[0]["detail"], "No worker does browser work now (Chromium is missing).");

    let stages = |busy| [(Stage::Browser, StageSlots { slots: 2, busy })].into();
    api.app.queue.report_worker(&WorkerReport { stages: stages(2), ..report("worker-1") }).await.unwrap();
    let busy = waits(&api, &first, "alice").await;
    assert_eq!(busy[0]["reason"], "workers_busy");
    assert_eq!(busy[0]["detail"], "All 2 slots for browser work are busy.");
    let answer = api.get("/queue").bearer_auth(token("root")).send().await.unwrap();
    let queue: Value = answer.json().await.unwrap();
    assert_eq!(queue["waits"][0]["detail"], "All 2 slots for browser work are busy; 1 step is ready.");
    api.app.queue.report_worker(&WorkerReport { stages: stages(1), ..report("worker-1") }).await.unwrap();
    assert_eq!(waits(&api, &first, "alice").await[0]["reason"], "turn");

    // Two more on the same site, of which the caller may see one.
    let (own, others) =
        (ask(&api, "https://a.example", "alice").await, ask(&api, "https://a.example", "bob").await);
    let ahead = waits(&api, &own, "alice").await;
    assert_eq!(
        (&ahead[0]["reason"], &ahead[0]["site"], &ahead[0]["ahead"]),
        (&json!("site"), &json!("a.example"), &first)
    );
    assert_eq!(ahead[0]["detail"], "Another task on a.example comes first.");
    assert_eq!(waits(&api, &others, "bob").await[0].get("ahead"), None);
    assert_eq!(waits(&api, &others, "root").await[0]["ahead"], first);

    let claim = api.claim().await;
    assert!(waits(&api, &first, "alice").await.is_empty());
    let problem = Problem::new(Code::SiteUnreachable, "x");
    api.app.queue.fail(&claim.lease, &problem).await.unwrap();
    let retry = waits(&api, &first, "alice").await;
    assert_eq!(retry[0]["reason"], "retry");
    let until: jiff::Timestamp = retry[0]["until"].as_str().unwrap().parse().unwrap();
    assert!(until > jiff::Timestamp::now() - jiff::ToSpan::seconds(5));

    let read = async |path: &str| -> String {
        api.get(path).bearer_auth(token("root")).send().await.unwrap().text().await.unwrap()
    };
    let queue: Value = serde_json::from_str(&read("/queue").await).unwrap();
    let reasons: Vec<&str> =
        queue["waits"].as_array().unwrap().iter().map(|wait| wait["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"retry") && reasons.contains(&"site"), "{queue}");
}

#[tokio::test]
async fn the_etag_of_a_task_changes_with_why_it_waits() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let path = format!("/tasks/{id}");
    let tag = api.get(&path).send().await.unwrap().headers()["etag"].clone();
    api.app.queue.report_worker(&report("worker-1")).await.unwrap();
    let changed = api.get(&path).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_eq!(changed.json::<Value>().await.unwrap()["waits"][0]["reason"], "turn");
}

#[tokio::test]
async fn the_etag_of_a_waiting_task_stays_while_other_tasks_come() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let stages = [(Stage::Browser, StageSlots { slots: 2, busy: 2 })].into();
    api.app.queue.report_worker(&WorkerReport { stages, ..report("worker-1") }).await.unwrap();
    let path = format!("/tasks/{id}");
    let first = api.get(&path).send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    assert_eq!(first.json::<Value>().await.unwrap()["waits"][0]["reason"], "workers_busy");
    api.ask("https://b.example", None).await;
    let unchanged = api.get(&path).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!(unchanged.status(), 304);
}

#[tokio::test]
async fn what_a_worker_lacks_is_for_operators() {
    let api = Api::with_tokens(&[("root", "operator"), ("scaler", "metrics")]).await;
    let unavailable = [(Stage::Browser, "Chromium is missing".to_owned())].into();
    api.app.queue.report_worker(&WorkerReport { unavailable, ..report("worker-1") }).await.unwrap();
    let worker = async |who: &str| -> Value {
        let answer = api.get("/queue").bearer_auth(token(who)).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["workers"][0].clone()
    };
    assert_eq!(worker("root").await["unavailable"], json!({"browser": "Chromium is missing"}));
    let worker = worker("scaler").await;
    assert_eq!((&worker["id"], worker.get("unavailable")), (&json!("worker-1"), None));
}

#[tokio::test]
async fn pages_and_the_queue_show_why_tasks_wait_and_how_many_workers_there_are() {
    let api = Api::start().await;
    let (first, second) =
        (api.ask("https://a.example", None).await, api.ask("https://a.example", None).await);
    api.app.queue.report_worker(&report("worker-1")).await.unwrap();
    let page = async |path: &str| api.get(path).send().await.unwrap().text().await.unwrap();
    let task = page(&format!("/dashboard/tasks/{second}")).await;
    assert!(task.contains("Another task on a.example comes first."), "{task}");
    assert!(task.contains(&format!("href=\"/dashboard/tasks/{first}\">The other task")), "{task}");
    let overview = page("/").await;
    assert!(
        overview.contains("Why tasks wait") && overview.contains("A worker takes it in its turn."),
        "{overview}"
    );
    let depth = &api.json("/queue").await["stages"]["browser"];
    assert_eq!((&depth["workers"], depth.get("workers_wanted")), (&json!(1), None));
}
