//! Which columns decide whether a database accepts a row, and by which others refer to it.

use std::collections::{HashMap, HashSet};

use wpclone_migrator::{Check, Column, Definition, Table};

/// For each transferred column, whether a unique index or a check depends on it: on the column, or on what is generated from
/// it.
pub(crate) fn constrained_columns(table: &Table) -> Vec<bool> {
    let parts = || table.indexes.iter().filter(|index| index.unique).flat_map(|index| &index.parts);
    let mut constrained: HashSet<String> =
        parts().filter_map(|part| part.column.as_ref()).map(|name| name.to_lowercase()).collect();
    let checks = table.checks.iter().filter(|check| check.enforced && !is_of_json(check));
    let mut expressions: Vec<_> = parts().filter_map(|part| part.expression.as_ref()).collect();
    expressions.extend(checks.map(|check| &check.expression));
    let generated = || table.columns.iter().filter_map(|column| Some((column, column.generated.as_ref()?)));
    let is_generated = |column: &Column| constrained.contains(&column.name.to_lowercase());
    if !expressions.is_empty() || generated().any(|(column, _)| is_generated(column)) {
        // Generated columns may be made of each other.
        expressions.extend(generated().map(|(_, generated)| &generated.expression));
    }
    // Databases quote the names in expressions. What is between two quotes may also be what is between two names.
    let quoted = expressions.iter().flat_map(|text| text.split('`').skip(1));
    constrained.extend(quoted.map(str::to_lowercase));
    // A quote in a name is doubled, and splits it.
    let has_quotes_in_names = expressions.iter().any(|text| text.contains("``"));
    let is_constrained = |column: &Column| {
        constrained.contains(&column.name.to_lowercase()) || has_quotes_in_names && column.name.contains('`')
    };
    table.transferred_columns().map(is_constrained).collect()
}

/// The columns that foreign keys refer to, by the name of their table; all in lower case.
pub(crate) type ReferredColumns = HashMap<String, HashSet<String>>;

/// The columns that foreign keys of these definitions refer to.
pub(crate) fn referred_columns(all: &[Definition]) -> ReferredColumns {
    let mut referred = ReferredColumns::new();
    for definition in all {
        let Definition::Table(table) = definition else { continue };
        for key in &table.foreign_keys {
            let columns = referred.entry(key.table.to_lowercase()).or_default();
            columns.extend(key.references.iter().map(|name| name.to_lowercase()));
        }
    }
    referred
}

/// For each transferred column, whether a foreign key names it: one of the table, or one that refers to the table.
pub(crate) fn columns_of_foreign_keys(table: &Table, referred: &ReferredColumns) -> Vec<bool> {
    let referred = referred.get(&table.name.to_lowercase());
    let own: HashSet<String> =
        table.foreign_keys.iter().flat_map(|key| &key.columns).map(|name| name.to_lowercase()).collect();
    let is_named = |name: String| own.contains(&name) || referred.is_some_and(|names| names.contains(&name));
    table.transferred_columns().map(|column| is_named(column.name.to_lowercase())).collect()
}

