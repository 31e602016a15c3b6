//! Facts about a site, read before anything is done.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::kept_json::single_values;

/// The maximum length of a version, a name or a setting, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// The maximum length of an address.
pub(crate) const MAX_ADDRESS_BYTES: usize = 2048;
/// The maximum length of a path: Linux' `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;
/// The maximum length of a table prefix: that of a table's name.
const MAX_PREFIX_BYTES: usize = 64;
/// The maximum number of plugins, extensions, collations, drop-ins and prefixes, each.
const MAX_LISTED: usize = 10_000;
/// The maximum number of roots; there are five.
const MAX_ROOTS: usize = 16;
/// The maximum number of constants, and of bytes of a constant's value.
const MAX_CONSTANTS: usize = 200;
const MAX_CONSTANT_BYTES: usize = 1024;

/// The response of the route `manifest`. The README describes the fields.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Manifest {
    /// The plugin's version.
    pub plugin_version: String,
    /// WordPress.
    pub wordpress: WordPress,
    /// PHP.
    pub php: Php,
    /// The database.
    pub database: Database,
    /// The root folders of its files.
    pub roots: BTreeMap<String, RootFolder>,
    /// Table prefixes of other WordPress installations in the same database.
    pub other_prefixes: Vec<String>,
    /// The first tables, views and sequences of the database that have not the site's prefix and belong to no other WordPress
    /// installation.
    #[serde(default)]
    pub unprefixed_tables: Vec<String>,
    /// How many of these there are.
    #[serde(default)]
    pub unprefixed_count: u64,
    /// Limits of requests.
    pub limits: Limits,
    /// Address of the content folder.
    pub content_url: String,
    /// Address of the plugins; older migrators do not report it.
    #[serde(default)]
    pub plugins_url: String,
    /// Address of the must-use plugins.
    #[serde(default)]
    pub mu_plugins_url: String,
    /// Address of the uploads.
    pub uploads_url: String,
    /// WordPress' folder as configured, with a trailing slash.
    pub abspath: String,
    /// The content folder as configured.
    #[serde(default)]
    pub content_dir: String,
    /// The uploads.
    #[serde(default)]
    pub uploads: Uploads,
    /// Ids of posts whose pages show what the site looks like: the newest of each type, and a shop's pages.
    #[serde(default)]
    pub sample_posts: Vec<u64>,
}

/// WordPress.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WordPress {
    /// Its version.
    pub version: String,
    /// The minimum PHP version of this WordPress; empty if unknown.
    #[serde(default)]
    pub requires_php: String,
    /// Such as `de_DE`.
    pub locale: String,
    /// Whether it is a network of sites.
    pub multisite: bool,
    /// The option `siteurl`: the address of WordPress' own files.
    pub site_url: String,
    /// The option `home`: the address of the front page.
    pub home_url: String,
    /// The prefix of its tables.
    pub prefix: String,
    /// The tables of its users.
    #[serde(default)]
    pub user_tables: UserTables,
    /// `DB_CHARSET`.
    pub charset: String,
    /// `DB_COLLATE`.
    pub collation: String,
    /// The character set of WordPress' connection to its database; empty if unknown.
    #[serde(default)]
    pub connection: String,
    /// Constants of its own that wp-config.php and what it loads define: booleans, integers and texts. No secret and no path is
    /// among them.
    #[serde(default, deserialize_with = "single_values")]
    pub constants: BTreeMap<String, Value>,
    /// The names of others, with the reason why they are not among [`Self::constants`], such as `secret`.
    #[serde(default)]
    pub omitted_constants: BTreeMap<String, String>,
    /// Active plugins.
    pub plugins: Vec<Plugin>,
    /// The parent theme, or the theme.
    pub template: String,
    /// The theme.
    pub stylesheet: String,
    /// Those of these two whose folders are missing.
    #[serde(default)]
    pub missing_themes: Vec<String>,
    /// Themes in folders that are not exported: plugins register such with `register_theme_directory()`.
    #[serde(default)]
    pub omitted_themes: Vec<String>,
    /// File names of must-use plugins.
    #[serde(default)]
    pub must_use_plugins: Vec<String>,
    /// Drop-ins that exist, such as `object-cache.php`.
    pub drop_ins: Vec<String>,
    /// `WP_ENVIRONMENT_TYPE`.
    pub environment: String,
}

/// The tables of a site's users. wp-config.php may give them any name (`CUSTOM_USER_TABLE`, `CUSTOM_USER_META_TABLE`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct UserTables {
    /// That of the users; empty if unknown.
    pub users: String,
    /// That of their metadata; empty if unknown.
    pub usermeta: String,
}

