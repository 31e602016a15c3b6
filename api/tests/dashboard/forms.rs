//! The forms that start a task.

use fantoccini::Locator;
use fantoccini::key::Key;
use reqwest::StatusCode;
use serde_json::{Value, json};
use wpclone_service::sealed_task::open_request;
use wpclone_task::{Code, ExposeSecret as _, Problem, Stage, StoredRequest};

use crate::browser::Browser;
use crate::layout::check_page_on_every_screen;
use crate::live_updates::open_live_page;
use crate::support::{Api, Setup, token};

const FORMS: [&str; 3] = ["clone", "setup", "app-password"];
/// Looks for it in what pages and records hold.
const PASSWORD: &str = "hunter2 canary";

async fn open(browser: &Browser, api: &Api, path: &str) {
    browser.set_screen(1024, false).await;
    browser.open(&format!("{}{path}", api.address)).await;
}

async fn fill_in(browser: &Browser, fields: &[(&str, &str)]) {
    for (name, text) in fields {
        let field = browser.client.find(Locator::Css(&format!("[name='{name}']"))).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }
}

async fn submit(browser: &Browser) {
    browser.click(".task-form [type=submit]").await;
}

async fn value(browser: &Browser, selector: &str) -> Value {
    browser.script(&format!("return document.querySelector(\"{selector}\").value")).await
}

async fn assert_no_password(browser: &Browser) {
    let source = browser.client.source().await.unwrap();
    assert!(!source.contains("hunter2"), "{source}");
    let values = "return [...document.querySelectorAll('input[type=password]')].map((i) => i.value).join('')";
    assert_eq!(browser.script(values).await, "", "password fields are empty");
}

async fn task_count(api: &Api) -> usize {
    api.json("/tasks").await["tasks"].as_array().unwrap().len()
}

async fn task_page_is_shown(browser: &Browser) -> String {
    browser.until("the task's page is shown", "document.querySelector('#task')").await;
    let path = browser.client.current_url().await.unwrap().path().to_owned();
    path.strip_prefix("/dashboard/tasks/").unwrap().to_owned()
}

pub(crate) async fn forms_are_accessible_and_fit_every_screen(browser: Browser) {
    let api = Api::start().await;
    for form in FORMS {
        check_page_on_every_screen(&browser, &api, &format!("new-{form}"), &format!("/new/{form}")).await;
        let text = api.get(&format!("/new/{form}")).send().await.unwrap().text().await.unwrap();
        assert!(text.len() < 60 << 10, "{form} has {} bytes", text.len());
    }
    for (width, dark) in [(1440, false), (1440, true), (390, false), (390, true)] {
        let name = format!("{width}-{}", if dark { "dark" } else { "light" });
        browser.set_screen(width, dark).await;
        browser.open(&format!("{}/new/clone", api.address)).await;
        browser.click("#destination-target").await;
        browser.assert_accessible("a clone to a target").await;
        browser.save_screenshot(&format!("new-clone-target-{name}")).await;
        browser.script("document.querySelector('.task-form').noValidate = true").await;
        submit(&browser).await;
        browser.until("the errors are shown", "document.querySelector('#problem')").await;
        browser.assert_accessible("a form with errors").await;
        let wide = browser.script("return document.documentElement.scrollWidth - innerWidth").await;
        assert!(wide.as_i64().unwrap() <= 0, "the errors are {wide} px too wide");
        browser.save_screenshot(&format!("new-clone-errors-{name}")).await;
    }
}

pub(crate) async fn a_clone_is_started_with_the_keyboard_and_followed(browser: Browser) {
    let api = Api::start().await;
    open(&browser, &api, "/").await;
    browser.until("the page is shown", "document.querySelector('.empty a.primary')").await;
    browser
        .client
        .find(Locator::Css(".empty a.primary"))
        .await
        .unwrap()
        .send_keys(&Key::Enter.to_string())
        .await
        .unwrap();
    browser.until("the form is shown", "document.activeElement.name === 'source.url'").await;
    let type_keys = async |text: &str| {
        browser.client.active_element().await.unwrap().send_keys(text).await.unwrap();
    };
    type_keys(&format!("https://shop.example{}", Key::Tab)).await;
    type_keys(&format!("admin{}", Key::Tab)).await;
    type_keys(&format!("{PASSWORD}{}", Key::Tab)).await;
    assert_eq!(browser.script("return document.activeElement.id").await, "destination-clone");
    type_keys(&Key::Tab.to_string()).await;
    assert_eq!(value(&browser, ":focus").await, "60");
    type_keys(&format!("{}{}30{}", Key::Backspace, Key::Backspace, Key::Tab)).await;
    type_keys(&Key::Down.to_string()).await;
    assert_eq!(browser.script("return document.activeElement.id").await, "isolation-dedicated");
    type_keys(&Key::Tab.to_string()).await;
    type_keys(" ").await;
    // The copy of other tables and the callback URL stay as they are.
    type_keys(&format!("{}{}{}", Key::Tab, Key::Tab, Key::Tab)).await;
    assert_eq!(browser.script("return document.activeElement.type").await, "submit");
    type_keys(&Key::Enter.to_string()).await;
    let id = task_page_is_shown(&browser).await;
    assert_no_password(&browser).await;
    browser
        .until("the page is live", "document.querySelector('#connection:not([hidden]):not(.offline)')")
        .await;
    let claim = api.claim_of(Stage::Browser).await;
    assert_eq!(claim.lease.task.to_string(), id);
    let request = json!({
        "kind": "clone", "source": {"url": "https://shop.example", "username": "admin"}, "ttl_minutes": 30,
        "isolation": "dedicated", "remove_migrator": false,
    });
    assert_eq!(json!(claim.request), request);
    let secrets =
        open_request(&api.app.sealer, claim.lease.task, claim.sealed_secrets.as_ref().unwrap()).unwrap();
    assert_eq!(secrets[0].1.expose_secret(), PASSWORD);
    api.progress(&claim.lease, 55, "Reading the key.").await;
    browser
        .until("progress is shown", "document.querySelector('.progress')?.textContent.includes('Reading')")
        .await;
}

