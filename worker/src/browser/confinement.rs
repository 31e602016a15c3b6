//! How a browser is confined: by Chromium's own sandbox, and by bubblewrap around the browser and its driver.
//!
//! In bubblewrap a browser has no network. A relay beside it connects its proxy port to the worker's egress proxy, and
//! the worker to the driver, whose port nobody else can reach: whoever reaches it can start programs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use wpclone_supervisor::{FIRST_INHERITED_FD, system_folder_args};

use super::relay;

/// This program, which the relay is too. It is passed as an open file: the browser's user may not reach its path.
pub(super) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Where distributions install bubblewrap.
const BUBBLEWRAP: [&str; 2] = ["/usr/bin/bwrap", "/usr/local/bin/bwrap"];

/// What else a browser reads: fonts, the time zone, policies of the operator's.
const READ_ONLY: [&str; 8] = [
    "/etc/alternatives",
    "/etc/chromium",
    "/etc/chromium.d",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/opt",
    "/var/cache/fontconfig",
];

/// The most bytes in a browser's own /tmp, which is memory: its profile, and what its processes share. A profile has some 20 MB.
const TMP_BYTES: &str = "1073741824";

/// How browsers are confined on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrowserConfinement {
    /// bubblewrap; `None` where it does not work.
    pub(super) bubblewrap: Option<PathBuf>,
    /// Whether the browser has a PID namespace of its own, where bubblewrap works. Where parts of /proc are covered, as in
    /// containers, no /proc can be mounted for one.
    pub(super) has_own_processes: bool,
    /// Whether bubblewrap bounds a file system in memory, which it does from version 0.7 on.
    pub(super) has_bounded_tmp: bool,
    /// Whether Chromium's own sandbox is on.
    pub(super) has_chromium_sandbox: bool,
}

impl BrowserConfinement {
    /// Those to try, the best first.
    pub(super) fn candidates(has_chromium_sandbox: bool) -> Vec<Self> {
        let bubblewrap = BUBBLEWRAP.iter().map(PathBuf::from).find(|path| path.is_file());
        let with = |bubblewrap: Option<PathBuf>, has_bounded_tmp, has_own_processes| Self {
            bubblewrap,
            has_own_processes,
            has_bounded_tmp,
            has_chromium_sandbox,
        };
        let confined = [(true, true), (true, false), (false, true), (false, false)]
            .into_iter()
            .filter_map(|(bounded, own)| Some(with(Some(bubblewrap.clone()?), bounded, own)));
        confined.chain([with(None, false, false)]).collect()
    }
}

/// Where the egress proxy is in a browser's network namespace.
pub(super) fn proxy_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, relay::PROXY_PORT).into()
}

/// The arguments of bubblewrap that start the relay and `driver` in `folder`, which is all that they can write. `browser`
/// is what the driver starts. Further user namespaces are allowed: Chromium's sandbox is made of them.
pub(super) fn bubblewrap_args(
    folder: &Path,
    driver: &Path,
    browser: &Path,
    confinement: &BrowserConfinement,
) -> Vec<String> {
    // The driver creates the browser's profile in /tmp, which a page can fill: Chromium allows each of its origins some GiB.
    let size: &[&str] = if confinement.has_bounded_tmp { &["--size", TMP_BYTES] } else { &[] };
    let mut args: Vec<String> = [
        "--unshare-user",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--dev",
        "/dev",
        "--setenv",
        "TMPDIR",
        "/tmp",
    ]
    .map(str::to_owned)
    .into();
    args.extend(size.iter().chain(&["--tmpfs", "/tmp"]).map(|word| (*word).to_owned()));
    let processes: &[&str] = if confinement.has_own_processes {
        &["--unshare-pid", "--proc", "/proc"]
    } else {
        &["--bind", "/proc", "/proc"]
    };
    args.extend(processes.iter().map(|word| (*word).to_owned()));
    args.extend(system_folder_args());
    let installed = [driver, browser].into_iter().filter_map(Path::parent);
    let installed =
        installed.filter(|parent| !parent.starts_with("/usr")).map(|path| path.display().to_string());
    for path in READ_ONLY.map(str::to_owned).into_iter().chain(installed) {
        args.extend(["--ro-bind-try".into(), path.clone(), path]);
    }
    let folder = folder.display().to_string();
    args.extend(["--bind".into(), folder.clone(), folder.clone(), "--chdir".into(), folder, "--".into()]);
    args.extend([
        format!("/proc/self/fd/{FIRST_INHERITED_FD}"),
        relay::ARGUMENT.into(),
        driver.display().to_string(),
    ]);
    args
}
