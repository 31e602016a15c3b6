//! Facts about a site, read before anything is done.

use std::collections::BTreeMap;

use serde::Deserialize;

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
    /// Limits of requests.
    pub limits: Limits,
    /// Address of the content folder.
    pub content_url: String,
    /// Address of the uploads.
    pub uploads_url: String,
    /// WordPress' folder as configured, with a trailing slash.
    pub abspath: String,
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
    /// `DB_CHARSET`.
    pub charset: String,
    /// `DB_COLLATE`.
    pub collation: String,
    /// Active plugins.
    pub plugins: Vec<Plugin>,
    /// The parent theme, or the theme.
    pub template: String,
    /// The theme.
    pub stylesheet: String,
    /// Drop-ins that exist, such as `object-cache.php`.
    pub drop_ins: Vec<String>,
    /// `WP_ENVIRONMENT_TYPE`.
    pub environment: String,
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
