//! A supervisor leaves nothing behind, whoever is killed first. No libtest harness: this program is its own supervisor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wpclone_supervisor::{Confinement, ProcessSpec, Supervised, run_if_supervisor, sweep, unique_folder};

/// A program with a child in its group, one that left the group and its parent, one that left its folder and its
/// environment as well, and one that ignores SIGTERM.
const SCRIPT: &str = "sleep 1000 & (setsid sleep 1001 &) ; (cd / && exec env -i setsid /bin/sleep 1004 &) ; sh -c 'trap \"\" TERM; sleep 1002' & touch ready; wait";

fn spec(base: &Path, grace: Duration) -> ProcessSpec {
    ProcessSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), SCRIPT.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        folder: unique_folder(base, "task"),
        grace,
        run_as: None,
        confinement: Confinement::default(),
    }
}

fn processes_of(folder: &Path) -> Vec<String> {
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
            let tag = format!("{name}/.supervised");
            of_it(e.path().join("cwd"), &name) || files.into_iter().any(|file| of_it(file.path(), &tag))
        })
        .map(|e| fs::read_to_string(e.path().join("cmdline")).unwrap_or_default().replace('\0', " "))
        .collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < end, "{what} within two minutes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn started(base: &Path, grace: Duration) -> Supervised {
    let supervised = Supervised::spawn(spec(base, grace)).await.expect("a supervisor");
    let folder = supervised.folder().to_owned();
    until("the program runs", || folder.join("ready").exists() && processes_of(&folder).len() >= 6).await;
    supervised
}

async fn stop_ends_all_descendants(base: PathBuf) {
    for grace in [Duration::ZERO, Duration::from_millis(300)] {
        let mut supervised = started(&base, grace).await;
        let folder = supervised.folder().to_owned();
        supervised.stop().await;
        assert_eq!(processes_of(&folder), Vec::<String>::new());
        assert!(!folder.exists() && !folder.with_extension("lock").exists());
    }
}

async fn the_end_of_a_program_ends_its_children(base: PathBuf) {
    let mut spec = spec(&base, Duration::ZERO);
    spec.args[1] = "(setsid sleep 1003 &); touch ready; exit 3".into();
    let folder = spec.folder.clone();
    let mut supervised = Supervised::spawn(spec).await.expect("a supervisor");
    supervised.wait().await;
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    assert!(!folder.exists());
}

/// An open folder would be a way out of a sandbox.
async fn a_program_gets_no_file_that_others_left_open(base: PathBuf) {
    let left_open = fs::File::open("/etc").expect("a folder");
    rustix::io::fcntl_setfd(&left_open, rustix::io::FdFlags::empty()).expect("inherited");
    let mut spec = spec(&base, Duration::ZERO);
    let list = base.join("open-files");
    spec.args[1] = format!("ls -l /proc/$$/fd >{0}.new && mv {0}.new {0}", list.display());
    Supervised::spawn(spec).await.expect("a supervisor").wait().await;
    let list = fs::read_to_string(list).expect("what the program has open");
    assert!(list.contains("/.supervised") && !list.contains("-> /etc"), "{list}");
    drop(left_open);
}

async fn a_killed_owner_leaves_nothing(base: PathBuf) {
    let mut owner =
        Command::new("/proc/self/exe").arg("own").arg(&base).stdin(Stdio::null()).spawn().expect("an owner");
    let folder = || {
        let found = fs::read_dir(&base).ok()?.flatten().map(|e| e.path()).find(|p| p.join("ready").exists());
        found.filter(|f| processes_of(f).len() >= 6)
    };
    until("the program runs", || folder().is_some()).await;
    let folder = folder().expect("a folder");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("everything is gone", || processes_of(&folder).is_empty() && !folder.exists()).await;
}

async fn a_killed_supervisor_is_cleaned_up_by_its_owner_and_by_a_sweep(base: PathBuf) {
    for by_sweep in [false, true] {
        let mut supervised = started(&base, Duration::ZERO).await;
        let folder = supervised.folder().to_owned();
        let pid = supervised.supervisor_pid().expect("a supervisor").to_string();
        let swept = sweep(&base).expect("a sweep");
        assert_eq!((swept.removed, swept.running), (0, 1), "a sweep leaves what has a supervisor");
        assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
        if by_sweep {
            until("the lock is free", || sweep(&base).expect("a sweep").removed == 1).await;
        } else {
            supervised.wait().await;
        }
        until("everything is gone", || processes_of(&folder).is_empty() && !folder.exists()).await;
    }
}

