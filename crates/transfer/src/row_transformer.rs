//! Transforms rows: replaces addresses, renames what is named after the table prefix, and omits credentials and salts.

use std::borrow::Cow;

use wpclone_migrator::Table;
use wpclone_rewrite::{PrefixMapping, Report, Rewriter};

use crate::active_plugins;
use crate::column_rule::ColumnRule;
use crate::constrained_columns::constrained_columns;
use crate::fidelity::OmitReason;
use crate::own_options::{OwnOption, OwnOptions};

/// User metadata with credentials: sessions and application passwords of the original must not be valid on a copy.
const CREDENTIAL_META_KEYS: [&[u8]; 2] = [b"session_tokens", b"_application_passwords"];

/// Options with salts and keys, which WordPress creates if wp-config.php has none.
const SALTS: [&[u8]; 9] = [
    b"auth_key",
    b"auth_salt",
    b"logged_in_key",
    b"logged_in_salt",
    b"nonce_key",
    b"nonce_salt",
    b"secure_auth_key",
    b"secure_auth_salt",
    b"secret",
];

/// What is done with a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RowAction {
    /// Transfer it; some of its values may change.
    Keep,
    /// Do not transfer it.
    Omit(OmitReason),
}

/// Transforms the rows of one table.
pub(crate) struct RowTransformer<'a> {
    rewriter: &'a Rewriter,
    prefix: Option<&'a PrefixMapping>,
    columns: Vec<ColumnRule>,
    /// Whether the database may not accept a column's new addresses, because of a unique index or a check.
    constrained: Vec<bool>,
    /// Whether a foreign key names a column.
    in_foreign_key: &'a [bool],
    /// The kind of key-value table, and the column of the key.
    named: Option<(KeyTable, usize)>,
    /// The column of the value, in options and post metadata.
    value_column: Option<usize>,
    /// Plugins to be removed from the list of active plugins.
    deactivated: &'a [String],
    /// The copy's own options, if they are known.
    own: Option<&'a OwnOptions>,
    /// What is known about the value of the current row.
    value_kind: ValueKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyTable {
    Option,
    UserMeta,
    PostMeta,
}

/// What the key of a row says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    /// Nothing.
    Anything,
    /// The list of active plugins.
    Plugins,
    /// An option that says where the site is.
    Own(OwnOption),
    /// A URL: that of a menu item.
    Address,
}

impl<'a> RowTransformer<'a> {
    /// A transformer for a table whose name without the prefix is `base`.
    pub(crate) fn new(
        table: &Table,
        base: &str,
        rewriter: &'a Rewriter,
        prefix: Option<&'a PrefixMapping>,
    ) -> Self {
        let place = |name: &str| table.transferred_columns().position(|column| column.name == name);
        let named = match base {
            "options" => place("option_name").map(|at| (KeyTable::Option, at)),
            "usermeta" => place("meta_key").map(|at| (KeyTable::UserMeta, at)),
            "postmeta" => place("meta_key").map(|at| (KeyTable::PostMeta, at)),
            // wp-config.php may rename the users' tables (`CUSTOM_USER_META_TABLE`).
            _ if place("umeta_id").is_some() => place("meta_key").map(|at| (KeyTable::UserMeta, at)),
            _ => None,
        };
        let mut columns: Vec<ColumnRule> =
            table.transferred_columns().map(|column| ColumnRule::of(column, table, rewriter)).collect();
        if let Some((kind, at)) = named {
            match kind {
                KeyTable::Option => columns[at] = ColumnRule::OptionName,
                KeyTable::UserMeta => columns[at] = ColumnRule::UserMetaKey,
                KeyTable::PostMeta => {}
            }
        }
        let value_column = match named {
            Some((KeyTable::Option, _)) => place("option_value"),
            Some((KeyTable::PostMeta, _)) => place("meta_value"),
            _ => None,
        };
        let mut constrained = constrained_columns(table);
        for (constrained, rule) in constrained.iter_mut().zip(&columns) {
            // Options that would get the name of a renamed one are omitted.
            *constrained &=
                !matches!(rule, ColumnRule::Copy | ColumnRule::OptionName | ColumnRule::UserMetaKey);
        }
        Self {
            rewriter,
            prefix,
            columns,
            constrained,
            in_foreign_key: &[],
            named,
            value_column,
            deactivated: &[],
            own: None,
            value_kind: ValueKind::Anything,
        }
    }

    /// Removes these plugins from the list of active plugins.
    pub(crate) fn deactivating(self, deactivated: &'a [String]) -> Self {
        Self { deactivated, ..self }
    }

    /// Gives the options that say where the site is these values.
    pub(crate) fn with_own_options(self, own: &'a OwnOptions) -> Self {
        Self { own: Some(own), ..self }
    }

