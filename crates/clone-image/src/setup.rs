//! Installs WordPress where there is none, and makes sure of the access to it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use wpclone_clone_php::{CloneWordPress, WordPressError};
use wpclone_provision::clone_image::{CLONE_RUNTIME, LOGIN, SETUP_FILE, SetupInput, TREE};

use crate::clone_address::CloneAddress;
use crate::php_fpm::{self, PhpFpm};
use crate::prepare::ARCHIVE;
use crate::wordpress_files;

/// In [`LOGIN`]: while WordPress is installed into the database.
const INSTALLING_MARKER: &str = ".installing";

pub(crate) async fn setup(address: &CloneAddress) -> anyhow::Result<()> {
    let input = fs::read(SETUP_FILE).with_context(|| format!("{SETUP_FILE} cannot be read"))?;
    let input: SetupInput =
        serde_json::from_slice(&input).with_context(|| format!("{SETUP_FILE} is not as expected"))?;
    let unpacking =
        tokio::task::spawn_blocking(|| wordpress_files::unpack(Path::new(ARCHIVE), Path::new(TREE)));
    let fpm = PhpFpm::start().await?;
    unpacking.await?.context("WordPress cannot be unpacked into the volume")?;
    let wordpress = CloneWordPress {
        socket: php_fpm::socket(),
        url: address.url.as_str().trim_end_matches('/').to_owned(),
        tree: PathBuf::from(TREE),
        clone_runtime: PathBuf::from(CLONE_RUNTIME),
    };
    install(&wordpress, &input).await.context("WordPress cannot be installed")?;
    let access = json!({
        "task": "access",
        "username": input.username,
        "password": input.password,
        "key": input.key,
        "open_until": input.open_until,
    });
    wordpress.run_task(access).await.context("the administrator cannot be created")?;
    fpm.stop().await;
    Ok(())
}

/// Installs WordPress into a database that has none. An installation that was interrupted begins anew.
async fn install(wordpress: &CloneWordPress, input: &SetupInput) -> Result<(), WordPressError> {
    let marker = Path::new(LOGIN).join(INSTALLING_MARKER);
    let was_interrupted = marker.exists();
    let found = wordpress.run_task(json!({"task": "inspect"})).await?;
    if found.is_installed && !was_interrupted {
        return Ok(());
    }
    fs::write(&marker, "")?;
    wordpress.run_task(json!({"task": "empty-database"})).await?;
    let install = json!({"task": "install", "username": input.username, "password": input.password});
    wordpress.run_task(install).await?;
    fs::remove_file(&marker)?;
    Ok(())
}
