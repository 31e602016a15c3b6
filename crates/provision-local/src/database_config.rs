//! How database servers are configured.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::sandbox::{ResourceLimits, SandboxSpec};
use crate::seccomp::SyscallFilter;

/// The size of InnoDB's log: large enough that an import does not wait for checkpoints.
const LOG_SIZE: &str = "96M";
/// The same in the pristine data, which is copied for each server. A server resizes it when it starts.
const PRISTINE_LOG_SIZE: &str = "4M";
/// How often Aria writes a checkpoint and removes the part of its log that no transaction needs, in seconds.
pub(crate) const ARIA_CHECKPOINT_SECONDS: u32 = 1;
/// Tables of the server that are dropped: clones can have as much stored in them as they like, by statistics of their tables
/// and by tables with versions of rows for each transaction. MariaDB works without them.
const DROPPED_TABLES: [&str; 6] = [
    "table_stats",
    "column_stats",
    "index_stats",
    "innodb_table_stats",
    "innodb_index_stats",
    "transaction_registry",
];
/// Connections of the administrator's client.
const ADMIN_CONNECTIONS: usize = 32;
/// Threads of a server besides one for each connection, with a reserve.
const OWN_THREADS: usize = 96;
/// Files of a server besides one for each connection.
const OWN_FILES: usize = 16_384;

/// The files and folders of a server.
#[derive(Debug, Clone)]
pub(crate) struct ServerPaths {
    /// The folder of all; only we write in it.
    pub(crate) folder: PathBuf,
}

impl ServerPaths {
    /// Everything that is stored.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Temporary tables and files.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// The folder of the socket.
    pub(crate) fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run().join("sock")
    }

    /// SQL that the server runs when it starts.
    pub(crate) fn init_sql(&self) -> PathBuf {
        self.folder.join("init.sql")
    }

    /// The server's output.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// Sets root's password, and drops the other accounts that the installation created and the tables that clones could fill.
pub(crate) fn init_sql(root_password: &SecretString) -> String {
    let drop = ["''@'localhost'", "'mysql'@'localhost'", "'root'@'127.0.0.1'", "'root'@'::1'"];
    let mut sql = format!(
        "ALTER USER 'root'@'localhost' IDENTIFIED VIA mysql_native_password USING PASSWORD('{}');\n",
        root_password.expose_secret()
    );
    for user in drop {
        sql.push_str(&format!("DROP USER IF EXISTS {user};\n"));
    }
    for table in DROPPED_TABLES {
        sql.push_str(&format!("DROP TABLE IF EXISTS mysql.{table};\n"));
    }
    sql
}

/// The arguments of the program that installs the pristine data.
pub(crate) fn install_arguments(data: &Path) -> Vec<String> {
    vec![
        "--no-defaults".into(),
        format!("--datadir={}", data.display()),
        "--auth-root-authentication-method=normal".into(),
        "--skip-test-db".into(),
        "--skip-name-resolve".into(),
        format!("--innodb-log-file-size={PRISTINE_LOG_SIZE}"),
    ]
}

