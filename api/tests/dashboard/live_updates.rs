//! Live updates of pages, and their buttons.

use std::sync::Arc;

use fantoccini::Locator;
use fantoccini::actions::{InputSource as _, MouseActions, PointerAction};
use fantoccini::key::Key;
use reqwest::StatusCode;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wpclone_service::sealed_task::open_request;
use wpclone_task::{Code, ExposeSecret as _, Problem};

use crate::browser::Browser;
use crate::support::{Api, eventually, token};

const LIVE: &str = "document.querySelector('#connection:not([hidden]):not(.offline)')";

/// Opens a page, waits until it is live, and marks it so that a reload is noticed.
pub(crate) async fn open_live_page(browser: &Browser, api: &Api, path: &str) {
    browser.set_screen(1024, false).await;
    browser.open(&format!("{}{path}", api.address)).await;
    browser.until("the page is live", LIVE).await;
    browser.script("window.notReloaded = true").await;
}

pub(crate) async fn assert_not_reloaded(browser: &Browser) {
    assert_eq!(browser.script("return window.notReloaded === true").await, true, "the page was reloaded");
}

pub(crate) async fn a_running_task_is_followed_without_reloading_the_page(browser: Browser) {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    open_live_page(&browser, &api, &format!("/dashboard/tasks/{id}")).await;
    let claim = api.claim().await;
    api.progress(&claim.lease, 55, "Reading the key.").await;
    browser.until("progress is seen", "document.querySelector('.progress progress')?.value === 55").await;
    assert!(browser.text(".progress").await.contains("Reading the key."));
    // Details that the user opened stay open when the page is updated.
    browser.script("document.querySelector('#steps details').open = true").await;
    api.complete(&claim.lease, "abcd").await;
    browser.until("the end is seen", "document.querySelector('#task').dataset.state === 'succeeded'").await;
    browser
        .until(
            "the end is announced",
            "document.querySelector('#announcement').textContent.includes('succeeded')",
        )
        .await;
    assert_eq!(browser.script("return document.querySelector('#steps details').open").await, true);
    assert_eq!(
        browser.script("return document.querySelector('[data-dialog]')").await,
        serde_json::Value::Null
    );
    assert_not_reloaded(&browser).await;
}

pub(crate) async fn a_new_task_appears_in_the_list_but_not_under_the_pointer(browser: Browser) {
    let api = Api::start().await;
    api.ask("https://first.example", None).await;
    open_live_page(&browser, &api, "/dashboard/tasks").await;
    let count = "document.querySelectorAll('#list tbody tr').length";
    let second = api.ask("https://second.example", None).await;
    browser.until("the new task is listed", &format!("{count} === 2")).await;

    let row = browser.client.find(Locator::Css("#list tbody tr")).await.unwrap();
    let over = MouseActions::new("mouse".into()).then(PointerAction::MoveToElement {
        element: row,
        duration: None,
        x: 0.0,
        y: 0.0,
    });
    browser.client.perform_actions(over).await.unwrap();
    api.ask("https://third.example", None).await;
    api.post(&format!("/tasks/{second}/cancel")).send().await.unwrap();
    let first_row = "document.querySelector('#list tbody tr').textContent";
    browser.until("the row changes in place", &format!("{first_row}.includes('cancelled')")).await;
    assert_eq!(browser.script(&format!("return {count}")).await, 2, "nothing moved under the pointer");
    let away =
        MouseActions::new("mouse".into()).then(PointerAction::MoveTo { duration: None, x: 5.0, y: 5.0 });
    browser.client.perform_actions(away).await.unwrap();
    browser.until("the third is listed", &format!("{count} === 3 && {first_row}.includes('third')")).await;
    assert_not_reloaded(&browser).await;
}

pub(crate) async fn the_connection_status_says_when_the_api_is_away_and_when_it_is_back(browser: Browser) {
    let api = Api::start().await;
    open_live_page(&browser, &api, "/").await;
    assert_eq!(browser.text("#connection").await, "live");
    let address = api.address.trim_start_matches("http://").to_owned();
    api.app.shutdown.cancel();
    browser.until("the status says so", "document.querySelector('#connection.offline')").await;
    assert_eq!(browser.text("#connection").await, "reconnecting");

    let mut listener = None;
    eventually("the address is free", || {
        let bound = std::net::TcpListener::bind(&address);
        let free = bound.is_ok();
        listener = bound.ok().or(listener.take());
        async move { free }
    })
    .await;
    let listener = listener.unwrap();
    listener.set_nonblocking(true).unwrap();
    let fresh = wpclone_api::state::App::new(
        &crate::support::common(&api.redis.url()),
        None,
        api.app.public_url.clone(),
        api.app.limits,
    );
    let fresh = Arc::new(fresh.unwrap());
    let ending = CancellationToken::new();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(wpclone_api::server::serve(
        listener,
        wpclone_api::router::router(&fresh),
        fresh.limits.write_timeout,
        256,
        ending.clone(),
    ));
    browser.until("the status says that it is back", LIVE).await;
    assert_not_reloaded(&browser).await;
    fresh.shutdown.cancel();
    ending.cancel();
}

pub(crate) async fn the_keyboard_reaches_the_search(browser: Browser) {
    let api = Api::start().await;
    api.ask("https://find-me.example", None).await;
    api.ask("https://other.example", None).await;
    open_live_page(&browser, &api, "/").await;
    let focused = || async { browser.script("return document.activeElement.id").await };
    browser.client.find(Locator::Css("body")).await.unwrap().send_keys("/").await.unwrap();
    assert_eq!(focused().await, "search");
    let search = browser.client.find(Locator::Css("#search")).await.unwrap();
    search.send_keys(&Key::Escape.to_string()).await.unwrap();
    assert_ne!(focused().await, "search");
    search.send_keys(&format!("find-me{}", Key::Enter)).await.unwrap();
    browser.until("the list is shown", "location.search.includes('q=find-me')").await;
    browser.until("one is found", "document.querySelectorAll('#list tbody tr').length === 1").await;
}

