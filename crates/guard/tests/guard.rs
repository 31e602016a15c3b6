//! A guard leaves nothing behind, whoever dies first. No libtest harness: this program is its own guard.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wpclone_guard::{Guarded, Spec, run_if_guard, sweep, unique_folder};

/// A program with a child in its group, one that left the group and its parent, one that left its folder and its
/// environment as well, and one that ignores SIGTERM.
const SCRIPT: &str = "sleep 1000 & (setsid sleep 1001 &) ; (cd / && exec env -i setsid /bin/sleep 1004 &) ; sh -c 'trap \"\" TERM; sleep 1002' & touch ready; wait";

fn spec(base: &Path, grace: Duration) -> Spec {
    Spec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), SCRIPT.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        folder: unique_folder(base, "task"),
        grace,
        run_as: None,
    }
}

fn inhabitants(folder: &Path) -> Vec<String> {
    let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
    fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter(|e| {
            // A removed folder reads as `… (deleted)`.
            let of_it = |link: PathBuf, part: &str| {
                fs::read_link(link).is_ok_and(|to| to.to_string_lossy().contains(part))
            };
            let files = fs::read_dir(e.path().join("fd")).into_iter().flatten().flatten();
            let mark = format!("{name}/.guarded");
            of_it(e.path().join("cwd"), &name) || files.into_iter().any(|file| of_it(file.path(), &mark))
        })
        .map(|e| fs::read_to_string(e.path().join("cmdline")).unwrap_or_default().replace('\0', " "))
        .collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what} within 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn started(base: &Path, grace: Duration) -> Guarded {
    let guarded = Guarded::spawn(spec(base, grace)).await.expect("a guard");
    let folder = guarded.folder().to_owned();
    until("the program runs", || folder.join("ready").exists() && inhabitants(&folder).len() >= 6).await;
    guarded
}

async fn stop_ends_everything(base: PathBuf) {
    for grace in [Duration::ZERO, Duration::from_millis(300)] {
        let guarded = started(&base, grace).await;
        let folder = guarded.folder().to_owned();
        guarded.stop().await;
        assert_eq!(inhabitants(&folder), Vec::<String>::new());
        assert!(!folder.exists() && !folder.with_extension("lock").exists());
    }
}

async fn a_program_that_ends_takes_its_children_along(base: PathBuf) {
    let mut spec = spec(&base, Duration::ZERO);
    spec.args[1] = "(setsid sleep 1003 &); touch ready; exit 3".into();
    let folder = spec.folder.clone();
    let mut guarded = Guarded::spawn(spec).await.expect("a guard");
    guarded.ended().await;
    assert_eq!(inhabitants(&folder), Vec::<String>::new());
    assert!(!folder.exists());
}

async fn an_owner_killed_leaves_nothing(base: PathBuf) {
    let mut owner =
        Command::new("/proc/self/exe").arg("own").arg(&base).stdin(Stdio::null()).spawn().expect("an owner");
    let folder = || {
        let found = fs::read_dir(&base).ok()?.flatten().map(|e| e.path()).find(|p| p.join("ready").exists());
        found.filter(|f| inhabitants(f).len() >= 6)
    };
    until("the program runs", || folder().is_some()).await;
    let folder = folder().expect("a folder");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("everything is gone", || inhabitants(&folder).is_empty() && !folder.exists()).await;
}

async fn a_guard_killed_is_cleared_by_its_owner_and_by_a_sweep(base: PathBuf) {
    for by_sweep in [false, true] {
        let mut guarded = started(&base, Duration::ZERO).await;
        let folder = guarded.folder().to_owned();
        let pid = guarded.guard_pid().expect("a guard").to_string();
        assert_eq!(sweep(&base).expect("a sweep"), 0, "a sweep leaves what has a guard");
        assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
        if by_sweep {
            until("the lock is free", || sweep(&base).expect("a sweep") == 1).await;
        } else {
            guarded.ended().await;
        }
        until("everything is gone", || inhabitants(&folder).is_empty() && !folder.exists()).await;
    }
}

#[tokio::main]
async fn main() {
    run_if_guard();
    if std::env::args().nth(1).as_deref() == Some("own") {
        let base = PathBuf::from(std::env::args().nth(2).expect("a base"));
        let _guarded = Guarded::spawn(spec(&base, Duration::ZERO)).await.expect("a guard");
        return std::future::pending().await;
    }
    wpclone_guard::adopt_orphans().expect("a subreaper");
    let base = tempfile::tempdir().expect("a folder");
    let at = |name: &str| base.path().join(name);
    stop_ends_everything(at("a")).await;
    a_program_that_ends_takes_its_children_along(at("b")).await;
    an_owner_killed_leaves_nothing(at("c")).await;
    a_guard_killed_is_cleared_by_its_owner_and_by_a_sweep(at("d")).await;
    println!("test result: ok. 4 passed; 0 failed");
}
