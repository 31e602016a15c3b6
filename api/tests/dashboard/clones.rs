//! The clones page, and the page of a clone's task.

use serde_json::{Value, json};
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_clones::CloneEntry;
use wpclone_task::{
    CloneLocation, ClonePhase, ClusterCondition, ClusterLocation, ClusterPod, Isolation, MachineLocation,
    Stage, StoredRequest,
};

use crate::browser::Browser;
use crate::layout::check_page_on_every_screen;
use crate::live_updates::{assert_not_reloaded, open_live_page};
use crate::support::{Api, cloned};

const A: &str = "clone-20261123-163105-abcdef";
const B: &str = "clone-20261123-163106-abcdef";

pub(crate) async fn clones_are_accessible_and_fit_every_screen(browser: Browser) {
    let api = Api::start().await;
    let id = cloned(&api).await;
    let front = browser.client.screenshot().await.unwrap();
    api.app.artifacts.put(id, "local", FRONT_PAGE_SCREENSHOT, "image/png", &front).await.unwrap();
    let long =
        format!("https://{}.example/{}", "a-very-long-name-of-a-site".repeat(2), "with/folders/".repeat(6));
    for (n, phase) in ClonePhase::ALL.iter().enumerate() {
        let entry = api.clone_entry(&format!("clone-20261123-16320{n}-abcdef"), "alice");
        let source = if n == 2 { long.clone() } else { entry.source.to_string() };
        let isolation = if n == 2 { Isolation::Dedicated } else { Isolation::Shared };
        let source = source.try_into().unwrap();
        let task = id;
        let location = Some(if n == 1 { in_cluster() } else { on_machine() });
        api.put(&CloneEntry { phase: *phase, source, isolation, task, location, ..entry }).await;
    }
    api.put(&api.clone_entry(B, "local")).await;
    api.app.clones.remove(&B.parse().unwrap()).await.unwrap();
    check_page_on_every_screen(&browser, &api, "clones", "/dashboard/clones").await;
    // Only published clones have a screenshot.
    let screenshots =
        "return [...document.querySelectorAll('.screenshot img')].filter(i => i.naturalWidth > 100).length";
    open_live_page(&browser, &api, "/dashboard/clones").await;
    browser.until("the picture is there", "document.querySelector('.screenshot img')?.complete").await;
    let there = "return document.querySelectorAll('#clones .badge.succeeded').length";
    assert_eq!((browser.script(screenshots).await, browser.script(there).await), (2.into(), 2.into()));
    check_page_on_every_screen(&browser, &api, "task-cloned", &format!("/dashboard/tasks/{id}")).await;
}

fn on_machine() -> CloneLocation {
    CloneLocation::Machine(MachineLocation { machine: "host-1".into(), worker: "host-1-4711-68a".into() })
}

fn in_cluster() -> CloneLocation {
    let message = "the container setup of the pod has failed and is started again; ".repeat(4);
    let conditions = [
        ClusterCondition::new("InstanceManaged", "True", "Managed", ""),
        ClusterCondition::new("Ready", "False", "NotReady", &message),
    ];
    let pod = ClusterPod::new("clone-20261123-163205-abcdef-7d4b9c6f5d-x2x8q", "CrashLoopBackOff", 3);
    CloneLocation::Cluster(ClusterLocation::new(
        "wpclone-clones",
        "clone-20261123-163205-abcdef",
        conditions,
        Some(pod),
    ))
}

pub(crate) async fn the_time_left_is_counted_down_and_a_deleted_clone_disappears(browser: Browser) {
    let api = Api::start().await;
    let end = jiff::Timestamp::now() + jiff::ToSpan::minutes(30);
    api.put(&CloneEntry { expires_at: Some(end), ..api.clone_entry(A, "local") }).await;
    open_live_page(&browser, &api, "/dashboard/clones").await;
    let left = "document.querySelector('[data-countdown]').textContent";
    let first = browser.script(&format!("return {left}")).await;
    browser.until("it is counted down", &format!("{left} !== {first}")).await;
    api.app.clones.remove(&A.parse().unwrap()).await.unwrap();
    // A change of any task refreshes the page.
    api.ask("https://a.example", None).await;
    browser.until("it is listed as ended", &format!("document.querySelector('#past-{A}')")).await;
    assert_eq!(browser.script(&format!("return document.getElementById('{A}')")).await, Value::Null);
    assert_not_reloaded(&browser).await;
}

