//! A copy is measured by its source: it is right when it answers as the source does, and broken when it is worse.

use std::fs;

use serde_json::{Value, json};
use wpclone_task::Code;
use wpclone_tests::{Client, Result, Site, TestApp, Version};

use crate::clone::{at, cloned, failed, problem};

/// Visitors see neither the front page nor the REST API.
const CLOSED: &str = "add_filter('rest_authentication_errors', function ($error) { \
        return is_user_logged_in() ? $error : new WP_Error('users_only', 'Users only.', ['status' => 401]); }, 99); \
    add_action('template_redirect', function () { if (!is_user_logged_in() && is_front_page()) { \
        status_header(503); header('Retry-After: 3600'); echo '<!doctype html><title>Soon</title><h1>Coming soon</h1>'; exit; } });";
/// The REST index names no address. Pages lead to another site.
const BARE_INDEX: &str = "add_filter('rest_index', function ($index) { $index->set_data(['routes' => []]); return $index; }); \
    add_action('wp_footer', function () { echo '<p>\u{e4}\u{f6}\u{fc} <a href=\"https://elsewhere.example/a?b=c\">elsewhere</a></p>'; });";
/// Shows nothing at another address than its own. Nobody sees an error, and the status is 200.
const EMPTY_ELSEWHERE: &str = "add_action('init', function () { if (get_option('bound_to') !== md5(get_option('home'))) \
    add_filter('template_include', '__return_empty_string'); });";
/// Needs a constant of wp-config.php, which a copy has not.
const NEEDS_CONSTANT: &str = "add_action('init', function () { $GLOBALS['licence'] = EXAMPLE_LICENCE; });";

/// Title and letters that no two pages have in common, and an address of the source that nothing requests.
const VARIES: &str = "add_filter('pre_get_document_title', function () { return 'At ' . microtime(); }); \
    add_action('wp_footer', function () { $count = (int) get_option('shown') + 1; update_option('shown', $count); \
        $letters = array_map(function ($n) use ($count) { return mb_chr(0x4e00 + $count % 900 * 20 + $n); }, range(0, 19)); \
        echo '<p>', implode($letters), '</p><p data-later=\"//', implode('.', [127, 0, 0, 1]), ':', get_option('own_port'), '/later.png\"></p>'; });";
/// The page of a post, but not the front page, requests the source.
const POST_CALLS: &str = "add_filter('the_content', function ($content) { return !is_single() ? $content : $content . \
    '<div style=\"background: url(http://' . implode('.', [127, 0, 0, 1]) . ':' . get_option('own_port') . '/called.png)\">x</div>'; });";
/// Only the pages of categories need a constant which a copy has not.
const CATEGORY_NEEDS_CONSTANT: &str =
    "add_action('template_redirect', function () { if (is_category()) echo EXAMPLE_LICENCE; });";

/// Leads a visitor to the page that was asked for, until the visitor sends the cookie back.
const ASKS_FOR_A_COOKIE: &str = "add_action('template_redirect', function () { if (empty($_COOKIE['consent'])) { \
    setcookie('consent', '1', 0, '/'); wp_redirect(add_query_arg('asked', '1')); exit; } });";

/// The compared page of this name.
fn page<'v>(pages: &'v Value, name: &str, logged_in: bool) -> &'v Value {
    let all = pages.as_array().unwrap();
    all.iter()
        .find(|page| page["page"] == name && page["logged_in"] == logged_in)
        .unwrap_or_else(|| panic!("{name}: {pages:#}"))
}

#[tokio::test]
async fn a_copy_that_answers_as_its_closed_source_is_right() -> Result {
    let site = Site::builder(Version::Bookworm).content(5).mu_plugin("closed", CLOSED).start().await?;
    site.put("wp-content/db.php", "<?php\n")?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let pages = at(&task, "/verification/pages");
    for side in ["source", "copy"] {
        let of = |name, logged_in| {
            let answer = &page(pages, name, logged_in)[side];
            (answer["status"].as_u64().unwrap(), answer["kind"].as_str().unwrap())
        };
        assert_eq!(of("", false), (503, "html"), "{pages:#}");
        assert_eq!(of("", true), (200, "wordpress"), "{pages:#}");
        assert_eq!(of("index.php?rest_route=/", false), (401, "json"), "{pages:#}");
        assert_eq!(of("wp-login.php", false), (200, "login-form"), "{pages:#}");
        assert_eq!(of("wp-admin/tools.php", true), (200, "wordpress"), "{pages:#}");
    }
    assert_eq!(page(pages, "", false)["copy"]["title"], "Soon");
    let posts =
        pages.as_array().unwrap().iter().filter(|page| page["page"].as_str().unwrap().starts_with("?p="));
    assert!(posts.count() >= 3, "a post as visitor and logged in, and a page: {pages:#}");
    assert_eq!(at(&task, "/verification/differences"), &json!([]));
    let warnings = at(&task, "/fidelity/warnings");
    assert!(warnings.to_string().contains("The copy lacks the drop-in db.php."), "{warnings:#}");

    site.remove_mu_plugin("closed")?;
    fs::remove_file(site.tree().join("wp-content/db.php"))?;
    site.put_mu_plugin("bare-index", BARE_INDEX)?;
    let task = cloned(&client, &site).await?;
    let pages = at(&task, "/verification/pages");
    for side in ["source", "copy"] {
        assert_eq!(page(pages, "index.php?rest_route=/", false)[side]["kind"], "json");
        let letters = page(pages, "", false)[side]["letters"].as_str().unwrap();
        assert!("\u{e4}\u{f6}\u{fc}".chars().all(|letter| letters.contains(letter)), "{letters}");
    }
    let hosts = at(&task, "/verification/hosts");
    let leads = json!({"origin": "https://elsewhere.example", "page": "front page", "is_source": false});
    assert!(hosts.as_array().unwrap().contains(&leads), "{hosts:#}");
    let warnings = at(&task, "/fidelity/warnings");
    assert!(!warnings.to_string().contains("lacks"), "{warnings:#}");
    Ok(())
}

