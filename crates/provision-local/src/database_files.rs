//! The size of a database server's files that belong to no schema.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, Metadata, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use tokio::net::UnixStream;

use crate::database_admin::OWN_SCHEMAS;
use crate::database_config::ServerPaths;

/// The names of temporary tables: this, the process id, the connection and a number, all in hex digits, with `-` between.
const TEMPORARY_TABLE: &str = "#sql-temptable-";
/// The extensions of files of Aria's tables.
const ARIA_EXTENSIONS: [&str; 2] = ["MAI", "MAD"];
/// The most files of a folder that are looked at.
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
    /// The folders of schemas of which the server has tables of the engine Aria open.
    pub(crate) open_aria_schemas: BTreeSet<String>,
    /// InnoDB's file for temporary tables.
    pub(crate) innodb_temporary: u64,
    /// InnoDB's undo logs and its dictionary.
    pub(crate) undo: u64,
    /// Aria's log.
    pub(crate) aria_log: u64,
    /// All other files that belong to no clone, except InnoDB's redo log, which has a fixed size.
    pub(crate) others: u64,
}

impl ServerFiles {
    /// Measures the files of a server, which this process is. Files that cannot be read count as empty: they may just have
    /// been removed.
    pub(crate) fn measure(paths: &ServerPaths, process: Option<i32>) -> Self {
        limit_log(&paths.log());
        let mut files = Self::default();
        for entry in entries(&paths.data()) {
            files.add_data(&entry);
        }
        for entry in entries(&paths.tmp()) {
            let size = bytes(entry.metadata());
            match entry.file_name().to_str().and_then(connection) {
                Some(connection) => *files.temporary_tables.entry(connection).or_default() += size,
                None => files.others += size,
            }
        }
        let opened = process.map(|process| entries(&PathBuf::from(format!("/proc/{process}/fd"))));
        for fd in opened.into_iter().flatten() {
            files.add_opened(&fd.path(), paths);
        }
        files
    }

    /// Adds a file of the data folder, or a folder of the server's own tables. Those of clones are measured with the clones.
    fn add_data(&mut self, entry: &DirEntry) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if OWN_SCHEMAS.contains(&&*name) {
                self.others += entries(&entry.path()).map(|file| bytes(file.metadata())).sum::<u64>();
            }
            return;
        }
        let kind = match &*name {
            redo if redo.starts_with("ib_logfile") => return,
            temporary if temporary.starts_with("ibtmp") => &mut self.innodb_temporary,
            undo if undo.starts_with("ibdata") || undo.starts_with("undo") => &mut self.undo,
            log if log.starts_with("aria_log.") => &mut self.aria_log,
            _ => &mut self.others,
        };
        *kind += bytes(entry.metadata());
    }

    /// Adds a file that the server has open.
    fn add_opened(&mut self, fd: &Path, paths: &ServerPaths) {
        let Ok(to) = fs::read_link(fd) else { return };
        if to.starts_with(paths.tmp()) && to.to_string_lossy().ends_with(" (deleted)") {
            self.sort_files += bytes(fs::metadata(fd));
        } else if let Ok(below) = to.strip_prefix(paths.data())
            && below.components().nth(1).is_some()
            && let Some(Component::Normal(schema)) = below.components().next()
        {
            let schema = schema.to_string_lossy();
            *self.open_files.entry(schema.to_string()).or_default() += 1;
            if to.extension().is_some_and(|extension| ARIA_EXTENSIONS.iter().any(|known| extension == *known))
            {
                self.open_aria_schemas.insert(schema.into_owned());
            }
        }
    }
}

/// The entries of a folder, at most [`MAX_FILES`].
fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs::read_dir(folder).into_iter().flatten().take(MAX_FILES).flatten()
}

/// The connection that a temporary table belongs to.
fn connection(file_name: &str) -> Option<u64> {
    let connection = file_name.strip_prefix(TEMPORARY_TABLE)?.split('-').nth(1)?;
    u64::from_str_radix(connection, 16).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;

    #[test]
    fn every_file_that_belongs_to_no_clone_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ServerPaths { folder: folder.path().to_owned() };
        let data = paths.data();
        for folder in [data.join("mysql"), data.join("clone@002da"), paths.tmp()] {
            fs::create_dir_all(folder).unwrap();
        }
        let files = [
            (data.join("aria_log.00000001"), 4),
            (data.join("aria_log.00000002"), 8),
            (data.join("aria_log_control"), 16),
            (data.join("ddl_recovery.log"), 32),
            (data.join("mysql/column_stats.MAD"), 64),
            (data.join("clone@002da/t.MAD"), 128),
            (data.join("ib_logfile0"), 256),
            (data.join("ibdata1"), 512),
            (data.join("undo003"), 1024),
            (data.join("ibtmp1"), 2048),
            (paths.tmp().join("#sql-temptable-1a-2b-0.MAD"), 4096),
            (paths.tmp().join("something"), 8192),
        ];
        for (file, kib) in &files {
            fs::write(file, vec![1_u8; kib * KIB]).unwrap();
        }
        let kib = |bytes: u64| bytes >> 10;
        let found = ServerFiles::measure(&paths, None);
        assert_eq!(kib(found.aria_log), 4 + 8);
        assert_eq!(kib(found.others), 16 + 32 + 64 + 8192);
        assert_eq!(kib(found.undo), 512 + 1024);
        assert_eq!(kib(found.innodb_temporary), 2048);
        assert_eq!(found.temporary_tables, [(0x2b, 4096 << 10)].into());
    }
}
