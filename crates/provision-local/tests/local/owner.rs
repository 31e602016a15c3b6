//! Owners that are killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use wpclone_provision::{
    Addresses, CloneInfo, Health, Isolation, Phase, ProvisionError, Provisioner as _, Routing,
};
use wpclone_provision_local::LocalProvisioner;

use crate::recovery::write_record;
use crate::support::{
    Lab, folder, free_address, http, log_in, name, options, processes_in, spec, until, wordpress,
};

/// `own STATE LISTEN WORDPRESS TASK…`: owns a state folder, creates a clone for each task, prints it, deletes it if the task
/// says so, and runs on.
pub(crate) async fn own(args: &[String]) {
    let listen: SocketAddr = args[1].parse().expect("an address");
    let mut options = options(Path::new(&args[0]), listen, None, Routing::Path, (&args[2]).into());
    options.unsafe_no_sandbox = std::env::var_os(UNSAFE_NO_SANDBOX).is_some();
    let local = Arc::new(LocalProvisioner::new(options));
    let own = Arc::clone(&local);
    let running = tokio::spawn(async move { own.run(CancellationToken::new()).await });
    until("the owner to be ready", async || match local.health() {
        Health::Unavailable(why) => {
            println!("{}", serde_json::json!({ "unavailable": why }));
            false
        }
        health => health == Health::Ready,
    })
    .await;
    for task in &args[3..] {
        let mut spec = spec(task);
        if task.starts_with("dedicated") {
            spec.isolation = Isolation::Dedicated;
        }
        let info = local.create(&spec).await.expect("a clone");
        let access = local.access(&info.name).await.expect("access");
        let output = serde_json::json!({
            "info": info, "username": access.username, "password": access.password.expose_secret(),
        });
        println!("{output}");
        if task.starts_with("deleted") {
            local.delete(&info.name).await.expect("deleted");
        }
    }
    running.await.expect("for ever");
}

/// Set for an owner that runs clones without a sandbox where there is none.
const UNSAFE_NO_SANDBOX: &str = "TEST_UNSAFE_NO_SANDBOX";

/// Starts an owner process that cannot create clones; returns why, when it says so.
pub(crate) fn refusal(state: &Path, listen: SocketAddr, wordpress: &Path, begin: Begin<'_>) -> String {
    let mut owner = owner(state, listen, wordpress, begin, &["one"]);
    let mut lines = BufReader::new(owner.stdout.take().expect("its output")).lines();
    let output = lines.next().expect("an answer").expect("a line");
    let output: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    output["unavailable"].as_str().unwrap_or_else(|| panic!("it is available: {output}")).to_owned()
}

/// An owner process; it ends with a test that fails.
pub(crate) struct Running(pub(crate) Child);

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have been reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an owner process; returns it and the clones that it has created.
pub(crate) fn started(
    state: &Path,
    listen: SocketAddr,
    wordpress: &Path,
    user: Option<u32>,
    tasks: &[&str],
) -> (Running, Vec<(CloneInfo, String, String)>) {
    started_so(state, listen, wordpress, Begin { user, ..Begin::default() }, tasks)
}

/// How an owner is started.
#[derive(Default)]
pub(crate) struct Begin<'a> {
    /// As another user.
    pub(crate) user: Option<u32>,
    /// With this folder first in PATH.
    pub(crate) path: Option<&'a Path>,
    /// With clones that need no sandbox.
    pub(crate) unsafe_no_sandbox: bool,
}

/// Starts an owner process with these options.
pub(crate) fn owner(
    state: &Path,
    listen: SocketAddr,
    wordpress: &Path,
    begin: Begin<'_>,
    tasks: &[&str],
) -> Running {
    let mut command = Command::new("/proc/self/exe");
    command.arg("own").arg(state).arg(listen.to_string()).arg(wordpress).args(tasks);
    command.stdout(Stdio::piped()).stdin(Stdio::null());
    if let Some(user) = begin.user {
        command.uid(user).gid(user);
    }
    if let Some(first) = begin.path {
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", first.display()));
    }
    if begin.unsafe_no_sandbox {
        command.env(UNSAFE_NO_SANDBOX, "1");
    }
    Running(command.spawn().expect("an owner"))
}

/// Starts an owner process with these options; returns it and the clones that it has created.
pub(crate) fn started_so(
    state: &Path,
    listen: SocketAddr,
    wordpress: &Path,
    begin: Begin<'_>,
    tasks: &[&str],
) -> (Running, Vec<(CloneInfo, String, String)>) {
    let mut child = owner(state, listen, wordpress, begin, tasks);
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let output = tasks.iter().map(|_| {
        let line = lines.next().expect("a clone").expect("a line");
        let output: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| output[name].as_str().expect("a text").to_owned();
        let info = serde_json::from_value(output["info"].clone()).expect("a clone");
        (info, text("username"), text("password"))
    });
    (child, output.collect())
}

