//! The pictures in docs/pictures, which README shows: `WPCLONE_PICTURES=folder cargo test -p wpclone-api --test dashboard
//! readme` saves them there as `readme-*.png`.

use serde_json::json;
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_queue::WorkerReport;
use wpclone_task::{Stage, StageSlots, TaskId};

use crate::browser::Browser;
use crate::live_updates::open_live_page;
use crate::support::{Api, body, cloned};

/// What the shop looks like whose clone is shown.
const SHOP: &str = "data:text/html,<style>body{margin:0;font:18px sans-serif;color:%23222}\
    header{background:%23234;color:white;padding:18px 40px}main{padding:30px 40px;display:grid;\
    grid-template-columns:repeat(3,1fr);gap:24px}div{background:%23eee;height:150px;border-radius:8px}\
    </style><header>Shop of the Three Oaks</header><main><section><div></div>Oak table, 340</section><section><div></div>\
    Oak chair, 120</section><section><div></div>Bookshelf, 210</section></main>";

pub(crate) async fn the_pages_that_readme_shows_are_rendered(browser: Browser) {
    let api = Api::start().await;
    for path in ["/setup", "/create-app-password"] {
        api.post(path).json(&body("https://shop.example")).send().await.unwrap();
        let claim = api.claim().await;
        api.complete(&claim.lease, "abcd efgh").await;
    }
    let id = cloned(&api).await;
    browser.set_screen(1200, false).await;
    browser.open(SHOP).await;
    let front_page = browser.client.screenshot().await.unwrap();
    api.app.artifacts.put(id, "local", FRONT_PAGE_SCREENSHOT, "image/png", &front_page).await.unwrap();
    api.ask_for_clone("https://magazine.example", None).await;
    let running = api.claim().await;
    api.progress(&running.lease, 40, "Installing the migrator on the source.").await;
    report(&api, running.lease.task).await;
    for (name, path) in [
        ("overview", "/".to_owned()),
        ("clones", "/dashboard/clones".to_owned()),
        ("task", format!("/dashboard/tasks/{id}")),
        ("new-clone", "/new/clone".to_owned()),
    ] {
        if name == "new-clone" {
            browser.open(&format!("{}{path}", api.address)).await;
            browser.script("document.activeElement.blur()").await;
        } else {
            open_live_page(&browser, &api, &path).await;
        }
        browser.set_screen(1200, false).await;
        browser.script("for (const image of document.images) image.loading = 'eager'").await;
        browser
            .until(
                "images are loaded",
                "[...document.images].every((i) => i.complete || !i.getAttribute('src'))",
            )
            .await;
        assert_eq!(browser.console_errors().await, json!([]), "{name}");
        browser.save_screenshot(&format!("readme-{name}")).await;
    }
}

async fn report(api: &Api, running: TaskId) {
    let report = WorkerReport {
        id: "worker-a-7f3c".into(),
        stages: [
            (Stage::Provisioning, StageSlots { slots: 4, busy: 0 }),
            (Stage::Browser, StageSlots { slots: 2, busy: 1 }),
            (Stage::Transfer, StageSlots { slots: 2, busy: 0 }),
        ]
        .into(),
        tasks: vec![running],
        started_at: jiff::Timestamp::now(),
        browser_memory_bytes: 412 << 20,
        unavailable: Default::default(),
    };
    api.app.queue.report_worker(&report).await.unwrap();
}
