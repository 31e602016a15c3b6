//! Every page at every width, light and dark: accessible, not wider than the screen, without console errors.

use std::time::Duration;

use serde_json::json;
use wpclone_queue::{Queue, QueueOptions, WorkerReport};
use wpclone_task::{Code, Problem, Stage, StageSlots, TaskId};

use crate::browser::Browser;
use crate::support::{Api, body};

const WORKER: &str = "worker-a-7f3c";

/// Screens, each a width with whether it is dark: two halves, each with every width once and both colour schemes.
const SCREENS: [[(u32, bool); 3]; 2] =
    [[(1440, false), (1024, true), (390, false)], [(1440, true), (1024, false), (390, true)]];

/// The screens that a page is checked on: all in a long run, otherwise one half, which depends on the page's name.
fn screens(name: &str) -> Vec<(u32, bool)> {
    match std::env::var_os("WPCLONE_TEST_ALL") {
        Some(_) => SCREENS.concat(),
        None => SCREENS[name.len() % 2].to_vec(),
    }
}

pub(crate) async fn check_page_on_every_screen(browser: &Browser, api: &Api, name: &str, path: &str) {
    for (width, dark) in screens(name) {
        let page = format!("{name}-{width}-{}", if dark { "dark" } else { "light" });
        browser.set_screen(width, dark).await;
        browser.open(&format!("{}{path}", api.address)).await;
        browser.until("images and styles are loaded", "document.readyState === 'complete'").await;
        let wide = browser.script("return document.documentElement.scrollWidth - innerWidth").await;
        assert!(wide.as_i64().unwrap() <= 0, "{page} is {wide} px too wide");
        browser.assert_accessible(&page).await;
        assert_eq!(browser.script("return document.querySelectorAll('h1').length").await, 1, "{page}");
        browser.save_screenshot(&page).await;
    }
    let console_errors = browser.console_errors().await;
    assert_eq!(console_errors, json!([]), "{name}");
}

pub(crate) async fn an_empty_dashboard_is_accessible_and_fits_every_screen(browser: Browser) {
    let api = Api::start().await;
    check_page_on_every_screen(&browser, &api, "overview-empty", "/").await;
    check_page_on_every_screen(&browser, &api, "tasks-empty", "/dashboard/tasks").await;
    check_page_on_every_screen(&browser, &api, "clones-empty", "/dashboard/clones").await;
    check_page_on_every_screen(&browser, &api, "workers-empty", "/dashboard/workers").await;
}

pub(crate) async fn a_busy_dashboard_is_accessible_and_fits_every_screen(browser: Browser) {
    let api = Api::start().await;
    let running = make_busy(&api).await;
    check_page_on_every_screen(&browser, &api, "overview-busy", "/").await;
    check_page_on_every_screen(&browser, &api, "tasks-busy", "/dashboard/tasks").await;
    report(&api, WORKER, vec![running]).await;
    check_page_on_every_screen(&browser, &api, "workers-busy", "/dashboard/workers").await;
    check_page_on_every_screen(&browser, &api, "task-running", &format!("/dashboard/tasks/{running}")).await;
}

/// Makes tasks of every state and length, and workers; returns a running task.
async fn make_busy(api: &Api) -> TaskId {
    for hour in 0..40_u64 {
        let mut queue = api.app.queue.stats().await.unwrap();
        queue.stages.entry(Stage::Browser).or_default().ready = (hour * 7 % 13) * (hour % 3);
        api.app.queue_history.record(&queue);
    }
    for n in 0..30 {
        api.ask(&format!("https://shop-{n}.example/some/folder"), None).await;
    }
    let long =
        format!("https://{}.example/{}", "a-very-long-name-of-a-site".repeat(2), "with/folders/".repeat(6));
    api.post("/setup").json(&body(&long)).send().await.unwrap();
    for n in 0..6 {
        let claim = api.claim().await;
        api.progress(&claim.lease, 40, "Uploading the plugin.").await;
        match n {
            0 | 3 => api.complete(&claim.lease, "abcd efgh").await,
            _ => {
                let problem = Problem::new(Code::AuthBadCredentials, "The site shows its login form again.");
                api.app.queue.fail(&claim.lease, &problem).await.unwrap();
            }
        }
    }
    let newest = api.ask("https://cancelled.example", None).await;
    api.post(&format!("/tasks/{newest}/cancel")).send().await.unwrap();
    let (first, second) = (api.claim().await, api.claim().await);
    api.progress(&first.lease, 72, "Making the application password.").await;
    api.progress(&second.lease, 15, "Logging in to wp-admin, which takes a while because the site is slow.")
        .await;
    report(api, "worker-b-0191", vec![]).await;
    report(api, WORKER, vec![first.lease.task, second.lease.task]).await;
    first.lease.task
}

