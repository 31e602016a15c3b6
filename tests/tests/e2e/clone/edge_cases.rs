//! Sites with edge cases: they are cloned exactly, or the task fails with a clear problem and leaves nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use serde_json::json;
use wpclone_task::{Code, State};
use wpclone_tests::{Result, Site, TestApp, Version};

use crate::clone::checker::Pair;
use crate::clone::{PLUGIN, assert_nothing_left, at, cloned, ended, failed, problem, start_visited};
use crate::recording_source::RecordingSource;

/// A table prefix that is the beginning of another installation's.
const PREFIX: &str = "we_";

/// A page cache responds in place of the migrator's front-page endpoint.
const STALE: &str = "if ($arg_wpclone_migrator) { return 200 'cached'; }";

/// REST requires a login; the login form has another field; login errors have no text.
const SECURITY: &str = "<?php\n/* Plugin Name: Secure it all */\n\
    add_filter('rest_authentication_errors', function ($r) { \
        return is_user_logged_in() || strpos((string) ($_GET['rest_route'] ?? ''), 'wpclone-migrator') ? $r \
            : ($_SERVER['REQUEST_METHOD'] === 'GET' ? $r : new WP_Error('closed', 'closed', ['status' => 401])); });\n\
    add_filter('xmlrpc_enabled', '__return_false'); add_filter('login_errors', '__return_empty_string');\n\
    add_action('send_headers', function () { header('X-Frame-Options: DENY'); header(\"Content-Security-Policy: default-src 'self' 'unsafe-inline' data:\"); });\n";

/// An object-cache drop-in that caches per request, like WordPress itself.
const OBJECT_CACHE: &str =
    "<?php\n/* Plugin Name: An object cache */\nrequire ABSPATH . 'wp-includes/cache.php';\n";

/// Adds unusual files.
fn add_edge_case_files(site: &Site) -> Result {
    let uploads = site.tree().join("wp-content/uploads");
    for (path, text) in [
        ("wp-content/object-cache.php", OBJECT_CACHE),
        ("wp-content/plugins/secure/secure.php", SECURITY),
        ("wp-content/uploads/😀 ünï/quote ' \" % $ & #.txt", "emoji"),
        ("wp-content/uploads/😀 ünï/日本/deep/er/still.txt", "deep"),
        ("wp-content/uploads/.hidden", "dot"),
        ("wp-content/uploads/program.php", "<?php // Silence is golden."),
        ("wp-content/uploads/closed.txt", "unreadable"),
        ("wp-content/uploads/error.log", "a log"),
        ("wp-content/debug.log", "a log"),
        ("wp-content/cache/page.html", "a cache"),
        ("wp-content/backups-dup-pro/all.txt", "a backup"),
        ("backup.sql", "a dump"),
        ("google1234.html", "beside WordPress"),
        ("old/wp-load.php", "another site"),
    ] {
        site.put(path, text)?;
    }
    let closed = uploads.join("closed.txt");
    if !chown(&closed, Some(0), Some(0))
        .is_ok_and(|()| fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).is_ok())
    {
        eprintln!("SKIPPED: a file that PHP cannot read");
    }
    symlink(".", uploads.join("loop"))?;
    symlink("../uploads", uploads.join("another loop"))?;
    symlink("/etc/passwd", uploads.join("out"))?;
    symlink("nowhere", uploads.join("broken"))?;
    symlink(".hidden", uploads.join("to a file"))?;
    Ok(())
}

#[tokio::test]
async fn a_site_with_all_edge_cases_is_cloned_exactly() -> Result {
    let site = start_visited(Site::builder(Version::Trixie).content(20).nginx(STALE)).await?;
    site.rename_prefix(PREFIX).await?;
    site.add_edge_case_tables(PREFIX).await?;
    add_edge_case_files(&site)?;
    site.eval_php(
        "require_once ABSPATH . 'wp-admin/includes/plugin.php'; activate_plugin('secure/secure.php');",
    )
    .await?;
    let app = TestApp::builder().clones(Version::Trixie).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let mut pair = Pair::with(&site, &app, &client, &task, (PREFIX, "wp-content")).await?;
    pair.is_foreign_table =
        |name| name == "elsewhere" || name.starts_with("we_shop_") || name.starts_with("we_wpclone_");
    pair.assert_equal().await
}

/// Deletes a file of the source after its first part was read.
const DELETE_FILE_WHILE_READ: &str = "<?php\nif (($_GET['wpclone_migrator'] ?? '') === 'files') { \
    foreach (json_decode(file_get_contents('php://input'), true)['files'] as $file) { \
        if ($file['offset'] > 0 && substr(base64_decode(strtr($file['id'], '-_', '+/')), 17) === 'goes.bin') { \
            register_shutdown_function(function () { unlink(WP_CONTENT_DIR . '/uploads/goes.bin'); }); } } }\n";