pub(crate) async fn a_site_is_set_up_and_an_application_password_made_with_the_mouse(browser: Browser) {
    let api = Api::with_tokens(&[("alice", "user")]).await;
    open(&browser, &api, "/new/setup").await;
    browser.client.find(Locator::Css("#token")).await.unwrap().send_keys(&token("alice")).await.unwrap();
    browser.click(".sign-in button").await;
    browser.until("the form is shown after the sign-in", "document.querySelector('.task-form')").await;
    let login = [("url", "https://a.example"), ("username", "admin"), ("password", PASSWORD)];
    fill_in(&browser, &login).await;
    browser.click("#role-target").await;
    submit(&browser).await;
    task_page_is_shown(&browser).await;
    assert_no_password(&browser).await;
    let claim = api.claim().await;
    let expected =
        json!({"kind": "setup", "url": "https://a.example", "username": "admin", "role": "target"});
    assert_eq!(json!(claim.request), expected);

    browser.click(".new-task").await;
    browser.click(".tabs a[href='/new/app-password']").await;
    fill_in(&browser, &login).await;
    fill_in(&browser, &[("url", "https://b.example"), ("app_name", "shop sync")]).await;
    submit(&browser).await;
    task_page_is_shown(&browser).await;
    let claim = api.claim().await;
    let StoredRequest::CreateAppPassword { app_name, .. } = claim.request else { panic!("{claim:?}") };
    assert_eq!(app_name.as_str(), "shop sync");
}

pub(crate) async fn errors_are_shown_at_their_fields_and_values_are_kept(browser: Browser) {
    let api = Api::start().await;
    open(&browser, &api, "/new/clone").await;
    browser.script("document.querySelector('.task-form').noValidate = true").await;
    fill_in(
        &browser,
        &[
            ("source.url", "https://a.example"),
            ("source.password", PASSWORD),
            ("callback_url", "nowhere?hunter2"),
        ],
    )
    .await;
    browser.click("#destination-target").await;
    fill_in(
        &browser,
        &[("target.url", "ftp://b.example"), ("target.username", "owner"), ("target.password", PASSWORD)],
    )
    .await;
    browser.click("#remove-migrator").await;
    submit(&browser).await;
    browser.until("the errors are shown", "document.querySelector('#problem')").await;
    assert_no_password(&browser).await;
    let shown = "return [...document.querySelectorAll('.field .error')].map((e) => e.textContent)";
    let shown = browser.script(shown).await;
    // The words are the API's.
    let body = json!({
        "source": {"url": "https://a.example", "password": "x"}, "remove_migrator": false,
        "target": {"url": "ftp://b.example", "username": "owner", "password": "x"}, "callback_url": "nowhere",
    });
    let problem: Value = api.post("/clone").json(&body).send().await.unwrap().json().await.unwrap();
    let faults: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|fault| fault["detail"].as_str().unwrap()).collect();
    assert_eq!(faults.len(), 3, "{problem}");
    let labels = ["Username", "Site address", "Callback URL"];
    let expected: Vec<String> =
        labels.iter().zip(faults).map(|(label, fault)| format!("{label} {fault}.")).collect();
    assert_eq!(shown, json!(expected));
    let described = "const field = document.activeElement; return [field.name, field.getAttribute('aria-invalid'), \
        document.getElementById(field.getAttribute('aria-describedby').split(' ')[0]).textContent]";
    assert_eq!(browser.script(described).await, json!(["source.username", "true", expected[0]]));
    assert_eq!(value(&browser, "[name='source.url']").await, "https://a.example");
    assert_eq!(value(&browser, "[name='target.url']").await, "ftp://b.example");
    assert_eq!(value(&browser, "[name='target.username']").await, "owner");
    assert_eq!(value(&browser, "[name='destination']:checked").await, "target");
    assert_eq!(browser.script("return document.querySelector('#remove-migrator').checked").await, false);
    assert!(browser.text("#callback-url-notice").await.contains("Enter it again"));
    assert_eq!(task_count(&api).await, 0);
    // A link of the list leads to its field.
    browser.click("#problem li:nth-child(2) a").await;
    assert_eq!(browser.script("return document.activeElement.name").await, "target.url");

    // Corrected, it starts; both sites are one, which is an error of the group.
    fill_in(
        &browser,
        &[
            ("source.username", "admin"),
            ("source.password", PASSWORD),
            ("target.url", "https://www.a.example/"),
            ("target.password", PASSWORD),
        ],
    )
    .await;
    submit(&browser).await;
    browser
        .until("the error of the group is shown", "document.querySelector('#target-settings > .error')")
        .await;
    fill_in(
        &browser,
        &[("source.password", PASSWORD), ("target.url", "https://b.example"), ("target.password", PASSWORD)],
    )
    .await;
    submit(&browser).await;
    task_page_is_shown(&browser).await;
    let claim = api.claim().await;
    let StoredRequest::Clone { target: Some(target), remove_migrator: false, .. } = claim.request else {
        panic!("{claim:?}")
    };
    assert_eq!((target.url.as_str(), target.username.as_str()), ("https://b.example", "owner"));
}

