//! What there is to know of a site before anything is done.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What the route `manifest` tells. The README says more of each member.
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
    /// The folders that files lie in.
    pub roots: BTreeMap<String, RootFolder>,
    /// Prefixes of other installations in the same database.
    pub other_prefixes: Vec<String>,
    /// What a request may do.
    pub limits: Limits,
    /// Address of the content folder.
    pub content_url: String,
    /// Address of the uploads.
    pub uploads_url: String,
    /// WordPress' own folder as it is configured, with a slash at its end.
    pub abspath: String,
}

/// WordPress.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WordPress {
    /// Its version.
    pub version: String,
    /// The oldest PHP that it runs under; empty where it does not say.
    #[serde(default)]
    pub requires_php: String,
    /// Such as `de_DE`.
    pub locale: String,
    /// Whether it is a network of sites.
    pub multisite: bool,
    /// Where WordPress says that its own files are.
    pub site_url: String,
    /// Where WordPress says that its front page is.
    pub home_url: String,
    /// What the names of its tables begin with.
    pub prefix: String,
    /// `DB_CHARSET`.
    pub charset: String,
    /// `DB_COLLATE`.
    pub collation: String,
    /// Active plugins.
    pub plugins: Vec<Plugin>,
    /// The theme's parent, or the theme.
    pub template: String,
    /// The theme.
    pub stylesheet: String,
    /// Drop-ins that are there, such as `object-cache.php`.
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
    /// 8, or 4 on old machines.
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
    /// Charset of new tables.
    pub charset: String,
    /// Collation of new tables.
    pub collation: String,
    /// The longest packet, and with it the longest value that can be written.
    pub max_allowed_packet: u64,
    /// Whether names of tables are told apart by case (0).
    pub lower_case_table_names: u8,
    /// The server's own, which sessions of ours do not have.
    pub sql_mode: String,
    /// Collations that it knows.
    pub collations: Vec<String>,
}

/// A folder that files lie in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RootFolder {
    /// Where it is, links resolved; `None` where there is none.
    pub path: Option<String>,
    /// Whether PHP may write into it.
    pub writable: bool,
    /// Room on its disk, if PHP may know.
    pub free_bytes: Option<u64>,
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// PHP's `memory_limit`; `None` for none.
    pub memory_bytes: Option<u64>,
    /// PHP's `max_execution_time`; 0 for none.
    pub max_execution_s: u32,
    /// PHP's `max_input_vars`; migrators of before did not tell.
    #[serde(default)]
    pub max_input_vars: Option<u64>,
    /// PHP's `post_max_size`; `None` for none.
    pub post_max_bytes: Option<u64>,
    /// The most time that a request may ask for.
    pub budget_ms: u32,
    /// How many requests may run at a time.
    pub parallel: u32,
}