pub(crate) async fn a_clone_is_extended(browser: Browser) {
    let api = Api::start().await;
    api.put(&api.clone_entry(A, "local")).await;
    open_live_page(&browser, &api, "/dashboard/clones").await;
    browser.script("document.querySelector('.extend select').value = '240'").await;
    browser.click("[data-extend]").await;
    let announced =
        "document.querySelector('#announcement').textContent === 'The clone is kept for 4 h from now.'";
    browser.until("it is announced", announced).await;
    let claim = api.claim_of(Stage::Provisioning).await;
    let StoredRequest::ExtendClone { ttl_minutes, .. } = claim.request else { panic!("{claim:?}") };
    assert_eq!(ttl_minutes.minutes(), 240);
    // The clone is deleted while the page still shows it.
    api.app.clones.remove(&A.parse().unwrap()).await.unwrap();
    browser.click("[data-extend]").await;
    let error = "document.querySelector('#clones-error').textContent";
    browser.until("the error is shown", &format!("{error} === 'The clone no longer exists'")).await;
    assert_not_reloaded(&browser).await;
}

pub(crate) async fn a_login_link_is_used_once(browser: Browser) {
    let api = Api::start().await;
    api.put(&api.clone_entry(A, "local")).await;
    open_live_page(&browser, &api, "/dashboard/clones").await;
    assert!(!browser.client.source().await.unwrap().contains("wpclone_login"));
    browser.click("[data-login]").await;
    browser.until("the link is there", "document.querySelector('.login a')").await;
    let link = browser.script("return document.activeElement.href").await;
    assert!(
        link.as_str().unwrap().starts_with(&format!("http://127.0.0.1:8090/{A}/?wpclone_login=")),
        "{link}"
    );
    let safe =
        browser.script("return document.activeElement.rel + ' ' + document.activeElement.target").await;
    assert_eq!(safe, json!("noopener noreferrer _blank"));
    browser.assert_accessible("a login").await;
    // A refresh of the page keeps the link; after its use another one is offered.
    api.ask("https://a.example", None).await;
    browser
        .script("document.querySelector('.login a').addEventListener('click', (e) => e.preventDefault())")
        .await;
    browser.click(".login a").await;
    browser.until("another link is offered", "document.querySelector('.login [data-login]')").await;
    assert_not_reloaded(&browser).await;
}

pub(crate) async fn deleting_a_clone_asks_for_confirmation(browser: Browser) {
    let api = Api::start().await;
    api.put(&api.clone_entry(A, "local")).await;
    api.put(&api.clone_entry(B, "local")).await;
    open_live_page(&browser, &api, "/dashboard/clones").await;
    let ask = format!("[data-dialog=delete][data-url='/clones/{A}']");
    browser.click(&ask).await;
    browser.until("the dialog is open", "document.querySelector('#dialog-delete').open").await;
    assert_eq!(browser.text("#dialog-delete [data-clone-name]").await, format!("127.0.0.1:8090/{A}"));
    browser.assert_accessible("the dialog").await;
    browser.click("#dialog-delete [type=submit]").await;
    browser.until("the dialog is closed", "!document.querySelector('#dialog-delete').open").await;
    assert_eq!(api.json("/tasks").await["tasks"], json!([]));
    browser.click(&ask).await;
    browser.click("#dialog-delete [data-delete]").await;
    browser.until("the dialog is closed", "!document.querySelector('#dialog-delete').open").await;
    let claim = api.claim_of(Stage::Provisioning).await;
    let StoredRequest::DeleteClone { clone } = claim.request else { panic!("{claim:?}") };
    assert_eq!(clone.name.as_str(), A);
    api.put(&CloneEntry { phase: ClonePhase::Deleting, ..api.clone_entry(A, "local") }).await;
    api.ask("https://a.example", None).await;
    browser.until("its deletion is shown", &format!("document.getElementById('{A}').matches('.past')")).await;
    assert_not_reloaded(&browser).await;
}

pub(crate) async fn a_clones_password_is_shown_once_on_demand(browser: Browser) {
    let api = Api::start().await;
    let id = cloned(&api).await;
    let path = format!("/dashboard/tasks/{id}");
    open_live_page(&browser, &api, &path).await;
    assert!(!browser.client.source().await.unwrap().contains("pw-of-it"));
    browser.click("[data-secret='clone.password']").await;
    browser
        .until("it is shown", "document.querySelector('.secret output')?.textContent === 'pw-of-it'")
        .await;
    browser.assert_accessible("a clone's password").await;
    assert!(browser.text("#result").await.contains("3 root relative"));
}
