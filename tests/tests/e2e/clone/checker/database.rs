//! Tables compared: definitions, and every value of every row.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use wpclone_tests::Result;

use super::Pair;
use super::roots::ROOT_RELATIVE;
use super::tables::{Row, Table, read};
use crate::clone::at;

/// Differences of a table that the checker accepted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct TableCounts {
    source: u64,
    clone: u64,
    left_out: BTreeMap<String, u64>,
    changed: u64,
    /// Rows of volatile options, on either side.
    volatile: u64,
}

/// A value that differs on the clone, with its position.
struct DifferingValue {
    place: String,
    source: String,
    clone: String,
}

/// The clone's administrator, and the rows that a running clone adds or changes.
struct CloneAccount<'a> {
    prefix: &'a str,
    user: &'a str,
    user_id: String,
}

/// User metadata keys that grant access.
const LOGIN_META_KEYS: [&str; 2] = ["session_tokens", "_application_passwords"];
/// Options that hold the salts of a WordPress without salts in wp-config.php.
const SALTS: [&str; 3] = ["auth_salt", "logged_in_key", "nonce_key"];
/// Prefixes of options that page views change: cron, transients, caches, user counts.
const VOLATILE_OPTIONS: [&str; 5] =
    ["cron", "recently_activated", "_transient_", "_site_transient_", "user_count"];

