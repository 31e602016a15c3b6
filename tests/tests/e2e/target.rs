//! POST /clone with a target: a copy goes to an empty WordPress of the caller's, and to no other.

use serde_json::{Value, json};
use wpclone_task::{Code, State, TaskView};
use wpclone_tests::{Client, Result, Site, TestApp, Version};

use crate::recording_source::RecordingSource;

/// The state that must not change: users, posts, options that name the site, and the files.
const STATE: &str = "global $wpdb; $files = []; \
    foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator(WP_CONTENT_DIR, FilesystemIterator::SKIP_DOTS)) as $f) { $files[] = (string) $f; } \
    sort($files); echo json_encode([$wpdb->get_col('SELECT user_login FROM ' . $wpdb->users), \
    $wpdb->get_results('SELECT ID, post_title, post_type FROM ' . $wpdb->posts . ' ORDER BY ID', ARRAY_N), \
    get_option('siteurl'), get_option('blogname'), get_option('active_plugins'), $wpdb->get_col('SHOW TABLES'), $files, \
    glob(dirname(ABSPATH) . '/wpclone-*')]);";

/// Where a site was before it moved.
const OLD_HOST: &str = "http://old-staging.example";

async fn state(site: &Site) -> Result<Value> {
    Ok(serde_json::from_str(&site.eval_php(STATE).await?)?)
}

fn clone_body(source: &Site, target: &Site) -> Value {
    json!({"source": source.login(&source.admin()), "target": target.login(&target.admin())})
}

async fn ended(client: &Client, body: &Value) -> Result<TaskView> {
    let task = client.accepted("/clone", body).await?;
    client.wait(task.id).await
}

/// Makes a source hold the transfer of its posts.
fn hold_transfer(source: &Site) -> Result<RecordingSource> {
    let requests = RecordingSource::to(source, "")?;
    requests.hold("rows", "wp_posts", 0)?;
    Ok(requests)
}

#[tokio::test]
async fn an_empty_target_receives_a_copy_that_contacts_nobody() -> Result {
    let source = Site::builder(Version::Trixie)
        .content(20)
        .admin_password("the source has its own")
        .user("editor", "editor", "of the source")
        .start()
        .await?;
    // A security plugin that is bound to its site and blocks logins anywhere else.
    source
        .eval_php(
            "mkdir(WP_PLUGIN_DIR . '/wordfence'); $own = var_export(home_url(), true); \
             file_put_contents(WP_PLUGIN_DIR . '/wordfence/wordfence.php', \
             \"<?php\\n/* Plugin Name: Host bound */\\nif (\" . $own . \" !== get_option('home')) add_filter('authenticate', function () { wp_die('locked out', '', 503); }, 1);\"); \
             update_option('active_plugins', ['wordfence/wordfence.php']);",
        )
        .await?;
    // wp-config.php names the address; the options are of years ago.
    let config = std::fs::read_to_string(source.tree().join("wp-config.php"))?;
    let constants =
        format!("<?php define('WP_HOME', '{url}'); define('WP_SITEURL', '{url}');", url = source.url());
    source.put("wp-config.php", &config.replacen("<?php", &constants, 1))?;
    source
        .sql(&format!(
            "UPDATE wp_options SET option_value = '{OLD_HOST}' WHERE option_name IN ('home', 'siteurl')"
        ))
        .await?;
    let target = Site::builder(Version::Bookworm).prefix("/shop").start().await?;
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    let task = ended(&client, &clone_body(&source, &target)).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let addresses =
        target.sql("SELECT option_value FROM wp_options WHERE option_name IN ('home', 'siteurl')").await?;
    assert_eq!(addresses.lines().collect::<Vec<_>>(), [target.url(), target.url()]);
    let result = Value::from(task.result.clone().unwrap());
    assert_eq!(result["clone"], Value::Null, "{result:#}");
    assert_eq!(result["target"]["url"], target.url());
    assert_eq!(result["target"]["username"], "admin");
    assert_eq!((&result["source_api_key"], &result["target_api_key"]), (&Value::Null, &Value::Null));
    assert_eq!(result["migrator"]["source"], "removed", "{result:#}");
    assert_eq!(result["fidelity"]["deactivated_plugins"], json!(["wordfence/wordfence.php"]), "{result:#}");
    let must_use_plugin = result["target"]["remove_to_go_live"].as_str().unwrap();
    assert!(must_use_plugin.ends_with("/wp-content/mu-plugins/wpclone-sandbox.php"), "{must_use_plugin}");

    let output = target
        .eval_php(
            "echo json_encode([class_exists('Wpclone_Sandbox'), wp_remote_get('http://127.0.0.1:1/')->get_error_code(), \
             count_users()['total_users'], (int) wp_count_posts()->publish, get_option('siteurl'), \
             (bool) wp_check_password('the source has its own', get_user_by('login', 'admin')->user_pass), \
             glob(dirname(ABSPATH) . '/wpclone-*'), is_dir(WP_PLUGIN_DIR . '/wpclone-migrator'), \
             $GLOBALS['wpdb']->get_col(\"SHOW TABLES LIKE '%wpclone%'\")]);",
        )
        .await?;
    let output: Value = serde_json::from_str(&output)?;
    let posts = source.eval_php("echo wp_count_posts()->publish;").await?.parse::<u64>().unwrap();
    assert_eq!(
        output,
        json!([true, "http_request_not_executed", 2, posts, target.url(), true, [], false, []]),
        "{output:#}"
    );
    let front = reqwest::get(format!("{}/", target.url())).await?.text().await?;
    assert!(
        front.contains(&format!("ver={}", source.wordpress())) && !front.contains(&source.url()),
        "{front}"
    );
    assert!(!source.tree().join("wp-content/plugins/wpclone-migrator").exists());
    Ok(())
}

