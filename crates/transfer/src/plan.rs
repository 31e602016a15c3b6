//! The plan of a transfer, made from both manifests: whether it is possible, which addresses and folders are replaced, and
//! how the target defines the source's tables.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};
use wpclone_migrator::{DefaultValue, Definition, Manifest, Root, TableProgress};
use wpclone_rewrite::{Options, PrefixMapping, Report, Rewriter, UnreplacedReason};

use crate::error::{PreflightFailure, TransferError};
use crate::mappings::{folder_mappings, site_mappings};
use crate::number_offset::{offset_auto_increment, offset_sequence};
use crate::own_options::OwnOptions;
use crate::{configuration, versions};

/// WordPress' own tables, without the prefix: a copy cannot do without them.
const CORE_TABLES: [&str; 12] = [
    "commentmeta",
    "comments",
    "links",
    "options",
    "postmeta",
    "posts",
    "term_relationships",
    "term_taxonomy",
    "termmeta",
    "terms",
    "usermeta",
    "users",
];

/// Those of them that wp-config.php may give any name.
const USER_TABLES: [&str; 2] = ["users", "usermeta"];

/// Directories of plugins that protect the login. In a copy they would lock its owner out: they hide the login page, ask for
/// a second factor bound to the original, or count all requests through a proxy as one visitor.
const LOGIN_PROTECTION_PLUGINS: [&str; 28] = [
    "all-in-one-wp-security-and-firewall",
    "better-wp-security",
    "change-wp-admin-login",
    "defender-security",
    "google-authenticator",
    "hide-my-wp",
    "ithemes-security-pro",
    "limit-login-attempts",
    "limit-login-attempts-reloaded",
    "login-lockdown",
    "loginizer",
    "loginpress",
    "malcare-security",
    "miniorange-2-factor-authentication",
    "rename-wp-login",
    "secupress",
    "secupress-pro",
    "sg-security",
    "sucuri-scanner",
    "two-factor",
    "two-factor-authentication",
    "wordfence",
    "wordfence-login-security",
    "wp-2fa",
    "wp-cerber",
    "wp-hide-security-enhancer",
    "wp-simple-firewall",
    "wps-hide-login",
];

/// The plan.
pub(crate) struct Plan {
    pub(crate) rewriter: Rewriter,
    pub(crate) prefix: Option<PrefixMapping>,
    from_prefix: String,
    to_prefix: String,
    /// Tables, views and sequences of the source without its prefix, as far as its manifest lists them.
    unprefixed: HashSet<String>,
    /// Whether there are more of them than the manifest lists.
    has_unlisted: bool,
    user_tables: [UserTable; 2],
    /// Text of all mappings, for the fingerprint.
    mapping: String,
    database: String,
    /// Whether both sides have the same database product, so that statements can be compared word by word.
    pub(crate) same_server: bool,
    pub(crate) warnings: Vec<String>,
    /// Plugins of the source that are not active in the copy.
    pub(crate) deactivated_plugins: Vec<String>,
    pub(crate) own_options: OwnOptions,
}

/// A table of users, on both sides.
#[derive(Debug)]
struct UserTable {
    /// Its usual name, without the prefix.
    base: &'static str,
    from: String,
    to: String,
}