impl Pair<'_> {
    /// Every table exists and is equal but for accepted differences; the report has the same numbers.
    pub(super) async fn assert_same_tables(&self) -> Result {
        let (source, clone) = tokio::join!(read(&self.source.database), read(&self.clone.database));
        let (mut source, mut clone) = (source?, clone?);
        source.retain(|name, _| !(self.is_foreign_table)(name));
        // The migrators' own: with their keys, and nothing of the site.
        let own = format!("{}wpclone_migrator", self.prefix);
        for tables in [&mut source, &mut clone] {
            tables.remove(&own);
        }
        let names = |tables: &BTreeMap<String, Table>| tables.keys().cloned().collect::<BTreeSet<_>>();
        self.equal("the tables", &names(&source), &names(&clone));
        let user = at(self.task, "/clone/username").as_str().unwrap();
        let users = &clone[&format!("{}users", self.prefix)];
        let user_id = users.rows.iter().find(|row| row[users.column_index("user_login")] == hex(user));
        let user_id = user_id.expect("the clone's administrator")[users.column_index("ID")].clone();
        let own = CloneAccount { prefix: self.prefix, user, user_id };
        let (mut counted, mut differing) = (BTreeMap::new(), Vec::new());
        for (name, there) in &source {
            let Some(copy) = clone.get(name) else { continue };
            self.equal(&format!("how {name} is defined"), &there.definition, &copy.definition);
            if there.columns != copy.columns {
                continue;
            }
            self.assert_next_number(name, there, copy);
            counted.insert(name.clone(), self.compare(name, there, copy, &own, &mut differing));
        }
        for place in self.different_values(&differing).await?.into_iter().take(20) {
            let DifferingValue { place, source, clone } = &differing[place];
            self.equal(place, &shown(source), &shown(clone));
        }
        self.assert_counts_as_reported(&counted);
        self.assert_unreplaced_as_reported(&clone);
        self.assert_same_routines().await
    }

    /// The clone's AUTO_INCREMENT is ahead of its source's, as reported.
    fn assert_next_number(&self, name: &str, source: &Table, clone: &Table) {
        if let (Some(source), Some(clone)) = (source.next, clone.next) {
            let reported = self.fidelity["tables"].as_array().into_iter().flatten();
            let offset = reported
                .filter(|table| table["name"] == name)
                .find_map(|t| t["auto_increment_offset"].as_u64());
            if clone < source + 10_000 || offset != Some(10_000) {
                self.fault(format!(
                    "the next number of {name}: {source}, on the clone {clone}, reported offset {offset:?}"
                ));
            }
        }
    }

    /// Compares two tables; values that are not byte-identical are added to `differing`.
    fn compare(
        &self,
        name: &str,
        source: &Table,
        clone: &Table,
        own: &CloneAccount<'_>,
        differing: &mut Vec<DifferingValue>,
    ) -> TableCounts {
        let volatile =
            |table: &Table| table.rows.iter().filter(|row| own.is_volatile(name, table, row)).count() as u64;
        let mut counted =
            TableCounts { volatile: volatile(source) + volatile(clone), ..TableCounts::default() };
        let (mut there, mut here) = (by_key(source), by_key(clone));
        here.retain(|_, rows| {
            rows.retain(|row| is_in_source(source, &there, row) || !own.is_clone_only(name, clone, row));
            !rows.is_empty()
        });
        there.retain(|key, rows| {
            rows.retain(|row| {
                // Volatile rows may be on either side.
                let gone = !here.contains_key(key) && own.is_volatile(name, source, row);
                counted.source += u64::from(!gone);
                if let Some(why) = own.omission_reason(name, source, row) {
                    *counted.left_out.entry(why.to_owned()).or_default() += 1;
                    return false;
                }
                !gone
            });
            !rows.is_empty()
        });
        let keys = |rows: &BTreeMap<Row, Vec<&Row>>| {
            rows.iter().map(|(key, rows)| (key.clone(), rows.len())).collect::<Vec<_>>()
        };
        let (expected, found) = (keys(&there), keys(&here));
        if expected != found {
            let text = |rows: &BTreeMap<Row, Vec<&Row>>, but: &BTreeMap<Row, Vec<&Row>>| {
                let alone = rows.iter().filter(|(key, rows)| but.get(*key).map(Vec::len) != Some(rows.len()));
                let begin = |cell: &String| shown(cell).chars().take(60).collect::<String>();
                let row = |row: &&Row| row.iter().take(6).map(begin).collect::<Vec<_>>();
                alone.take(10).map(|(_, rows)| (rows.len(), row(&rows[0]))).collect::<Vec<_>>()
            };
            self.fault(format!(
                "rows of {name} that are missing: {:?}; unexplained: {:?}",
                text(&there, &here),
                text(&here, &there)
            ));
            return counted;
        }
        for (rows, copies) in there.values().zip(here.values()) {
            for (row, copy) in rows.iter().zip(copies) {
                counted.clone += 1;
                for ((column, value), new) in source.columns.iter().zip(*row).zip(*copy) {
                    if value == new || own.may_differ(name, source, row) {
                        continue;
                    }
                    counted.changed += 1;
                    let key: Vec<_> = source.key.iter().map(|at| shown(&row[*at])).collect();
                    let place = format!("{column} of {name} {key:?}");
                    let (source, clone) = (value.clone(), new.clone());
                    differing.push(DifferingValue { place, source, clone });
                }
            }
        }
        counted
    }

    /// The report has the numbers that were counted here, for each table.
    fn assert_counts_as_reported(&self, counted: &BTreeMap<String, TableCounts>) {
        let tables = self.fidelity["tables"].as_array().unwrap();
        self.equal("tables that the report names", &counted.len(), &tables.len());
        for table in tables {
            let name = table["name"].as_str().unwrap();
            let number = |field: &str| table[field].as_u64().unwrap();
            let reported = TableCounts {
                source: number("source_rows"),
                clone: number("target_rows"),
                left_out: Self::left_out(table),
                changed: number("changed_values"),
                volatile: 0,
            };
            let Some(counted) = counted.get(name) else { continue };
            let mut here = counted.clone();
            // Rows inserted or deleted after the table was read.
            if here.source.abs_diff(reported.source) <= std::mem::take(&mut here.volatile) {
                here.clone = (here.clone + reported.source).saturating_sub(here.source);
                here.source = reported.source;
            }
            self.equal(name, &here, &reported);
        }
    }

    /// The report counts every remaining address of the source, and root-relative addresses.
    fn assert_unreplaced_as_reported(&self, clone: &BTreeMap<String, Table>) {
        let host = self.source.url.split('/').nth(2).unwrap();
        let spellings = [hex(host), hex(&host.replace(':', "%3A")), hex(&host.replace(':', "%3a"))];
        let mut found = 0;
        for (name, table) in clone {
            for cell in table.rows.iter().flatten() {
                let times: usize = spellings.iter().map(|spelling| bytes_in(cell, spelling)).sum();
                if times > 0 {
                    eprintln!("the source's host {times} times in {name}: {}", shown(cell));
                }
                found += times;
            }
        }
        let stayed = self.fidelity["rewrite"]["unreplaced"].as_object().into_iter().flatten();
        let hosts = stayed.filter(|(why, _)| *why != ROOT_RELATIVE);
        let reported: u64 = hosts.filter_map(|(_, count)| count.as_u64()).sum();
        self.equal("old hosts on the clone", &(found as u64), &reported);
        let relative = self.root_relative(clone);
        let reported = self.fidelity["rewrite"]["unreplaced"][ROOT_RELATIVE].as_u64().unwrap_or_default();
        self.equal("root-relative addresses", &(relative as u64), &reported);
        let named = self.fidelity["rewrite"]["unreplaced_samples"].as_array().unwrap();
        self.equal("addresses with their context", &(found + relative).min(200), &named.len());
    }

    /// The indexes of values that differ in more than the site's address.
    async fn different_values(&self, all: &[DifferingValue]) -> Result<Vec<usize>> {
        let mut address_pairs = vec![[self.source.url.clone(), self.clone.url.clone()]];
        let of = |root: &str, side: &super::Side| side.roots[root].display().to_string();
        for root in ["Core", "Content"] {
            address_pairs.push([of(root, &self.source), of(root, &self.clone)]);
        }
        let content = |side: &super::Side| format!("{}/{}", side.url, side.content());
        address_pairs.push([content(&self.source), content(&self.clone)]);
        let pairs: Vec<_> = all.iter().map(|one| [&one.source, &one.clone]).collect();
        let input = json!({"address_pairs": address_pairs, "pairs": pairs}).to_string();
        let mut php = tokio::process::Command::new("php");
        php.args([
            "-d",
            "display_errors=stderr",
            "-r",
            include_str!("compare.php").trim_start_matches("<?php"),
        ]);
        let mut php = php.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut stdin = php.stdin.take().unwrap();
        let feed = async move { stdin.write_all(input.as_bytes()).await };
        let (fed, output) = tokio::join!(feed, php.wait_with_output());
        fed?;
        let output = output?;
        assert!(output.status.success(), "PHP could not compare");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Views and triggers are the same.
    async fn assert_same_routines(&self) -> Result {
        let omitted = self.fidelity["omitted_views_and_triggers"].as_array().unwrap();
        self.equal("views and triggers that were left out", &omitted.len(), &0);
        let sql = "SELECT TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, SECURITY_TYPE FROM information_schema.VIEWS \
             WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME; \
             SELECT TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT, ACTION_TIMING \
             FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY TRIGGER_NAME";
        let mut both = Vec::new();
        for database in [&self.source.database, &self.clone.database] {
            both.push(database.sql(sql).await?.replace(&format!("`{}`.", database.schema()), ""));
        }
        self.equal("views and triggers", &both[0], &both[1]);
        Ok(())
    }
}

