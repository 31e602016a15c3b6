//! The report of a transfer: what was transferred, changed and omitted, with digests of both sides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wpclone_migrator::{PhpMemory, RowDigest};
use wpclone_rewrite::{Report, UnreplacedReason};

use crate::name_list::{all_listed, listed};
use crate::omitted_objects::OmittedObject;

/// Why something of the source is not in the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OmitReason {
    /// A session or an application password: it would be valid for the original too.
    Session,
    /// A salt or key that WordPress stores in the options: a copy makes its own.
    Salt,
    /// An option or user metadata that is named after the target's table prefix: at the source it belongs to another
    /// installation.
    OtherPrefix,
    /// A view or trigger that the target could not create, or the source cannot read.
    ViewOrTrigger,
    /// A table or sequence that the target could not create, or the source cannot read.
    TableOrSequence,
    /// A table, sequence, view or trigger that the source listed only at the end of the transfer.
    ListedLate,
    /// A file that the source does not export: caches, backups, logs, drop-ins, secrets of the server, unreadable files.
    NotExported,
    /// A file that was deleted, or changed several times, while it was read.
    ChangedDuringRead,
    /// A file that the target does not accept.
    RefusedByTarget,
}

/// A table on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableFidelity {
    /// The table's name on the source.
    pub name: String,
    /// The table's name on the target, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// Rows read from the source.
    pub source_rows: u64,
    /// Of these, rows that an earlier attempt had already transferred.
    #[serde(skip_serializing_if = "is_zero")]
    pub resumed_rows: u64,
    /// Digest of the rows read from the source.
    pub source_digest: RowDigest,
    /// Rows that the target counted.
    pub target_rows: u64,
    /// Digest of the target's rows, computed by the target.
    pub target_digest: RowDigest,
    /// Rows that were not transferred, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<OmitReason, u64>,
    /// Values that were changed on the way.
    pub changed_values: u64,
    /// Rows that keep an old address: with the new one they would equal another row in a unique index, or violate a check.
    #[serde(skip_serializing_if = "is_zero")]
    pub constraint_conflicts: u64,
    /// How much was added to the table's `AUTO_INCREMENT`.
    #[serde(skip_serializing_if = "is_zero")]
    pub auto_increment_offset: u64,
    /// How often the table was read again because its rows changed during the transfer.
    #[serde(skip_serializing_if = "is_zero")]
    pub rereads: u32,
    /// Whether the source had the same rows when they were read and when they were counted afterwards. False for a table
    /// that changes all the time.
    pub consistent: bool,
    /// Whether the copy has the table as it was at the moment of the last snapshot ([`SnapshotFidelity`]).
    #[serde(skip_serializing_if = "is_zero")]
    pub in_snapshot: bool,
    /// What the target had to define differently, such as a collation that it does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<String>,
}

/// The last pass over all tables: what had changed since they were read, taken in one snapshot of the source's database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotFidelity {
    /// Rows that were added to tables.
    pub appended_rows: u64,
    /// Tables that were replaced as a whole.
    pub replaced_tables: u64,
    /// Tables that changed and could not be taken with the others: their rows may not fit those of other tables.
    pub torn_tables: Vec<String>,
    /// Tables that were not compared, for lack of time or because their engine has no snapshots.
    pub uncompared_tables: Vec<String>,
    /// Why there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why the list of tables was not read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_error: Option<String>,
}

impl SnapshotFidelity {
    /// Warnings about tables that may not fit together, or may be missing.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let list = self.list_error.as_ref().map(|error| {
            format!("Whether the source has tables that it did not list at first is not known: {error}.")
        });
        self.consistency_warnings().into_iter().chain(list).collect()
    }

    fn consistency_warnings(&self) -> Vec<String> {
        if let Some(error) = &self.error {
            return vec![format!(
                "The tables were not read at one moment, so that rows which the site wrote meanwhile may not fit together: \
                 {error}."
            )];
        }
        let is_busy = self.appended_rows > 0 || self.replaced_tables > 0 || !self.torn_tables.is_empty();
        let torn = (
            &self.torn_tables,
            "Tables that changed while they were copied, and whose rows may not fit those of other tables",
        );
        let others = (
            &self.uncompared_tables,
            "The site was in use, and these tables may be of another moment than the others",
        );
        let warning = |(tables, text): (&Vec<String>, &str)| {
            let count = tables.len() as u64;
            (count > 0).then(|| format!("{text} ({count}): {}.", listed(tables, count, MAX_NAMED)))
        };
        let others = Some(others).filter(|_| is_busy);
        [Some(torn), others].into_iter().flatten().filter_map(warning).collect()
    }
}

