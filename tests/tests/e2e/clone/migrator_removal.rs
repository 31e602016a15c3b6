//! What becomes of the migrator on the source: a clone removes the one that it installed, and no other.

use serde_json::json;
use wpclone_migrator::{Client as Migrator, Key};
use wpclone_task::Role;
use wpclone_tests::{Result, Site, TestApp, Version};

use crate::clone::{at, cloned};

const PLUGIN: &str = "wp-content/plugins/wpclone-migrator";

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
