//! Health, queue, metrics and the OpenAPI document.

use reqwest::StatusCode;
use serde_json::{Value, json};
use wpclone_queue::WorkerReport;
use wpclone_task::{Code, Problem, Stage, StageSlots};

use crate::support::{Api, Setup, eventually};

pub(crate) fn report(id: &str) -> WorkerReport {
    WorkerReport {
        id: id.into(),
        stages: [
            (Stage::Browser, StageSlots { slots: 2, busy: 1 }),
            (Stage::Transfer, StageSlots { slots: 5, busy: 0 }),
        ]
        .into(),
        tasks: vec![],
        started_at: jiff::Timestamp::now(),
        browser_memory_bytes: 300 << 20,
        unavailable: Default::default(),
    }
}

#[tokio::test]
async fn the_queue_and_the_metrics_show_what_redis_holds() {
    let api = Api::start().await;
    for n in 0..3 {
        api.ask(&format!("https://site-{n}.example"), None).await;
    }
    // One fails and is replayed; its worker writes once more, too late.
    let failing = api.claim().await.lease;
    let problem = Problem::new(Code::NotWordPress, "x");
    api.app.queue.fail(&failing, &problem).await.unwrap();
    api.app.queue.heartbeat(&failing, None).await.unwrap_err();
    api.post(&format!("/tasks/{}/replay", failing.task)).send().await.unwrap();
    let claim = api.claim().await;
    let mut worker = report("worker-1");
    worker.tasks = vec![claim.lease.task];
    api.app.queue.report_worker(&worker).await.unwrap();

    let queue = api.json("/queue").await;
    let browser = &queue["stages"]["browser"];
    assert_eq!(
        (&browser["ready"], &browser["running"], &browser["outstanding"]),
        (&json!(2), &json!(1), &json!(3))
    );
    let slots = |of: &Value| (of["slots"].clone(), of["busy"].clone());
    assert_eq!(slots(browser), (json!(2), json!(1)));
    assert_eq!(slots(&queue["stages"]["transfer"]), (json!(5), json!(0)));
    let worker = &queue["workers"][0];
    assert_eq!(
        (&worker["id"], slots(&worker["stages"]["browser"])),
        (&json!("worker-1"), (json!(2), json!(1)))
    );

    let answer = api.get("/metrics").send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    for line in [
        "wpclone_queue_up 1",
        r#"wpclone_dead_lettered_total{code="NOT_WORDPRESS"} 1"#,
        "wpclone_replays_total 1",
        "wpclone_late_writes_total 1",
        "wpclone_leases_expired_total 0",
        r#"wpclone_queue_depth{stage="browser",state="ready"} 2"#,
        r#"wpclone_queue_depth{stage="browser",state="outstanding"} 3"#,
        r#"wpclone_stage_slots{stage="browser",state="busy"} 1"#,
        r#"wpclone_stage_slots{stage="browser",state="free"} 1"#,
        r#"wpclone_stage_slots{stage="transfer",state="busy"} 0"#,
        r#"wpclone_stage_slots{stage="transfer",state="free"} 5"#,
        "wpclone_workers_browser_memory_bytes 314572800",
        r#"wpclone_api_requests_total{method="POST",route="/create-app-password",status="202"} 3"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_path_from_a_client_never_becomes_a_label() {
    let api = Api::start().await;
    for path in ["/tasks/one", "/tasks/two", "/nothing/at/all"] {
        api.get(path).send().await.unwrap();
    }
    let text = api.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains(r#"route="/tasks/{id}",status="404"} 2"#), "{text}");
    assert!(text.contains(r#"route="(none)",status="404"} 1"#), "{text}");
}

#[tokio::test]
async fn the_api_sweeps_so_that_a_lost_worker_is_noticed_without_any_other() {
    let api = Api::with(Setup { background: true, ..Setup::default() }).await;
    let id = api.ask("https://a.example", None).await;
    // A queue of the same name whose leases expire soon.
    let hasty = wpclone_queue::QueueOptions {
        lease_duration: std::time::Duration::from_millis(500),
        ..wpclone_queue::QueueOptions::default()
    };
    let hasty = wpclone_queue::Queue::new(&api.redis.url(), hasty).unwrap();
    let claim = api.claim().await;
    hasty.heartbeat(&claim.lease, None).await.unwrap();
    eventually("the step is ready again", || async {
        api.json("/queue").await["stages"]["browser"]["ready"] == 1
    })
    .await;
    assert_eq!(api.json(&format!("/tasks/{id}")).await["crashes"], 1);
}

#[tokio::test]
async fn readiness_is_503_during_shutdown() {
    let api = Api::start().await;
    assert_eq!(api.json("/readyz").await, json!({"ready": true, "redis": true, "shutting_down": false}));
    // On an open connection: new ones are accepted for a moment only.
    api.app.shutdown.cancel();
    let answer = api.get("/readyz").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn the_openapi_document_is_as_it_was() {
    insta::assert_json_snapshot!(wpclone_api::router::document().openapi());
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_names_every_route_of_the_api() {
    let api = Api::start().await;
    let document = api.json("/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    // The document lists the routes of `router::api`. All other routes are pages of the dashboard.
    for page in ["/", "/dashboard/tasks", "/dashboard/clones", "/dashboard/workers", "/assets/icon.svg"] {
        assert_eq!(api.get(page).send().await.unwrap().status(), StatusCode::OK, "{page}");
        assert!(document["paths"].get(page).is_none());
    }
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let path = path.replace("{id}", "x").replace("{name}", "y").replace("{code}", "z");
            let answer = api.request(method.to_uppercase().parse().unwrap(), &path).send().await.unwrap();
            assert_ne!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path} has a summary");
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name.clone()), "{name} stands twice");
        }
    }
    assert_eq!(names.len(), 22, "{names:?}");
}

#[tokio::test]
async fn every_code_has_a_page_and_the_docs_name_every_operation() {
    let api = Api::start().await;
    let get = |path: String| api.get(&path).send();
    for code in Code::ALL {
        let answer = get(format!("/problems/{code}")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let page = answer.text().await.unwrap();
        assert!(page.contains(&format!("<h1>{code}</h1>")) && page.contains("<h2>What to do</h2>"), "{code}");
    }
    let docs = get("/docs".into()).await.unwrap().text().await.unwrap();
    for operation in ["/setup", "/create-app-password", "/tasks/{id}/events", "/queue"] {
        assert!(docs.contains(operation), "{operation}");
    }
    assert!(docs.contains("id=\"schema-TaskView\"") && docs.contains("AUTH_BAD_CREDENTIALS"));
}

#[tokio::test]
async fn the_names_in_a_task_are_those_of_the_document() {
    let api = Api::start().await;
    let document = api.json("/openapi.json").await;
    let waiting = api.ask("https://a.example", None).await;
    let running = api.ask("https://b.example", None).await;
    api.claim().await;
    api.post(&format!("/tasks/{running}/cancel")).send().await.unwrap();
    for id in [waiting, running] {
        let task = api.json(&format!("/tasks/{id}")).await;
        let mut seen = Vec::new();
        check_words(&document, &json!({"$ref": "#/components/schemas/TaskView"}), &task, "task", &mut seen);
        for word in ["task.kind", "task.stage", "task.state", "task.steps.stage", "task.steps.state"] {
            assert!(seen.iter().any(|s| s == word), "{word} has no enum: {seen:?}");
        }
    }
}

/// Walks a value along its schema: every string must be among the values that the schema lists.
fn check_words(document: &Value, schema: &Value, value: &Value, at: &str, seen: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let schema = document.pointer(target.trim_start_matches('#')).unwrap();
        return check_words(document, schema, value, at, seen);
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
        seen.push(at.to_owned());
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check_words(document, schema, value, &format!("{at}.{name}"), seen);
        }
    }
    for value in value.as_array().into_iter().flatten() {
        check_words(document, &schema["items"], value, at, seen);
    }
}

#[tokio::test]
async fn a_redis_that_hangs_fails_readiness() {
    let api = Api::start().await;
    let _: () = api.redis.command("CLIENT PAUSE 60000 ALL").await;
    let ready = api.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let metrics = api.get("/metrics").send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK);
    assert!(metrics.text().await.unwrap().contains("wpclone_queue_up 0"));
}

#[tokio::test]
async fn another_layout_in_redis_fails_readiness_and_requests_with_both_numbers() {
    let api = Api::start().await;
    let _: () = api.redis.command("SET {wpclone}:layout 7").await;
    let ready = api.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = ready.json().await.unwrap();
    let problem = ready["problem"].as_str().unwrap();
    let needed = format!("needs layout {}", wpclone_redis::LAYOUT);
    assert!(problem.contains("layout 7") && problem.contains(&needed), "{problem}");
    let tasks = api.get("/tasks").send().await.unwrap();
    assert_eq!(tasks.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(tasks.text().await.unwrap().contains("layout 7"));
    let _: () = api.redis.command("DEL {wpclone}:layout").await;
}
