//! The report of a rewrite as a table.

use serde::Serialize;
use serde_json::Value;
use wpclone_rewrite::{LeftOver, Report};

use crate::text::table;

pub(super) fn report(report: &Report) -> String {
    let mut rows = vec![
        row("values", report.values),
        row("changed", report.changed),
        row("addresses", report.addresses),
    ];
    rows.extend(
        report.by_encoding.iter().map(|(encoding, count)| row(&format!("  in {}", name(encoding)), *count)),
    );
    if report.names > 0 {
        rows.push(row("names", report.names));
    }
    rows.extend(
        report.malformed.iter().map(|(why, count)| row(&format!("malformed, {}", name(why)), *count)),
    );
    rows.extend(report.stayed.iter().map(|(why, count)| row(&format!("left over, {}", name(why)), *count)));
    let mut text = table(&rows);
    if !report.left_overs.is_empty() {
        let head = ["WHY", "WITHIN", "AROUND IT"].map(str::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(head).chain(report.left_overs.iter().map(left_over)).collect();
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

fn left_over(left: &LeftOver) -> Vec<String> {
    let within: Vec<String> = left.within.iter().map(name).collect();
    vec![name(&left.why), within.join(","), left.context.clone()]
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
