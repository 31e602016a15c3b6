//! What a clone's wp-config.php takes over from that of its source.

use std::collections::BTreeMap;
use std::io;

use crate::{DatabaseClient, SourceFacts};
use serde_json::Value;
use wpclone_migrator::is_uploads_folder;

const DEFAULT_CHARSET: &str = "utf8mb4";
/// The most bytes of the name of a character set or collation, and of a constant.
const MAX_NAME_BYTES: usize = 100;
/// The most constants that are taken over.
const MAX_CONSTANTS: usize = 200;

/// Constants of WordPress that belong to the server, to the address or to the sandbox of a clone, or that say how WordPress
/// itself is started. A clone has its own, or the default.
const OWN_CONSTANTS: [&str; 66] = [
    "ABSPATH",
    "ADMIN_COOKIE_PATH",
    "ALTERNATE_WP_CRON",
    "AUTOMATIC_UPDATER_DISABLED",
    "AUTH_COOKIE",
    "BLOCKS_PATH",
    "COOKIEHASH",
    "COOKIEPATH",
    "COOKIE_DOMAIN",
    "CUSTOM_USER_META_TABLE",
    "CUSTOM_USER_TABLE",
    "DISABLE_WP_CRON",
    "DOING_AJAX",
    "DOING_AUTOSAVE",
    "DOING_CRON",
    "FORCE_SSL_ADMIN",
    "FORCE_SSL_LOGIN",
    "FS_CHMOD_DIR",
    "FS_CHMOD_FILE",
    "FS_CONNECT_TIMEOUT",
    "FS_METHOD",
    "FS_TIMEOUT",
    "IFRAME_REQUEST",
    "LOGGED_IN_COOKIE",
    "MULTISITE",
    "MUPLUGINDIR",
    "MYSQL_CLIENT_FLAGS",
    "PASS_COOKIE",
    "PLUGINDIR",
    "PLUGINS_COOKIE_PATH",
    "RECOVERY_MODE_COOKIE",
    "RELOCATE",
    "REST_REQUEST",
    "SAVEQUERIES",
    "SECURE_AUTH_COOKIE",
    "SHORTINIT",
    "SITECOOKIEPATH",
    "SUBDOMAIN_INSTALL",
    "SUNRISE",
    "TEMPLATEPATH",
    "STYLESHEETPATH",
    "TEST_COOKIE",
    "UPLOADS",
    "USER_COOKIE",
    "WPINC",
    "WPMU_PLUGIN_DIR",
    "WPMU_PLUGIN_URL",
    "WP_ACCESSIBLE_HOSTS",
    "WP_ADMIN",
    "WP_ALLOW_MULTISITE",
    "WP_ALLOW_REPAIR",
    "WP_AUTO_UPDATE_CORE",
    "WP_CACHE",
    "WP_CONTENT_DIR",
    "WP_CONTENT_URL",
    "WP_CRON_LOCK_TIMEOUT",
    "WP_DISABLE_FATAL_ERROR_HANDLER",
    "WP_HTTP_BLOCK_EXTERNAL",
    "WP_INSTALLING",
    "WP_LANG_DIR",
    "WP_PLUGIN_DIR",
    "WP_PLUGIN_URL",
    "WP_REPAIRING",
    "WP_TEMP_DIR",
    "WP_USE_EXT_MYSQL",
    "WP_USE_THEMES",
];
/// Beginnings of names of which all are a clone's own.
const OWN_PREFIXES: [&str; 9] = [
    "DB_",
    "FTP_",
    "WPCLONE_",
    "WP_DEBUG",
    "WP_DEVELOPMENT_",
    "WP_ENVIRONMENT_TYPE",
    "WP_HOME",
    "WP_PROXY_",
    "WP_SITEURL",
];

/// What a clone's wp-config.php takes over from its source.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// `DB_CHARSET`.
    pub charset: String,
    /// `DB_COLLATE`; empty without one.
    pub collation: String,
    /// The folder of the uploads below WordPress, if it is not the usual one.
    pub uploads: Option<String>,
    /// Names and PHP expressions.
    pub constants: BTreeMap<String, String>,
}

impl Default for SourceConfig {
    fn default() -> Self {
        let charset = DEFAULT_CHARSET.to_owned();
        Self { charset, collation: String::new(), uploads: None, constants: BTreeMap::new() }
    }
}

impl SourceConfig {
    /// What of a source's facts a clone can have whose database is on this server. The facts come from a stranger's site.
    ///
    /// # Errors
    /// The database server does not answer.
    pub async fn new(facts: &SourceFacts, database: &DatabaseClient) -> io::Result<Self> {
        let (charset, collation) = charset_of(facts, database).await?;
        Ok(Self {
            charset,
            collation,
            uploads: facts.uploads.clone().filter(|folder| is_uploads_folder(folder)),
            constants: constants_of(facts),
        })
    }
}