impl Plan {
    /// Makes a plan, or says why the transfer is not possible.
    pub(crate) fn new(source: &Manifest, target: &Manifest) -> Result<Self, TransferError> {
        for (side, manifest) in [("source", source), ("target", target)] {
            if manifest.wordpress.multisite {
                let detail = format!("The {side} is a multisite network.");
                return Err(TransferError::Preflight(PreflightFailure::Multisite, detail));
            }
        }
        let (from, to) = (&source.wordpress.prefix, &target.wordpress.prefix);
        let mut warnings = Vec::new();
        let folders = folder_mappings(source, target, &mut warnings);
        let options = Options { folders, count_root_relative: true, ..Options::default() };
        let pairs = site_mappings(source, target);
        let user_tables = USER_TABLES.map(|base| UserTable {
            base,
            from: source.wordpress.table_name(base),
            to: target.wordpress.table_name(base),
        });
        // Without the folders: the job itself creates some of them.
        let mapping = format!("{pairs:?} {from} {to} {user_tables:?} {} {}", source.abspath, target.abspath);
        let rewriter = pairs.and_then(|pairs| Rewriter::new(&pairs, options));
        let rewriter = rewriter
            .map_err(|e| TransferError::Preflight(PreflightFailure::InvalidAddress, format!("{e}.")))?;
        versions::check_php_version(source, target)?;
        versions::compare(source, target, &mut warnings);
        warnings.extend(configuration::warnings(source, target));
        let protects_login =
            |file: &String| LOGIN_PROTECTION_PLUGINS.contains(&file.split('/').next().unwrap_or_default());
        let plugins = source.wordpress.plugins.iter().map(|plugin| plugin.file.clone());
        Ok(Self {
            deactivated_plugins: plugins.filter(protects_login).collect(),
            own_options: OwnOptions {
                home: target.wordpress.home_url.clone(),
                siteurl: target.wordpress.site_url.clone(),
                upload_path: target.uploads.path_option.clone(),
                upload_url_path: target.uploads.url_option.clone(),
            },
            rewriter,
            prefix: (from != to).then(|| PrefixMapping::new(from, to)),
            from_prefix: from.clone(),
            to_prefix: to.clone(),
            unprefixed: source.unprefixed_tables.iter().cloned().collect(),
            has_unlisted: source.unprefixed_count > source.unprefixed_tables.len() as u64,
            user_tables,
            mapping,
            database: source.database.name.clone(),
            same_server: source.database.server == target.database.server,
            warnings,
        })
    }

