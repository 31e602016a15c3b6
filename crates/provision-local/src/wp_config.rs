//! Writes a clone's wp-config.php.

use std::io;
use std::path::Path;
use std::sync::Arc;

use wpclone_beneath::Dir;
use wpclone_provision::{SourceConfig, WpConfig, wp_config};

use crate::clone_paths::{ClonePaths, new_file};
use crate::secrets::Secrets;
use crate::state_dir::StateLock;
use crate::users::Ids;

/// What a local clone's wp-config.php is made from.
pub(crate) struct LocalWpConfig<'a> {
    pub(crate) url: &'a str,
    pub(crate) table_prefix: &'a str,
    pub(crate) source: &'a SourceConfig,
    /// The administrator's login name.
    pub(crate) username: &'a str,
    pub(crate) database: &'a str,
    pub(crate) secrets: &'a Secrets,
    pub(crate) clone_runtime: &'a Path,
}

/// Writes wp-config.php into the folder above WordPress. WordPress can read it, but not change it.
pub(crate) async fn write(
    paths: &ClonePaths,
    config: &LocalWpConfig<'_>,
    user: Option<Ids>,
    lock: &Arc<StateLock>,
) -> io::Result<()> {
    let text = wp_config(&WpConfig {
        url: config.url,
        table_prefix: config.table_prefix,
        source: config.source,
        username: config.username,
        database: config.database,
        database_host: &format!("localhost:{}", paths.database_socket().display()),
        database_password: &config.secrets.database_password,
        login_key: &config.secrets.login_key,
        tree: &paths.tree(),
        login: &paths.login(),
        clone_runtime: config.clone_runtime,
    })?;
    let (www, new) = (paths.www(), new_file(0o640, user.map(Ids::readable_by_group)));
    lock.run_blocking(move || Dir::open(&www)?.replace_file("wp-config.php", text.as_bytes(), new)).await
}