pub(crate) async fn cancelling_a_task_asks_for_confirmation(browser: Browser) {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    open_live_page(&browser, &api, &format!("/dashboard/tasks/{id}")).await;
    let state = || async { api.json(&format!("/tasks/{id}")).await["state"].clone() };
    browser.click("[data-dialog=cancel]").await;
    browser.until("the dialog is open", "document.querySelector('#dialog-cancel').open").await;
    browser.assert_accessible("the dialog").await;
    browser.click("#dialog-cancel [type=submit]").await;
    browser.until("the dialog is closed", "!document.querySelector('#dialog-cancel').open").await;
    assert_eq!(state().await, "queued");
    browser.click("[data-dialog=cancel]").await;
    browser.click("#dialog-cancel [data-cancel]").await;
    browser.until("its end is seen", "document.querySelector('#task').dataset.state === 'cancelled'").await;
    assert_eq!(state().await, "cancelled");
    assert_not_reloaded(&browser).await;
}

pub(crate) async fn a_failed_task_is_retried(browser: Browser) {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let problem = Problem::new(Code::AuthBadCredentials, "The site shows its login form again.");
    api.app.queue.fail(&api.claim().await.lease, &problem).await.unwrap();
    browser.set_screen(1024, false).await;
    browser.open(&format!("{}/dashboard/tasks?state=failed", api.address)).await;
    assert_eq!(browser.text(".tabs [aria-current]").await, "Failed");
    browser.click("#list tbody a").await;
    browser.until("the task is shown", "document.querySelector('.retry')").await;
    // What the user types stays when the page is updated.
    browser.until("the page is live", LIVE).await;
    let field = browser.client.find(Locator::Css(".retry input")).await.unwrap();
    field.send_keys("the right one").await.unwrap();
    api.app.artifacts.put(id.parse().unwrap(), "local", "page.html", "text/html", b"x").await.unwrap();
    browser.until("the page has changed", "document.querySelector('#files')").await;
    browser.click(".retry button").await;
    browser.until("it is queued", "document.querySelector('#task')?.dataset.state === 'queued'").await;
    assert_eq!(browser.text(".progress").await, "Back in the queue, waiting for a worker.");
    assert!(browser.text(".meta").await.contains("retried once"));
    browser.assert_accessible("a replayed task").await;
    let claim = api.claim().await;
    let secrets = open_request(&api.app.sealer, claim.lease.task, &claim.sealed_secrets.unwrap()).unwrap();
    assert_eq!(secrets[0].1.expose_secret(), "the right one");
}

pub(crate) async fn a_secret_is_shown_once_on_demand(browser: Browser) {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let claim = api.claim().await;
    api.complete(&claim.lease, "wxyz 1234").await;
    let path = format!("/dashboard/tasks/{id}");
    open_live_page(&browser, &api, &path).await;
    assert!(!browser.client.source().await.unwrap().contains("wxyz"));
    browser.click("[data-secret=application_password]").await;
    browser
        .until("it is shown", "document.querySelector('.secret output')?.textContent === 'wxyz 1234'")
        .await;
    browser.assert_accessible("a secret").await;
    open_live_page(&browser, &api, &path).await;
    assert!(!browser.client.source().await.unwrap().contains("wxyz"));
}

pub(crate) async fn a_screenshot_is_shown_at_full_size(browser: Browser) {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let picture = browser.client.screenshot().await.unwrap();
    api.app.artifacts.put(id.parse().unwrap(), "local", "1-before.png", "image/png", &picture).await.unwrap();
    open_live_page(&browser, &api, &format!("/dashboard/tasks/{id}")).await;
    browser.click("[data-screenshot]").await;
    let shown = "document.querySelector('#screenshot').open && document.querySelector('#screenshot img').naturalWidth > 100";
    browser.until("it is shown", shown).await;
    browser
        .client
        .find(Locator::Css("#screenshot button"))
        .await
        .unwrap()
        .send_keys(&Key::Escape.to_string())
        .await
        .unwrap();
    browser.until("it is closed", "!document.querySelector('#screenshot').open").await;
}

pub(crate) async fn a_user_signs_in_and_out(browser: Browser) {
    let api = Api::with_tokens(&[("alice", "user")]).await;
    api.ask("https://hers.example", Some("alice")).await;
    browser.set_screen(1024, false).await;
    browser.open(&format!("{}/dashboard/tasks", api.address)).await;
    let enter = async |secret: String| {
        let field = browser.client.find(Locator::Css("#token")).await.unwrap();
        field.send_keys(&secret).await.unwrap();
        browser.click(".sign-in button").await;
    };
    enter("wrong".into()).await;
    browser.until("it is rejected", "document.querySelector('#token-error')").await;
    browser.assert_accessible("a rejected token").await;
    enter(token("alice")).await;
    browser
        .until("her tasks are shown", "document.querySelector('#list')?.textContent.includes('hers.example')")
        .await;
    browser.until("the page is live", LIVE).await;
    assert_eq!(browser.client.current_url().await.unwrap().path(), "/dashboard/tasks");
    assert_eq!(browser.script("return document.cookie").await, "", "no script can read it");
    browser.click(".sign-out button").await;
    browser.until("the form is back", "document.querySelector('#token')").await;
    assert_eq!(api.get("/tasks").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
