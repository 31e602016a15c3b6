//! The environment of test programs: what the result of any may depend on, besides programs built from this workspace.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// The folder of the workspace.
pub(crate) const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What `./dev install` fetches into the cache folder and tests use. Much of it is large, so its content is not read.
const FETCHED: &[&str] = &[
    "wordpress/bookworm",
    "wordpress/trixie",
    "wordpress/sid",
    "wordpress/6.5",
    "valkey",
    "mysql",
    "tools/schemathesis/requirements.txt",
];

/// Settings of installed programs.
const SETTINGS: &[&str] = &[
    "/etc/chromium",
    "/etc/chromium.d",
    "/etc/fonts",
    "/etc/hosts",
    "/etc/mysql",
    "/etc/nginx",
    "/etc/php",
    "/etc/redis",
];

/// Where the kernel says what it is, and what it allows to a process.
const KERNEL: &[&str] = &[
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/version",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/user/max_user_namespaces",
    "/proc/self/limits",
    "/sys/fs/cgroup/cgroup.controllers",
];

/// Lines of /proc/self/status: who runs the tests, and with which rights.
const STATUS: &[&str] =
    &["Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Cpus_allowed"];

/// How the names of environment variables begin that programs or tests may read. Others often change, as a session's number.
const VARIABLES: &[&str] = &[
    "WPCLONE_",
    "RUST_",
    "PROPTEST_",
    "LC_",
    "LANG",
    "LD_",
    "PHP",
    "CHROME",
    "NODE_",
    "TZ",
    "TMPDIR",
    "HOME",
    "PATH",
    "XDG_CACHE_HOME",
];

