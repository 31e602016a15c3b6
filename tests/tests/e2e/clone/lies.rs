//! Clones that lie to the browser that verifies them: their pages attack it, send it elsewhere, or never let it go.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wpclone_task::{Code, State, TaskView};
use wpclone_tests::{Client, Result, Site, TestApp, Version};

use crate::clone::{assert_nothing_left, cloned, ended, is_long_run};
use crate::random::Rng;

/// The deadlines of a browser step whose pages never end.
const DEADLINES: [(&str, &str); 3] =
    [("WPCLONE_DEADLINE_PART", "25"), ("WPCLONE_DEADLINE_SOFT", "60"), ("WPCLONE_DEADLINE_HARD", "75")];
/// How long a clone may take whose pages never end: three attempts at its last step, and all else on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);

/// How many of the endless lies are tried in a run that is shortened.
const LIES_IN_SHORT_RUN: usize = 1;

/// What is private, beside the network of the test's sites.
const PRIVATE: &str = "127.0.0.9";

/// A must-use plugin that does nothing at the source, which is not below such a path.
fn lie(php: &str) -> String {
    format!("if (strpos($_SERVER['REQUEST_URI'] ?? '', '/clone-') !== 0) return;\n{php}")
}

/// On every page, for everybody.
fn script(script: &str) -> String {
    let script = STANDARD.encode(script);
    let print = format!("function () {{ echo '<script>', base64_decode('{script}'), '</script>'; }}");
    lie(&format!("foreach (['wp_head', 'admin_head', 'login_head'] as $hook) add_action($hook, {print});"))
}

/// Only for who is logged in.
fn in_wp_admin(php: &str) -> String {
    lie(&format!("add_action('admin_init', function () {{ if (wp_doing_ajax()) return; {php} }});"))
}

/// A page that requests what is private in every way, opens hundreds of windows and dialogs, writes to the console,
/// downloads, and leaves a service worker.
fn attacking_page(port: u16) -> String {
    script(&format!(
        "const urls = ['http://{PRIVATE}:{port}/', 'http://169.254.169.254/latest/meta-data/', 'http://[::ffff:{PRIVATE}]:{port}/', \
           'http://2130706441:{port}/', 'file:///etc/passwd', 'chrome://settings/'];\
         const link = document.createElement('a'), form = document.createElement('form');\
         document.documentElement.append(link, form); link.target = form.target = '_blank';\
         for (const url of urls) {{\
           new Image().src = url; fetch(url, {{mode: 'no-cors'}}).catch(() => 0); try {{ new WebSocket(url.replace('http', 'ws')) }} catch {{}}\
           const frame = document.createElement('iframe'); frame.src = url; document.documentElement.append(frame);\
           navigator.sendBeacon(url); link.href = form.action = url;\
           for (let n = 0; n < 50; n++) {{ window.open(url); open('about:blank', 'w' + n); link.click(); form.submit(); }}\
         }}\
         for (let n = 0; n < 1000; n++) {{ alert(n); confirm(n); prompt(n); console.log('x'.repeat(1000)); }}\
         link.target = ''; link.download = 'x'; link.href = 'data:application/octet-stream,x';\
         for (let n = 0; n < 200; n++) link.click();\
         if (navigator.serviceWorker) navigator.serviceWorker.register('?sw').catch(() => 0);"
    ))
}

