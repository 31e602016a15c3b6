//! Printing of the figures.

use std::fmt::Write;

/// Which direction is better.
#[derive(Clone, Copy)]
pub(crate) enum Better {
    More,
    Less,
}

/// A table of text and figures.
pub(crate) struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str, head: &[&str]) -> Self {
        Self { title: title.into(), head: head.iter().map(|&h| h.into()).collect(), rows: Vec::new() }
    }

    /// The table of both sides.
    pub(crate) fn of_both(rounds: u32) -> Self {
        let title = format!("Medians of {rounds} rounds (least to most)");
        Self::new(&title, &["", "wpclone", "BullMQ", "wpclone is ahead by"])
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// A row of [`Table::of_both`].
    pub(crate) fn both(&mut self, name: &str, ours: &[f64], peer: Option<Vec<f64>>, better: Better) {
        let ahead = peer.as_deref().map(|peer| match better {
            Better::More => median(ours) / median(peer),
            Better::Less => median(peer) / median(ours),
        });
        let ahead = ahead.map_or(String::new(), |ahead| format!("{ahead:.2}×"));
        self.row(vec![name.into(), spread(ours), peer.as_deref().map_or(String::new(), spread), ahead]);
    }

    /// The table for a terminal.
    pub(crate) fn plain(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column| lines().map(|line| cell(line, column).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for line in lines() {
            let mut row = format!("{:<1$}", cell(line, 0), widths[0]);
            for (column, width) in widths.iter().enumerate().skip(1) {
                let _ = write!(row, "  {:>width$}", cell(line, column));
            }
            let _ = writeln!(text, "  {}", row.trim_end());
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.head.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}:\n\n{}{rule}{rows}", self.title, line(&self.head)).trim_end().to_owned()
    }
}

fn cell(line: &[String], column: usize) -> &str {
    line.get(column).map_or("", String::as_str)
}

/// Joins tables of the same title.
pub(crate) fn joined(tables: Vec<Table>) -> Vec<Table> {
    let mut all: Vec<Table> = Vec::new();
    for table in tables {
        match all.iter_mut().find(|t| t.title == table.title) {
            Some(same) => same.rows.extend(table.rows),
            None => all.push(table),
        }
    }
    all
}

/// A quantile.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    // Small and not negative: exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (part * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The median with minimum and maximum.
pub(crate) fn spread(values: &[f64]) -> String {
    match values {
        [value] => number(*value),
        _ => format!(
            "{} ({}–{})",
            number(median(values)),
            number(quantile(values, 0.0)),
            number(quantile(values, 1.0))
        ),
    }
}

/// A number with at least three digits, in groups of three.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => thousands(&format!("{value:.0}")),
    }
}

/// Digits in groups of three.
pub(crate) fn thousands(digits: &str) -> String {
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.filter_map(|group| std::str::from_utf8(group).ok()).collect::<Vec<_>>().join(",")
}