pub(crate) async fn the_browser_reports_missing_fields_before_anything_is_sent(browser: Browser) {
    let api = Api::start().await;
    open(&browser, &api, "/new/clone").await;
    fill_in(&browser, &[("source.url", "https://a.example"), ("source.password", PASSWORD)]).await;
    submit(&browser).await;
    assert_eq!(browser.script("return document.activeElement.name").await, "source.username");
    assert_eq!(value(&browser, "[name='source.password']").await, PASSWORD);
    // The fields of a target are required only while they are shown.
    fill_in(&browser, &[("source.username", "admin")]).await;
    browser.click("#destination-target").await;
    submit(&browser).await;
    assert_eq!(browser.script("return document.activeElement.name").await, "target.url");
    browser.click("#destination-clone").await;
    submit(&browser).await;
    task_page_is_shown(&browser).await;
    assert_eq!(task_count(&api).await, 1);
}

pub(crate) async fn a_form_that_is_sent_twice_starts_one_task(browser: Browser) {
    let api = Api::start().await;
    open(&browser, &api, "/new/app-password").await;
    fill_in(&browser, &[("url", "https://a.example"), ("username", "admin"), ("password", PASSWORD)]).await;
    let send = "const done = arguments[arguments.length - 1];
        const form = document.querySelector('.task-form');
        const send = () => fetch(form.action, {method: 'POST', body: new URLSearchParams(new FormData(form))});
        Promise.all([send(), send()]).then((all) => done(all.map((response) => response.url)), (e) => done(String(e)))";
    let urls = browser.client.execute_async(send, vec![]).await.unwrap();
    assert!(urls[0].is_string() && urls[0] == urls[1], "{urls}");
    assert_eq!(task_count(&api).await, 1);
    // The same form with other values is another wish, which has to be sent again.
    fill_in(&browser, &[("username", "editor")]).await;
    submit(&browser).await;
    browser
        .until(
            "it is reported",
            "document.querySelector('#problem')?.textContent.includes('already started')",
        )
        .await;
    assert_eq!(task_count(&api).await, 1);
    fill_in(&browser, &[("password", PASSWORD)]).await;
    let double_click =
        "const button = document.querySelector('.task-form [type=submit]'); button.click(); button.click()";
    browser.script(double_click).await;
    task_page_is_shown(&browser).await;
    assert_eq!(task_count(&api).await, 2);
}

