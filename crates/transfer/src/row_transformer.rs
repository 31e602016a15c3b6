//! What becomes of a row on its way: its addresses move, names follow the table prefix, and what must not be in a copy
//! stays behind.

use std::borrow::Cow;

use wpclone_migrator::{Column, Table};
use wpclone_rewrite::{PrefixMapping, Report, Rewriter};

use crate::active_plugins;
use crate::fidelity::OmitReason;

/// Keys of user metadata that open doors: sessions and application passwords belong to the original alone.
const CREDENTIAL_META_KEYS: [&[u8]; 2] = [b"session_tokens", b"_application_passwords"];

/// Options that WordPress keeps salts and keys in when wp-config.php has none.
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

/// How many left-overs of a table are told with their context.
const LEFT_OVERS: usize = 100;

/// What a row becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RowAction {
    /// It goes on; some of its values may be new.
    Keep,
    /// It stays behind.
    Omit(OmitReason),
}

/// How a column's values are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnRule {
    /// They hold no text.
    AsIs,
    /// They may hold addresses; with how long one may be.
    Text(Room),
    /// Names after the table prefix.
    OptionName,
    UserMetaKey,
}

/// How long a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Bytes(u64),
    /// Letters, whose number only the charset tells.
    Letters {
        most: u64,
        utf8: bool,
    },
}

/// Mends the rows of one table.
pub(crate) struct RowTransformer<'a> {
    rewriter: &'a Rewriter,
    prefix: Option<&'a PrefixMapping>,
    columns: Vec<ColumnRule>,
    /// Of this kind of table, where the name of the row's thing stands.
    named: Option<(Named, usize)>,
    /// Where options, and metadata of posts, have their values.
    named_value: Option<usize>,
    /// Plugins that are not to be active.
    off: &'a [String],
    /// What the value of the row at hand is.
    holds: ValueKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Option,
    UserMeta,
    PostMeta,
}

/// What is known of a value by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    /// Nothing.
    Anything,
    /// The list of active plugins.
    Plugins,
    /// An address and nothing else: that of an item in a menu.
    Address,
}

impl<'a> RowTransformer<'a> {
    /// For a table whose name without the prefix is `base`.
    pub(crate) fn new(
        table: &Table,
        base: &str,
        rewriter: &'a Rewriter,
        prefix: Option<&'a PrefixMapping>,
    ) -> Self {
        let place = |name: &str| table.transferred_columns().position(|column| column.name == name);
        let named = match base {
            "options" => place("option_name").map(|at| (Named::Option, at)),
            "usermeta" => place("meta_key").map(|at| (Named::UserMeta, at)),
            "postmeta" => place("meta_key").map(|at| (Named::PostMeta, at)),
            // wp-config.php may give the users' tables names of its own.
            _ if place("umeta_id").is_some() => place("meta_key").map(|at| (Named::UserMeta, at)),
            _ => None,
        };
        let mut columns: Vec<ColumnRule> =
            table.transferred_columns().map(|column| column_rule(column, table)).collect();
        if let Some((kind, at)) = named {
            match kind {
                Named::Option => columns[at] = ColumnRule::OptionName,
                Named::UserMeta => columns[at] = ColumnRule::UserMetaKey,
                Named::PostMeta => {}
            }
        }
        let named_value = match named {
            Some((Named::Option, _)) => place("option_value"),
            Some((Named::PostMeta, _)) => place("meta_value"),
            _ => None,
        };
        Self { rewriter, prefix, columns, named, named_value, off: &[], holds: ValueKind::Anything }
    }

    /// These plugins are not active in what comes out.
    pub(crate) fn without(self, off: &'a [String]) -> Self {
        Self { off, ..self }
    }

    /// Whether nothing of the table can change, so that its rows may travel unread.
    pub(crate) fn is_idle(&self) -> bool {
        self.columns.iter().all(|treat| *treat == ColumnRule::AsIs)
    }

    /// Looks at the small values of the next row, and decides whether it goes on. `None` are NULL, and those too large to name anything.
    pub(crate) fn fate<'v>(&mut self, value: impl Fn(usize) -> Option<&'v [u8]>) -> RowAction {
        let name = self.named.and_then(|(kind, at)| Some((kind, value(at)?)));
        self.holds = match name {
            Some((Named::Option, b"active_plugins")) => ValueKind::Plugins,
            Some((Named::PostMeta, b"_menu_item_url")) => ValueKind::Address,
            _ => ValueKind::Anything,
        };
        match name {
            Some((Named::UserMeta, key)) if CREDENTIAL_META_KEYS.contains(&key) => {
                RowAction::Omit(OmitReason::Session)
            }
            Some((Named::Option, name)) if SALTS.contains(&name) => RowAction::Omit(OmitReason::Salt),
            _ => RowAction::Keep,
        }
    }

    /// A value as it goes on; borrowed when nothing of it changes.
    pub(crate) fn value<'v>(&self, column: usize, value: &'v [u8], report: &mut Report) -> Cow<'v, [u8]> {
        let named = |new: Option<Vec<u8>>| new.map_or(Cow::Borrowed(value), Cow::Owned);
        match self.holds {
            ValueKind::Plugins if self.named_value == Some(column) => {
                return named(active_plugins::without(value, self.off));
            }
            ValueKind::Address if self.named_value == Some(column) => {
                self.rewriter.count_root_relative_value(value, report);
            }
            _ => {}
        }
        match self.columns.get(column) {
            Some(ColumnRule::Text(room)) => self.text(value, *room, report),
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
            Some(ColumnRule::AsIs) | None => Cow::Borrowed(value),
        }
    }

    /// Whether a column's values may change.
    pub(crate) fn touches(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|treat| *treat != ColumnRule::AsIs)
    }

    fn text<'v>(&self, value: &'v [u8], room: Room, report: &mut Report) -> Cow<'v, [u8]> {
        let mut own = Report::default();
        let new = self.rewriter.rewrite(value, &mut own);
        if matches!(new, Cow::Owned(_)) && !room.fits(&new) {
            // It would be cut off: an old address is better than half a new one.
            *report.unreplaced.entry(wpclone_rewrite::UnreplacedReason::ColumnTooShort).or_default() +=
                own.replaced_addresses;
            report.values += 1;
            return Cow::Borrowed(value);
        }
        own.unreplaced_samples.truncate(LEFT_OVERS.saturating_sub(report.unreplaced_samples.len()));
        report.merge(own);
        new
    }
}

