//! What a clone may take of a database server.

use std::time::Duration;

/// What a clone may take of a database server. Connections that exceed it are closed.
///
/// MariaDB has limits of its own for some of this, but a session can change them (`SET max_statement_time = 0`), or they
/// count for all users together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseLimits {
    /// How long a statement may run. An import's longest ALTER TABLE has to fit.
    pub statement: Duration,
    /// How long a transaction may be open: as long as it is, the server keeps the undo logs of all clones.
    pub transaction: Duration,
    /// Bytes of memory of all connections of a clone.
    pub memory: u64,
    /// Bytes of memory of a server. When it takes more, and still grows, the connections of the clone that most of it was taken
    /// for are closed; when it takes half as much again, that clone is stopped for good. The server has a third more.
    pub server_memory: u64,
    /// Open files of a clone's tables.
    pub open_files: u64,
    /// Bytes of temporary tables of all connections of a clone, other than those of InnoDB.
    pub temporary_tables: u64,
    /// Bytes of files for sorting of all clones of a server. When they take more, the longest statement is ended.
    pub sort_files: u64,
    /// Bytes of InnoDB's temporary tables of all clones of a server. When they take more, and still grow, the transaction
    /// that changed most rows is ended.
    pub innodb_temporary: u64,
    /// Bytes of the undo logs of all clones of a server. When they take more, and still grow, the oldest transaction and the
    /// one that changed most rows are ended.
    pub undo: u64,
    /// Bytes of the log of the engine Aria, of all clones of a server. When it takes more, the connections of clones that may
    /// keep it are closed: those whose Aria tables are in use.
    pub aria_log: u64,
    /// Bytes of all other files of a server that belong to no clone. When they take more, and still grow, the connection that
    /// wrote most meanwhile is closed.
    pub others: u64,
}

/// The most bytes of files that belong to no schema, of each kind, while the disk is nearly full.
const SCARCE_FILES: u64 = 64 << 20;

impl DatabaseLimits {
    /// The limits while the disk is nearly full: files that belong to no schema may take little.
    pub(crate) fn while_disk_is_scarce(self) -> Self {
        Self {
            temporary_tables: self.temporary_tables.min(SCARCE_FILES),
            sort_files: self.sort_files.min(SCARCE_FILES),
            innodb_temporary: self.innodb_temporary.min(SCARCE_FILES),
            undo: self.undo.min(SCARCE_FILES),
            aria_log: self.aria_log.min(SCARCE_FILES),
            others: self.others.min(SCARCE_FILES),
            ..self
        }
    }
}

impl Default for DatabaseLimits {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(600),
            transaction: Duration::from_secs(900),
            memory: 1 << 30,
            server_memory: 2 << 30,
            open_files: 4096,
            temporary_tables: 4 << 30,
            sort_files: 8 << 30,
            innodb_temporary: 4 << 30,
            undo: 4 << 30,
            aria_log: 1 << 30,
            others: 1 << 30,
        }
    }
}