async fn report(api: &Api, id: &str, tasks: Vec<TaskId>) {
    let report = WorkerReport {
        id: id.into(),
        stages: [(Stage::Browser, StageSlots { slots: 2, busy: tasks.len() as u32 })].into(),
        tasks,
        started_at: jiff::Timestamp::now(),
        browser_memory_bytes: 412 << 20,
        unavailable: Default::default(),
    };
    api.app.queue.report_worker(&report).await.unwrap();
}

pub(crate) async fn a_failed_task_is_accessible_and_fits_every_screen(browser: Browser) {
    let api = Api::start().await;
    let id = api.ask("https://broken.example", None).await;
    let claim = api.claim().await;
    for name in ["1-before.png", "2-after.png"] {
        let picture = browser.client.screenshot().await.unwrap();
        api.app.artifacts.put(claim.lease.task, "local", name, "image/png", &picture).await.unwrap();
    }
    api.app.artifacts.put(claim.lease.task, "local", "page.html", "text/html", b"<p>x</p>").await.unwrap();
    let mut problem =
        Problem::new(Code::PluginActivationFailed, "WordPress says that the plugin triggered a fatal error.");
    problem.changed_target = true;
    problem.achieved = vec!["The migrator was uploaded.".into()];
    api.app.queue.fail(&claim.lease, &problem).await.unwrap();
    check_page_on_every_screen(&browser, &api, "task-failed", &format!("/dashboard/tasks/{id}")).await;

    let id = api.ask("https://long-ago.example", None).await;
    let options = QueueOptions { secrets_retention: Duration::ZERO, ..QueueOptions::default() };
    let without_secrets = Queue::new(&api.redis.url(), options).unwrap();
    let claim = api.claim().await;
    without_secrets
        .fail(&claim.lease, &Problem::new(Code::CapMissing, "An editor is no administrator."))
        .await
        .unwrap();
    check_page_on_every_screen(&browser, &api, "task-failed-long-ago", &format!("/dashboard/tasks/{id}"))
        .await;

    let id = api.ask("https://good.example", None).await;
    let claim = api.claim().await;
    api.complete(&claim.lease, "abcd efgh").await;
    check_page_on_every_screen(&browser, &api, "task-done", &format!("/dashboard/tasks/{id}")).await;
}

pub(crate) async fn public_pages_are_accessible_and_fit_every_screen(browser: Browser) {
    let api = Api::with_tokens(&[("root", "operator")]).await;
    check_page_on_every_screen(&browser, &api, "sign-in", "/").await;
    check_page_on_every_screen(&browser, &api, "docs", "/docs").await;
    browser.script("document.querySelectorAll('details').forEach((d) => { d.open = true; })").await;
    browser.assert_accessible("docs, all open").await;
    check_page_on_every_screen(&browser, &api, "docs-example", "/docs/examples/clone_site").await;
    let (docs, document) =
        (api.get("/docs").send().await.unwrap().text().await.unwrap(), api.json("/openapi.json").await);
    let methods =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    for id in methods.map(|operation| operation["operationId"].as_str().unwrap()) {
        let path = format!("/docs/examples/{id}");
        assert!(docs.contains(&format!("href=\"{path}\"")), "{path}");
        let example = api.get(&path).send().await.unwrap().text().await.unwrap();
        assert!(example.contains("curl ") && example.contains("HTTP/1.1 2"), "{example}");
    }
    let example = api.get("/docs/examples/clone_site").send().await.unwrap().text().await.unwrap();
    for part in [
        "Authorization: Bearer $WPCLONE_TOKEN",
        "&#34;ttl_minutes&#34;: 60",
        "HTTP/1.1 202",
        "Location: /tasks/",
    ] {
        assert!(example.contains(part), "{part}\n{example}");
    }
    check_page_on_every_screen(&browser, &api, "problem-code", "/problems/AUTH_BAD_CREDENTIALS").await;
}