/// The uploads of a site. Their folder may have been another one before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Uploads {
    /// Their folder as configured (`wp_upload_dir()`); empty if unknown.
    pub dir: String,
    /// Whether the folder `uploads` of the content exists and is another one.
    pub has_usual_dir: bool,
    /// The option `upload_path`.
    pub path_option: String,
    /// The option `upload_url_path`.
    pub url_option: String,
    /// Files of the oldest and newest attachments that do not exist.
    pub missing: Vec<String>,
}

/// An active plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Plugin {
    /// Its main file, such as `akismet/akismet.php`.
    pub file: String,
    /// Its version.
    pub version: String,
}

/// PHP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Php {
    /// Its version.
    pub version: String,
    /// Such as `fpm-fcgi`.
    pub sapi: String,
    /// Such as `Linux`.
    pub os: String,
    /// 8, or 4 on 32-bit systems.
    pub int_bytes: u8,
    /// Its extensions.
    pub extensions: Vec<String>,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// `mariadb` or `mysql`.
    pub server: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Default charset.
    pub charset: String,
    /// Default collation.
    pub collation: String,
    /// The longest packet, which also limits the length of values.
    pub max_allowed_packet: u64,
    /// 0 if table names are case-sensitive.
    pub lower_case_table_names: u8,
    /// The global sql_mode. The migrator's sessions have another one.
    pub sql_mode: String,
    /// Supported collations.
    pub collations: Vec<String>,
}

/// A root folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RootFolder {
    /// Its path with links resolved; `None` if there is none.
    pub path: Option<String>,
    /// Whether PHP can write to it.
    pub writable: bool,
    /// Free space on its disk, if PHP can read it.
    pub free_bytes: Option<u64>,
}

/// Limits of requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// PHP's `memory_limit` in bytes; `None` for none.
    pub memory_bytes: Option<u64>,
    /// PHP's `max_execution_time` in seconds; 0 for none.
    pub max_execution_s: u32,
    /// PHP's `max_input_vars`; older migrators do not report it.
    #[serde(default)]
    pub max_input_vars: Option<u64>,
    /// PHP's `post_max_size` in bytes; `None` for none.
    pub post_max_bytes: Option<u64>,
    /// The longest time that a request may ask for, in milliseconds.
    pub budget_ms: u32,
    /// How many requests may run at the same time.
    pub parallel: u32,
}

impl Manifest {
    /// Whether every text and list has a length that sites have. A response has at most 1 MiB, but parts of the manifest
    /// go into results, problems and logs.
    pub(crate) fn is_bounded(&self) -> bool {
        let Self {
            plugin_version,
            wordpress,
            php,
            database,
            roots,
            other_prefixes,
            unprefixed_tables,
            sample_posts,
            uploads,
            limits: _,
            ..
        } = self;
        let addresses = [&self.content_url, &self.plugins_url, &self.mu_plugins_url, &self.uploads_url];
        let roots_are_short = roots.len() <= MAX_ROOTS
            && roots.iter().all(|(name, root)| {
                name.len() <= MAX_NAME_BYTES
                    && root.path.as_ref().is_none_or(|path| path.len() <= MAX_PATH_BYTES)
            });
        are_short([plugin_version], MAX_NAME_BYTES)
            && are_short(addresses, MAX_ADDRESS_BYTES)
            && are_short([&self.abspath, &self.content_dir], MAX_PATH_BYTES)
            && uploads.is_bounded()
            && is_short_list(other_prefixes, MAX_NAME_BYTES)
            && is_short_list(unprefixed_tables, MAX_NAME_BYTES)
            && sample_posts.len() <= MAX_LISTED
            && roots_are_short
            && wordpress.is_bounded()
            && are_short([&php.version, &php.sapi, &php.os], MAX_NAME_BYTES)
            && is_short_list(&php.extensions, MAX_NAME_BYTES)
            && database.is_bounded()
    }
}

