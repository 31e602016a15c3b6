//! Checks from outside that Chromium's sandbox is on: that the processes which run pages are confined by the kernel.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wpclone_supervisor::descendants;

/// How long a browser may take to start a process for its first page. A busy machine must not be taken for one without a
/// sandbox: browsers would run with less confinement until the worker's end.
const START_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// `SECCOMP_MODE_FILTER` of `Seccomp:` in proc_pid_status(5).
const SECCOMP_FILTER: &str = "2";

/// Checks that every renderer below this supervisor has a seccomp filter and is in a PID namespace below that of its
/// browser, as both forms of Chromium's sandbox (user namespaces and chrome-sandbox) have it.
pub(super) async fn check_renderers(supervisor: u32, browser: &Path) -> Result<(), String> {
    let end = Instant::now() + START_DEADLINE;
    loop {
        let checked = check_now(supervisor, browser);
        match checked {
            // The filter is installed shortly after the process was started.
            Some(Err(_)) | None if Instant::now() < end => sleep(POLL).await,
            Some(result) => return result,
            None => return Err("no process for pages was started".into()),
        }
    }
}

/// `None` while there is no renderer.
fn check_now(supervisor: u32, browser: &Path) -> Option<Result<(), String>> {
    let browser = browser.display().to_string();
    let processes: Vec<Process> = descendants(supervisor).into_iter().filter_map(Process::read).collect();
    let is_main =
        |process: &&Process| process.command.starts_with(&browser) && !process.command.contains("--type=");
    let outer = processes.iter().find(is_main)?.pid_namespaces;
    let renderers: Vec<&Process> =
        processes.iter().filter(|process| process.command.contains("--type=renderer")).collect();
    if renderers.is_empty() {
        return None;
    }
    let is_confined =
        |process: &&Process| process.seccomp == SECCOMP_FILTER && process.pid_namespaces > outer;
    Some(match renderers.iter().all(is_confined) {
        true => Ok(()),
        false => Err("its processes for pages run without a seccomp filter and namespaces".into()),
    })
}

/// What /proc says of a process.
struct Process {
    command: String,
    seccomp: String,
    /// In how many nested PID namespaces it has an id.
    pid_namespaces: usize,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        Some(Self {
            command: String::from_utf8_lossy(&command).replace('\0', " "),
            seccomp: field("Seccomp:").to_owned(),
            pid_namespaces: field("NSpid:").split_whitespace().count(),
        })
    }
}