#[tokio::test]
async fn a_site_with_a_custom_content_folder_is_cloned_exactly_but_for_a_file_deleted_while_it_is_read()
-> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(20)).await?;
    fs::rename(site.tree().join("wp-content"), site.tree().join("app"))?;
    let url = site.url();
    let constants = format!(
        "define('WP_CONTENT_DIR', __DIR__ . '/app');\ndefine('WP_CONTENT_URL', '{url}/app');\n$table_prefix = "
    );
    site.edit_config("$table_prefix = ", &constants)?;
    site.sql(&format!("UPDATE wp_posts SET post_content = REPLACE(post_content, '{url}/wp-content/', '{url}/app/'), guid = REPLACE(guid, '/wp-content/', '/app/')")).await?;
    site.rename_prefix("X9_").await?;
    site.put("app/uploads/goes.bin", &"bytes that go away\n".repeat(1 << 20))?;
    site.put("app/mu-plugins/delete-while-read.php", DELETE_FILE_WHILE_READ)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    assert!(!site.tree().join("app/uploads/goes.bin").exists(), "the source never deleted it");
    let omitted = &task.result.as_ref().expect("a result")["fidelity"]["omitted"];
    assert_eq!(omitted["changed-during-read"], 1, "{omitted}");
    Pair::with(&site, &app, &client, &task, ("X9_", "app")).await?.assert_equal().await
}

#[tokio::test]
async fn a_multisite_network_is_refused_and_unchanged() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let host = site.url().trim_start_matches("http://").to_owned();
    site.eval_php(&format!(
        "define('WP_ALLOW_MULTISITE', true); require_once ABSPATH . 'wp-admin/includes/network.php'; \
         require_once ABSPATH . 'wp-admin/includes/upgrade.php'; global $wpdb; \
         foreach ($wpdb->tables('ms_global') as $name => $full) $wpdb->$name = $full; \
         install_network(); populate_network(1, '{host}', 'net@lab.invalid', 'A network', '/', false);"
    ))
    .await?;
    site.edit_config(
        "$table_prefix",
        &format!(
            "define('MULTISITE', true); define('SUBDOMAIN_INSTALL', false); define('DOMAIN_CURRENT_SITE', '{host}'); \
             define('PATH_CURRENT_SITE', '/'); define('SITE_ID_CURRENT_SITE', 1); define('BLOG_ID_CURRENT_SITE', 1);\n$table_prefix"
        ),
    )?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    let task = ended(&client, task.id).await?;
    let problem = problem(&task);
    assert_eq!((problem.code, problem.changed_target), (Code::MultisiteUnsupported, false), "{task:#?}");
    assert_nothing_left(&app, &client).await?;
    assert!(!site.tree().join(PLUGIN).exists(), "the migrator is left");
    Ok(())
}

#[tokio::test]
async fn a_source_that_goes_down_during_the_transfer_leaves_no_clone() -> Result {
    let mut site = Site::builder(Version::Bookworm).start().await?;
    let requests = RecordingSource::to(&site, "")?;
    requests.hold("rows", "wp_posts", 0)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    requests.wait_until_held(&app).await?;
    site.stop_web();
    requests.release()?;
    let task = ended(&client, task.id).await?;
    assert_eq!(task.state, State::Failed, "{task:#?}");
    let problem = problem(&task);
    assert!(matches!(problem.code, Code::TransferFailed | Code::SiteUnreachable), "{problem:#?}");
    assert!(!problem.changed_target, "{problem:#?}");
    assert_nothing_left(&app, &client).await
}

/// A licence that is bound to an address blocks logins at any other.
const LICENCE: &str = "add_filter('authenticate', function ($user) { \
    return get_option('licensed_for') === md5(home_url()) ? $user : new WP_Error('licence', 'Not licensed here.'); }, 99);";

#[tokio::test]
async fn a_clone_that_blocks_logins_is_verified_twice_and_published_with_a_problem() -> Result {
    let site = Site::builder(Version::Bookworm).mu_plugin("licence", LICENCE).start().await?;
    site.eval_php("update_option('licensed_for', md5(home_url()));").await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = failed(&client, &site).await?;
    let problem = problem(&task);
    assert_eq!(problem.code, Code::CloneBroken, "{problem:#?}");
    assert!(problem.detail.contains("Not licensed here."), "{problem:#?}");
    let verify = task.steps.iter().find(|step| step.name == "verify").unwrap();
    assert_eq!(verify.attempts, 2, "{verify:#?}");
    let clone = &problem.more["clone"];
    let front = reqwest::get(clone["url"].as_str().unwrap()).await?;
    assert_eq!(front.status(), 200, "{clone:#}");
    assert!(clone["expires_at"].is_string() && clone["username"].is_string(), "{clone:#}");
    Ok(())
}

/// Each answer begins with a byte order mark and an empty line, and pages open dialogs.
const PRINTED_AND_DIALOGS: &str = "\u{feff}\n<?php
    add_action('login_footer', function () { echo '<script>alert(\"Update.\"); setTimeout(function () { alert(\"Still here?\"); }, 120);</script>'; });
    add_action('admin_footer', function () { echo '<script>setTimeout(function () { alert(\"Your licence.\"); }, 60);
        addEventListener(\"beforeunload\", function (e) { e.preventDefault(); e.returnValue = \"x\"; });</script>'; });
    add_action('wp_footer', function () { echo '<script>alert(\"Welcome!\");</script>'; });";

#[tokio::test]
async fn a_site_that_prints_before_each_answer_and_opens_dialogs_is_cloned() -> Result {
    let site = Site::builder(Version::Bookworm).ini("output_buffering", "4096").start().await?;
    site.put("wp-content/mu-plugins/printed.php", PRINTED_AND_DIALOGS)?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    assert_eq!(site.logins().await?, 1, "the password was sent once");
    let url = at(&task, "/clone/url").as_str().unwrap();
    let page = reqwest::get(url).await?.bytes().await?;
    assert!(page.starts_with("\u{feff}\n".as_bytes()) && page.windows(8).any(|part| part == b"Welcome!"));
    Ok(())
}