/// Clones a site whose copy is broken; returns the detail of the problem.
async fn broken(client: &Client, site: &Site) -> Result<String> {
    let task = failed(client, site).await?;
    let problem = problem(&task);
    assert_eq!((problem.code, problem.changed_target), (Code::CloneBroken, false), "{problem:#?}");
    assert!(problem.more["clone"]["url"].is_string(), "it is kept: {problem:#?}");
    Ok(problem.detail.to_string())
}

#[tokio::test]
async fn a_copy_that_is_worse_than_its_source_is_broken_and_says_what_is_wrong() -> Result {
    let site = Site::builder(Version::Bookworm)
        .content(5)
        .constant("EXAMPLE_LICENCE", "'abc'")
        .mu_plugin("bound", EMPTY_ELSEWHERE)
        .start()
        .await?;
    site.eval_php("update_option('bound_to', md5(get_option('home')));").await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let detail = broken(&client, &site).await?;
    assert!(detail.contains("The copy's front page is empty (200)"), "{detail}");

    site.remove_mu_plugin("bound")?;
    site.put_mu_plugin("needs", NEEDS_CONSTANT)?;
    let detail = broken(&client, &site).await?;
    for part in
        ["front page", "500", "Undefined constant \"EXAMPLE_LICENCE\"", "wp-content/mu-plugins/needs.php"]
    {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    Ok(())
}

/// Gives pages the port of their site, from which they make an address that no rewriting finds.
async fn set_own_port(site: &Site) -> Result<String> {
    let port = site.url().rsplit(':').next().unwrap().to_owned();
    site.eval_php(&format!("update_option('own_port', '{port}');")).await?;
    Ok(format!("http://127.0.0.1:{port}"))
}

#[tokio::test]
async fn pages_with_random_content_are_right_and_an_address_of_the_source_in_them_is_named() -> Result {
    let site = Site::builder(Version::Bookworm).mu_plugin("varies", VARIES).start().await?;
    let source = set_own_port(&site).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let pages = at(&task, "/verification/pages");
    let front = page(pages, "", false);
    assert_eq!(
        (&front["source"]["varies"], &front["source"]["status"]),
        (&json!(true), &json!(200)),
        "{pages:#}"
    );
    for (name, status, kind) in
        [("?cat=1", 200, "wordpress"), ("?p=2147483647", 404, "wordpress"), ("?feed=rss2", 200, "other")]
    {
        for side in ["source", "copy"] {
            let answer = &page(pages, name, false)[side];
            assert_eq!(
                (&answer["status"], &answer["kind"]),
                (&json!(status), &json!(kind)),
                "{name}: {pages:#}"
            );
        }
    }
    let differences = at(&task, "/verification/differences").as_array().unwrap();
    let leads = format!("leads to {source}, which is the source.");
    assert!(differences.len() == 1 && differences[0].as_str().unwrap().contains(&leads), "{differences:#?}");
    Ok(())
}

#[tokio::test]
async fn what_only_the_pages_of_posts_or_categories_do_is_found() -> Result {
    let site = Site::builder(Version::Bookworm)
        .constant("EXAMPLE_LICENCE", "'abc'")
        .mu_plugin("calls", POST_CALLS)
        .start()
        .await?;
    let source = set_own_port(&site).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let detail = broken(&client, &site).await?;
    for part in ["The page ?p=".to_owned(), format!("requests {source}/called.png")] {
        assert!(detail.contains(&part), "{part}: {detail}");
    }
    assert!(site.hits().await?.iter().all(|hit| hit.path != "/called.png"), "the browser reached the source");

    site.remove_mu_plugin("calls")?;
    site.put_mu_plugin("needs", CATEGORY_NEEDS_CONSTANT)?;
    let detail = broken(&client, &site).await?;
    for part in ["The copy's page ?cat=1", "500", "Undefined constant \"EXAMPLE_LICENCE\""] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_that_lead_visitors_without_cookies_in_circles_are_compared_as_a_browser_sees_them() -> Result {
    let asks = ASKS_FOR_A_COOKIE;
    let site = Site::builder(Version::Bookworm).content(2).mu_plugin("consent", asks).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let task = cloned(&app.client()?, &site).await?;
    let pages = at(&task, "/verification/pages");
    for side in ["source", "copy"] {
        let front = &page(pages, "", false)[side];
        assert_eq!((&front["status"], &front["kind"]), (&json!(200), &json!("wordpress")), "{pages:#}");
    }
    assert_eq!(at(&task, "/verification/differences"), &json!([]));
    Ok(())
}