impl Room {
    fn fits(self, value: &[u8]) -> bool {
        match self {
            Self::Bytes(most) => value.len() as u64 <= most,
            Self::Letters { most, utf8 } => {
                // In UTF-8 every byte but those that continue a letter begins one.
                let letters = if utf8 {
                    value.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
                } else {
                    value.len()
                };
                letters as u64 <= most
            }
        }
    }
}

/// By its type. What is no text has no addresses, but for the `json` of MySQL.
fn column_rule(column: &Column, table: &Table) -> ColumnRule {
    let kind = column.kind.to_ascii_lowercase();
    let name = kind.split(['(', ' ']).next().unwrap_or_default();
    let given = kind.split(['(', ')']).nth(1).and_then(|number| number.parse().ok());
    let charset = column.charset.as_deref().unwrap_or(&table.charset);
    let room = match name {
        "char" | "varchar" => Room::Letters { most: given.unwrap_or(1), utf8: charset.starts_with("utf8") },
        "varbinary" => Room::Bytes(given.unwrap_or(1)),
        "tinytext" | "tinyblob" => Room::Bytes((1 << 8) - 1),
        "text" | "blob" => Room::Bytes((1 << 16) - 1),
        "mediumtext" | "mediumblob" => Room::Bytes((1 << 24) - 1),
        "longtext" | "longblob" | "json" => Room::Bytes((1 << 32) - 1),
        _ => return ColumnRule::AsIs,
    };
    ColumnRule::Text(room)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wpclone_rewrite::{Options, SiteMapping};

    use super::*;

    fn table(columns: &[(&str, &str, &str)]) -> Table {
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

    fn rewriter() -> Rewriter {
        let pair = SiteMapping::new("http://a.example", "https://a-longer-name.example").unwrap();
        Rewriter::new(&[pair], Options::default()).unwrap()
    }

    #[test]
    fn only_columns_with_text_are_looked_into() {
        let kinds =
            ["bigint(20) unsigned", "datetime", "bit(1)", "point", "enum('http://a.example')", "binary(16)"];
        let columns: Vec<_> = kinds.iter().map(|kind| ("c", *kind, "utf8mb4")).collect();
        let rewriter = rewriter();
        let transformer = RowTransformer::new(&table(&columns), "x", &rewriter, None);
        assert!(transformer.is_idle());
        let texts = ["varchar(99)", "LONGTEXT", "json", "mediumblob"];
        let columns: Vec<_> = texts.iter().map(|kind| ("c", *kind, "utf8mb4")).collect();
        let transformer = RowTransformer::new(&table(&columns), "x", &rewriter, None);
        for column in 0..texts.len() {
            let new = transformer.value(column, b"http://a.example/x", &mut Report::default());
            assert_eq!(&*new, b"https://a-longer-name.example/x");
        }
    }

    #[test]
    fn an_address_that_would_be_cut_off_stays_and_is_counted() {
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
    fn sessions_and_salts_stay_behind_and_names_follow_the_prefix() {
        let (rewriter, prefix) = (rewriter(), PrefixMapping::new("wp_", "x7_"));
        let usermeta =
            table(&[("umeta_id", "bigint(20)", "utf8mb4"), ("meta_key", "varchar(255)", "utf8mb4")]);
        let mut transformer = RowTransformer::new(&usermeta, "usermeta", &rewriter, Some(&prefix));
        let mut fate = |key: &'static [u8]| transformer.fate(|at| (at == 1).then_some(key));
        assert_eq!(fate(b"session_tokens"), RowAction::Omit(OmitReason::Session));
        assert_eq!(fate(b"_application_passwords"), RowAction::Omit(OmitReason::Session));
        assert_eq!(fate(b"nickname"), RowAction::Keep);
        let mut report = Report::default();
        assert_eq!(&*transformer.value(1, b"wp_capabilities", &mut report), b"x7_capabilities");
        let options =
            table(&[("option_name", "varchar(191)", "utf8mb4"), ("option_value", "longtext", "utf8mb4")]);
        let mut transformer = RowTransformer::new(&options, "options", &rewriter, Some(&prefix));
        assert_eq!(transformer.fate(|_| Some(b"auth_salt")), RowAction::Omit(OmitReason::Salt));
        assert_eq!(&*transformer.value(0, b"wp_user_roles", &mut report), b"x7_user_roles");
        assert_eq!(&*transformer.value(0, b"http://a.example", &mut report), b"http://a.example", "a name");
        assert_eq!(report.prefix_renames, 2);
    }

    #[test]
    fn addresses_of_menu_items_without_a_host_are_counted_where_the_path_changes() {
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
            transformer.fate(|at| (at == 0).then_some(key.as_bytes()));
            transformer.value(1, value.as_bytes(), &mut report);
        }
        assert_eq!(report.unreplaced.get(&wpclone_rewrite::UnreplacedReason::RootRelative), Some(&2));
        assert_eq!(report.replaced_addresses, 1);
    }
}
