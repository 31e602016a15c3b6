//! What a task leaves on a site that cannot be reached: its end says so, and the queue undoes it later.

use std::time::Duration;

use serde_json::{Value, json};
use wpclone_task::{Code, LeftState, Problem, State, TaskView};
use wpclone_tests::{Client, Result, Site, TestApp, Version, until};

use crate::recording_source::RecordingSource;

/// A must-use plugin: wp-admin works, and the migrator cannot be reached.
const MIGRATOR_IS_DOWN: &str = "if (preg_match('/wpclone[_-]migrator/', $_SERVER['REQUEST_URI'] ?? '')) { \
    http_response_code(503); exit('down'); }";
/// A must-use plugin: wp-admin works, the migrator's settings page as well, and the migrator does not answer.
const MIGRATOR_DOES_NOT_ANSWER: &str = "if (preg_match('~wpclone_migrator=|wpclone-migrator(/|%2F)v1~', \
    $_SERVER['REQUEST_URI'] ?? '')) { http_response_code(503); exit('down'); }";
/// A must-use plugin: from the activation of a plugin on the site answers nothing any more.
const STOPS_AT_ACTIVATION: &str = "if (PHP_SAPI !== 'cli' && is_file(WP_CONTENT_DIR . '/stopped')) { \
    http_response_code(503); exit('down'); } \
    add_action('activate_plugin', function () { touch(WP_CONTENT_DIR . '/stopped'); });";
/// Users, posts, addresses, tables, folders of the import, and whether the migrator is there.
const STATE: &str = "global $wpdb; echo json_encode([$wpdb->get_col('SELECT user_login FROM ' . $wpdb->users), \
    $wpdb->get_results('SELECT ID, post_title FROM ' . $wpdb->posts . ' ORDER BY ID', ARRAY_N), \
    get_option('siteurl'), get_option('blogname'), get_option('active_plugins'), $wpdb->get_col('SHOW TABLES'), \
    glob(dirname(ABSPATH) . '/wpclone-*'), is_dir(WP_PLUGIN_DIR . '/wpclone-migrator'), get_option('wpclone_migrator')]);";
/// The access windows of the migrator ended an hour ago: an administrator's key is no longer shown, and nothing is read.
const CLOSE_WINDOW: &str = "global $wpdb; $window = json_decode($wpdb->get_var(\"SELECT value FROM {$wpdb->prefix}wpclone_migrator WHERE name = 'access_window'\"), true); \
    $window['open_until'] = time() - 3600; \
    $wpdb->update(\"{$wpdb->prefix}wpclone_migrator\", ['value' => json_encode($window)], ['name' => 'access_window']); \
    echo $window['open_until'];";
/// A clean-up's attempt, with the requests' own deadlines.
const ATTEMPT: Duration = Duration::from_secs(300);

async fn state(site: &Site) -> Result<Value> {
    Ok(serde_json::from_str(&site.eval_php(STATE).await?)?)
}

/// The sites that ended tasks have left something on.
async fn left_on(client: &Client) -> Result<Vec<(String, LeftState)>> {
    Ok(client.queue().await?.site_cleanups.into_iter().map(|c| (c.site, c.state)).collect())
}

/// Makes all clean-ups due.
async fn make_due(app: &TestApp) {
    let mut redis = crate::redis_client::connect(app).await;
    let key = "{wpclone}:delayed:cleanup";
    let delayed = redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).query_async::<Vec<String>>(&mut redis).await;
    for entry in delayed.expect("the clean-ups") {
        redis::cmd("ZADD")
            .arg(key)
            .arg("XX")
            .arg(1)
            .arg(entry)
            .exec_async(&mut redis)
            .await
            .expect("a change");
    }
}

/// Waits until nothing that a task left is to be cleaned up any more.
pub(crate) async fn until_cleaned_up(app: &TestApp, client: &Client) -> Result {
    let log = app.workers[0].log();
    let nothing_left = async || {
        make_due(app).await;
        left_on(client).await.is_ok_and(|left| left.is_empty())
    };
    until("the clean-ups to end", ATTEMPT, Some(&log), nothing_left).await
}

/// Cancels a clone of one site into another in its transfer, after `down` was called, and waits for its end.
async fn cancelled(
    app: &TestApp,
    source: &Site,
    target: &Site,
    down: impl FnOnce() -> Result,
) -> Result<TaskView> {
    let client = app.client()?;
    let requests = RecordingSource::to(source, "")?;
    requests.hold("rows", "wp_posts", 0)?;
    let body = json!({"source": source.login(&source.admin()), "target": target.login(&target.admin())});
    let task = client.accepted("/clone", &body).await?;
    requests.wait_until_held(app).await?;
    down()?;
    client.post(&format!("/tasks/{}/cancel", task.id), &json!({})).await?;
    let task = client.wait(task.id).await?;
    requests.release()?;
    Ok(task)
}

