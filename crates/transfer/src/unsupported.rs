//! Parts of a table's definition that a target does not accept: they are left out, one by one, as long as the rows do not
//! depend on them.

use std::collections::HashSet;

use serde_json::{Value, json};
use wpclone_migrator::{Adjustment, Column, DefaultValue, ForeignKey, Table, TableIndex};

/// Leaves out the part of a definition at a path, such as `columns.3.default.expression`. `None` if the table cannot do
/// without it.
pub(crate) fn leave_out(table: &mut Table, path: &str) -> Option<Adjustment> {
    let mut parts = path.split('.');
    let (list, at, part) = (parts.next()?, parts.next()?.parse::<usize>().ok()?, parts.next());
    let from = match (list, part) {
        ("columns", Some("default")) => default_text(table.columns.get_mut(at)?.default.take()?),
        ("columns", Some("srid")) => json!(table.columns.get_mut(at)?.srid.take()?),
        ("columns", Some("comment")) => std::mem::take(&mut table.columns.get_mut(at)?.comment).into(),
        // Its values are not transferred.
        ("columns", Some("generated")) => {
            let column = table.columns.get(at).filter(|column| column.generated.is_some())?.clone();
            table.columns.remove(at);
            without_column(table, &column);
            column.name.into()
        }
        ("checks", _) if at < table.checks.len() => table.checks.remove(at).name.into(),
        ("indexes", _) if at < table.indexes.len() => table.indexes.remove(at).name.into(),
        ("periods", _) if at < table.periods.len() => {
            let period = table.periods.remove(at).name;
            table.indexes.retain(|index| index.without_overlaps.as_ref() != Some(&period));
            period.into()
        }
        _ => return None,
    };
    Some(Adjustment { field: path.to_owned(), from, to: Value::Null })
}

/// Leaves out foreign keys to tables that are not transferred.
pub(crate) fn without_dangling_foreign_keys(table: &mut Table, names: &HashSet<String>) -> Vec<Adjustment> {
    let keys = std::mem::take(&mut table.foreign_keys).into_iter();
    let (kept, dangling): (Vec<_>, Vec<_>) = keys.partition(|key| names.contains(&key.table));
    table.foreign_keys = kept;
    let adjustment = |key: ForeignKey| Adjustment {
        field: format!("foreign_keys.{}", key.name),
        from: format!("references {}", key.table).into(),
        to: Value::Null,
    };
    dangling.into_iter().map(adjustment).collect()
}

/// What the copy of a table lacks in any case.
pub(crate) fn inherent_adjustments(table: &Table) -> Vec<Adjustment> {
    let mut adjustments = Vec::new();
    let mut add = |field: String, from: Value, to: Value| adjustments.push(Adjustment { field, from, to });
    if table.versioned {
        add("former rows".into(), "at the source".into(), "not in the copy".into());
    }
    for column in table.columns.iter().filter(|column| is_row_version(column)) {
        add(format!("values of {}", column.name), "of the source".into(), "the time of the copy".into());
    }
    for column in &table.columns {
        if let Some(expression) = &column.computed {
            add(format!("generated {}", column.name), expression.as_str().into(), "its values".into());
        }
    }
    adjustments
}

/// Whether a column has the begin or end of a row's version.
fn is_row_version(column: &Column) -> bool {
    column.generated.as_ref().is_some_and(|generated| generated.expression.starts_with("ROW "))
}

fn without_column(table: &mut Table, column: &Column) {
    let uses = |index: &TableIndex| index.parts.iter().any(|part| part.column.as_ref() == Some(&column.name));
    table.indexes.retain(|index| !uses(index));
    table.periods.retain(|period| period.from != column.name && period.to != column.name);
}

fn default_text(default: DefaultValue) -> Value {
    match default {
        DefaultValue::Expression(text) | DefaultValue::Text(text) | DefaultValue::Hex(text) => text.into(),
        DefaultValue::Sequence(name) => format!("NEXT VALUE FOR {name}").into(),
        DefaultValue::Now(_) => "CURRENT_TIMESTAMP".into(),
        DefaultValue::Null(_) => "NULL".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |name: &str, more: Value| {
            let mut column = json!({"name": name, "type": "int(11)", "nullable": true, "default": null,
                "auto_increment": false, "on_update": null, "charset": null, "collation": null, "comment": "",
                "generated": null, "srid": null});
            column.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            column
        };
        let index = |name: &str, column: &str| {
            json!({"name": name, "unique": false, "kind": "BTREE", "comment": "",
                "parts": [{"column": column, "length": null, "descending": false}]})
        };
        serde_json::from_value(json!({
            "name": "wp_x", "engine": "InnoDB", "charset": "utf8mb4", "collation": "c", "row_format": null,
            "comment": "", "auto_increment": null,
            "columns": [
                column("a", json!({"default": {"expression": "f()"}})),
                column("b", json!({"generated": {"expression": "ROW START", "stored": true}})),
                column("c", json!({"computed": "g(`a`)"})),
            ],
            "indexes": [index("of_a", "a"), index("of_b", "b")],
            "foreign_keys": [
                {"name": "inside", "columns": ["a"], "table": "wp_y", "references": ["id"], "on_delete": "CASCADE", "on_update": "CASCADE"},
                {"name": "outside", "columns": ["a"], "table": "crm", "references": ["id"], "on_delete": "CASCADE", "on_update": "CASCADE"},
            ],
            "checks": [{"name": "positive", "expression": "h(`a`)"}],
            "versioned": true, "periods": [{"name": "SYSTEM_TIME", "from": "b", "to": "d"}],
        }))
        .unwrap()
    }

    #[test]
    fn what_rows_do_not_depend_on_is_left_out_by_its_path() {
        let mut table = table();
        let made = leave_out(&mut table, "columns.0.default.expression").unwrap();
        assert_eq!((made.field.as_str(), &made.from), ("columns.0.default.expression", &json!("f()")));
        assert_eq!(table.columns[0].default, None);
        assert!(leave_out(&mut table, "columns.0.default.expression").is_none(), "there is none any more");
        assert_eq!(leave_out(&mut table, "checks.0.expression").unwrap().from, "positive");
        assert_eq!(leave_out(&mut table, "columns.1.generated.expression").unwrap().from, "b");
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((names, table.indexes.len(), table.periods.len()), (vec!["a", "c"], 1, 0));
        assert_eq!(leave_out(&mut table, "indexes.0.parts.0.expression").unwrap().from, "of_a");
        for path in [
            "columns.0.type",
            "columns.9.default",
            "columns.0.generated",
            "columns",
            "",
            "name",
            "checks.x.y",
        ] {
            assert!(leave_out(&mut table, path).is_none(), "{path}");
        }
    }

    #[test]
    fn foreign_keys_to_tables_that_stay_behind_are_left_out() {
        let mut table = table();
        let names = HashSet::from(["wp_x", "wp_y"].map(str::to_owned));
        let made = without_dangling_foreign_keys(&mut table, &names);
        assert_eq!(made.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), ["foreign_keys.outside"]);
        assert_eq!(table.foreign_keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["inside"]);
    }

    #[test]
    fn former_rows_and_what_became_values_is_named() {
        let made: Vec<_> = inherent_adjustments(&table()).into_iter().map(|one| one.field).collect();
        assert_eq!(made, ["former rows", "values of b", "generated c"]);
    }
}