/// A digest of the environment. Whatever cannot be read counts as missing, but what git and dpkg say is needed.
///
/// # Errors
/// One of them says nothing.
pub(crate) fn digest(workspace: &Path, cache: &Path) -> Result<String> {
    let mut all = Sha256::new();
    let mut add = |name: &OsStr, content: &[u8]| {
        all.update(format!("\n{} {} {} ", name.len(), name.display(), content.len()));
        all.update(content);
    };
    for file in files_of(workspace)? {
        add(file.as_os_str(), &fs::read(workspace.join(&file)).unwrap_or_default());
    }
    let packages =
        output("dpkg-query", &["-W", "-f", "${Package} ${Architecture} ${Version} ${db:Status-Status}\n"])?;
    add("packages".as_ref(), &packages);
    // It also comes from elsewhere than Debian.
    add("node".as_ref(), &output("node", &["--version"]).unwrap_or_default());
    for folder in FETCHED.iter().map(|name| cache.join(name)).chain(SETTINGS.iter().map(PathBuf::from)) {
        add(folder.as_os_str(), listing(&folder).as_bytes());
    }
    for file in KERNEL {
        add(file.as_ref(), &fs::read(file).unwrap_or_default());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in
        status.lines().filter(|line| line.split_once(':').is_some_and(|(name, _)| STATUS.contains(&name)))
    {
        add("status".as_ref(), line.as_bytes());
    }
    for (name, value) in env::vars_os().collect::<BTreeMap<_, _>>() {
        if is_read(&name.to_string_lossy()) {
            add(&name, value.as_bytes());
        }
    }
    Ok(hex::encode(all.finalize()))
}

/// Whether a program or a test may read the variable. In the long form tests do more, and nothing else.
fn is_read(variable: &str) -> bool {
    let proxy = variable.to_ascii_uppercase().ends_with("_PROXY");
    variable != "WPCLONE_TEST_ALL" && (proxy || VARIABLES.iter().any(|begin| variable.starts_with(begin)))
}

/// The files of the workspace that tests may read when they run, sorted; also new ones that git does not know yet.
fn files_of(workspace: &Path) -> Result<Vec<PathBuf>> {
    let workspace = workspace.to_str().context("the workspace's path is no text")?;
    let args = ["-C", workspace, "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = output("git", &args)?;
    let names = output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut files: Vec<_> =
        names.map(|name| PathBuf::from(OsStr::from_bytes(name))).filter(|f| is_read_by_tests(f)).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Sources are part of the programs, and so are texts that are included in them; this program is not part of others.
fn is_read_by_tests(file: &Path) -> bool {
    match file.extension().and_then(OsStr::to_str) {
        Some("rs") => file.starts_with("tests/src/bin/test-runner"),
        Some("md") => file.starts_with("docs/problems"),
        _ => true,
    }
}

/// A file's length and time, or those of all files below a folder.
fn listing(path: &Path) -> String {
    let Ok(found) = fs::symlink_metadata(path) else { return String::new() };
    if !found.is_dir() {
        return format!(
            "{} {:o} {} {}.{}\n",
            path.display(),
            found.mode(),
            found.len(),
            found.mtime(),
            found.mtime_nsec()
        );
    }
    let mut below: Vec<_> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    below.sort();
    below.iter().map(|path| listing(path)).collect()
}

fn output(program: &str, args: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    if !output.status.success() || output.stdout.is_empty() {
        bail!("{program} said: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    /// A workspace with a file that tests read, and a cache.
    fn workspace_and_cache() -> (TempDir, TempDir) {
        let (workspace, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        output("git", &["-C", workspace.path().to_str().unwrap(), "init"]).unwrap();
        fs::write(workspace.path().join("a fixture"), "1").unwrap();
        (workspace, cache)
    }

    #[test]
    fn the_digest_changes_with_what_tests_read_and_only_then() {
        let (workspace, cache) = workspace_and_cache();
        let now = || digest(workspace.path(), cache.path()).unwrap();
        let mut before = now();
        assert_eq!(before, now());
        for file in ["README.md", "lib.rs"] {
            fs::write(workspace.path().join(file), "text").unwrap();
            assert_eq!(before, now(), "{file}");
        }
        for (folder, file) in
            [(&workspace, "a fixture"), (&workspace, "another"), (&cache, "valkey/valkey-server")]
        {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "2").unwrap();
            let after = now();
            assert_ne!(before, after, "{}", file.display());
            before = after;
        }
    }

    #[test]
    fn outside_of_a_repository_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert!(digest(folder.path(), folder.path()).is_err());
    }

    #[test]
    fn files_that_tests_may_read_belong_to_the_environment() {
        for (file, read) in [
            ("fixtures/migrator/signing.json", true),
            ("migrator-plugin/wpclone-migrator/wpclone-migrator.php", true),
            ("docs/problems/DEADLINE.md", true),
            ("crates/rewrite/tests/rewrite/oracle.php", true),
            ("Cargo.lock", true),
            ("tests/src/bin/test-runner/main.rs", true),
            ("README.md", false),
            ("docs/TRANSFER.md", false),
            ("worker/src/main.rs", false),
        ] {
            assert_eq!(is_read_by_tests(Path::new(file)), read, "{file}");
        }
    }

    #[test]
    fn variables_that_tests_may_read_belong_to_the_environment() {
        for (variable, read) in [
            ("WPCLONE_ROUNDS", true),
            ("WPCLONE_TEST_WORDPRESS", true),
            ("https_proxy", true),
            ("NO_PROXY", true),
            ("RUST_LOG", true),
            ("WPCLONE_TEST_ALL", false),
            ("XDG_SESSION_ID", false),
        ] {
            assert_eq!(is_read(variable), read, "{variable}");
        }
    }

    #[test]
    fn a_listing_has_every_file_with_its_length_time_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        let file = folder.path().join("below/file");
        let list = || listing(folder.path());
        let mut seen = vec![list()];
        fs::write(&file, "text").unwrap();
        seen.push(list());
        fs::write(&file, "longer text").unwrap();
        let opened = fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        seen.push(list());
        opened.set_modified(SystemTime::now() - Duration::from_secs(30)).unwrap();
        seen.push(list());
        opened.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        seen.push(list());
        assert_eq!(seen.last(), Some(&list()));
        for (number, other) in seen.iter().enumerate() {
            assert!(!seen[number + 1..].contains(other), "state {number}");
        }
    }
}