/// A file that is not in the copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OmittedFile {
    /// Its root and path; invalid UTF-8 is replaced.
    pub path: String,
    /// Why it is not in the copy.
    pub reason: OmitReason,
    /// The source's or target's own code for the reason, at most 100 characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// All files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FilesFidelity {
    /// Files of the source that are in the copy.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Of these, files that an earlier attempt had already transferred.
    #[serde(skip_serializing_if = "is_zero")]
    pub resumed_files: u64,
    /// Of these, WordPress core files, which are transferred if they differ from the target's.
    pub core_files: u64,
    /// One digest over the paths and contents of all files as they were sent; the target computes the same.
    pub digest: String,
    /// Of these, files that the web server of a clone does not serve, whatever the source's does: hidden ones (`.name`), and
    /// those that may contain code or a configuration.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden: u64,
    /// The first 200 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden_files: Vec<String>,
    /// Files that plugins generated below uploads and whose addresses were replaced.
    #[serde(skip_serializing_if = "is_zero")]
    pub rewritten: u64,
    /// The first 1,000 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewritten_files: Vec<String>,
    /// Text files that hold an address of the source in the copy as well.
    #[serde(skip_serializing_if = "is_zero")]
    pub holding_address: u64,
    /// The first 1,000 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files_holding_address: Vec<String>,
    /// Text files that were not searched for addresses of the source, or not to their end: those that an earlier attempt had
    /// transferred, and compressed ones that are too large when they are not compressed, alone or together.
    #[serde(skip_serializing_if = "is_zero")]
    pub unsearched: u64,
    /// The first 1,000 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsearched_files: Vec<String>,
    /// Files that are not in the copy, by reason.
    pub omitted: BTreeMap<OmitReason, u64>,
    /// The first 1,000 of them.
    pub omitted_files: Vec<OmittedFile>,
}

impl FilesFidelity {
    /// Warnings that name files which still hold the source's address, or may.
    pub(crate) fn address_warnings(&self) -> impl Iterator<Item = String> {
        let holding = (
            "Files that hold an address of the source, and are as they were",
            self.holding_address,
            &self.files_holding_address,
        );
        let unsearched = (
            "Files that were not searched for addresses of the source, or not to their end",
            self.unsearched,
            &self.unsearched_files,
        );
        let lists = [holding, unsearched].into_iter().filter(|(_, count, _)| *count > 0);
        lists.map(|(text, count, files)| format!("{text} ({count}): {}.", listed(files, count, MAX_NAMED)))
    }
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// The source's versions.
    pub source: Versions,
    /// The target's versions.
    pub target: Versions,
    /// Differences between the sites, and whatever else did not prevent the transfer.
    pub warnings: Vec<String>,
    /// All tables, by name.
    pub tables: Vec<TableFidelity>,
    /// The last pass over them.
    pub snapshot: SnapshotFidelity,
    /// All files.
    pub files: FilesFidelity,
    /// What the rewriter did to all values.
    pub rewrite: Report,
    /// Names of views and triggers that are not in the copy. The warnings say why.
    pub omitted_views_and_triggers: Vec<String>,
    /// Tables and sequences that are not in the copy.
    pub omitted_tables: Vec<OmittedObject>,
    /// How many tables, sequences, views and triggers are not in the copy, by reason.
    #[serde(skip)]
    pub omitted_objects: BTreeMap<OmitReason, u64>,
    /// Procedures, functions and events of the source's database, which are never copied: kind and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub omitted_programs: Vec<String>,
    /// The first tables, views and sequences of the source's database that have not its prefix and belong to no other
    /// WordPress installation. They are copied only if the request says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unprefixed_tables: Vec<String>,
    /// Plugins that are installed but not active in the copy, because they would lock its owner out.
    pub deactivated_plugins: Vec<String>,
    /// Bytes of rows and files that were transferred.
    pub transferred_bytes: u64,
    /// The target's directory of must-use plugins.
    #[serde(skip)]
    pub mu_plugins_dir: String,
    /// PHP's memory on both sides.
    pub php_memory: Memory,
    /// Whether the report was too large, and lists were cut.
    #[serde(skip_serializing_if = "is_zero")]
    pub truncated: bool,
}

/// PHP's memory in the request that needed most; `None` where PHP does not report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// On the source.
    pub source: Option<PhpMemory>,
    /// On the target.
    pub target: Option<PhpMemory>,
}

/// The versions of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// WordPress.
    pub wordpress: String,
    /// PHP.
    pub php: String,
    /// The database's product and version.
    pub database: String,
}

/// The part of the report that is in a task's result. The whole report is an artifact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Tables.
    pub tables: usize,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Size of all files.
    pub file_bytes: u64,
    /// Files that a clone has and does not serve.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden_files: u64,
    /// Values that were changed.
    pub changed_values: u64,
    /// Addresses that were replaced.
    pub replaced_addresses: u64,
    /// Old addresses that were not replaced, by reason.
    pub unreplaced_addresses: BTreeMap<UnreplacedReason, u64>,
    /// Rows, files, tables, sequences, views and triggers that are not in the copy, by reason.
    pub omitted: BTreeMap<OmitReason, u64>,
    /// The first of [`Fidelity::deactivated_plugins`].
    pub deactivated_plugins: Vec<String>,
    /// The first of [`Fidelity::warnings`].
    pub warnings: Vec<String>,
}