/// The arguments of a server for `connections` connections of clones.
pub(crate) fn arguments(paths: &ServerPaths, connections: usize) -> Vec<String> {
    let mut args = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", paths.data().display()),
        format!("--tmpdir={}", paths.tmp().display()),
        format!("--socket={}", paths.socket().display()),
        format!("--init-file={}", paths.init_sql().display()),
        format!("--pid-file={}", paths.data().join("pid").display()),
        // Only the administrator has the privilege to read and write files, and only these.
        format!("--secure-file-priv={}", paths.tmp().display()),
        format!("--innodb-log-file-size={LOG_SIZE}"),
        format!("--aria-checkpoint-interval={ARIA_CHECKPOINT_SECONDS}"),
        format!("--max-connections={}", connections + ADMIN_CONNECTIONS),
        format!("--open-files-limit={}", open_files(connections)),
    ];
    args.extend(
        [
            "--skip-networking",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--character-set-server=utf8mb4",
            "--local-infile=0",
            "--event-scheduler=OFF",
            // `DATA DIRECTORY` and `INDEX DIRECTORY` are ignored by InnoDB, MyISAM and Aria: tables outside of the data
            // folder could be replaced by their owner, and a server does not start when one of InnoDB's is missing.
            "--skip-symbolic-links",
            // No plugin can be loaded.
            "--plugin-dir=/nonexistent",
            // Sources have zero dates and row formats that a strict server rejects.
            "--sql-mode=NO_ENGINE_SUBSTITUTION",
            "--innodb-strict-mode=OFF",
            "--max-allowed-packet=256M",
            // A connection that does not log in.
            "--connect-timeout=5",
            // Commits survive a crash of the server; a power failure may lose the last second.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=256M",
            // Newer versions otherwise reserve 8 TiB of addresses, which a limit does not allow.
            "--loose-innodb-buffer-pool-size-max=256M",
            "--key-buffer-size=8M",
            "--aria-pagecache-buffer-size=8M",
            // Sandboxes have no io_uring.
            "--innodb-use-native-aio=OFF",
            // Undo logs in files of their own are truncated; the system tablespace never shrinks.
            "--innodb-undo-tablespaces=3",
            "--innodb-undo-log-truncate=ON",
            "--innodb-max-undo-log-size=64M",
            // Only whole files of Aria's log are removed, at a checkpoint, however little was written since the last one.
            "--aria-log-file-size=16M",
            "--aria-checkpoint-log-activity=0",
            // Statistics are kept in memory: there are no tables for them.
            "--innodb-stats-persistent=OFF",
            "--use-stat-tables=NEVER",
            // Logs of statements would belong to no clone.
            "--general-log=OFF",
            "--slow-query-log=OFF",
            // The file of InnoDB's temporary tables has no maximum: InnoDB cannot roll back when it is full and crashes.
            // `database_watch` ends the sessions that let it grow.
            // Prepared statements are counted for all users together; those of one are bounded by its memory.
            "--max-prepared-stmt-count=1048576",
            // A session can lower these two, and cannot raise them.
            "--max-session-mem-used=512M",
            "--maximum-max-session-mem-used=512M",
            "--tmp-disk-table-size=4G",
            "--maximum-tmp-disk-table-size=4G",
            // Memory that belongs to no session: words of full-text indexes that are not stored yet, of all tables and of
            // one, and what a full-text search finds.
            "--innodb-ft-total-cache-size=64M",
            "--innodb-ft-cache-size=4M",
            "--innodb-ft-result-cache-limit=64M",
            "--table-open-cache=1024",
            // One statement could open all partitions of a table, 8192, at once, and no kill would end it before. Tables are
            // copied without their partitions.
            "--partition=OFF",
            "--log-warnings=1",
        ]
        .map(str::to_owned),
    );
    args
}

fn open_files(connections: usize) -> usize {
    OWN_FILES + connections
}

/// What a server sees and uses. The memory is for all clones of the server together.
pub(crate) fn sandbox(paths: &ServerPaths, connections: usize) -> SandboxSpec {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    SandboxSpec {
        read_only: vec![paths.init_sql()],
        read_write: vec![paths.data(), paths.tmp(), paths.run()],
        limits: ResourceLimits {
            processes: number(OWN_THREADS + ADMIN_CONNECTIONS + connections),
            memory_bytes: 4 << 30,
            cpu_weight: 100,
            open_files: open_files(connections) as u64,
            // A server that exceeds it is killed, and all clones of a server would have to share it.
            file_bytes: None,
        },
        syscalls: SyscallFilter::Database,
    }
}

/// What the installation of the pristine data sees and uses.
pub(crate) fn install_sandbox(data: &Path) -> SandboxSpec {
    SandboxSpec {
        read_only: Vec::new(),
        read_write: vec![data.to_owned()],
        limits: ResourceLimits {
            processes: 128,
            memory_bytes: 1 << 30,
            cpu_weight: 100,
            open_files: 4096,
            file_bytes: None,
        },
        syscalls: SyscallFilter::Database,
    }
}
