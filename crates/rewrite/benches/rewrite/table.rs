//! Prints the measurements as tables.

use std::fmt::Write;

/// A table with a title.
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Aligned text for a terminal.
    pub(crate) fn plain(&self) -> String {
        let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = self.title.clone();
        for row in &self.rows {
            let _ = write!(text, "\n  {:<1$}", cell(row, 0), widths[0]);
            for (column, width) in widths.iter().enumerate().skip(1) {
                let _ = write!(text, "  {:>width$}", cell(row, column));
            }
        }
        text
    }

    /// A Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
        let Some((head, rows)) = self.rows.split_first() else { return self.title.clone() };
        let rule = format!("|---|{}\n", "---:|".repeat(head.len() - 1));
        format!("{}:\n\n{}{rule}{}", self.title, line(head), rows.iter().map(line).collect::<String>())
            .trim_end()
            .to_owned()
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median with the smallest and largest value.
pub(crate) fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.0} ({least:.0}–{most:.0})", median(values))
}
