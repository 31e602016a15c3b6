//! A clone's wp-config.php.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use wpclone_beneath::Dir;
use wpclone_provision::clone_runtime::SANDBOX_PLUGIN_FILE;

use crate::clone_paths::{ClonePaths, new_file};
use crate::random::random_hex;
use crate::secrets::Secrets;
use crate::source_config::{SourceConfig, php_string};
use crate::state_dir::StateLock;
use crate::users::Ids;

/// WordPress' default table prefix.
pub(crate) const DEFAULT_TABLE_PREFIX: &str = "wp_";

/// What wp-config.php is made from.
pub(crate) struct WpConfig<'a> {
    pub(crate) url: &'a str,
    pub(crate) table_prefix: &'a str,
    /// What its source's wp-config.php says.
    pub(crate) source: &'a SourceConfig,
    /// The administrator's login name.
    pub(crate) username: &'a str,
    pub(crate) database: &'a str,
    pub(crate) database_socket: &'a Path,
    pub(crate) secrets: &'a Secrets,
    pub(crate) clone_runtime: &'a Path,
}

/// Writes wp-config.php into the folder above WordPress, where neither the web nor an import reaches it. WordPress can
/// read it, but not change it.
pub(crate) async fn write(
    paths: &ClonePaths,
    config: &WpConfig<'_>,
    user: Option<Ids>,
    lock: &Arc<StateLock>,
) -> io::Result<()> {
    let (text, www) = (wp_config(paths, config)?, paths.www());
    let new = new_file(0o640, user.map(Ids::readable_by_group));
    lock.run_blocking(move || Dir::open(&www)?.replace_file("wp-config.php", text.as_bytes(), new)).await
}

fn wp_config(paths: &ClonePaths, config: &WpConfig<'_>) -> io::Result<String> {
    let mut text = String::from("<?php\n// Written by wpclone for this clone.\n");
    let mut define = |name: &str, php: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "define( '{name}', {php} );");
    };
    define("DB_NAME", &php_string(config.database));
    define("DB_USER", &php_string(config.database));
    define("DB_PASSWORD", &php_string(config.secrets.database_password.expose_secret()));
    define("DB_HOST", &php_string(&format!("localhost:{}", config.database_socket.display())));
    define("DB_CHARSET", &php_string(&config.source.charset));
    define("DB_COLLATE", &php_string(&config.source.collation));
    for key in ["AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"] {
        define(&format!("{key}_KEY"), &php_string(&random_hex::<32>()?));
        define(&format!("{key}_SALT"), &php_string(&random_hex::<32>()?));
    }
    // They override the database's.
    define("WP_HOME", &php_string(config.url));
    define("WP_SITEURL", &php_string(config.url));
    define("WP_ENVIRONMENT_TYPE", "'staging'");
    define("DISABLE_WP_CRON", "true");
    define("AUTOMATIC_UPDATER_DISABLED", "true");
    define("WP_HTTP_BLOCK_EXTERNAL", "true");
    define("FS_METHOD", "'direct'");
    define("WP_DEBUG", "false");
    define("WPCLONE_RUNTIME", &php_string(&config.clone_runtime.display().to_string()));
    define("WPCLONE_NAME", &php_string(config.database));
    define("WPCLONE_LOGIN", &php_string(&paths.login().display().to_string()));
    define("WPCLONE_LOGIN_KEY", &php_string(config.secrets.login_key.expose_secret()));
    define("WPCLONE_LOGIN_USER", &php_string(config.username));
    if let Some(folder) = &config.source.uploads {
        // It overrides the options `upload_path` and `upload_url_path`.
        define("UPLOADS", &php_string(folder));
    }
    for (name, value) in &config.source.constants {
        define(name, value);
    }
    let tree = php_string(&format!("{}/", paths.tree().display()));
    let _ = write!(
        text,
        "$table_prefix = {};\nif ( ! defined( 'ABSPATH' ) ) {{\n\tdefine( 'ABSPATH', {tree} );\n}}\n\
         require_once WPCLONE_RUNTIME . '/{SANDBOX_PLUGIN_FILE}';\nrequire_once ABSPATH . 'wp-settings.php';\n",
        php_string(config.table_prefix),
    );
    Ok(text)
}

/// Whether this can be a table prefix: WordPress' installer accepts it, and the longest table names still fit.
pub(crate) fn is_table_prefix(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_prefixes_that_could_end_a_string_or_an_identifier_are_rejected() {
        for good in ["wp_", "a", "WP7_x", "_"] {
            assert!(is_table_prefix(good), "{good}");
        }
        for bad in ["", "wp-", "wp_'; --", "wp`", "w\u{fc}_", &"a".repeat(33)] {
            assert!(!is_table_prefix(bad), "{bad}");
        }
    }
}