/// The character set and collation that the source has, as far as the server knows them.
async fn charset_of(facts: &SourceFacts, database: &DatabaseClient) -> io::Result<(String, String)> {
    let is_name = |name: &&str| {
        (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let charset = facts.charset.as_deref().filter(is_name).unwrap_or(DEFAULT_CHARSET);
    let mut collations = vec![facts.collation.as_deref().filter(is_name).unwrap_or_default(), ""];
    collations.dedup();
    // Every server has the default.
    let is_default = charset == DEFAULT_CHARSET && collations == [""];
    for collation in collations {
        if is_default || database.accepts_charset(charset, collation).await {
            return Ok((charset.to_owned(), collation.to_owned()));
        }
    }
    // Not because the server is gone.
    if database.ping().await {
        Ok((DEFAULT_CHARSET.to_owned(), String::new()))
    } else {
        Err(io::Error::other("the database does not answer"))
    }
}

/// Names and PHP expressions of the constants that are not a clone's own.
fn constants_of(facts: &SourceFacts) -> BTreeMap<String, String> {
    let constants = facts.constants.iter().filter(|(name, _)| is_constant(name) && !is_own(name));
    let literals = constants.filter_map(|(name, value)| Some((name.clone(), php_literal(value)?)));
    literals.take(MAX_CONSTANTS).collect()
}

fn is_constant(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
        && !["true", "false", "null"].contains(&name.to_ascii_lowercase().as_str())
}

/// Whether a clone has a constant of its own by this name.
fn is_own(name: &str) -> bool {
    let secret = |kind: &str| {
        name.ends_with(kind) && ["AUTH", "LOGGED_IN", "NONCE"].iter().any(|key| name.contains(key))
    };
    OWN_CONSTANTS.contains(&name)
        || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || secret("_KEY")
        || secret("_SALT")
}

/// A boolean, an integer or a text as PHP; `None` for anything else.
fn php_literal(value: &Value) -> Option<String> {
    match value {
        Value::Bool(yes) => Some(yes.to_string()),
        // PHP reads its least integer as a negated float.
        Value::Number(number) => {
            number.as_i64().filter(|number| *number > i64::MIN).map(|number| number.to_string())
        }
        Value::String(text) if !text.contains('\0') => Some(php_string(text)),
        _ => None,
    }
}

/// A PHP string literal.
pub(crate) fn php_string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_escaped_for_php() {
        assert_eq!(php_string("a'b\\c"), r"'a\'b\\c'");
    }

    #[test]
    fn constants_of_a_source_that_are_no_code_and_no_clones_own_are_taken_over() {
        let constants = [
            ("EXAMPLE_LEVEL", json!(3)),
            ("EXAMPLE_LEAST", json!(i64::MIN)),
            ("EXAMPLE_ON", json!(true)),
            ("EXAMPLE_TEXT", json!("a'); system('x'); //\\")),
            ("EXAMPLE_LIST", json!([1])),
            ("EXAMPLE_NULL", json!(null)),
            ("EXAMPLE_FLOAT", json!(1.5)),
            ("EXAMPLE'] = 1", json!(1)),
            ("1EXAMPLE", json!(1)),
            ("", json!(1)),
            ("True", json!(1)),
            ("WP_POST_REVISIONS", json!(5)),
            ("WP_MEMORY_LIMIT", json!("256M")),
            ("WP_HOME", json!("http://a.example")),
            ("WP_DEBUG_DISPLAY", json!(true)),
            ("DB_PASSWORD", json!("x")),
            ("SECURE_AUTH_SALT", json!("x")),
            ("WPCLONE_LOGIN_KEY", json!("x")),
            ("WPMU_PLUGIN_DIR", json!("x")),
            ("SHORTINIT", json!(true)),
            ("DOING_CRON", json!(true)),
            ("UPLOADS", json!("wp-admin")),
        ];
        let constants = constants.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let taken = constants_of(&SourceFacts { constants, ..SourceFacts::default() });
        let expected = [
            ("EXAMPLE_LEVEL", "3"),
            ("EXAMPLE_ON", "true"),
            ("EXAMPLE_TEXT", r"'a\'); system(\'x\'); //\\'"),
            ("WP_MEMORY_LIMIT", "'256M'"),
            ("WP_POST_REVISIONS", "5"),
        ];
        assert_eq!(taken, expected.map(|(name, php)| (name.to_owned(), php.to_owned())).into());
    }
}