#[tokio::test]
async fn sites_that_a_task_could_not_clean_up_are_cleaned_up_later_without_it() -> Result {
    let source = Site::builder(Version::Bookworm).start().await?;
    let target = Site::builder(Version::Bookworm).start().await?;
    let before = (state(&source).await?, state(&target).await?);
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    let both_down =
        || [&source, &target].iter().try_for_each(|site| site.put_mu_plugin("down", MIGRATOR_IS_DOWN));
    let task = cancelled(&app, &source, &target, both_down).await?;
    assert_eq!(task.state, State::Cancelled, "{task:#?}");
    assert!(task.progress.message.contains("What is left on"), "{}", task.progress.message);
    assert_eq!(left_on(&client).await?.len(), 2);
    assert!(source.tree().join("wp-content/plugins/wpclone-migrator").is_dir());

    // The owner's next task on the site does not wait for it.
    make_due(&app).await;
    let task = client.app_password(&target, &target.admin(), "later").await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");

    // Later than the access windows end, the sites can be reached again.
    for site in [&source, &target] {
        site.eval_php(CLOSE_WINDOW).await?;
        site.remove_mu_plugin("down")?;
    }
    until_cleaned_up(&app, &client).await?;
    assert_eq!((state(&source).await?, state(&target).await?), before);
    Ok(())
}

/// Clones a site into another one, which must fail; returns its problem.
async fn failed(client: &Client, source: &Site, target: &Site) -> Result<Problem> {
    let body = json!({"source": source.login(&source.admin()), "target": target.login(&target.admin())});
    let task = client.accepted("/clone", &body).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Failed, "{task:#?}");
    Ok(task.problem.expect("a problem"))
}

#[tokio::test]
async fn a_migrator_whose_key_a_failed_preparation_has_read_is_removed_later() -> Result {
    let source = Site::builder(Version::Bookworm).start().await?;
    let target = Site::builder(Version::Bookworm).start().await?;
    let before = state(&source).await?;
    source.put_mu_plugin("down", MIGRATOR_DOES_NOT_ANSWER)?;
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    let problem = failed(&client, &source, &target).await?;
    assert_eq!(problem.code, Code::MigratorUnreachable, "{problem:#?}");
    assert!(problem.detail.contains("The plugin wpclone-migrator may still be installed on"), "{problem:#?}");
    assert_eq!(problem.more["left"][0]["state"], "pending", "{problem:#?}");
    assert!(source.tree().join("wp-content/plugins/wpclone-migrator").is_dir());

    source.remove_mu_plugin("down")?;
    until_cleaned_up(&app, &client).await?;
    assert_eq!(state(&source).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_migrator_whose_key_was_never_read_is_named_to_the_owner() -> Result {
    let source = Site::builder(Version::Bookworm).start().await?;
    let target = Site::builder(Version::Bookworm).start().await?;
    source.put_mu_plugin("stops", STOPS_AT_ACTIVATION)?;
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    let problem = failed(&client, &source, &target).await?;
    assert_eq!(problem.code, Code::SiteUnreachable, "{problem:#?}");
    assert!(problem.detail.contains("The plugin wpclone-migrator may still be installed on"), "{problem:#?}");
    assert!(problem.detail.contains("delete it in wp-admin"), "{problem:#?}");
    assert_eq!(problem.more["left"][0]["state"], "manual", "{problem:#?}");
    assert!(source.tree().join("wp-content/plugins/wpclone-migrator").is_dir());
    assert!(left_on(&client).await?.is_empty(), "nobody can try");
    Ok(())
}

#[tokio::test]
async fn a_setup_after_a_failed_task_keeps_the_migrator_that_the_task_had_left() -> Result {
    let source = Site::builder(Version::Bookworm).start().await?;
    let target = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::builder().stages("browser,transfer").start().await?;
    let client = app.client()?;
    cancelled(&app, &source, &target, || source.put_mu_plugin("down", MIGRATOR_IS_DOWN)).await?;
    assert_eq!(left_on(&client).await?.len(), 1);

    source.remove_mu_plugin("down")?;
    let task = client.setup(&source, &source.admin(), wpclone_task::Role::Source).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    until_cleaned_up(&app, &client).await?;
    assert!(source.tree().join("wp-content/plugins/wpclone-migrator").is_dir(), "the setup's owner uses it");
    Ok(())
}
