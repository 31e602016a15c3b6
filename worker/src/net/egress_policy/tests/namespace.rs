//! A test in a network namespace of its own, in which names are asked for at a name server of the attacker's, at 127.0.0.1.

use std::fs;
use std::process::Command;

/// Set in the namespace.
const IN_NAMESPACE: &str = "WPCLONE_TEST_IN_NAMESPACE";

/// Whether the test runs there already.
pub(super) fn is_in_namespace() -> bool {
    std::env::var_os(IN_NAMESPACE).is_some()
}

/// Runs the test of this name there.
pub(super) fn run_in_namespace(test: &str) {
    let resolver = tempfile::NamedTempFile::new().unwrap();
    fs::write(resolver.path(), "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n").unwrap();
    let ran = Command::new("bwrap")
        .args(["--unshare-user", "--unshare-net", "--uid", "0", "--gid", "0", "--cap-add", "ALL"])
        .args(["--dev-bind", "/", "/", "--ro-bind"])
        .arg(resolver.path())
        .args(["/etc/resolv.conf", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(IN_NAMESPACE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && text.contains("1 passed"), "{ran:#?}");
}
