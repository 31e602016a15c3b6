//! The Clones page, and the page of a clone's task.

use serde_json::{Value, json};
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_clones::CloneEntry;
use wpclone_task::{ClonePhase, Isolation, Stage, StoredRequest};

use crate::browser::Browser;
use crate::live::{is_the_same, opened};
use crate::looks::looks_well;
use crate::support::{Api, cloned};

const A: &str = "clone-20261123-163105-abcdef";
const B: &str = "clone-20261123-163106-abcdef";

pub(crate) async fn clones_are_accessible_and_fit_every_screen(browser: Browser) {
    let api = Api::start().await;
    let id = cloned(&api).await;
    let front = browser.client.screenshot().await.unwrap();
    api.app.artifacts.put(id, FRONT_PAGE_SCREENSHOT, "image/png", &front).await.unwrap();
    let long =
        format!("https://{}.example/{}", "a-very-long-name-of-a-site".repeat(2), "with/folders/".repeat(6));
    for (n, phase) in ClonePhase::ALL.iter().enumerate() {
        let entry = api.clone_entry(&format!("clone-20261123-16320{n}-abcdef"), "alice");
        let source = if n == 2 { long.clone() } else { entry.source.to_string() };
        let isolation = if n == 2 { Isolation::Dedicated } else { Isolation::Shared };
        let source = source.try_into().unwrap();
        let task = id;
        api.put(&CloneEntry { phase: *phase, source, isolation, task, ..entry }).await;
    }
    api.put(&api.clone_entry(B, "local")).await;
    api.app.clones.remove(&B.parse().unwrap()).await.unwrap();
    looks_well(&browser, &api, "clones", "/dashboard/clones").await;
    // Who is there is pictured, and nobody else.
    let pictured =
        "return [...document.querySelectorAll('.front img')].filter(i => i.naturalWidth > 100).length";
    opened(&browser, &api, "/dashboard/clones").await;
    browser.until("the picture is there", "document.querySelector('.front img')?.complete").await;
    let there = "return document.querySelectorAll('#clones .badge.succeeded').length";
    assert_eq!((browser.script(pictured).await, browser.script(there).await), (2.into(), 2.into()));
    looks_well(&browser, &api, "task-cloned", &format!("/dashboard/tasks/{id}")).await;
}

pub(crate) async fn the_time_left_is_counted_down_and_a_clone_that_went_disappears(browser: Browser) {
    let api = Api::start().await;
    let end = jiff::Timestamp::now() + jiff::ToSpan::minutes(30);
    api.put(&CloneEntry { expires_at: Some(end), ..api.clone_entry(A, "local") }).await;
    opened(&browser, &api, "/dashboard/clones").await;
    let left = "document.querySelector('[data-left]').textContent";
    let first = browser.script(&format!("return {left}")).await;
    browser.until("it is counted down", &format!("{left} !== {first}")).await;
    api.app.clones.remove(&A.parse().unwrap()).await.unwrap();
    // Any task's change has the page look again.
    api.ask("https://a.example", None).await;
    browser.until("it is among those that went", &format!("document.querySelector('#past-{A}')")).await;
    assert_eq!(browser.script(&format!("return document.getElementById('{A}')")).await, Value::Null);
    is_the_same(&browser).await;
}

pub(crate) async fn a_clone_is_kept_longer(browser: Browser) {
    let api = Api::start().await;
    api.put(&api.clone_entry(A, "local")).await;
    opened(&browser, &api, "/dashboard/clones").await;
    browser.script("document.querySelector('.extend select').value = '240'").await;
    browser.click("[data-extend]").await;
    let said = "document.querySelector('#announce').textContent === 'It will be kept for 4 h from now.'";
    browser.until("it is said", said).await;
    let claim = api.claim_of(Stage::Provisioning).await;
    let StoredRequest::ExtendClone { ttl_minutes, .. } = claim.request else { panic!("{claim:?}") };
    assert_eq!(ttl_minutes.minutes(), 240);
    // The registry knows more than the page: it went meanwhile.
    api.app.clones.remove(&A.parse().unwrap()).await.unwrap();
    browser.click("[data-extend]").await;
    let fault = "document.querySelector('#clones-fault').textContent";
    browser.until("the fault is told", &format!("{fault} === 'The clone no longer exists'")).await;
    is_the_same(&browser).await;
}

pub(crate) async fn a_clone_is_entered_once(browser: Browser) {
    let api = Api::start().await;
    api.put(&api.clone_entry(A, "local")).await;
    opened(&browser, &api, "/dashboard/clones").await;
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
    browser.is_accessible("a login").await;
    // A page that is refreshed keeps it; one that was used offers another.
    api.ask("https://a.example", None).await;
    browser
        .script("document.querySelector('.login a').addEventListener('click', (e) => e.preventDefault())")
        .await;
    browser.click(".login a").await;
    browser.until("another is offered", "document.querySelector('.login [data-login]')").await;
    is_the_same(&browser).await;
}

pub(crate) async fn deleting_a_clone_is_asked_once(browser: Browser) {
    let api = Api::start().await;
    api.put(&api.clone_entry(A, "local")).await;
    api.put(&api.clone_entry(B, "local")).await;
    opened(&browser, &api, "/dashboard/clones").await;
    let ask = format!("[data-ask=delete][data-about='/clones/{A}']");
    browser.click(&ask).await;
    browser.until("it asks", "document.querySelector('#ask-delete').open").await;
    assert_eq!(browser.text("#ask-delete [data-name]").await, format!("127.0.0.1:8090/{A}"));
    browser.is_accessible("the question").await;
    browser.click("#ask-delete [type=submit]").await;
    browser.until("it is kept", "!document.querySelector('#ask-delete').open").await;
    assert_eq!(api.json("/tasks").await["tasks"], json!([]));
    browser.click(&ask).await;
    browser.click("#ask-delete [data-delete]").await;
    browser.until("it is closed", "!document.querySelector('#ask-delete').open").await;
    let claim = api.claim_of(Stage::Provisioning).await;
    let StoredRequest::DeleteClone { clone } = claim.request else { panic!("{claim:?}") };
    assert_eq!(clone.name.as_str(), A);
    api.put(&CloneEntry { phase: ClonePhase::Deleting, ..api.clone_entry(A, "local") }).await;
    api.ask("https://a.example", None).await;
    browser.until("its end is seen", &format!("document.getElementById('{A}').matches('.past')")).await;
    is_the_same(&browser).await;
}

pub(crate) async fn a_clones_password_is_shown_once_on_demand(browser: Browser) {
    let api = Api::start().await;
    let id = cloned(&api).await;
    let path = format!("/dashboard/tasks/{id}");
    opened(&browser, &api, &path).await;
    assert!(!browser.client.source().await.unwrap().contains("pw-of-it"));
    browser.click("[data-secret='clone.password']").await;
    browser
        .until("it is shown", "document.querySelector('.secret output')?.textContent === 'pw-of-it'")
        .await;
    browser.is_accessible("a clone's password").await;
    assert!(browser.text("#result").await.contains("3 root relative"));
}
