//! Helpers: the temporary folder, programs, ports, waiting.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use wpclone_supervisor::{Confinement, ProcessSpec, Supervised, unique_folder};

use crate::{LabError, Result};

/// The interval between two checks of a condition.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(15);

/// How long the keeper of the folder may wait for the other supervisors, and then remove their files.
pub(crate) const KEEPER_LIMIT: Duration = Duration::from_secs(180);

static BASE: OnceCell<(PathBuf, Mutex<Option<Supervised>>)> = OnceCell::const_new();

/// The folder of this process, created at first use. Its supervisor outlives all others and removes it.
pub(crate) async fn base_folder() -> Result<&'static Path> {
    let (path, _) = BASE.get_or_try_init(create_base_folder).await?;
    Ok(path)
}

/// Removes the folder.
pub(crate) fn end() {
    let keeper = BASE.get().and_then(|(_, keeper)| keeper.lock().take());
    if let Some(keeper) = keeper {
        crate::service::end(keeper, KEEPER_LIMIT);
    }
}

async fn create_base_folder() -> Result<(PathBuf, Mutex<Option<Supervised>>)> {
    // A supervisor removes the parent of its folder when that is empty, so the parent is exclusive to it. Services of
    // other users must be able to traverse it.
    let around = unique_folder(&env::temp_dir(), "wpclone-lab");
    fs::create_dir(&around).map_err(at(&around))?;
    fs::set_permissions(&around, fs::Permissions::from_mode(0o755)).map_err(at(&around))?;
    let path = around.join("base");
    let lab = built("lab")?;
    let spec = ProcessSpec {
        program: lab.clone(),
        args: vec!["keep-folder".into()],
        env: Vec::new(),
        folder: path.clone(),
        grace: KEEPER_LIMIT,
        run_as: None,
        confinement: Confinement::default(),
    };
    let keeper = Supervised::spawn_with(&lab, spec, Stdio::null(), Stdio::inherit()).await?;
    until("the lab's folder", Duration::from_secs(120), None, async || path.is_dir()).await?;
    // So far only its owner may enter a supervisor's folder.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(at(&path))?;
    fs::create_dir(path.join("logs")).map_err(at(&path))?;
    Ok((path, Mutex::new(Some(keeper))))
}

/// A name that is unique in this process.
pub(crate) fn unique(kind: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{kind}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The cache folder: downloads of `./dev`, and what is slow to create.
///
/// # Errors
/// No variable names one.
pub fn cache() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("WPCLONE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("wpclone")))
        .or_else(|| set("HOME").map(|p| p.join(".cache/wpclone")))
        .ok_or(LabError::Missing { what: "the cache folder".into(), help: "set WPCLONE_CACHE or HOME" })
}

/// A program of this workspace, built into the folder that the running one is in, or the one above (`deps`).
pub fn built(name: &str) -> Result<PathBuf> {
    let me = env::current_exe()?;
    let found = me.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|p| p.is_file());
    found.ok_or_else(|| LabError::Missing {
        what: format!("the program `{name}` near {}", me.display()),
        help: "run `cargo build --workspace --bins`",
    })
}

/// A program of the machine, on PATH or where Debian keeps daemons. `name` may end in `*` for the highest version.
pub(crate) fn installed(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin", "/usr/local/sbin", "/usr/lib/chromium"].map(PathBuf::from));
    let missing = || LabError::Missing { what: format!("the program `{name}`"), help: "run `./dev install`" };
    let Some(stem) = name.strip_suffix('*') else {
        return dirs.iter().map(|d| d.join(name)).find(|p| p.is_file()).ok_or_else(missing);
    };
    let entries = dirs.iter().filter_map(|d| fs::read_dir(d).ok()).flatten().flatten();
    let versions = entries.filter(|e| e.file_name().to_str().is_some_and(|n| is_version_of(n, stem)));
    versions.map(|e| e.path()).max().ok_or_else(missing)
}

fn is_version_of(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// A free port that this process has not returned before. Below the range that the kernel uses for
/// outgoing connections, so that a restarted service gets its port again, and below the ports that the tests of
/// `wpclone-provision-local` use beside.
pub fn free_port() -> Result<u16> {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock();
    for _ in 0..1000 {
        let port = 12_000 + u16::from_le_bytes(random()?) % 10_000;
        if !given.contains(&port) && is_free(port) {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port").into())
}

/// Whether nobody listens on this port of 127.0.0.1.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(bytes)
}

/// Random text of 24 letters and digits: a password or a name.
pub(crate) fn random_text() -> Result<String> {
    Ok(hex::encode(random::<12>()?))
}

/// Waits until `condition` holds. The error shows the end of `log` when it does not hold within `limit`.
///
/// # Errors
/// The limit passed.
pub async fn until<C, F>(what: &str, limit: Duration, log: Option<&Path>, condition: C) -> Result<()>
where
    C: Fn() -> F,
    F: Future<Output = bool>,
{
    let end = Instant::now() + limit;
    while !condition().await {
        if Instant::now() >= end {
            return Err(LabError::Late { what: what.into(), limit, log: log.map(tail).unwrap_or_default() });
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// The last part of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(3000)..]).into_owned()
}

/// Adds the path to an error.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> LabError {
    move |error| LabError::File { path: path.to_owned(), error }
}
