//! A clone's wp-config.php.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use crate::clone_runtime::SANDBOX_PLUGIN_FILE;
use crate::random_hex;
use crate::source_config::{SourceConfig, php_string};
use crate::{ProvisionError, SourceFacts};

/// WordPress' default table prefix.
const DEFAULT_TABLE_PREFIX: &str = "wp_";

/// What wp-config.php is made from.
#[derive(Debug)]
pub struct WpConfig<'a> {
    /// The clone's address.
    pub url: &'a str,
    /// Its table prefix.
    pub table_prefix: &'a str,
    /// What its source's wp-config.php says.
    pub source: &'a SourceConfig,
    /// The administrator's login name.
    pub username: &'a str,
    /// The name of the clone, of its schema and of its database user.
    pub database: &'a str,
    /// `DB_HOST`: a host with a port, or `localhost:` and the path of a socket.
    pub database_host: &'a str,
    /// The password of its database user.
    pub database_password: &'a SecretString,
    /// The key that one-time login links are signed with.
    pub login_key: &'a SecretString,
    /// WordPress' folder.
    pub tree: &'a Path,
    /// The folder of the nonces of used login links.
    pub login: &'a Path,
    /// The folder with the PHP of [`crate::clone_runtime`] and the migrator.
    pub clone_runtime: &'a Path,
}

/// The text of wp-config.php, with new salts. It belongs into the folder above WordPress, where neither the web nor an import
/// reaches it.
///
/// # Errors
/// The system has no random numbers.
pub fn wp_config(config: &WpConfig<'_>) -> io::Result<String> {
    let mut text = String::from("<?php\n// Written by wpclone for this clone.\n");
    let mut define = |name: &str, php: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "define( '{name}', {php} );");
    };
    define("DB_NAME", &php_string(config.database));
    define("DB_USER", &php_string(config.database));
    define("DB_PASSWORD", &php_string(config.database_password.expose_secret()));
    define("DB_HOST", &php_string(config.database_host));
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
    define("WPCLONE_LOGIN", &php_string(&config.login.display().to_string()));
    define("WPCLONE_LOGIN_KEY", &php_string(config.login_key.expose_secret()));
    define("WPCLONE_LOGIN_USER", &php_string(config.username));
    if let Some(folder) = &config.source.uploads {
        // It overrides the options `upload_path` and `upload_url_path`.
        define("UPLOADS", &php_string(folder));
    }
    for (name, value) in &config.source.constants {
        define(name, value);
    }
    let tree = php_string(&format!("{}/", config.tree.display()));
    let _ = write!(
        text,
        "$table_prefix = {};\nif ( ! defined( 'ABSPATH' ) ) {{\n\tdefine( 'ABSPATH', {tree} );\n}}\n\
         require_once WPCLONE_RUNTIME . '/{SANDBOX_PLUGIN_FILE}';\nrequire_once ABSPATH . 'wp-settings.php';\n",
        php_string(config.table_prefix),
    );
    Ok(text)
}

/// The table prefix of a clone.
///
/// # Errors
/// The source's prefix is none that WordPress accepts.
pub fn table_prefix(facts: &SourceFacts) -> Result<String, ProvisionError> {
    match &facts.table_prefix {
        None => Ok(DEFAULT_TABLE_PREFIX.to_owned()),
        Some(prefix) if is_table_prefix(prefix) => Ok(prefix.clone()),
        Some(_) => Err(ProvisionError::InvalidTablePrefix),
    }
}

/// Whether this can be a table prefix: WordPress' installer accepts it, and the longest table names still fit.
fn is_table_prefix(text: &str) -> bool {
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