    /// A name without the source's prefix; empty for a table that is not WordPress'.
    pub(crate) fn base<'n>(&self, name: &'n str) -> &'n str {
        if let Some(table) = self.user_table(name) {
            return table.base;
        }
        if self.is_unprefixed(name) {
            return "";
        }
        name.strip_prefix(self.from_prefix.as_str()).unwrap_or(name)
    }

    /// Whether a copy cannot do without a table. Of those without the prefix these are the users', which wp-config.php
    /// renamed.
    pub(crate) fn is_core_table(&self, name: &str) -> bool {
        let has_prefix = name.starts_with(&self.from_prefix);
        self.has_core_name(name) || !has_prefix && !self.is_unprefixed(name)
    }

    /// Whether a table is none of WordPress' because it has not the prefix. Of more tables than the manifest lists only the
    /// names say so; those of users, which wp-config.php renamed, are known.
    fn is_unprefixed(&self, name: &str) -> bool {
        let is_unlisted =
            || self.has_unlisted && !name.starts_with(&self.from_prefix) && self.user_table(name).is_none();
        self.unprefixed.contains(name) || is_unlisted()
    }

    /// Whether a table has the name of one of WordPress'.
    pub(crate) fn has_core_name(&self, name: &str) -> bool {
        // A table with the usual name of another one is left over.
        let is_core = |base: &str| CORE_TABLES.contains(&base) && !USER_TABLES.contains(&base);
        self.user_table(name).is_some() || name.strip_prefix(&self.from_prefix).is_some_and(is_core)
    }

    fn user_table(&self, name: &str) -> Option<&UserTable> {
        self.user_tables.iter().find(|table| table.from == name)
    }

    /// Whether tables that the text of a view or a trigger may name have other names in the copy.
    fn renames_tables(&self) -> bool {
        self.prefix.is_some() || self.user_tables.iter().any(|table| table.from != table.to)
    }

    /// The definition for the target; `None` if the source's cannot be adapted.
    pub(crate) fn definition(&self, definition: &Definition) -> Option<Definition> {
        let mut definition = definition.clone();
        match &mut definition {
            Definition::Table(table) => {
                table.name = self.renamed(&table.name)?;
                for key in &mut table.foreign_keys {
                    key.table = self.renamed(&key.table)?;
                }
                table.auto_increment = offset_auto_increment(table);
                for column in &mut table.columns {
                    if let Some(DefaultValue::Sequence(name)) = &mut column.default {
                        *name = self.renamed(name)?;
                    }
                }
                // It is compared here, and the target has no use for it.
                table.statement = String::new();
            }
            Definition::Sequence(sequence) => {
                sequence.name = self.renamed(&sequence.name)?;
                sequence.next = offset_sequence(sequence);
            }
            Definition::Program(_) | Definition::Unreadable(_) => return None,
            // Their SQL contains the old table names.
            Definition::View(_) | Definition::Trigger(_) if self.renames_tables() => return None,
            Definition::View(view) => {
                view.select = view.select.replace(&format!("`{}`.", self.database.replace('`', "``")), "");
            }
            Definition::Trigger(_) => {}
        }
        Some(definition)
    }

    /// The source's addresses in definitions, which the copy has as they are.
    pub(crate) fn addresses_in_definitions(&self, all: &[Definition]) -> Report {
        let mut report = Report::default();
        for definition in all {
            let sql = match definition {
                Definition::Table(table) => &table.statement,
                Definition::View(view) => &view.select,
                Definition::Trigger(trigger) => &trigger.body,
                Definition::Sequence(_) | Definition::Program(_) | Definition::Unreadable(_) => continue,
            };
            self.rewriter.count_unreplaced(sql.as_bytes(), UnreplacedReason::OutsideRows, &mut report);
        }
        report
    }

    /// Changes with the definition of a table and with the mappings, but not with its row counts and sizes.
    pub(crate) fn fingerprint(&self, definition: &Definition) -> String {
        let mut definition = definition.clone();
        if let Definition::Table(table) = &mut definition {
            (table.auto_increment, table.rows, table.data_bytes, table.index_bytes) = (None, 0, 0, 0);
        }
        let hash =
            Sha256::new().chain_update(&self.mapping).chain_update(format!("{definition:?}")).finalize();
        hex::encode(&hash[..8])
    }

    /// Whether the source lacks a table that the job has.
    pub(crate) fn lacks(&self, all: &[Definition], tables: &[TableProgress]) -> bool {
        let names: HashSet<String> =
            all.iter().filter_map(|d| Some(self.definition(d)?.name().to_owned())).collect();
        tables.iter().any(|table| !names.contains(&table.name))
    }

    fn renamed(&self, name: &str) -> Option<String> {
        if let Some(table) = self.user_table(name) {
            return Some(table.to.clone());
        }
        // The target would take it for a table of WordPress.
        let is_taken = |name: &str| name.to_lowercase().starts_with(&self.to_prefix.to_lowercase());
        if self.is_unprefixed(name) && is_taken(name) {
            return None;
        }
        let new = match &self.prefix {
            None => name.to_owned(),
            Some(prefix) => {
                let new = prefix.table(name.as_bytes()).unwrap_or_else(|| name.as_bytes().to_vec());
                String::from_utf8(new).ok()?
            }
        };
        // Left over where wp-config.php renamed the users' tables.
        let is_users = self.user_tables.iter().any(|table| table.to.eq_ignore_ascii_case(&new));
        (!is_users).then_some(new)
    }
}

