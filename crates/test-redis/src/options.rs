//! Options of a test's Redis.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// `appendfsync`: when acknowledged writes are on disk. The append-only file is always on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before the acknowledgement.
    #[default]
    Always,
    /// About a second later.
    EverySecond,
    /// When the kernel decides.
    Never,
}

impl Fsync {
    /// The value in Redis' configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::Never => "no",
        }
    }
}

/// What [`crate::Redis::start_with`] starts. By default Debian's redis-server, which syncs to disk before it answers.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is started yet"]
pub struct Options {
    pub(crate) program: Option<PathBuf>,
    pub(crate) fsync: Fsync,
    pub(crate) args: Vec<String>,
    pub(crate) sync_takes: Option<Duration>,
    pub(crate) cluster: bool,
}

impl Options {
    /// Another server program, such as [`valkey`].
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// When acknowledged writes are on disk.
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// The most bytes of memory.
    pub fn maxmemory(self, bytes: u64) -> Self {
        self.arg("--maxmemory", &bytes.to_string())
    }

    /// Any other setting, as in `("--maxmemory-policy", "allkeys-lru")`.
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.into(), value.into()]);
        self
    }

    /// Simulates a disk: a sync of the append-only file takes this long, and what was not synced is lost when the power is cut
    /// ([`crate::Redis::cut_power`]).
    pub fn simulated_disk(mut self, sync_takes: Duration) -> Self {
        self.sync_takes = Some(sync_takes);
        self
    }
}

/// The valkey-server of this machine: `WPCLONE_TEST_VALKEY`, or what `./dev install` fetched.
///
/// # Panics
/// There is none.
#[must_use]
pub fn valkey() -> PathBuf {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = || {
        set("WPCLONE_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("wpclone")))
            .or_else(|| set("HOME").map(|p| p.join(".cache/wpclone")))
            .map(|cache| cache.join("valkey/valkey-server"))
    };
    let found = set("WPCLONE_TEST_VALKEY").or_else(cache).filter(|program| program.is_file());
    found.expect("valkey-server is missing: run `./dev install`, or set WPCLONE_TEST_VALKEY to one")
}