#[tokio::test]
async fn tables_roles_and_capabilities_take_the_table_prefix_of_the_target() -> Result {
    let source = Site::builder(Version::Bookworm).content(5).user("editor", "editor", "x").start().await?;
    source
        .sql(
            "CREATE TABLE wp_extra (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO wp_extra VALUES (1, 'kept'); \
             CREATE VIEW wp_seen AS SELECT * FROM wp_extra;",
        )
        .await?;
    // Its uploads are in another folder than the target's.
    std::fs::rename(source.tree().join("wp-content/uploads"), source.tree().join("files"))?;
    source.put("files/2024/05/new.txt", "new")?;
    source
        .eval_php(
            "update_option('upload_path', ABSPATH . 'files'); update_option('upload_url_path', home_url('/files')); \
             $file = wp_insert_attachment(['post_title' => 'New', 'post_name' => 'new-one', 'post_status' => 'inherit', \
             'post_mime_type' => 'text/plain'], '2024/05/new.txt'); \
             wp_insert_post(['post_status' => 'publish', 'post_title' => 'Link', 'post_content' => wp_get_attachment_url($file)]);",
        )
        .await?;
    let target = Site::builder(Version::Bookworm).start().await?;
    target.rename_prefix("zz9_").await?;
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let task = ended(&app.client()?, &clone_body(&source, &target)).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let output = target
        .eval_php(
            "global $wpdb; echo json_encode([user_can(get_user_by('login', 'admin'), 'manage_options'), \
             user_can(get_user_by('login', 'editor'), 'edit_others_posts'), \
             user_can(get_user_by('login', 'editor'), 'manage_options'), \
             $wpdb->get_var('SELECT v FROM zz9_extra'), $wpdb->get_col(\"SHOW TABLES LIKE 'wp\\\\_%'\"), \
             (int) $wpdb->get_var(\"SELECT COUNT(*) FROM zz9_usermeta WHERE meta_key LIKE 'wp\\\\_%capabilities'\")]);",
        )
        .await?;
    assert_eq!(
        serde_json::from_str::<Value>(&output)?,
        json!([true, true, false, "kept", [], 0]),
        "{output}"
    );
    let uploads = target
        .eval_php(
            "$files = get_posts(['post_type' => 'attachment', 'name' => 'new-one', 'post_status' => 'inherit']); \
             $link = get_posts(['title' => 'Link', 'post_status' => 'publish']) ?: get_posts(['s' => 'Link']); \
             echo json_encode([get_option('upload_path'), get_option('upload_url_path'), \
             file_get_contents(get_attached_file($files[0]->ID)), \
             wp_get_attachment_url($files[0]->ID) === content_url('/uploads/2024/05/new.txt'), \
             false !== strpos($link[0]->post_content, content_url('/uploads/2024/05/new.txt'))]);",
        )
        .await?;
    assert_eq!(serde_json::from_str::<Value>(&uploads)?, json!(["", "", "new", true, true]), "{uploads}");
    // A view's definition contains table names.
    let result = Value::from(task.result.clone().unwrap());
    assert_eq!(result["fidelity"]["omitted"]["view-or-trigger"], 1, "{result:#}");
    Ok(())
}