impl WordPress {
    fn is_bounded(&self) -> bool {
        let Self { version, requires_php, locale, charset, collation, connection, .. } = self;
        let Self { template, stylesheet, environment, constants, omitted_constants, .. } = self;
        let texts = [version, requires_php, locale, charset, collation, connection];
        are_short(texts, MAX_NAME_BYTES)
            && are_short([template, stylesheet, environment], MAX_NAME_BYTES)
            && constants.len().max(omitted_constants.len()) <= MAX_CONSTANTS
            && are_short(constants.keys().chain(omitted_constants.keys()), MAX_NAME_BYTES)
            && are_short(omitted_constants.values(), MAX_NAME_BYTES)
            && constants.values().all(is_constant)
            && are_short([&self.site_url, &self.home_url], MAX_ADDRESS_BYTES)
            && is_prefix(&self.prefix)
            && are_short([&self.user_tables.users, &self.user_tables.usermeta], MAX_NAME_BYTES)
            && self.plugins.len() <= MAX_LISTED
            && self.plugins.iter().all(|plugin| {
                are_short([&plugin.file], MAX_PATH_BYTES) && are_short([&plugin.version], MAX_NAME_BYTES)
            })
            && is_short_list(&self.drop_ins, MAX_NAME_BYTES)
            && is_short_list(&self.missing_themes, MAX_NAME_BYTES)
            && is_short_list(&self.omitted_themes, MAX_NAME_BYTES)
            && is_short_list(&self.must_use_plugins, MAX_NAME_BYTES)
    }
}

impl WordPress {
    /// The name of one of WordPress' own tables, given without the prefix: that of the users, or of their metadata, may be any.
    #[must_use]
    pub fn table_name(&self, base: &str) -> String {
        let named = match base {
            "users" => self.user_tables.users.as_str(),
            "usermeta" => self.user_tables.usermeta.as_str(),
            _ => "",
        };
        if named.is_empty() { format!("{}{base}", self.prefix) } else { named.to_owned() }
    }

    /// The `DB_CHARSET` by which a copy reads the database's bytes as this site does. Where wp-config.php says nothing, or
    /// something that the connection does not follow, it is the connection's.
    #[must_use]
    pub fn effective_charset(&self) -> &str {
        // WordPress makes utf8mb4 of utf8 where the server has it.
        let family = |name: &str| if name.starts_with("utf8") { "utf8".to_owned() } else { name.to_owned() };
        match self.connection.as_str() {
            "" => &self.charset,
            connection if family(connection) == family(&self.charset) => &self.charset,
            "utf8mb3" => "utf8",
            connection => connection,
        }
    }
}

impl Uploads {
    fn is_bounded(&self) -> bool {
        are_short([&self.dir, &self.path_option, &self.url_option], MAX_PATH_BYTES)
            && is_short_list(&self.missing, MAX_PATH_BYTES)
    }
}

impl Database {
    fn is_bounded(&self) -> bool {
        let Self { server, version, name, charset, collation, .. } = self;
        are_short([server, version, name, charset, collation], MAX_NAME_BYTES)
            && are_short([&self.sql_mode], MAX_ADDRESS_BYTES)
            && is_short_list(&self.collations, MAX_NAME_BYTES)
    }
}

/// Whether a text is a prefix that WordPress accepts (`wpdb::set_prefix()`).
fn is_prefix(text: &str) -> bool {
    text.len() <= MAX_PREFIX_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a value can be that of a constant.
fn is_constant(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() <= MAX_CONSTANT_BYTES,
        Value::Number(number) => number.is_i64(),
        value => value.is_boolean(),
    }
}

/// Whether every text has at most so many bytes.
pub(crate) fn are_short<'t>(texts: impl IntoIterator<Item = &'t String>, max_bytes: usize) -> bool {
    texts.into_iter().all(|text| text.len() <= max_bytes)
}

fn is_short_list(list: &[String], max_bytes: usize) -> bool {
    list.len() <= MAX_LISTED && are_short(list, max_bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_character_set_of_a_copy_is_the_one_of_the_connection() {
        for (charset, connection, expected) in [
            ("utf8mb4", "utf8mb4", "utf8mb4"),
            ("utf8", "utf8mb4", "utf8"),
            ("utf8", "utf8mb3", "utf8"),
            ("latin1", "latin1", "latin1"),
            ("", "latin1", "latin1"),
            ("", "utf8mb4", "utf8mb4"),
            ("ucs2", "latin1", "latin1"),
            ("utf8mb4", "latin1", "latin1"),
            ("latin1", "utf8mb3", "utf8"),
            ("latin1", "", "latin1"),
            ("", "", ""),
        ] {
            let site = json!({
                "version": "6.8", "locale": "", "multisite": false, "site_url": "", "home_url": "", "prefix": "wp_",
                "charset": charset, "connection": connection, "collation": "", "plugins": [], "template": "",
                "stylesheet": "", "drop_ins": [], "environment": "",
            });
            let site: WordPress = serde_json::from_value(site).unwrap();
            assert_eq!(site.effective_charset(), expected, "{charset} {connection}");
        }
    }
}