/// The lies of pages that do not let a browser work, and how a clone may end that tells them.
fn endless_lies(port: u16) -> Vec<(&'static str, String, &'static [Option<Code>])> {
    const ENDLESS: &[Option<Code>] = &[Some(Code::Deadline), Some(Code::CloneBroken)];
    // The browser may have seen a page before it left it.
    const ELSEWHERE: &[Option<Code>] =
        &[None, Some(Code::CloneBroken), Some(Code::SiteUnreachable), Some(Code::Deadline)];
    let private = format!("http://{PRIVATE}:{port}/");
    vec![
        (
            "a page that leaves",
            script(&format!("if (!location.pathname.endsWith('wp-login.php')) location = '{private}';")),
            ELSEWHERE,
        ),
        (
            "a redirect",
            in_wp_admin(&format!("header('Location: {private}wp-admin/', true, 302); exit;")),
            ELSEWHERE,
        ),
        (
            "a page without end",
            in_wp_admin(
                "while (ob_get_level()) ob_end_clean(); echo '<html><body class=wp-admin>'; \
                 while (true) { echo str_repeat('<p>x', 2000); flush(); usleep(20000); }",
            ),
            // What has arrived of it is taken for the dashboard.
            ELSEWHERE,
        ),
        (
            "a script without end",
            script("if (!location.pathname.endsWith('wp-login.php')) for (;;);"),
            ENDLESS,
        ),
    ]
}

async fn end_of(client: &Client, site: &Site) -> Result<TaskView> {
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    ended(client, task.id).await
}

/// Deletes every clone: one that works, or one that is broken and is kept to be looked at.
async fn delete_clones(client: &Client) -> Result {
    let list: Value = client.shown("/clones").await?;
    for clone in list["clones"].as_array().into_iter().flatten() {
        let path = format!("/clones/{}", clone["name"].as_str().unwrap());
        let deleting: TaskView = client.request(reqwest::Method::DELETE, &path).send().await?.json().await?;
        assert_eq!(client.wait(deleting.id).await?.state, State::Succeeded);
    }
    Ok(())
}

async fn assert_not_reached(private: &TcpListener, what: &str) {
    let reached = tokio::time::timeout(Duration::ZERO, private.accept()).await;
    assert!(reached.is_err(), "{what} reached what is private");
}

#[tokio::test]
async fn a_clone_whose_pages_attack_the_browser_reaches_nothing_and_is_verified() -> Result {
    let private = TcpListener::bind((PRIVATE, 0)).await?;
    let site = Site::builder(Version::Bookworm).start().await?;
    site.put_mu_plugin("lie", &attacking_page(private.local_addr()?.port()))?;
    let app = TestApp::builder().clones(Version::Bookworm).private_sites("127.0.0.0/29").start().await?;
    let client = app.client()?;
    cloned(&client, &site).await?;
    assert_not_reached(&private, "the page").await;
    delete_clones(&client).await?;
    assert_nothing_left(&app, &client).await
}

#[tokio::test]
async fn a_clone_that_never_lets_the_browser_go_ends_and_reaches_nothing() -> Result {
    let private = TcpListener::bind((PRIVATE, 0)).await?;
    let port = private.local_addr()?.port();
    let site = Site::builder(Version::Bookworm).start().await?;
    let mut builder = TestApp::builder().clones(Version::Bookworm).private_sites("127.0.0.0/29");
    for (name, value) in DEADLINES {
        builder = builder.env(name, value);
    }
    let app = builder.start().await?;
    let client = app.client()?;
    let (mut lies, mut rng) = (endless_lies(port), Rng::new());
    while !is_long_run() && lies.len() > LIES_IN_SHORT_RUN {
        rng.take(&mut lies);
    }
    for (what, plugin, ends) in lies {
        site.put_mu_plugin("lie", &plugin)?;
        let begun = Instant::now();
        let task = end_of(&client, &site).await?;
        let code = task.problem.as_ref().map(|problem| problem.code);
        println!("{what}: {code:?} after {:?}", begun.elapsed());
        assert!(ends.contains(&code), "{what}: {task:#?}");
        assert!(begun.elapsed() < LIMIT, "{what}: {:?}", begun.elapsed());
        assert_not_reached(&private, what).await;
        delete_clones(&client).await?;
        assert_nothing_left(&app, &client).await?;
    }
    // The worker serves the next one as before.
    site.remove_mu_plugin("lie")?;
    cloned(&client, &site).await.map(drop)
}
