//! Large sites are copied exactly, and their clones contact no other host.

use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::Value;
use wpclone_task::TaskView;
use wpclone_tests::{Client, RequestRecorder, Result, Site, TestApp, Version};

use crate::clone::checker::Pair;
use crate::clone::{at, cloned, is_long_run, start_visited};

/// Adds a shop with this many posts and orders to a site.
async fn add_shop(site: &Site, posts: u32) -> Result {
    let php = format!("define('LAB_POSTS', {posts});\n{}", include_str!("content.php"));
    site.eval_php(&php).await.map(drop)
}

#[tokio::test]
async fn a_shop_below_a_path_is_cloned_exactly_to_a_newer_wordpress() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).prefix("/a/blog")).await?;
    add_shop(&site, 2000).await?;
    let app = TestApp::builder().clones(Version::Sid).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    Pair::of(&site, &app, &client, &task).await?.assert_equal().await
}

/// A plugin that sends mail and HTTP requests and schedules cron, through WordPress' API and directly. `?send-requests`
/// prints what succeeded.
fn sending_plugin(recorder: &RequestRecorder) -> String {
    let (mail, web) = (recorder.mail_port(), recorder.web_port());
    format!(
        "add_action('phpmailer_init', function ($m) {{ $m->isSMTP(); $m->Host = '127.0.0.1'; $m->Port = {mail}; $m->SMTPAutoTLS = false; }}); \
         add_action('lab_due', function () {{ wp_remote_get('http://127.0.0.1:{web}/cron', ['timeout' => 60]); }}); \
         add_action('init', function () {{ if (!isset($_GET['send-requests'])) return; $web = 'http://127.0.0.1:{web}/'; \
             if (!wp_next_scheduled('lab_due')) wp_schedule_single_event(time() - 60, 'lab_due'); \
             wp_mail('somebody@example.com', 'subject', 'body'); \
             $sent = ['get' => !is_wp_error(wp_remote_get($web, ['timeout' => 60])), 'post' => !is_wp_error(wp_remote_post($web, ['body' => 'x', 'timeout' => 60]))]; \
             $sent['file'] = false !== @file_get_contents($web, false, stream_context_create(['http' => ['timeout' => 60]])); \
             $sent['socket'] = false !== @fsockopen('127.0.0.1', {mail}, $code, $text, 60); \
             if (function_exists('curl_init')) {{ $c = curl_init($web); curl_setopt_array($c, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 60]); $sent['curl'] = false !== curl_exec($c); }} \
             echo json_encode($sent); exit; }});"
    )
}

/// Makes a site send every kind of request, and then runs its cron.
async fn send_outgoing_requests(url: &str) -> Result<Value> {
    let sent: Value = reqwest::get(format!("{url}/?send-requests")).await?.json().await?;
    reqwest::get(format!("{url}/wp-cron.php?doing_wp_cron")).await?;
    reqwest::get(format!("{url}/")).await?;
    Ok(sent)
}

#[tokio::test]
async fn a_shop_at_the_root_is_cloned_exactly_to_an_older_wordpress_and_contacts_nobody() -> Result {
    let recorder = RequestRecorder::start().await?;
    let site = start_visited(Site::builder(Version::Trixie).mu_plugin("sending", &sending_plugin(&recorder)))
        .await?;
    add_shop(&site, 600).await?;
    let sent = send_outgoing_requests(&site.url()).await?;
    assert!(sent.as_object().unwrap().values().all(|succeeded| succeeded == true), "{sent}");
    let received = recorder.take();
    assert!(
        received.iter().filter(|kind| *kind == "web").count() >= 4,
        "including the due cron event: {received:?}"
    );
    assert!(received.contains(&"mail".to_owned()), "{received:?}");
    // Due cron events stay due.
    site.eval_php("wp_schedule_single_event(time() - 60, 'lab_due');").await?;

    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    // Neither the source nor the clone's verification has contacted anybody since.
    assert_eq!(recorder.take(), [""; 0]);
    Pair::of(&site, &app, &client, &task).await?.assert_equal().await?;
    assert_contacts_nobody(&task, &recorder).await?;
    logins(&site, &client, &task).await
}

