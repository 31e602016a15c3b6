//! Pages of clones against the dashboard and against each other, in a real browser: they are on the same host.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fantoccini::Locator;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wpclone_provision::{
    Addresses, CloneInfo, CloneName, CloneSpec, Health, Isolation, MachineLocation, Provisioner as _, Routing,
};
use wpclone_provision_local::{DatabaseLimits, DiskLimits, LocalOptions, LocalProvisioner, ProxyOptions};
use wpclone_task::{SESSION_COOKIE, TaskId};

use crate::browser::Browser;
use crate::support::{Api, eventually, token};

/// Serves an empty page on another port of the API's host, and returns its URL.
async fn hostile_page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", get(|| async { Html("<!doctype html><title>hostile</title>") }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Signs in with the form of the page that is shown.
async fn sign_in(browser: &Browser, name: &str) {
    browser.until_found("#token").await;
    browser.client.find(Locator::Css("#token")).await.unwrap().send_keys(&token(name)).await.unwrap();
    browser.click(".sign-in button").await;
}

const TOKENS: &[(&str, &str)] = &[("alice", "user"), ("mallory", "user")];

async fn is_list_of(browser: &Browser, site: &str) {
    let listed = format!("document.querySelector('#list')?.textContent.includes('{site}')");
    browser.until("the list is shown", &listed).await;
}

pub(crate) async fn a_page_of_another_port_puts_nobody_into_its_session(browser: Browser) {
    let api = Api::with_tokens(TOKENS).await;
    api.ask("https://hers.example", Some("alice")).await;
    api.ask("https://planted.example", Some("mallory")).await;
    let form = [("token", token("mallory"))];
    let planted = api.post("/sign-in").form(&form).send().await.unwrap();
    let planted = planted.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();

    let tasks = format!("{}/dashboard/tasks", api.address);
    browser.open(&tasks).await;
    sign_in(&browser, "alice").await;
    is_list_of(&browser, "hers.example").await;

    browser.open(&hostile_page().await).await;
    let set = format!("document.cookie = '{planted}; path=/dashboard'; return document.cookie");
    browser.script(&set).await;
    // It is really there: the browser shows it for the path.
    let cookies = browser.cdp("Network.getCookies", json!({"urls": [tasks]})).await;
    let sessions = cookies["cookies"].as_array().unwrap().iter().filter(|c| c["name"] == SESSION_COOKIE);
    assert_eq!(sessions.count(), 2, "{cookies}");

    browser.open(&tasks).await;
    browser.until_found("#token").await;
    assert!(!browser.client.source().await.unwrap().contains("planted.example"));
    // Signing in again helps: the planted cookie is gone.
    sign_in(&browser, "alice").await;
    is_list_of(&browser, "hers.example").await;
    assert!(!browser.client.source().await.unwrap().contains("planted.example"));
}

pub(crate) async fn a_page_of_another_port_starts_and_reads_nothing(browser: Browser) {
    let api = Api::with_tokens(TOKENS).await;
    browser.open(&format!("{}/dashboard/tasks", api.address)).await;
    sign_in(&browser, "alice").await;
    browser.until_found("#list").await;
    browser.open(&hostile_page().await).await;
    let attack = format!(
        "const done = arguments[arguments.length - 1], api = '{}';
        const body = new URLSearchParams({{url: 'https://a.example', username: 'a', password: 'b'}});
        const attempt = async (path, init) => {{
            try {{ return (await (await fetch(api + path, {{credentials: 'include', ...init}})).text()).length }}
            catch (error) {{ return 'refused' }}
        }};
        const streams = [...Array(60)].map(() => new EventSource(api + '/events', {{withCredentials: true}}));
        const closed = Promise.all(streams.map((s) => new Promise((end) => {{ s.onerror = () => {{ s.close(); end() }} }})));
        Promise.all([
            attempt('/tasks'), attempt('/new/setup', {{method: 'POST', body}}),
            attempt('/new/setup', {{method: 'POST', body, mode: 'no-cors'}}),
            attempt('/setup', {{method: 'POST', mode: 'no-cors', body: JSON.stringify({{url: 'https://a.example', username: 'a', password: 'b'}})}}),
            attempt('/sign-out', {{method: 'POST', mode: 'no-cors'}}), closed,
        ]).then((all) => done(all.slice(0, 2)))",
        api.address
    );
    let read = browser.client.execute_async(&attack, vec![]).await.unwrap();
    assert_eq!(read, json!(["refused", "refused"]));
    assert!(api.app.event_streams.try_acquire("alice", 1).is_some(), "none of her streams is taken");
    // A form goes to a page of the API, with her cookie.
    let form = format!(
        "const form = document.createElement('form'); form.method = 'post'; form.action = '{}/new/setup';
        for (const [name, value] of [['url', 'https://a.example'], ['username', 'a'], ['password', 'b']]) {{
            const field = document.createElement('input'); field.name = name; field.value = value; form.append(field);
        }}
        document.body.append(form); form.submit()",
        api.address
    );
    browser.script(&form).await;
    let refused = "document.body.textContent.includes('ORIGIN_REFUSED')";
    browser.until("the form is refused", refused).await;
    browser.open(&format!("{}/dashboard/tasks", api.address)).await;
    browser.until_found("#list").await;
    let tasks = api.get("/tasks").bearer_auth(token("alice")).send().await.unwrap();
    let tasks: Value = tasks.json().await.unwrap();
    assert_eq!(tasks["tasks"], json!([]), "nothing was started, and she is signed in");
}