/// Whether a check is what makes a column one of JSON in MariaDB. With new addresses JSON stays JSON.
fn is_of_json(check: &Check) -> bool {
    let expression = check.expression.to_lowercase();
    let column = expression.strip_prefix("json_valid(`").and_then(|rest| rest.strip_suffix("`)"));
    column.is_some_and(|column| !column.replace("``", "").contains('`'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(columns: &[(&str, Option<&str>)], indexes: &[Value]) -> Table {
        let column = |(name, generated): &(&str, Option<&str>)| {
            json!({"name": name, "type": "varchar(99)", "nullable": true, "default": null, "auto_increment": false,
                "on_update": null, "charset": "utf8mb4", "collation": null, "comment": "",
                "generated": generated.map(|text| json!({"expression": text, "stored": false})),
                "invisible": false, "srid": null})
        };
        let columns: Vec<_> = columns.iter().map(column).collect();
        serde_json::from_value(
            json!({"name": "wp_x", "engine": "InnoDB", "charset": "utf8mb4", "collation": "c",
            "row_format": null, "comment": "", "auto_increment": null, "columns": columns, "indexes": indexes,
            "foreign_keys": [], "checks": []}),
        )
        .unwrap()
    }

    #[test]
    fn columns_of_foreign_keys_are_known_on_both_sides() {
        let key = |columns: &[&str], table: &str, references: &[&str]| {
            serde_json::from_value(
                json!({"name": "k", "columns": columns, "table": table, "references": references,
                "on_delete": "CASCADE", "on_update": "CASCADE"}),
            )
            .unwrap()
        };
        let columns = [("id", None), ("h", None), ("made", Some("md5(`h`)")), ("page", None)];
        let mut own = table(&columns, &[]);
        let of = |table: &Table, all: &[Definition]| columns_of_foreign_keys(table, &referred_columns(all));
        assert_eq!(of(&own, &[]), [false; 3]);
        own.foreign_keys.push(key(&["page"], "wp_pages", &["id"]));
        assert_eq!(of(&own, &[]), [false, false, true]);
        let mut other = table(&columns, &[]);
        other.name = "wp_y".into();
        other.foreign_keys = vec![key(&["page"], "wp_X", &["H"]), key(&["page"], "wp_z", &["id"])];
        assert_eq!(of(&own, &[Definition::Table(other)]), [false, true, true]);
    }

    fn index(unique: bool, parts: &[Value]) -> Value {
        json!({"name": "i", "unique": unique, "kind": "BTREE", "comment": "", "parts": parts})
    }

    fn part(column: &str, length: Option<u32>) -> Value {
        json!({"column": column, "length": length, "descending": false})
    }

    #[test]
    fn columns_of_unique_indexes_and_what_they_are_generated_from_are_known() {
        let columns = [("id", None), ("url", None), ("lang", None), ("h", Some("md5(`src`)")), ("src", None)];
        let of = |indexes: &[Value]| constrained_columns(&table(&columns, indexes));
        assert_eq!(of(&[]), [false; 4]);
        assert_eq!(of(&[index(false, &[part("url", None)])]), [false; 4]);
        assert_eq!(
            of(&[index(true, &[part("URL", Some(50)), part("lang", None)])]),
            [false, true, true, false]
        );
        assert_eq!(of(&[index(true, &[part("h", None)])]), [false, false, false, true]);
        let check = |expression: &str, enforced: bool| {
            let mut table = table(&columns, &[]);
            table.checks.push(Check { name: "c".into(), expression: expression.into(), enforced });
            constrained_columns(&table)
        };
        assert_eq!(check("`url` like 'http://%' or `h` = ''", true), [false, true, false, true]);
        assert_eq!(check("`url` like 'http://%'", false), [false; 4]);
        assert_eq!(check("json_valid(`url`)", true), [false; 4]);
        assert_eq!(check("json_valid(`url`) and `lang` <> ''", true), [false, true, true, true]);
        // Other names that begin alike, texts with a quote, and names with one.
        assert_eq!(check("`url_of_page` <> ''", true), [false, false, false, true]);
        assert_eq!(check("concat('it`s', `URL`) <> `lang`", true), [false, true, true, true]);
        let quoted = table(&[("a`b", None), ("b", None)], &[]);
        let of_quoted = |expression: &str| {
            let mut table = quoted.clone();
            table.checks.push(Check { name: "c".into(), expression: expression.into(), enforced: true });
            constrained_columns(&table)
        };
        assert_eq!(of_quoted("`a``b` <> ''"), [true, true]);
        assert_eq!(of_quoted("`b` <> ''"), [false, true]);
        let expression = json!({"expression": "lower(`url`)", "length": null, "descending": false});
        let found = of(&[index(true, &[expression])]);
        assert!(found[1] && !found[0] && !found[2]);
    }
}