/// How many plugins and warnings a summary has, and how long each is: a task's result is small, and the sites choose these
/// texts.
const MAX_SUMMARY_ITEMS: usize = 15;
const MAX_SUMMARY_CHARS: usize = 200;
/// How many tables or files one warning names.
const MAX_NAMED: usize = 5;
/// How many entries of each list a cut report keeps.
const MAX_TRUNCATED_ITEMS: usize = 500;

impl Fidelity {
    /// Records what is not in the copy, with a warning for each.
    pub(crate) fn omit(&mut self, objects: Vec<OmittedObject>) {
        self.warnings.extend(objects.iter().map(OmittedObject::warning));
        for object in &objects {
            *self.omitted_objects.entry(object.omit_reason()).or_default() += 1;
        }
        let (tables, others): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(OmittedObject::is_table_or_sequence);
        self.omitted_tables.extend(tables);
        self.omitted_views_and_triggers.extend(others.into_iter().map(|object| object.name));
    }

    /// Records the stored programs of the source, with one warning for all.
    pub(crate) fn omit_programs(&mut self, programs: Vec<String>) {
        if !programs.is_empty() {
            let names = all_listed(&programs, MAX_NAMED);
            self.warnings.push(format!("Programs of the source's database are not copied: {names}."));
        }
        self.omitted_programs = programs;
    }

    /// Adds a warning that names the tables which the copy defines differently.
    pub(crate) fn warn_of_adjustments(&mut self) {
        let adjusted = self.tables.iter().filter(|table| !table.adjustments.is_empty());
        let names: Vec<String> = adjusted.map(|table| table.name.clone()).collect();
        if names.is_empty() {
            return;
        }
        let names = all_listed(&names, MAX_NAMED);
        self.warnings
            .push(format!("Tables that are defined differently in the copy (adjustments): {names}."));
    }

    /// The summary for a task's result.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut omitted = self.files.omitted.clone();
        for (reason, count) in self.tables.iter().flat_map(|table| &table.omitted) {
            let all: &mut u64 = omitted.entry(*reason).or_default();
            *all = all.saturating_add(*count);
        }
        omitted.extend(&self.omitted_objects);
        Summary {
            tables: self.tables.len(),
            rows: self.tables.iter().fold(0, |rows, table| rows.saturating_add(table.target_rows)),
            files: self.files.files,
            file_bytes: self.files.bytes,
            hidden_files: self.files.hidden,
            changed_values: self.rewrite.changed_values,
            replaced_addresses: self.rewrite.replaced_addresses,
            unreplaced_addresses: self.rewrite.unreplaced.clone(),
            omitted,
            deactivated_plugins: summarized(&self.deactivated_plugins),
            warnings: summarized(&self.warnings),
        }
    }

    /// The report with shorter lists, for one that is too large to be kept. Tables whose copy differs from the source, or is
    /// defined differently, come first.
    #[must_use]
    pub fn truncated(mut self) -> Self {
        self.tables
            .sort_by_key(|table| (table.consistent && table.adjustments.is_empty(), table.name.clone()));
        self.tables.truncate(MAX_TRUNCATED_ITEMS);
        self.files.omitted_files.truncate(MAX_TRUNCATED_ITEMS);
        self.files.hidden_files.truncate(MAX_TRUNCATED_ITEMS);
        self.omitted_tables.truncate(MAX_TRUNCATED_ITEMS);
        self.rewrite.unreplaced_samples.truncate(MAX_SUMMARY_ITEMS);
        for list in [
            &mut self.warnings,
            &mut self.omitted_views_and_triggers,
            &mut self.omitted_programs,
            &mut self.deactivated_plugins,
            &mut self.unprefixed_tables,
            &mut self.snapshot.torn_tables,
            &mut self.snapshot.uncompared_tables,
            &mut self.files.rewritten_files,
            &mut self.files.files_holding_address,
            &mut self.files.unsearched_files,
        ] {
            list.truncate(MAX_TRUNCATED_ITEMS);
        }
        Self { truncated: true, ..self }
    }
}

/// The first entries of a list, each cut, and how many more there are.
fn summarized(list: &[String]) -> Vec<String> {
    let cut = |text: &String| match text.char_indices().nth(MAX_SUMMARY_CHARS) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.clone(),
    };
    let mut first: Vec<String> = list.iter().take(MAX_SUMMARY_ITEMS).map(cut).collect();
    if let Some(more) = list.len().checked_sub(MAX_SUMMARY_ITEMS).filter(|more| *more > 0) {
        first.push(format!("{more} more in the artifact fidelity.json"));
    }
    first
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}