/// Real clones on this machine.
struct Clones {
    local: Arc<LocalProvisioner>,
    ending: CancellationToken,
    running: JoinHandle<()>,
    dir: TempDir,
}

impl Clones {
    async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("wpc-").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let local = Arc::new(LocalProvisioner::new(LocalOptions {
            state_dir: dir.path().join("state"),
            wordpress_dir: wordpress(),
            addresses: Addresses::new(listen, None, Routing::Path).unwrap(),
            max_clones: 4,
            unsafe_no_sandbox: false,
            proxy: ProxyOptions { connections_per_peer: 256 },
            disk: DiskLimits::default(),
            database: DatabaseLimits::default(),
            location: MachineLocation { machine: "machine".into(), worker: "worker-1".into() },
            supervisor: "/proc/self/exe".into(),
            clock: Arc::new(Timestamp::now),
        }));
        let (own, ending) = (Arc::clone(&local), CancellationToken::new());
        let end = ending.clone();
        let running = tokio::spawn(async move { own.run(end).await });
        let mut health = local.watch_health();
        let ready = health.wait_for(|now| match now {
            Health::Unavailable(why) => panic!("clones cannot be created: {why}"),
            now => *now == Health::Ready,
        });
        tokio::time::timeout(crate::browser::TEST_TIMEOUT, ready).await.unwrap().unwrap();
        Self { local, ending, running, dir }
    }

    async fn create(&self) -> CloneInfo {
        let task = TaskId::new();
        let spec = CloneSpec {
            name: CloneName::derive(Timestamp::now(), task, 0),
            task,
            owner: "alice".into(),
            source: "https://source.example".to_owned().try_into().unwrap(),
            deadline: Timestamp::now() + 30.minutes(),
            isolation: Isolation::Shared,
            has_other_owners: false,
        };
        self.local.create(&spec).await.unwrap()
    }

    /// Writes a file into the clone's WordPress, as its own PHP would.
    fn put(&self, clone: &CloneInfo, file: &str, content: &str) {
        let name = clone.name.as_str();
        let tree = self.dir.path().join("state/clones").join(name).join("www").join(name);
        let owner = std::fs::metadata(&tree).unwrap();
        std::fs::write(tree.join(file), content).unwrap();
        chown(tree.join(file), Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    async fn end(self) {
        self.ending.cancel();
        self.running.await.unwrap();
    }
}

/// A WordPress that `./dev install` has downloaded.
fn wordpress() -> PathBuf {
    let cache = std::env::var_os("WPCLONE_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/wpclone");
    let found = cache.unwrap_or_else(home).join("wordpress/trixie");
    assert!(found.join("wp-load.php").is_file(), "{} is missing; run `./dev install`", found.display());
    found
}

/// A service worker that answers every navigation in its scope by itself.
const WORKER: &str = "self.addEventListener('install', () => self.skipWaiting());
    self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
    self.addEventListener('fetch', (event) => {
        if (event.request.mode !== 'navigate') return;
        event.respondWith(new Response('<title>worker</title>HIJACKED', {headers: {'Content-Type': 'text/html'}}));
    });";

async fn register(browser: &Browser, script: &str, scope: &str) -> Value {
    let register = format!(
        "const done = arguments[arguments.length - 1];
        navigator.serviceWorker.register('{script}', {{scope: '{scope}'}})
            .then(() => navigator.serviceWorker.ready).then(() => done('registered'), (error) => done(error.name))"
    );
    browser.client.execute_async(&register, vec![]).await.unwrap()
}

pub(crate) async fn a_clones_service_worker_stays_within_the_clone_and_ends_with_it(browser: Browser) {
    let clones = Clones::start().await;
    let (evil, other) = (clones.create().await, clones.create().await);
    for clone in [&evil, &other] {
        clones.put(clone, "page.html", &format!("<!doctype html><title>page</title>{}", clone.name));
    }
    clones.put(&evil, "worker.js", WORKER);
    let wider = format!(
        "<?php header('Content-Type: text/javascript'); header('Service-Worker-Allowed: /'); ?>{WORKER}"
    );
    clones.put(&evil, "worker.php", &wider);
    let (evils, others) = (format!("{}/page.html", evil.url), format!("{}/page.html", other.url));

    // Neither for all clones nor for another one.
    browser.open(&evils).await;
    for scope in ["/".to_owned(), format!("/{}/", other.name)] {
        for script in ["worker.php", "worker.js"] {
            assert_eq!(register(&browser, script, &scope).await, "SecurityError", "{script} {scope}");
        }
    }
    // Within the clone it works, so the refusals above are not for another reason.
    assert_eq!(register(&browser, "worker.php", "./").await, "registered");
    browser.open(&evils).await;
    browser.until("the worker answers", "document.body.textContent.includes('HIJACKED')").await;
    browser.open(&others).await;
    let own = format!("document.body.textContent.includes('{}')", other.name);
    browser.until("the other clone answers itself", &own).await;

    clones.local.delete(&evil.name).await.unwrap();
    // The worker may answer once more. Then the browser looks for a new version of it, is told, and removes it.
    browser.open(&evils).await;
    let workers = "const done = arguments[arguments.length - 1];
        navigator.serviceWorker.getRegistrations().then((all) => done(all.length))";
    eventually("no worker is left", || async {
        browser.client.execute_async(workers, vec![]).await.is_ok_and(|count| count == 0)
    })
    .await;
    browser.open(&evils).await;
    let gone = "document.body.textContent.includes('expired or was deleted')";
    browser.until("the deleted clone's address says so", gone).await;
    browser.open(&others).await;
    browser.until("the other clone still answers", &own).await;
    clones.end().await;
}