impl CloneAccount<'_> {
    /// The reason for which a row of the source must not be on the clone.
    fn omission_reason(&self, name: &str, table: &Table, row: &Row) -> Option<&'static str> {
        let is = |column: &str, names: &[&str]| {
            names.iter().any(|name| row[table.column_index(column)] == hex(name))
        };
        match name.strip_prefix(self.prefix)? {
            "usermeta" if is("meta_key", &LOGIN_META_KEYS) => Some("session"),
            "options" if is("option_name", &SALTS) => Some("salt"),
            _ => None,
        }
    }

    /// Whether a row may be on the clone only.
    fn is_clone_only(&self, name: &str, table: &Table, row: &Row) -> bool {
        match name.strip_prefix(self.prefix) {
            Some("users") => row[table.column_index("user_login")] == hex(self.user),
            Some("usermeta") => {
                row[table.column_index("user_id")] == self.user_id
                    || row[table.column_index("meta_key")] == hex("session_tokens")
            }
            Some("options") => self.is_volatile(name, table, row),
            // The dashboard creates one for its user.
            Some("posts") => {
                row[table.column_index("post_author")] == self.user_id
                    && row[table.column_index("post_status")] == hex("auto-draft")
            }
            _ => false,
        }
    }

    /// Whether a row is a volatile option.
    fn is_volatile(&self, name: &str, table: &Table, row: &Row) -> bool {
        name.strip_prefix(self.prefix) == Some("options")
            && self.option_starts_with(table, row, &VOLATILE_OPTIONS)
    }

    fn option_starts_with(&self, table: &Table, row: &Row, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|name| row[table.column_index("option_name")].starts_with(&hex(name)))
    }

    /// Whether the values of a row that exists on both sides may differ.
    fn may_differ(&self, name: &str, table: &Table, row: &Row) -> bool {
        self.is_volatile(name, table, row)
            || (name.strip_prefix(self.prefix) == Some("options")
                && self.option_starts_with(table, row, &["active_plugins"]))
    }
}

/// Rows by primary key; without one each row is its own key.
fn by_key(table: &Table) -> BTreeMap<Row, Vec<&Row>> {
    let mut rows: BTreeMap<Row, Vec<&Row>> = BTreeMap::new();
    for row in &table.rows {
        rows.entry(key_of(table, row)).or_default().push(row);
    }
    rows
}

fn key_of(table: &Table, row: &Row) -> Row {
    if table.key.is_empty() { row.clone() } else { table.key.iter().map(|at| row[*at].clone()).collect() }
}

fn is_in_source(source: &Table, there: &BTreeMap<Row, Vec<&Row>>, row: &Row) -> bool {
    there.contains_key(&key_of(source, row))
}

fn hex(text: &str) -> String {
    hex::encode_upper(text)
}

/// How often one byte string is in another, both in hex.
fn bytes_in(value: &str, needle: &str) -> usize {
    value.match_indices(needle).filter(|(at, _)| at % 2 == 0).count()
}

/// A value as text, shortened.
fn shown(value: &str) -> String {
    let bytes = hex::decode(value).unwrap_or_else(|_| value.as_bytes().to_vec());
    String::from_utf8_lossy(&bytes).chars().take(1500).collect()
}