/// A clone contacts nobody, and reports how that is ensured.
async fn assert_contacts_nobody(task: &TaskView, recorder: &RequestRecorder) -> Result {
    let url = at(task, "/clone/url").as_str().unwrap().trim_end_matches('/');
    let sent = send_outgoing_requests(url).await?;
    assert_eq!((&sent["get"], &sent["post"]), (&false.into(), &false.into()), "{sent}");
    if at(task, "/clone/effective_isolation/own_network") == true {
        assert!(sent.as_object().unwrap().values().all(|succeeded| succeeded == false), "{sent}");
        assert_eq!(recorder.take(), [""; 0]);
    } else {
        eprintln!(
            "SKIPPED: requests that bypass WordPress, because clones have no network of their own here"
        );
        assert!(recorder.take().len() <= 3);
    }
    let front = reqwest::get(format!("{url}/")).await?;
    assert_eq!(front.headers()["x-robots-tag"], "noindex, nofollow");
    Ok(())
}

/// Whether a login with a password succeeds.
async fn can_log_in(url: &str, name: &str, password: &str) -> Result<bool> {
    let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build()?;
    let form = [("log", name), ("pwd", password), ("testcookie", "1")];
    let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    let login =
        http.post(format!("{url}/wp-login.php")).header(COOKIE, "wordpress_test_cookie=WP%20Cookie%20check");
    let login = login.header("content-type", "application/x-www-form-urlencoded").body(form.join("&"));
    let answer = login.send().await?;
    let cookies = answer.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    Ok(cookies.into_iter().any(|cookie| cookie.starts_with("wordpress_logged_in_")))
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The source's users, the clone's own administrator and one-time links can log in to the clone.
async fn logins(site: &Site, client: &Client, task: &TaskView) -> Result {
    let text = |pointer: &str| at(task, pointer).as_str().unwrap().trim_end_matches('/').to_owned();
    let (url, admin) = (text("/clone/url"), site.admin());
    assert!(can_log_in(&url, &admin.name, &admin.password).await?, "the source's administrator");
    assert!(can_log_in(&url, &text("/clone/username"), &text("/clone/password")).await?, "the clone's");
    assert!(!can_log_in(&url, &admin.name, "another").await?, "anybody else");
    let link: Value =
        client.post(&format!("/clones/{}/login", text("/clone/name")), &Value::Null).await?.json().await?;
    let link = link["url"].as_str().unwrap_or_else(|| panic!("{link}"));
    let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build()?;
    let first = http.get(link).send().await?;
    let to = first.headers()["location"].to_str().unwrap();
    assert!(first.status() == 302 && to.starts_with(&format!("{url}/wp-admin")), "{first:?}");
    assert_eq!(http.get(link).send().await?.status(), 403, "once");
    Ok(())
}

/// Rows of each large table, unless it is a long run: several responses of the source.
const ROWS: u32 = 100_000;

#[tokio::test]
async fn large_tables_with_and_without_a_primary_key_are_cloned_exactly() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let (url, rows) = (site.url(), if is_long_run() { 3 * ROWS } else { ROWS });
    let address = format!("IF(seq % 100, '', ' {url}/?row=')");
    // The checker identifies rows of a table without a key by their values.
    for (name, key, more) in [("wp_large", "PRIMARY KEY", address.as_str()), ("wp_large_no_key", "", "'-'")] {
        site.sql(&format!(
            "CREATE TABLE {name} (a INT NOT NULL {key}, b VARCHAR(200) NOT NULL); \
             INSERT INTO {name} SELECT seq, CONCAT('row ', seq, {more}, MD5(seq)) FROM seq_1_to_{rows}"
        ))
        .await?;
    }
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    assert!(at(&task, "/fidelity/rows").as_u64().unwrap() > 2 * u64::from(rows), "{task:#?}");
    Pair::of(&site, &app, &client, &task).await?.assert_equal().await
}
