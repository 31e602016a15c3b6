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
struct Counted {
    source: u64,
    clone: u64,
    left_out: BTreeMap<String, u64>,
    changed: u64,
    /// Rows that visits create or delete, on either side.
    visits: u64,
}

/// A value that differs on the clone, with its position.
struct Differing {
    place: String,
    source: String,
    clone: String,
}

/// Rows that running a clone adds to or changes in a table, whatever its source has.
struct Own<'a> {
    prefix: &'a str,
    user: &'a str,
    user_id: String,
}

/// User metadata keys that grant access.
const DOORS: [&str; 2] = ["session_tokens", "_application_passwords"];
/// Options that hold the salts of a WordPress without salts in wp-config.php.
const SALTS: [&str; 3] = ["auth_salt", "logged_in_key", "nonce_key"];
/// Options that visits write: cron, transients, caches, user counts.
const VISITS: [&str; 5] = ["cron", "recently_activated", "_transient_", "_site_transient_", "user_count"];

impl Pair<'_> {
    /// Every table exists and is equal but for accepted differences; the report has the same numbers.
    pub(super) async fn assert_same_tables(&self) -> Result {
        let (source, clone) = tokio::join!(read(&self.source.database), read(&self.clone.database));
        let (mut source, clone) = (source?, clone?);
        source.retain(|name, _| !(self.stays)(name));
        let names = |tables: &BTreeMap<String, Table>| tables.keys().cloned().collect::<BTreeSet<_>>();
        self.equal("the tables", &names(&source), &names(&clone));
        let user = at(self.task, "/clone/username").as_str().unwrap();
        let users = &clone[&format!("{}users", self.prefix)];
        let user_id = users.rows.iter().find(|row| row[users.place("user_login")] == hex(user));
        let user_id = user_id.expect("the clone's administrator")[users.place("ID")].clone();
        let own = Own { prefix: self.prefix, user, user_id };
        let (mut counted, mut differing) = (BTreeMap::new(), Vec::new());
        for (name, there) in &source {
            let Some(copy) = clone.get(name) else { continue };
            self.equal(&format!("how {name} is defined"), &there.definition, &copy.definition);
            if there.columns != copy.columns {
                continue;
            }
            self.ahead(name, there, copy);
            counted.insert(name.clone(), self.compare(name, there, copy, &own, &mut differing));
        }
        for place in self.differ(&differing).await?.into_iter().take(20) {
            let Differing { place, source, clone } = &differing[place];
            self.equal(place, &shown(source), &shown(clone));
        }
        self.as_reported(&counted);
        self.left_over(&clone);
        self.assert_same_routines().await
    }

    /// The next numbers of the clone are ahead, as the report says.
    fn ahead(&self, name: &str, source: &Table, clone: &Table) {
        if let (Some(source), Some(clone)) = (source.next, clone.next) {
            let reported = self.fidelity["tables"].as_array().into_iter().flatten();
            let told = reported
                .filter(|table| table["name"] == name)
                .find_map(|t| t["auto_increment_offset"].as_u64());
            if clone < source + 10_000 || told != Some(10_000) {
                self.wrong(format!(
                    "the next number of {name}: {source}, on the clone {clone}, told {told:?}"
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
        own: &Own<'_>,
        differing: &mut Vec<Differing>,
    ) -> Counted {
        let visits =
            |table: &Table| table.rows.iter().filter(|row| own.visit(name, table, row)).count() as u64;
        let mut counted = Counted { visits: visits(source) + visits(clone), ..Counted::default() };
        let (mut there, mut here) = (by_key(source), by_key(clone));
        here.retain(|_, rows| {
            rows.retain(|row| there_too(source, &there, row) || !own.added(name, clone, row));
            !rows.is_empty()
        });
        there.retain(|key, rows| {
            rows.retain(|row| {
                // Rows written by visits may be on either side.
                let gone = !here.contains_key(key) && own.visit(name, source, row);
                counted.source += u64::from(!gone);
                if let Some(why) = own.left_out(name, source, row) {
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
        let (wanted, found) = (keys(&there), keys(&here));
        if wanted != found {
            let text = |rows: &BTreeMap<Row, Vec<&Row>>, but: &BTreeMap<Row, Vec<&Row>>| {
                let alone = rows.iter().filter(|(key, rows)| but.get(*key).map(Vec::len) != Some(rows.len()));
                let begin = |cell: &String| shown(cell).chars().take(60).collect::<String>();
                let row = |row: &&Row| row.iter().take(6).map(begin).collect::<Vec<_>>();
                alone.take(10).map(|(_, rows)| (rows.len(), row(&rows[0]))).collect::<Vec<_>>()
            };
            self.wrong(format!(
                "rows of {name} that miss: {:?}; that nobody explains: {:?}",
                text(&there, &here),
                text(&here, &there)
            ));
            return counted;
        }
        for (rows, copies) in there.values().zip(here.values()) {
            for (row, copy) in rows.iter().zip(copies) {
                counted.clone += 1;
                for ((column, value), new) in source.columns.iter().zip(*row).zip(*copy) {
                    if value == new || own.changed(name, source, row) {
                        continue;
                    }
                    counted.changed += 1;
                    let key: Vec<_> = source.key.iter().map(|at| shown(&row[*at])).collect();
                    let place = format!("{column} of {name} {key:?}");
                    let (source, clone) = (value.clone(), new.clone());
                    differing.push(Differing { place, source, clone });
                }
            }
        }
        counted
    }

    /// The report has the numbers that were counted here, for each table.
    fn as_reported(&self, counted: &BTreeMap<String, Counted>) {
        let reported = self.fidelity["tables"].as_array().unwrap();
        self.equal("tables that the report names", &counted.len(), &reported.len());
        for table in reported {
            let name = table["name"].as_str().unwrap();
            let number = |field: &str| table[field].as_u64().unwrap();
            let told = Counted {
                source: number("source_rows"),
                clone: number("target_rows"),
                left_out: Self::left_out(table),
                changed: number("changed_values"),
                visits: 0,
            };
            let Some(counted) = counted.get(name) else { continue };
            let mut here = counted.clone();
            // Rows inserted or deleted after the table was read.
            if here.source.abs_diff(told.source) <= std::mem::take(&mut here.visits) {
                here.clone = (here.clone + told.source).saturating_sub(here.source);
                here.source = told.source;
            }
            self.equal(name, &here, &told);
        }
    }

    /// The report names where the old host remains, and root-relative addresses.
    fn left_over(&self, clone: &BTreeMap<String, Table>) {
        let host = self.source.url.split('/').nth(2).unwrap();
        let forms = [hex(host), hex(&host.replace(':', "%3A")), hex(&host.replace(':', "%3a"))];
        let mut found = 0;
        for (name, table) in clone {
            for cell in table.rows.iter().flatten() {
                let times: usize = forms.iter().map(|form| bytes_in(cell, form)).sum();
                if times > 0 {
                    eprintln!("{times} times the old host in {name}: {}", shown(cell));
                }
                found += times;
            }
        }
        let stayed = self.fidelity["rewrite"]["unreplaced"].as_object().into_iter().flatten();
        let hosts = stayed.filter(|(why, _)| *why != ROOT_RELATIVE);
        let told: u64 = hosts.filter_map(|(_, count)| count.as_u64()).sum();
        self.equal("old hosts on the clone", &(found as u64), &told);
        let relative = self.root_relative(clone);
        let told = self.fidelity["rewrite"]["unreplaced"][ROOT_RELATIVE].as_u64().unwrap_or_default();
        self.equal("root-relative addresses", &(relative as u64), &told);
        let named = self.fidelity["rewrite"]["unreplaced_samples"].as_array().unwrap();
        self.equal("left-overs with their context", &(found + relative).min(200), &named.len());
    }

    /// Those that differ in more than the site's address.
    async fn differ(&self, all: &[Differing]) -> Result<Vec<usize>> {
        let mut forms = vec![[self.source.url.clone(), self.clone.url.clone()]];
        let of = |root: &str, side: &super::Side| side.roots[root].display().to_string();
        for root in ["Core", "Content"] {
            forms.push([of(root, &self.source), of(root, &self.clone)]);
        }
        let content = |side: &super::Side| format!("{}/{}", side.url, side.content());
        forms.push([content(&self.source), content(&self.clone)]);
        let pairs: Vec<_> = all.iter().map(|one| [&one.source, &one.clone]).collect();
        let input = json!({"forms": forms, "pairs": pairs}).to_string();
        let mut php = tokio::process::Command::new("php");
        php.args(["-d", "display_errors=stderr", "-r", include_str!("same.php").trim_start_matches("<?php")]);
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
        let told = self.fidelity["omitted_views_and_triggers"].as_array().unwrap();
        self.equal("views and triggers that were left out", &told.len(), &0);
        let sql = "SELECT TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, SECURITY_TYPE FROM information_schema.VIEWS \
             WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME; \
             SELECT TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT, ACTION_TIMING \
             FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY TRIGGER_NAME";
        let mut told = Vec::new();
        for database in [&self.source.database, &self.clone.database] {
            told.push(database.sql(sql).await?.replace(&format!("`{}`.", database.schema()), ""));
        }
        self.equal("views and triggers", &told[0], &told[1]);
        Ok(())
    }
}

impl Own<'_> {
    /// Why a row of the source is not on the clone.
    fn left_out(&self, name: &str, table: &Table, row: &Row) -> Option<&'static str> {
        let is =
            |column: &str, names: &[&str]| names.iter().any(|name| row[table.place(column)] == hex(name));
        match name.strip_prefix(self.prefix)? {
            "usermeta" if is("meta_key", &DOORS) => Some("session"),
            "options" if is("option_name", &SALTS) => Some("salt"),
            _ => None,
        }
    }

    /// Whether a row is the clone's own.
    fn added(&self, name: &str, table: &Table, row: &Row) -> bool {
        match name.strip_prefix(self.prefix) {
            Some("users") => row[table.place("user_login")] == hex(self.user),
            Some("usermeta") => {
                row[table.place("user_id")] == self.user_id
                    || row[table.place("meta_key")] == hex("session_tokens")
            }
            Some("options") => self.option(table, row, &["wpclone_migrator"]) || self.visit(name, table, row),
            // The dashboard creates one for its visitor.
            Some("posts") => {
                row[table.place("post_author")] == self.user_id
                    && row[table.place("post_status")] == hex("auto-draft")
            }
            _ => false,
        }
    }

    /// Whether a row is one that visits write.
    fn visit(&self, name: &str, table: &Table, row: &Row) -> bool {
        name.strip_prefix(self.prefix) == Some("options") && self.option(table, row, &VISITS)
    }

    fn option(&self, table: &Table, row: &Row, beginnings: &[&str]) -> bool {
        beginnings.iter().any(|name| row[table.place("option_name")].starts_with(&hex(name)))
    }

    /// Whether a value of a row that is there on both sides is the clone's own.
    fn changed(&self, name: &str, table: &Table, row: &Row) -> bool {
        self.visit(name, table, row)
            || (name.strip_prefix(self.prefix) == Some("options")
                && self.option(table, row, &["active_plugins"]))
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

fn there_too(source: &Table, there: &BTreeMap<Row, Vec<&Row>>, row: &Row) -> bool {
    there.contains_key(&key_of(source, row))
}

fn hex(text: &str) -> String {
    hex::encode_upper(text)
}

/// How often some bytes are in others, both in hex.
fn bytes_in(value: &str, wanted: &str) -> usize {
    value.match_indices(wanted).filter(|(at, _)| at % 2 == 0).count()
}

/// A value as text, shortened.
fn shown(value: &str) -> String {
    let bytes = hex::decode(value).unwrap_or_else(|_| value.as_bytes().to_vec());
    String::from_utf8_lossy(&bytes).chars().take(1500).collect()
}
