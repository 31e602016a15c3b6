//! What becomes of the migrator on the source: a clone removes the one that it installed, and no other.

use std::time::Duration;

use serde_json::json;
use wpclone_migrator::{Client as Migrator, Key};
use wpclone_task::{Role, State};
use wpclone_tests::{Result, Site, TestApp, Version, until};

use crate::clone::{PLUGIN, at, cloned, ended, events};

#[tokio::test]
async fn a_clone_keeps_the_migrator_of_an_earlier_setup_with_its_key() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let setup = client.setup(&site, &site.admin(), Role::Source).await?;
    let setup = client.wait(setup.id).await?;
    let key = at(&setup, "/api_key").as_str().unwrap().to_owned();

    let task = cloned(&client, &site).await?;
    assert_eq!(at(&task, "/migrator/source"), "kept", "{task:#?}");
    assert_eq!(at(&task, "/source_api_key"), &json!(key));
    assert!(site.tree().join(PLUGIN).is_dir());
    let migrator =
        Migrator::new(reqwest::Client::new(), site.url().parse().unwrap(), key.parse::<Key>().unwrap());
    assert!(!migrator.status().await.unwrap().import_enabled);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_is_killed_after_the_upload_still_removes_the_migrator_at_the_end() -> Result {
    let site = Site::builder(Version::Bookworm)
        .mu_plugin(
            "slow",
            "add_action('activate_plugin', function () { touch(WP_CONTENT_DIR . '/begun'); sleep(40); });",
        )
        .start()
        .await?;
    let mut app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    let activating = async || site.tree().join("wp-content/begun").is_file();
    until("the activation", Duration::from_secs(300), Some(&app.workers[0].log()), activating).await?;
    app.workers[0].kill9().await?;
    site.remove_mu_plugin("slow")?;
    app.workers[0].restart().await?;

    let task = ended(&client, task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    // A crash is forgotten when the step gets further than before; an event tells that it was done twice.
    let events = events(&client, &task).await?;
    assert!(events.contains("The worker was lost"), "the preparation was not repeated: {events}");
    assert_eq!(site.logins().await?, 1, "the session of the first worker was not used");
    assert_eq!(at(&task, "/source/plugin_status"), "installed");
    assert_eq!(at(&task, "/migrator/source"), "removed", "{task:#?}");
    assert!(!site.tree().join(PLUGIN).exists());
    Ok(())
}
