//! The report of a rewrite as a table.

use serde::Serialize;
use serde_json::Value;
use wpclone_rewrite::{Report, UnreplacedAddress};

use crate::text::table;

pub(super) fn report(report: &Report) -> String {
    let mut rows = vec![
        row("values", report.values),
        row("changed values", report.changed_values),
        row("replaced addresses", report.replaced_addresses),
    ];
    rows.extend(
        report
            .replaced_by_encoding
            .iter()
            .map(|(encoding, count)| row(&format!("  in {}", name(encoding)), *count)),
    );
    if report.prefix_renames > 0 {
        rows.push(row("prefix renames", report.prefix_renames));
    }
    rows.extend(
        report.malformed.iter().map(|(why, count)| row(&format!("malformed, {}", name(why)), *count)),
    );
    rows.extend(
        report.unreplaced.iter().map(|(why, count)| row(&format!("unreplaced, {}", name(why)), *count)),
    );
    let mut text = table(&rows);
    if !report.unreplaced_samples.is_empty() {
        let head = ["REASON", "ENCODINGS", "CONTEXT"].map(str::to_owned).to_vec();
        let rows: Vec<_> =
            std::iter::once(head).chain(report.unreplaced_samples.iter().map(unreplaced)).collect();
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

fn unreplaced(left: &UnreplacedAddress) -> Vec<String> {
    let encodings: Vec<String> = left.encodings.iter().map(name).collect();
    vec![name(&left.reason), encodings.join(","), left.context.clone()]
}

fn row(name: &str, count: u64) -> Vec<String> {
    vec![name.to_owned(), count.to_string()]
}

/// The name of a value in JSON.
fn name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}
