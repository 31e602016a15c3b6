//! Installs WordPress where there is none, and makes sure of the access to it when that was asked for.

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
/// In [`LOGIN`]: the id of the setup that has made sure of the access last.
const ACCESS_MARKER: &str = ".access";

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
    let is_new = install(&wordpress, &input).await.context("WordPress cannot be installed")?;
    ensure_access(&wordpress, &input, is_new).await.context("the administrator cannot be created")?;
    fpm.stop().await;
    Ok(())
}

/// Makes sure of the administrator and opens the migrator, once for each setup. A pod may be started anew at any time, and
/// who has changed the administrator since keeps what they changed.
async fn ensure_access(
    wordpress: &CloneWordPress,
    input: &SetupInput,
    is_new: bool,
) -> Result<(), WordPressError> {
    let marker = Path::new(LOGIN).join(ACCESS_MARKER);
    if !is_new && fs::read(&marker).is_ok_and(|id| id == input.id.as_bytes()) {
        return Ok(());
    }
    let access = json!({
        "task": "access",
        "username": input.username,
        "password": input.password,
        "key": input.key,
        "open_until": input.open_until,
    });
    wordpress.run_task(access).await?;
    fs::write(&marker, &input.id)?;
    Ok(())
}

/// Installs WordPress into a database that has none, and returns whether it did. An installation that was interrupted
/// begins anew.
async fn install(wordpress: &CloneWordPress, input: &SetupInput) -> Result<bool, WordPressError> {
    let marker = Path::new(LOGIN).join(INSTALLING_MARKER);
    let was_interrupted = marker.exists();
    let found = wordpress.run_task(json!({"task": "inspect"})).await?;
    if found.is_installed && !was_interrupted {
        return Ok(false);
    }
    fs::write(&marker, "")?;
    wordpress.run_task(json!({"task": "empty-database"})).await?;
    let install = json!({"task": "install", "username": input.username, "password": input.password});
    wordpress.run_task(install).await?;
    fs::remove_file(&marker)?;
    Ok(true)
}