pub(crate) async fn a_finished_task_is_run_again(browser: Browser) {
    let api = Api::start().await;
    let body = json!({
        "source": {"url": "https://a.example", "username": "admin", "password": PASSWORD}, "ttl_minutes": 45,
        "target": null, "isolation": "dedicated", "remove_migrator": false, "callback_url": "https://h.example/hunter2",
    });
    let answer = api.post("/clone").json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let first: Value = answer.json().await.unwrap();
    let path = format!("/dashboard/tasks/{}", first["id"].as_str().unwrap());
    open_live_page(&browser, &api, &path).await;
    assert_eq!(
        browser.script("return document.querySelector('[href^=\"/new/clone?from=\"]')").await,
        Value::Null
    );
    let claim = api.claim().await;
    api.app
        .queue
        .fail(&claim.lease, &Problem::new(Code::CapMissing, "An editor is no administrator."))
        .await
        .unwrap();
    while let Some(claim) = api.app.queue.claim("worker-1", Stage::OF_TASKS).await.unwrap() {
        api.achieve(&claim.lease, &claim.step, &wpclone_task::StepOutput::Nothing.into_parts()).await;
    }
    browser.until("the end is shown", "document.querySelector('#task').dataset.state === 'failed'").await;
    assert_eq!(browser.text(".retry button").await, "Retry");
    assert_eq!(browser.text(".head .button").await, "Run again");
    browser.assert_accessible("a failed clone").await;
    browser.click(".head .button").await;
    browser.until("the form is shown", "document.activeElement.name === 'source.password'").await;
    assert_no_password(&browser).await;
    assert_eq!(value(&browser, "[name='source.url']").await, "https://a.example");
    assert_eq!(value(&browser, "[name='source.username']").await, "admin");
    assert_eq!(value(&browser, "[name='ttl_minutes']").await, "45");
    assert_eq!(value(&browser, "[name='isolation']:checked").await, "dedicated");
    assert_eq!(browser.script("return document.querySelector('#remove-migrator').checked").await, false);
    browser.assert_accessible("a form with the request of a task").await;
    fill_in(&browser, &[("source.password", "another")]).await;
    submit(&browser).await;
    browser
        .until("the new task is shown", "document.querySelector('#task')?.dataset.state === 'queued'")
        .await;
    let second = api.json(&format!("/tasks/{}", task_page_is_shown(&browser).await)).await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(second["request"], first["request"]);
}

pub(crate) async fn forms_work_without_scripts(browser: Browser) {
    let api = Api::start().await;
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    open(&browser, &api, "/new/clone").await;
    fill_in(
        &browser,
        &[("source.url", "https://a.example"), ("source.username", "admin"), ("source.password", PASSWORD)],
    )
    .await;
    browser.click("#destination-target").await;
    let displayed = async |selector: &str| {
        browser.client.find(Locator::Css(selector)).await.unwrap().is_displayed().await.unwrap()
    };
    assert!(displayed("#target-url").await && !displayed("#ttl-minutes").await);
    submit(&browser).await;
    browser.until_found("#target-url-error").await;
    assert!(!browser.client.source().await.unwrap().contains("hunter2"));
    browser.click("#destination-clone").await;
    assert!(!displayed("#target-url").await && displayed("#ttl-minutes").await);
    fill_in(&browser, &[("source.password", PASSWORD)]).await;
    submit(&browser).await;
    browser.until_found("#task").await;
    assert_eq!(task_count(&api).await, 1);
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({"value": false})).await;
}

pub(crate) async fn forms_are_for_signed_in_users_of_this_origin(_: Browser) {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user"), ("meter", "metrics")]).await;
    let fields = [("url", "https://a.example"), ("username", "admin"), ("password", PASSWORD)];
    let send = |name: Option<&str>, origin: &str| {
        let request =
            api.post("/new/setup").header("Accept", "text/html").header("Origin", origin).form(&fields);
        match name {
            Some(name) => request.bearer_auth(token(name)).send(),
            None => request.send(),
        }
    };
    assert_eq!(send(Some("alice"), "https://evil.example").await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(send(Some("meter"), &api.address).await.unwrap().status(), StatusCode::FORBIDDEN);
    let stranger = send(None, &api.address).await.unwrap();
    assert_eq!(stranger.status(), StatusCode::SEE_OTHER);
    assert!(stranger.headers()["location"].to_str().unwrap().starts_with("/sign-in"));
    let started = send(Some("alice"), &api.address).await.unwrap();
    assert_eq!(started.status(), StatusCode::SEE_OTHER);
    let path = started.headers()["location"].to_str().unwrap().to_owned();
    let id = path.strip_prefix("/dashboard/tasks/").unwrap();

    // The request of somebody else's task fills in no form.
    let form = async |name: &str, path: &str| {
        api.get(path).header("Accept", "text/html").bearer_auth(token(name)).send().await.unwrap()
    };
    assert_eq!(form("bob", &format!("/new/setup?from={id}")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(form("alice", &format!("/new/clone?from={id}")).await.status(), StatusCode::NOT_FOUND);
    let own = form("alice", &format!("/new/setup?from={id}")).await.text().await.unwrap();
    assert!(own.contains("value=\"https://a.example\"") && own.contains("name=\"callback_url\""));
    assert_eq!(form("alice", "/new/nothing").await.status(), StatusCode::NOT_FOUND);

    let api = Api::with(Setup { webhooks: false, ..Setup::default() }).await;
    let text = api.get("/new/setup").send().await.unwrap().text().await.unwrap();
    assert!(!text.contains("callback_url"), "there are no secrets to sign webhooks with");
}