pub(crate) async fn programs_end_with_a_killed_owner_and_the_next_one_finds_all_clones() {
    let dir = folder();
    let (state, listen) = (dir.path().join("state"), free_address());
    let (mut owner, clones) = started(&state, listen, &wordpress(), None, &["one", "dedicated-two"]);
    // Something is written by WordPress and PHP, and a creation is interrupted.
    for (clone, username, password) in &clones {
        let url = clone.url.clone();
        let access = wpclone_provision::Access {
            url,
            username: username.clone(),
            password: password.clone().into(),
            migrator_key: "".into(),
            login_key: "".into(),
        };
        assert_eq!(log_in(&http(), &access).await.status(), 200);
    }
    let half = state.join("clones").join(name("half").as_str());
    write_record(dir.path(), &clones[0].0, &name("half"), Phase::Creating);
    fs::create_dir_all(half.join("www")).expect("a folder");
    // The next owner waits.
    let lab = Lab::begun(dir, Routing::Path, |options| {
        options.addresses = Addresses::new(listen, None, Routing::Path).expect("addresses");
    });
    lab.until(&Health::Waiting).await;
    assert!(matches!(lab.local.list().await, Err(ProvisionError::Unavailable(_))));
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    let killed = Timestamp::now();
    lab.until(&Health::Ready).await;
    eprintln!("taken over after {:#}", Timestamp::now() - killed);
    let found = lab.local.list().await.expect("clones");
    let names: Vec<_> = found.iter().map(|c| &c.name).collect();
    let mut expected: Vec<_> = clones.iter().map(|(c, ..)| &c.name).collect();
    expected.sort();
    assert_eq!(names, expected, "none lost, none doubled, nothing half made");
    assert!(!half.exists());
    for (clone, username, password) in &clones {
        let url = format!("{}/wp-login.php", clone.url);
        until("the clone to be up", async || {
            http().get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        let access = lab.local.access(&clone.name).await.expect("access");
        assert_eq!((&access.username, access.password.expose_secret()), (username, password.as_str()));
        assert_eq!(log_in(&http(), &access).await.status(), 200);
        assert_eq!(lab.get(&clone.name).await.expect("it").phase, Phase::Ready);
    }
    // A repeated step finds its clone.
    let again = lab.local.create(&spec("one")).await.expect("the same");
    assert_eq!(again.created_at, clones[0].0.created_at);
    let expires = Timestamp::now() + SignedDuration::from_hours(1);
    lab.local.publish(&again.name, expires).await.expect("published");
    let dir = lab.end().await;
    assert_eq!(processes_in(dir.path()), Vec::<String>::new());
}

/// Kills an owner and its supervisors at once.
pub(crate) fn kill_with_supervisors(owner: &mut Running) {
    let pid = |child: &Child| Pid::from_raw(child.id().try_into().expect("an id")).expect("an id");
    // Stopped, so that it neither reaps its supervisors nor restarts their programs.
    kill_process(pid(owner), Signal::STOP).expect("SIGSTOP");
    let of_owner = format!(" {} ", owner.id());
    let supervisors: Vec<i32> = fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter(|e| {
            let stat = fs::read_to_string(e.path().join("stat")).unwrap_or_default();
            stat.split(')').next_back().is_some_and(|rest| rest.split(' ').nth(2) == Some(of_owner.trim()))
        })
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    assert!(supervisors.len() >= 2, "supervisors of the database and of PHP: {supervisors:?}");
    for supervisor in supervisors.into_iter().filter_map(Pid::from_raw) {
        kill_process(supervisor, Signal::KILL).expect("SIGKILL");
    }
    kill_process(pid(owner), Signal::KILL).expect("SIGKILL");
    owner.wait().expect("reaped");
}

pub(crate) async fn orphans_of_a_killed_owner_and_killed_supervisors_are_killed() {
    let dir = folder();
    let (state, listen) = (dir.path().join("state"), free_address());
    let (mut owner, clones) = started(&state, listen, &wordpress(), None, &["one"]);
    let url = format!("{}/", clones[0].0.url);
    assert_eq!(http().get(&url).send().await.expect("a response").status(), 200);
    kill_with_supervisors(&mut owner);
    // Nobody is left to end them but the kernel.
    until("all sandboxes to be gone", async || processes_in(dir.path()).is_empty()).await;
    let lab = Lab::begun(dir, Routing::Path, |options| {
        options.addresses = Addresses::new(listen, None, Routing::Path).expect("addresses");
    });
    lab.until(&Health::Ready).await;
    until("the clone to be up", async || {
        http().get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    lab.end().await;
}
