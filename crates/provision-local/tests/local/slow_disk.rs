//! A disk that takes seconds to open and to sync files: strace delays the calls.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wpclone_provision::{CloneSpec, Health, Provisioner as _, Routing};
use wpclone_provision_local::LocalProvisioner;

use crate::owner::Running;
use crate::support::{
    free_address, http, name, options, prepared, processes_in, spec, tries_everything, until, wordpress,
};

/// How long the disk takes for each call.
const DELAY: Duration = Duration::from_secs(4);
/// How long other work may be delayed: by a busy machine, but not by the disk, of which a single call would take longer.
const LONGEST_GAP: Duration = DELAY;

/// `slow-disk STATE LISTEN WORDPRESS`: owns a state folder in a runtime with one thread, works on the clone `slow`, and
/// prints how long each call took and how long the runtime did nothing else meanwhile.
pub(crate) fn run(args: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a thread");
    let args = args.to_vec();
    // On the runtime's thread, as everything else.
    runtime.block_on(async { tokio::spawn(async move { work(&args).await }).await }).expect("no panic");
}

async fn work(args: &[String]) {
    let listen: SocketAddr = args[1].parse().expect("an address");
    let options = options(Path::new(&args[0]), listen, None, Routing::Path, (&args[2]).into());
    let local = Arc::new(LocalProvisioner::new(options));
    let own = Arc::clone(&local);
    let running = tokio::spawn(async move { own.run(CancellationToken::new()).await });
    until("the owner to be ready", async || local.health() == Health::Ready).await;
    let gap = Arc::new(AtomicU64::new(0));
    let longest = Arc::clone(&gap);
    // As the renewal of leases does.
    tokio::spawn(async move {
        loop {
            let slept = Instant::now();
            tokio::time::sleep(Duration::from_millis(20)).await;
            longest.fetch_max(slept.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    });
    let other = local.create(&spec("other")).await.expect("a clone");
    println!("{}", json!({"call": "other", "url": other.url}));
    let slow = name("slow");
    let report = |call: &str, begun: Instant| {
        let took = begun.elapsed().as_millis() as u64;
        println!("{}", json!({"call": call, "took": took, "gap": gap.swap(0, Ordering::Relaxed)}));
    };
    let at = |hours| Timestamp::now() + SignedDuration::from_hours(hours);
    gap.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    // Its deadline has passed, so a sweep with an unfinished task postpones it.
    let spec = CloneSpec { deadline: Timestamp::now(), ..spec("slow") };
    local.create(&spec).await.expect("a clone");
    report("create", begun);
    let begun = Instant::now();
    local.sweep(&|_| true).await.expect("a sweep");
    report("sweep", begun);
    let begun = Instant::now();
    local.ensure_access(&slow).await.expect("access");
    local.publish(&slow, at(1)).await.expect("published");
    report("publish", begun);
    let begun = Instant::now();
    local.extend(&slow, at(2)).await.expect("extended");
    report("extend", begun);
    let begun = Instant::now();
    local.delete(&slow).await.expect("deleted");
    report("delete", begun);
    println!("{}", json!({"call": "end"}));
    running.await.expect("for ever");
}

/// The owner under strace.
fn start(state: &Path, listen: SocketAddr) -> Running {
    let folder = state.join("clones").join(name("slow").as_str());
    let mut command = Command::new("strace");
    command.args(["--follow-forks", "--seccomp-bpf", "--quiet=all", "--output=/dev/null"]);
    let delay = DELAY.as_micros();
    // Folders are opened very often: of each thread's calls some are delayed, the first one among them.
    let which = if tries_everything() { "" } else { ":when=1+4" };
    command.args(["-e", "trace=openat,fsync,fdatasync"]);
    command.args(["-e", &format!("inject=fsync,fdatasync:delay_enter={delay}")]);
    command.args(["-e", &format!("inject=openat:delay_enter={delay}{which}")]);
    // Only what is stored of the one clone.
    let files = ["clone.new", "secrets.new", "fpm.new", "fpm.out"].map(|file| folder.join(file));
    for path in files.iter().chain([&folder]) {
        command.arg("--trace-path").arg(path);
    }
    let program = std::env::current_exe().expect("this program");
    command.arg(program).arg("slow-disk").arg(state).arg(listen.to_string()).arg(wordpress());
    command.stdout(Stdio::piped()).stdin(Stdio::null());
    Running(command.spawn().expect("strace, which `./dev install` installs"))
}

pub(crate) async fn a_slow_disk_delays_neither_other_clones_nor_heartbeats() {
    let dir = prepared().await;
    let state: PathBuf = dir.path().join("state");
    let mut owner = start(&state, free_address());
    let lines = BufReader::new(owner.stdout.take().expect("its output")).lines();
    let (told, mut calls) = tokio::sync::mpsc::unbounded_channel::<Value>();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = told.send(serde_json::from_str(&line).expect("JSON"));
        }
    });
    let first = calls.recv().await.expect("the other clone");
    let url = format!("{}/wp-json/", first["url"].as_str().expect("an address"));
    let (client, ended) = (http(), Arc::new(AtomicBool::new(false)));
    let until_end = Arc::clone(&ended);
    let visitor = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        while !until_end.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let answer = client.get(&url).send().await.expect("a response");
            assert_eq!(answer.status(), 200);
            longest = longest.max(begun.elapsed());
        }
        longest
    });
    let mut names = Vec::new();
    while let Some(call) = calls.recv().await.filter(|call| call["call"] != "end") {
        eprintln!("{call}");
        let milliseconds = |name: &str| Duration::from_millis(call[name].as_u64().expect("a number"));
        assert!(milliseconds("took") >= DELAY, "it did not wait for the disk: {call}");
        assert!(milliseconds("gap") < LONGEST_GAP, "the runtime waited for the disk: {call}");
        names.push(call["call"].as_str().expect("a name").to_owned());
    }
    ended.store(true, Ordering::Relaxed);
    assert_eq!(names, ["create", "sweep", "publish", "extend", "delete"]);
    let longest = visitor.await.expect("no failure");
    assert!(longest < 2 * LONGEST_GAP, "a visitor of the other clone waited {longest:?}");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    end_traced(dir.path()).await;
}

/// Ends what strace, which was killed, has let go.
async fn end_traced(dir: &Path) {
    let text = dir.to_string_lossy().into_owned();
    for process in std::fs::read_dir("/proc").expect("proc").flatten() {
        let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let pid = process.file_name().to_str().and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| line.contains("slow-disk") && line.contains(&text)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    until("all programs to be gone", async || processes_in(dir).is_empty()).await;
}