/// A sandbox whose programs keep no file open, change folder and environment, and do not end with bubblewrap.
fn sandboxed(base: &Path, grace: Duration, script: &str) -> ProcessSpec {
    let folder = unique_folder(base, "task");
    let (name, out) = (folder.display().to_string(), base.join("output").display().to_string());
    let mut args: Vec<String> =
        ["--unshare-user", "--unshare-pid", "--clearenv", "--chdir", "/", "--ro-bind", "/", "/"]
            .map(str::to_owned)
            .to_vec();
    args.extend(
        ["--proc", "/proc", "--dev", "/dev", "--ro-bind", &name, &name, "--bind", &out, &out, "--"]
            .map(str::to_owned),
    );
    args.extend(["/bin/sh", "-c", script, "sh", &out].map(str::to_owned));
    let confinement = Confinement { is_bubblewrap: true, ..Confinement::default() };
    ProcessSpec { program: "/usr/bin/bwrap".into(), args, folder, grace, confinement, ..spec(base, grace) }
}

/// The processes that see this folder as a mount.
fn processes_with_mount(folder: &Path) -> usize {
    let folder = folder.display().to_string();
    let sees = |e: &fs::DirEntry| {
        let mounts = fs::read_to_string(e.path().join("mountinfo")).unwrap_or_default();
        mounts.lines().any(|mount| mount.split(' ').nth(4) == Some(&folder))
    };
    fs::read_dir("/proc").expect("proc").flatten().filter(sees).count()
}

async fn the_orphans_of_a_sandbox_are_found_by_its_mount(base: PathBuf) {
    fs::create_dir_all(base.join("output")).expect("a folder");
    let spec = sandboxed(&base, Duration::ZERO, "(setsid sleep 1005 &); touch $1/ready; exec sleep 1006");
    let folder = spec.folder.clone();
    let mut supervised = Supervised::spawn(spec).await.expect("a supervisor");
    until("the sandbox runs", || base.join("output/ready").exists()).await;
    assert!(processes_with_mount(&folder) >= 3, "its init, and two programs");
    let pid = supervised.supervisor_pid().expect("a supervisor").to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
    supervised.wait().await;
    until("everything is gone", || processes_with_mount(&folder) == 0 && !folder.exists()).await;
}

async fn a_program_in_a_sandbox_gets_sigterm(base: PathBuf) {
    fs::create_dir_all(base.join("output")).expect("a folder");
    let script = "trap 'touch $1/terminated; exit' TERM; touch $1/ready; while :; do sleep 0.05; done";
    let mut supervised =
        Supervised::spawn(sandboxed(&base, Duration::from_secs(10), script)).await.expect("a supervisor");
    until("the sandbox runs", || base.join("output/ready").exists()).await;
    supervised.stop().await;
    assert!(base.join("output/terminated").exists());
}

#[tokio::main]
async fn main() {
    run_if_supervisor();
    if std::env::args().nth(1).as_deref() == Some("own") {
        let base = PathBuf::from(std::env::args().nth(2).expect("a base"));
        let _supervised = Supervised::spawn(spec(&base, Duration::ZERO)).await.expect("a supervisor");
        return std::future::pending().await;
    }
    wpclone_supervisor::adopt_orphans().expect("a subreaper");
    let base = tempfile::tempdir().expect("a folder");
    let at = |name: &str| base.path().join(name);
    stop_ends_all_descendants(at("a")).await;
    the_end_of_a_program_ends_its_children(at("b")).await;
    a_killed_owner_leaves_nothing(at("c")).await;
    a_killed_supervisor_is_cleaned_up_by_its_owner_and_by_a_sweep(at("d")).await;
    the_orphans_of_a_sandbox_are_found_by_its_mount(at("e")).await;
    a_program_in_a_sandbox_gets_sigterm(at("f")).await;
    a_program_gets_no_file_that_others_left_open(base.path().to_owned()).await;
    println!("test result: ok. 7 passed; 0 failed");
}