    /// Keeps hashes in the columns of foreign keys.
    pub(crate) fn with_foreign_keys(self, in_foreign_key: &'a [bool]) -> Self {
        Self { in_foreign_key, ..self }
    }

    /// Whether no column of the table changes, so that rows can be copied without decoding them.
    pub(crate) fn is_copy(&self) -> bool {
        self.columns.iter().all(|rule| *rule == ColumnRule::Copy)
    }

    /// Decides about the next row. `value` returns small values; `None` for NULL and large ones, which are no keys.
    pub(crate) fn action<'v>(&mut self, value: impl Fn(usize) -> Option<&'v [u8]>) -> RowAction {
        let name = self.named.and_then(|(kind, at)| Some((kind, value(at)?)));
        self.value_kind = match name {
            Some((KeyTable::Option, b"active_plugins")) => ValueKind::Plugins,
            Some((KeyTable::Option, b"home")) => ValueKind::Own(OwnOption::Home),
            Some((KeyTable::Option, b"siteurl")) => ValueKind::Own(OwnOption::SiteUrl),
            Some((KeyTable::Option, b"upload_path")) => ValueKind::Own(OwnOption::UploadPath),
            Some((KeyTable::Option, b"upload_url_path")) => ValueKind::Own(OwnOption::UploadUrlPath),
            Some((KeyTable::PostMeta, b"_menu_item_url")) => ValueKind::Address,
            _ => ValueKind::Anything,
        };
        match name {
            Some((KeyTable::UserMeta, key)) if CREDENTIAL_META_KEYS.contains(&key) => {
                RowAction::Omit(OmitReason::Session)
            }
            Some((KeyTable::Option, name)) if SALTS.contains(&name) => RowAction::Omit(OmitReason::Salt),
            Some((kind, name)) if self.is_stale(kind, name) => RowAction::Omit(OmitReason::OtherPrefix),
            _ => RowAction::Keep,
        }
    }

    /// Whether a name belongs to the new prefix already: it is left of another installation, and would stand beside the
    /// one that is renamed.
    fn is_stale(&self, kind: KeyTable, name: &[u8]) -> bool {
        let Some(prefix) = self.prefix else { return false };
        match kind {
            KeyTable::Option => prefix.is_renamed_option(name),
            KeyTable::UserMeta => prefix.is_renamed_capability(name),
            KeyTable::PostMeta => false,
        }
    }

    /// The transformed value; borrowed if it did not change.
    pub(crate) fn value<'v>(&self, column: usize, value: &'v [u8], report: &mut Report) -> Cow<'v, [u8]> {
        let named = |new: Option<Vec<u8>>| new.map_or(Cow::Borrowed(value), Cow::Owned);
        match self.value_kind {
            ValueKind::Plugins if self.value_column == Some(column) => {
                return named(active_plugins::without(value, self.deactivated));
            }
            ValueKind::Own(option) if self.value_column == Some(column) => {
                if let Some(own) = self.own {
                    return self.own_value(value, own.value(option), report);
                }
            }
            ValueKind::Address if self.value_column == Some(column) => {
                self.rewriter.count_root_relative_value(value, report);
            }
            _ => {}
        }
        match self.columns.get(column) {
            Some(ColumnRule::OptionName) => {
                let new = named(self.prefix.and_then(|prefix| prefix.option(value)));
                report.prefix_renames += u64::from(matches!(new, Cow::Owned(_)));
                new
            }
            Some(ColumnRule::UserMetaKey) => {
                let new = named(self.prefix.and_then(|prefix| prefix.user_meta(value)));
                report.prefix_renames += u64::from(matches!(new, Cow::Owned(_)));
                new
            }
            Some(rule) => rule.rewrite(self.rewriter, value, report),
            None => Cow::Borrowed(value),
        }
    }

    /// Whether a column's values may change, and the database may not accept the new ones.
    pub(crate) fn is_constrained(&self, column: usize) -> bool {
        self.constrained.get(column).is_some_and(|constrained| *constrained)
    }

    /// Whether a hash of an address may get a new value: its column is one of text that can hold it, and others do not refer to
    /// rows by it.
    pub(crate) fn accepts_hash(&self, column: usize, value: &[u8]) -> bool {
        let is_named = |columns: &[bool]| columns.get(column).is_some_and(|named| *named);
        let is_referred_to = is_named(&self.constrained) || is_named(self.in_foreign_key);
        !is_referred_to && self.columns.get(column).is_some_and(|rule| rule.holds(value))
    }

    /// Whether a column's values may change.
    pub(crate) fn transforms(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|rule| *rule != ColumnRule::Copy)
    }

    /// The copy's own value instead of the source's: constants of the source's wp-config.php may override its rows, which then
    /// name any host or folder.
    fn own_value<'v>(&self, value: &'v [u8], own: &str, report: &mut Report) -> Cow<'v, [u8]> {
        // For its counts.
        let rewritten = self.rewriter.rewrite(value, report);
        if *rewritten == *own.as_bytes() { rewritten } else { Cow::Owned(own.as_bytes().to_vec()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use wpclone_rewrite::{Options, SiteMapping};

    use super::*;

    pub(crate) fn table(columns: &[(&str, &str, &str)]) -> Table {
        let column = |(name, kind, charset): &(&str, &str, &str)| {
            json!({"name": name, "type": kind, "nullable": true, "default": null, "auto_increment": false,
                "on_update": null, "charset": charset, "collation": null, "comment": "", "generated": null,
                "invisible": false, "srid": null})
        };
        let columns: Vec<_> = columns.iter().map(column).collect();
        let table = json!({"name": "wp_x", "engine": "InnoDB", "charset": "utf8mb4", "collation": "c", "row_format": null,
            "comment": "", "auto_increment": null, "columns": columns, "indexes": [], "foreign_keys": [], "checks": []});
        serde_json::from_value(table).unwrap()
    }

    pub(crate) fn rewriter() -> Rewriter {
        let pair = SiteMapping::new("http://a.example", "https://a-longer-name.example").unwrap();
        Rewriter::new(&[pair], Options::default()).unwrap()
    }

    #[test]
    fn only_text_columns_are_rewritten() {
        let kinds = ["bigint(20) unsigned", "datetime", "bit(1)", "point", "enum('a')", "inet6"];
        let columns: Vec<_> = kinds.iter().map(|kind| ("c", *kind, "utf8mb4")).collect();
        let rewriter = rewriter();
        let transformer = RowTransformer::new(&table(&columns), "x", &rewriter, None);
        assert!(transformer.is_copy());
        let texts = ["varchar(99)", "LONGTEXT", "json", "mediumblob"];
        let columns: Vec<_> = texts.iter().map(|kind| ("c", *kind, "utf8mb4")).collect();
        let transformer = RowTransformer::new(&table(&columns), "x", &rewriter, None);
        for column in 0..texts.len() {
            let new = transformer.value(column, b"http://a.example/x", &mut Report::default());
            assert_eq!(&*new, b"https://a-longer-name.example/x");
        }
    }

    #[test]
    fn an_address_that_its_column_would_truncate_is_kept_and_counted() {
        let rewriter = rewriter();
        let columns =
            [("c", "varchar(31)", "utf8mb4"), ("c", "varchar(31)", "latin1"), ("c", "tinytext", "utf8mb4")];
        let transformer = RowTransformer::new(&table(&columns), "x", &rewriter, None);
        let mut report = Report::default();
        let umlaut = "http://a.example/\u{fc}".as_bytes();
        assert_eq!(
            &*transformer.value(0, umlaut, &mut report),
            "https://a-longer-name.example/\u{fc}".as_bytes()
        );
        assert_eq!(&*transformer.value(1, umlaut, &mut report), umlaut, "32 letters of latin1");
        let long = [b"http://a.example/".as_slice(), &[b'x'; 230]].concat();
        assert_eq!(&*transformer.value(2, &long, &mut report), long);
        assert_eq!((report.replaced_addresses, report.unreplaced_total()), (1, 2));
    }

    #[test]
    fn sessions_and_salts_are_omitted_and_names_follow_the_prefix() {
        let (rewriter, prefix) = (rewriter(), PrefixMapping::new("wp_", "x7_"));
        let usermeta =
            table(&[("umeta_id", "bigint(20)", "utf8mb4"), ("meta_key", "varchar(255)", "utf8mb4")]);
        let mut transformer = RowTransformer::new(&usermeta, "usermeta", &rewriter, Some(&prefix));
        let mut action = |key: &'static [u8]| transformer.action(|at| (at == 1).then_some(key));
        assert_eq!(action(b"session_tokens"), RowAction::Omit(OmitReason::Session));
        assert_eq!(action(b"_application_passwords"), RowAction::Omit(OmitReason::Session));
        assert_eq!(action(b"nickname"), RowAction::Keep);
        let mut report = Report::default();
        assert_eq!(&*transformer.value(1, b"wp_capabilities", &mut report), b"x7_capabilities");
        let options =
            table(&[("option_name", "varchar(191)", "utf8mb4"), ("option_value", "longtext", "utf8mb4")]);
        let mut transformer = RowTransformer::new(&options, "options", &rewriter, Some(&prefix));
        assert_eq!(transformer.action(|_| Some(b"auth_salt")), RowAction::Omit(OmitReason::Salt));
        assert_eq!(&*transformer.value(0, b"wp_user_roles", &mut report), b"x7_user_roles");
        assert_eq!(&*transformer.value(0, b"http://a.example", &mut report), b"http://a.example", "a name");
        assert_eq!(report.prefix_renames, 2);
    }

    #[test]
    fn names_that_belong_to_the_new_prefix_already_are_omitted() {
        let (rewriter, prefix) = (rewriter(), PrefixMapping::new("wp_", "x7_"));
        let options =
            table(&[("option_name", "varchar(191)", "utf8mb4"), ("option_value", "longtext", "utf8mb4")]);
        let mut transformer = RowTransformer::new(&options, "options", &rewriter, Some(&prefix));
        assert_eq!(transformer.action(|_| Some(b"x7_user_roles")), RowAction::Omit(OmitReason::OtherPrefix));
        for name in [&b"wp_user_roles"[..], b"x7_page", b"x7_", b"user_roles"] {
            assert_eq!(transformer.action(|_| Some(name)), RowAction::Keep);
        }
        let usermeta =
            table(&[("umeta_id", "bigint(20)", "utf8mb4"), ("meta_key", "varchar(255)", "utf8mb4")]);
        let mut transformer = RowTransformer::new(&usermeta, "usermeta", &rewriter, Some(&prefix));
        let mut action = |key: &'static [u8]| transformer.action(|at| (at == 1).then_some(key));
        assert_eq!(action(b"x7_capabilities"), RowAction::Omit(OmitReason::OtherPrefix));
        assert_eq!(action(b"x7_user_level"), RowAction::Omit(OmitReason::OtherPrefix));
        assert_eq!(action(b"wp_capabilities"), RowAction::Keep);
        assert_eq!(action(b"x7_other"), RowAction::Keep);
        let mut same = RowTransformer::new(&usermeta, "usermeta", &rewriter, None);
        assert_eq!(same.action(|at| (at == 1).then_some(b"wp_capabilities")), RowAction::Keep);
    }

    #[test]
    fn options_that_say_where_a_site_is_become_those_of_the_copy_whatever_they_were() {
        let rewriter = rewriter();
        let options =
            table(&[("option_name", "varchar(191)", "utf8mb4"), ("option_value", "longtext", "utf8mb4")]);
        let own = OwnOptions {
            home: "https://copy.example".into(),
            siteurl: "https://copy.example/wp".into(),
            upload_path: String::new(),
            upload_url_path: "https://files.copy.example".into(),
        };
        let transformer = RowTransformer::new(&options, "options", &rewriter, None);
        let mut transformer = transformer.with_own_options(&own);
        let mut report = Report::default();
        for (name, value, new) in [
            ("home", "http://a.example", "https://copy.example"),
            ("home", "http://old-staging.example/x", "https://copy.example"),
            ("siteurl", "", "https://copy.example/wp"),
            ("upload_path", "/srv/a/files", ""),
            ("upload_path", "files", ""),
            ("upload_url_path", "", "https://files.copy.example"),
            ("upload_url_path", "https://cdn.example/x", "https://files.copy.example"),
            ("other", "http://old-staging.example/x", "http://old-staging.example/x"),
        ] {
            transformer.action(|at| (at == 0).then_some(name.as_bytes()));
            let value = transformer.value(1, value.as_bytes(), &mut report);
            assert_eq!(&*value, new.as_bytes(), "{name}");
        }
    }

    #[test]
    fn root_relative_menu_items_are_counted_where_the_path_changes() {
        let pair = SiteMapping::new("http://a.example", "http://b.example/clone").unwrap();
        let options = Options { count_root_relative: true, ..Options::default() };
        let rewriter = Rewriter::new(&[pair], options).unwrap();
        let postmeta =
            table(&[("meta_key", "varchar(255)", "utf8mb4"), ("meta_value", "longtext", "utf8mb4")]);
        let mut transformer = RowTransformer::new(&postmeta, "postmeta", &rewriter, None);
        let mut report = Report::default();
        for (key, value) in [
            ("_menu_item_url", "/contact/"),
            ("_menu_item_url", "http://a.example/contact/"),
            ("_other", "/contact/"),
            ("_other", "<a href=\"/contact/\">"),
        ] {
            transformer.action(|at| (at == 0).then_some(key.as_bytes()));
            transformer.value(1, value.as_bytes(), &mut report);
        }
        assert_eq!(report.unreplaced.get(&wpclone_rewrite::UnreplacedReason::RootRelative), Some(&2));
        assert_eq!(report.replaced_addresses, 1);
    }
}
