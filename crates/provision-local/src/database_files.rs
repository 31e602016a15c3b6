//! The size of a database server's files that belong to no schema.

use std::collections::BTreeMap;
use std::fs::{self, Metadata, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use tokio::net::UnixStream;

use crate::database_config::ServerPaths;

/// The names of temporary tables: this, the process id, the connection and a number, all in hex digits, with `-` between.
const TEMPORARY_TABLE: &str = "#sql-temptable-";
/// The most files that are looked at.
const MAX_FILES: usize = 100_000;
/// Bytes of the output after which it is emptied: a server writes a line for some errors that clones cause.
const MAX_LOG: u64 = 16 << 20;

/// What the files of a server are: bytes that they take on the disk, and how many are open.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ServerFiles {
    /// Temporary tables of each connection.
    pub(crate) temporary_tables: BTreeMap<u64, u64>,
    /// Files that the server has open in its folder of temporary files, without a name.
    pub(crate) sort_files: u64,
    /// How many files of each schema the server has open, by the name of the schema's folder.
    pub(crate) open_files: BTreeMap<String, u64>,
    /// InnoDB's file for temporary tables.
    pub(crate) innodb_temporary: u64,
    /// Undo logs.
    pub(crate) undo: u64,
}

impl ServerFiles {
    /// Measures the files of a server, which this process is. Files that cannot be read count as empty: they may just have
    /// been removed.
    pub(crate) fn measure(paths: &ServerPaths, process: Option<i32>) -> Self {
        limit_log(&paths.log());
        let size = |name: &str| bytes(fs::symlink_metadata(paths.data().join(name)));
        let (sort_files, open_files) =
            process.map(|process| opened(process, &paths.tmp(), &paths.data())).unwrap_or_default();
        Self {
            temporary_tables: temporary_tables(&paths.tmp()),
            sort_files,
            open_files,
            innodb_temporary: size("ibtmp1"),
            undo: ["ibdata1", "undo001", "undo002", "undo003"].map(size).iter().sum(),
        }
    }
}

fn temporary_tables(folder: &Path) -> BTreeMap<u64, u64> {
    let mut tables = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().take(MAX_FILES).flatten() {
        if let Some(connection) = entry.file_name().to_str().and_then(connection) {
            *tables.entry(connection).or_default() += bytes(entry.metadata());
        }
    }
    tables
}

/// The connection that a temporary table belongs to.
fn connection(file_name: &str) -> Option<u64> {
    let connection = file_name.strip_prefix(TEMPORARY_TABLE)?.split('-').nth(1)?;
    u64::from_str_radix(connection, 16).ok()
}

/// The files that a server has open: bytes of those that were removed from its folder of temporary files, and how many are in
/// each folder of its data.
fn opened(process: i32, tmp: &Path, data: &Path) -> (u64, BTreeMap<String, u64>) {
    let (mut removed, mut open) = (0, BTreeMap::new());
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().take(MAX_FILES).flatten();
    for file in files.map(|entry| entry.path()) {
        let Ok(to) = fs::read_link(&file) else { continue };
        if to.starts_with(tmp) && to.to_string_lossy().ends_with(" (deleted)") {
            removed += bytes(fs::metadata(&file));
        } else if let Ok(below) = to.strip_prefix(data)
            && below.components().nth(1).is_some()
            && let Some(Component::Normal(schema)) = below.components().next()
        {
            *open.entry(schema.to_string_lossy().into_owned()).or_default() += 1;
        }
    }
    (removed, open)
}

/// The process that listens on a socket.
pub(crate) async fn server_process(socket: &Path) -> Option<i32> {
    UnixStream::connect(socket).await.ok()?.peer_cred().ok()?.pid()
}

fn bytes(found: std::io::Result<Metadata>) -> u64 {
    found.map_or(0, |found| found.blocks() * 512)
}

/// Empties a log that has become too large. The server goes on behind the hole.
fn limit_log(log: &Path) {
    if bytes(fs::symlink_metadata(log)) > MAX_LOG
        && let Ok(file) = OpenOptions::new().write(true).open(log)
        && let Err(error) = file.set_len(0)
    {
        tracing::warn!(log = %log.display(), %error, "the log of a database server cannot be emptied");
    }
}