#[tokio::test]
async fn a_target_with_content_is_refused_and_unchanged() -> Result {
    let source = Site::builder(Version::Bookworm).start().await?;
    let target = Site::builder(Version::Bookworm).content(7).user("anna", "editor", "x").start().await?;
    let before = state(&target).await?;
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    let mut body = clone_body(&source, &target);
    for keeps in [true, false] {
        body["remove_migrator"] = (!keeps).into();
        let task = ended(&client, &body).await?;
        let problem = task.problem.clone().unwrap_or_else(|| panic!("{task:#?}"));
        assert_eq!((problem.code, problem.changed_target), (Code::TargetNotEmpty, false), "{problem:#?}");
        for what in ["2 users", "posts", "3 posts of other kinds", "uploaded files"] {
            assert!(problem.detail.contains(what), "{}", problem.detail);
        }
        assert_eq!(state(&target).await?, before);
    }
    Ok(())
}

#[tokio::test]
async fn a_cancelled_copy_leaves_its_target_unchanged() -> Result {
    let source = Site::builder(Version::Bookworm).content(20).start().await?;
    let requests = hold_transfer(&source)?;
    let target = Site::builder(Version::Bookworm).start().await?;
    let before = state(&target).await?;
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &clone_body(&source, &target)).await?;
    requests.wait_until_held(&app).await?;
    client.post(&format!("/tasks/{}/cancel", task.id), &json!({})).await?;
    let task = client.wait(task.id).await?;
    requests.release()?;
    assert_eq!(task.state, State::Cancelled, "{task:#?}");
    assert_eq!(state(&target).await?, before);
    Ok(())
}

#[tokio::test]
async fn another_worker_continues_the_transfer_to_a_target_of_a_killed_one() -> Result {
    let source = Site::builder(Version::Bookworm).content(20).start().await?;
    let requests = hold_transfer(&source)?;
    let target = Site::builder(Version::Bookworm).start().await?;
    let mut app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    let mut body = clone_body(&source, &target);
    body["remove_migrator"] = false.into();
    let task = client.accepted("/clone", &body).await?;
    requests.wait_until_held(&app).await?;
    app.workers[0].kill9().await?;
    requests.release()?;
    app.add_worker(&[]).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let result = task.result.unwrap();
    assert!(result["source_api_key"].is_string() && result["target_api_key"].is_string(), "{result:#?}");
    let count = "global $wpdb; echo json_encode([$wpdb->get_var(\"SELECT COUNT(*) FROM $wpdb->posts WHERE post_status <> 'auto-draft'\"), \
                 $wpdb->get_col(\"SHOW TABLES LIKE '%wpclone%'\"), glob(dirname(ABSPATH) . '/wpclone-*')]);";
    assert_eq!(target.eval_php(count).await?, source.eval_php(count).await?);
    Ok(())
}
