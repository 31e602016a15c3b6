//! The installed programs that clones need.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::sandbox::SandboxPrograms;

/// Folders of daemons that may not be on PATH.
const DAEMON_DIRS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Their paths.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(crate) mariadbd: PathBuf,
    pub(crate) install_db: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) dump: PathBuf,
    /// Each php-fpm with its version (`8.2`), newest first; never empty.
    pub(crate) fpm: Vec<(String, PathBuf)>,
    /// What builds sandboxes, or why it cannot be found.
    pub(crate) sandbox: Result<SandboxPrograms, String>,
}

impl Binaries {
    /// Finds them.
    ///
    /// # Errors
    /// The names of those that are missing.
    pub(crate) fn find() -> Result<Self, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = env::split_paths(&path)
            .chain(DAEMON_DIRS.map(PathBuf::from))
            .filter(|f| f.is_absolute())
            .collect();
        let mut missing = Vec::new();
        let mut find = |name: &'static str| {
            let found = folders.iter().map(|f| f.join(name)).find(|p| is_program(p));
            if found.is_none() {
                missing.push(name);
            }
            found.unwrap_or_default()
        };
        let (mariadbd, install_db) = (find("mariadbd"), find("mariadb-install-db"));
        let (client, dump) = (find("mariadb"), find("mariadb-dump"));
        let fpm = find_fpm(&folders);
        if fpm.is_empty() {
            missing.push("php-fpm");
        }
        if !missing.is_empty() {
            return Err(format!("{} cannot be found on PATH or in /usr/sbin", missing.join(", ")));
        }
        Ok(Self { mariadbd, install_db, client, dump, fpm, sandbox: find_sandbox(&folders) })
    }

    /// The php-fpm for a version such as `8.2.7`: the same minor version, or else the newest installed.
    pub(crate) fn fpm_for(&self, version: Option<&str>) -> &(String, PathBuf) {
        let matches = |fpm: &&(String, PathBuf)| {
            version.is_some_and(|v| v == fpm.0 || v.strip_prefix(&fpm.0).is_some_and(|r| r.starts_with('.')))
        };
        self.fpm.iter().find(matches).unwrap_or(&self.fpm[0])
    }
}

fn find_sandbox(folders: &[PathBuf]) -> Result<SandboxPrograms, String> {
    let find = |name: &str, package: &str| {
        let found = folders.iter().map(|f| f.join(name)).find(|p| is_program(p));
        found.ok_or_else(|| format!("{name} (of {package}) cannot be found on PATH"))
    };
    Ok(SandboxPrograms { bwrap: find("bwrap", "bubblewrap")?, prlimit: find("prlimit", "util-linux")? })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// All installed php-fpm: `php-fpm` and `php-fpmX.Y`.
fn find_fpm(folders: &[PathBuf]) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for entry in folders.iter().filter_map(|f| fs::read_dir(f).ok()).flatten().flatten() {
        let name = entry.file_name();
        let Some(version) = name.to_str().and_then(|n| n.strip_prefix("php-fpm")) else { continue };
        let is_version = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if is_version && is_program(&entry.path()) && found.iter().all(|(v, _)| v != version) {
            found.push((version.to_owned(), entry.path()));
        }
    }
    let number = |v: &str| v.split('.').map(|p| p.parse().unwrap_or(0)).collect::<Vec<u32>>();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(number(version)));
    found
}