/// The roots whose files are always transferred.
pub(crate) const CONTENT_ROOTS: [Root; 4] = [Root::Content, Root::Plugins, Root::MuPlugins, Root::Uploads];

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The manifest of a site with a PHP version and a required one.
    pub(crate) fn side(host: &str, php: &str, needs: &str) -> Value {
        json!({
            "plugin_version": "1.0.0",
            "wordpress": {
                "version": "6.8.3", "requires_php": needs, "locale": "en_US", "multisite": false,
                "site_url": format!("https://{host}"), "home_url": format!("https://{host}"), "prefix": "wp_",
                "charset": "utf8mb4", "collation": "", "plugins": [], "template": "a", "stylesheet": "a",
                "drop_ins": [], "environment": "production",
            },
            "php": {"version": php, "sapi": "fpm-fcgi", "os": "Linux", "int_bytes": 8, "extensions": ["curl"]},
            "database": {
                "server": "mariadb", "version": "10.11.6", "name": "wp", "charset": "utf8mb4",
                "collation": "utf8mb4_general_ci", "max_allowed_packet": 1 << 24, "lower_case_table_names": 0,
                "sql_mode": "", "collations": [],
            },
            "roots": {}, "other_prefixes": [], "abspath": format!("/srv/{host}/"),
            "limits": {
                "memory_bytes": null, "max_execution_s": 0, "post_max_bytes": null, "budget_ms": 1000, "parallel": 2,
            },
            "content_url": format!("https://{host}/wp-content"),
            "uploads_url": format!("https://{host}/wp-content/uploads"),
        })
    }

    fn plan(source: &Value, target: &Value) -> Result<Plan, TransferError> {
        let manifest = |value: &Value| serde_json::from_value::<Manifest>(value.clone()).unwrap();
        Plan::new(&manifest(source), &manifest(target))
    }

    #[test]
    fn a_php_older_than_required_is_rejected_with_both_versions() {
        for (needs, has) in [
            ("8.3", "8.2.29"),
            ("7.2.24", "7.2.23"),
            ("8.0", "7.4.33"),
            ("8.10", "8.9.1"),
            ("8.1.3", "8.1.2-1ubuntu2.14"),
        ] {
            let made = plan(&side("a.example", "8.4.1", needs), &side("b.example", has, "7.2"));
            let Err(TransferError::Preflight(failure, detail)) = made else {
                panic!("{needs} needed, {has} is there")
            };
            assert_eq!(failure, PreflightFailure::PhpVersion);
            assert!(detail.contains(needs) && detail.contains(has), "{detail}");
        }
    }

    #[test]
    fn another_php_that_is_recent_enough_is_a_warning() {
        for (needs, has) in [
            ("7.2.24", "7.4.33"),
            ("8.2", "8.2.0"),
            ("8.1.2", "8.1.2-1ubuntu2.14"),
            ("8.9", "8.10.0"),
            ("8", "9.0.0-dev"),
            ("", "7.4.0"),
        ] {
            let made = plan(&side("a.example", "8.4.1", needs), &side("b.example", has, "9.9"));
            let plan = made.unwrap_or_else(|error| panic!("{needs} needed, {has} is there: {error}"));
            assert_eq!(plan.warnings, [format!("The source runs PHP 8.4.1, the copy PHP {has}.")]);
        }
        let same =
            plan(&side("a.example", "8.2.29", "7.2.24"), &side("b.example", "8.2.1", "7.2.24")).unwrap();
        assert_eq!(same.warnings, [""; 0], "a release of the same PHP is no difference");
    }

    #[test]
    fn a_changed_definition_changes_the_fingerprint_and_more_rows_do_not() {
        let table = |change: &dyn Fn(&mut Value)| -> Definition {
            let mut table = json!({"kind": "table", "name": "wp_x", "engine": "InnoDB", "charset": "utf8mb4",
                "collation": "c", "row_format": null, "comment": "", "auto_increment": 7, "columns": [], "indexes": [],
                "foreign_keys": [], "checks": [], "rows": 1, "data_bytes": 1, "index_bytes": 1});
            change(&mut table);
            serde_json::from_value(table).unwrap()
        };
        let of = |host: &str| plan(&side("a.example", "8.2.1", "7.2"), &side(host, "8.2.1", "7.2")).unwrap();
        let (here, elsewhere) = (of("b.example"), of("c.example"));
        let first = here.fingerprint(&table(&|_| {}));
        let grown = table(&|table| {
            for field in ["auto_increment", "rows", "data_bytes", "index_bytes"] {
                table[field] = json!(1000);
            }
        });
        assert_eq!(here.fingerprint(&grown), first);
        assert_ne!(here.fingerprint(&table(&|table| table["comment"] = json!("other"))), first);
        assert_ne!(elsewhere.fingerprint(&table(&|_| {})), first);
    }

    #[test]
    fn tables_without_the_prefix_are_no_tables_of_wordpress_and_keep_their_names() {
        let mut source = side("a.example", "8.2.1", "7.2");
        source["unprefixed_tables"] = json!(["options", "copy_options", "crm"]);
        let mut target = side("b.example", "8.2.1", "7.2");
        target["wordpress"]["prefix"] = json!("Copy_");
        let plan = plan(&source, &target).unwrap();
        assert!(plan.is_core_table("wp_options") && plan.is_core_table("people"), "renamed users");
        assert!(!plan.is_core_table("options") && !plan.is_core_table("wp_x"));
        assert_eq!(
            (plan.base("wp_options"), plan.base("options"), plan.base("people")),
            ("options", "", "people")
        );
        let renamed = |name| plan.renamed(name);
        assert_eq!(renamed("wp_options").as_deref(), Some("Copy_options"));
        assert_eq!(renamed("crm").as_deref(), Some("crm"));
        assert_eq!(renamed("copy_options"), None, "the target would take it for its own");
    }

    #[test]
    fn tables_without_the_prefix_beyond_those_that_are_listed_are_known_by_their_names() {
        let mut source = side("a.example", "8.2.1", "7.2");
        source["wordpress"]["user_tables"] = json!({"users": "people", "usermeta": "wp_people_meta"});
        (source["unprefixed_tables"], source["unprefixed_count"]) = (json!(["crm"]), json!(2));
        let mut target = side("b.example", "8.2.1", "7.2");
        target["wordpress"]["prefix"] = json!("copy_");
        let plan = plan(&source, &target).unwrap();
        for (name, base, is_core, new) in [
            ("crm", "", false, Some("crm")),
            ("options", "", false, Some("options")),
            ("copy_options", "", false, None),
            ("people", "users", true, Some("copy_users")),
            ("wp_people_meta", "usermeta", true, Some("copy_usermeta")),
            ("wp_options", "options", true, Some("copy_options")),
            ("wp_x", "x", false, Some("copy_x")),
        ] {
            assert_eq!((plan.base(name), plan.is_core_table(name)), (base, is_core), "{name}");
            assert_eq!(plan.renamed(name).as_deref(), new, "{name}");
        }
    }

    #[test]
    fn users_tables_get_the_names_that_the_target_has_for_them_and_left_over_ones_stay() {
        let mut source = side("a.example", "8.2.1", "7.2");
        source["wordpress"]["user_tables"] = json!({"users": "people", "usermeta": "wp_people_meta"});
        let mut target = side("b.example", "8.2.1", "7.2");
        let usual = plan(&source, &target).unwrap();
        for (name, base, new) in [
            ("people", "users", Some("wp_users")),
            ("wp_people_meta", "usermeta", Some("wp_usermeta")),
            ("wp_users", "users", None),
            ("wp_usermeta", "usermeta", None),
            ("wp_posts", "posts", Some("wp_posts")),
        ] {
            assert_eq!((usual.base(name), usual.renamed(name).as_deref()), (base, new), "{name}");
            assert_eq!(usual.is_core_table(name), new.is_some(), "{name}");
        }
        assert!(usual.renames_tables());
        target["wordpress"]["user_tables"] = json!({"users": "members", "usermeta": "wp_people_meta"});
        let named = plan(&source, &target).unwrap();
        assert_eq!(named.renamed("people").as_deref(), Some("members"));
        assert_eq!(named.renamed("wp_users").as_deref(), Some("wp_users"), "it is no table of users there");
        assert_ne!(named.mapping, usual.mapping, "a job is not continued with other names");
        let same = side("b.example", "8.2.1", "7.2");
        assert!(!plan(&same, &same).unwrap().renames_tables());
    }

    #[test]
    fn the_tables_of_wordpress_are_known_by_name_or_by_having_no_prefix() {
        let plan = plan(&side("a.example", "8.2.1", "7.2"), &side("b.example", "8.2.1", "7.2")).unwrap();
        for (name, is_core) in
            [("wp_posts", true), ("members", true), ("wp_shop_posts", false), ("wp_log", false)]
        {
            assert_eq!(plan.is_core_table(name), is_core, "{name}");
        }
    }

    #[test]
    fn plugins_that_protect_the_login_are_deactivated_by_their_directory() {
        let mut source = side("a.example", "8.2.1", "7.2");
        let plugin = |file: &str| json!({"file": file, "version": "1"});
        source["wordpress"]["plugins"] = json!([
            plugin("wordfence/wordfence.php"),
            plugin("wordfence-assistant/wordfence.php"),
            plugin("wordfence.php"),
            plugin("two-factor/any.php"),
            plugin("akismet/two-factor.php"),
        ]);
        let plan = plan(&source, &side("b.example", "8.2.1", "7.2")).unwrap();
        assert_eq!(plan.deactivated_plugins, ["wordfence/wordfence.php", "two-factor/any.php"]);
    }
}
