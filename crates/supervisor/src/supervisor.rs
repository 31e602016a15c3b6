//! The supervisor's own side.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};

use crate::cgroup;
use crate::folder::Folder;
use crate::processes::{children, kill, tag_file};
use crate::spec::{ARGUMENT, FIRST_INHERITED_FD, ProcessSpec};

/// How long the supervisor waits for killed processes; one may hang in the kernel.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it tries to remove control groups. They are empty by then.
const CGROUP_TIMEOUT: Duration = Duration::from_secs(1);

/// The first descriptor after standard input, output and error.
const FIRST_FILE: i32 = 3;

enum Event {
    /// The owner has ended or closed the pipe.
    PipeClosed,
    /// A child was reaped.
    Reaped(Pid),
    /// There are no children left.
    NoneLeft,
}

/// Becomes a supervisor and does not return, if this program was started as one. Call it first in `main`, before any thread
/// is started.
pub fn run_if_supervisor() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|a| a == ARGUMENT) && args.next().is_none() {
        let code = match supervise() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("supervisor: {error}");
                70
            }
        };
        std::process::exit(code);
    }
}

fn supervise() -> io::Result<()> {
    let mut pipe = BufReader::new(io::stdin());
    let mut line = String::new();
    pipe.by_ref().take(1 << 20).read_line(&mut line)?;
    let spec: ProcessSpec = serde_json::from_str(&line).map_err(io::Error::other)?;

    set_child_subreaper(Some(getpid()))?;
    let folder = Folder::create(&spec.folder, spec.run_as.is_some())?;
    let started = start(&spec);
    if let Ok(program) = &started {
        let (sender, events) = channel();
        watch_pipe(pipe, sender.clone());
        watch_children(sender);
        // Until the owner closes the pipe or the program ends.
        while matches!(events.recv(), Ok(Event::Reaped(pid)) if pid != *program) {}
        end_all(*program, &spec, &events);
    }
    for cgroup in &spec.confinement.cgroups {
        if let Err(error) = cgroup::remove_cgroup(&cgroup.folder, CGROUP_TIMEOUT) {
            eprintln!("supervisor: the control group {} cannot be removed: {error}", cgroup.folder.display());
        }
    }
    let removed = folder.remove();
    started.and(removed)
}

fn start(spec: &ProcessSpec) -> io::Result<Pid> {
    // Whoever started the owner may have left files open without O_CLOEXEC, and a program in a sandbox could leave it by an
    // open folder. Ours have the flag already; those that the program gets are opened below.
    close_fds::set_fds_cloexec_threadsafe(FIRST_FILE, &[]);
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(spec.env.iter().map(|(k, v)| (k, v)));
    command.env("TMPDIR", &spec.folder).current_dir(&spec.folder);
    command.stdin(Stdio::null()).process_group(0);
    // Closed when the program has them.
    let _tag = if spec.confinement.is_bubblewrap { None } else { Some(inheritable_tag(spec)?) };
    let _files = inheritable(&spec.confinement.inherited_files)?;
    if let Some((uid, gid)) = spec.run_as {
        std::os::unix::fs::chown(&spec.folder, Some(uid), Some(gid))?;
        command.uid(uid).gid(gid);
    }
    if spec.confinement.without_huge_pages {
        // Inherited by the program, which cannot undo it.
        nix::sys::prctl::set_thp_disable(true)?;
    }
    let spawned = cgroup::enter(&spec.confinement.cgroups).and_then(|()| command.spawn());
    let left = cgroup::leave(&spec.confinement.cgroups);
    let mut child = spawned?;
    if let Err(error) = left {
        // The program's limits would apply to us.
        child.kill()?;
        child.wait()?;
        return Err(error);
    }
    // Reaped by `watch_children`, not through this handle.
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process id"))
}

/// The tag, which the program and everything it starts inherit. It is opened before the program is started, so that no
/// process is without it, and for reading only.
fn inheritable_tag(spec: &ProcessSpec) -> io::Result<File> {
    let path = tag_file(&spec.folder);
    File::create(&path)?;
    let tag = File::open(path)?;
    rustix::io::fcntl_setfd(&tag, FdFlags::empty())?;
    Ok(tag)
}

/// Opens files for the program, with known descriptors.
fn inheritable(files: &[PathBuf]) -> io::Result<Vec<OwnedFd>> {
    let open = |(path, expected): (&PathBuf, i32)| {
        let file = File::open(path)
            .map_err(|e| io::Error::new(e.kind(), format!("{} cannot be opened: {e}", path.display())))?;
        let inherited = rustix::io::fcntl_dupfd_cloexec(file, expected)?;
        if inherited.as_raw_fd() != expected {
            return Err(io::Error::other(format!("the descriptor {expected} is in use")));
        }
        rustix::io::fcntl_setfd(&inherited, FdFlags::empty())?;
        Ok(inherited)
    };
    files.iter().zip(FIRST_INHERITED_FD..).map(open).collect()
}

fn watch_pipe(mut pipe: BufReader<io::Stdin>, events: Sender<Event>) {
    thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(pipe.read(&mut rest), Ok(n) if n > 0) {}
        let _ = events.send(Event::PipeClosed);
    });
}

fn watch_children(events: Sender<Event>) {
    thread::spawn(move || {
        loop {
            let sent = match wait(WaitOptions::empty()) {
                Ok(Some((pid, _))) => events.send(Event::Reaped(pid)),
                Ok(None) | Err(rustix::io::Errno::INTR) => continue,
                Err(_) => {
                    let _ = events.send(Event::NoneLeft);
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
}

/// Sends SIGTERM to the program, or to what runs in its sandbox: bubblewrap itself does not pass it on. Returns whether
/// anything got it.
fn terminate(program: Pid, is_bubblewrap: bool) -> bool {
    if !is_bubblewrap {
        return kill_process_group(program, Signal::TERM).is_ok();
    }
    let inits = children(program.as_raw_nonzero().get());
    let programs: Vec<Pid> = inits.into_iter().flat_map(children).filter_map(Pid::from_raw).collect();
    // All of them get it, not only the first.
    programs.into_iter().filter(|pid| kill_process(*pid, Signal::TERM).is_ok()).count() > 0
}

/// Ends the program, then its group and every child that was reparented to us, until none is left.
fn end_all(program: Pid, spec: &ProcessSpec, events: &Receiver<Event>) {
    if !spec.grace.is_zero() && terminate(program, spec.confinement.is_bubblewrap) {
        let end = Instant::now() + spec.grace;
        loop {
            match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Event::NoneLeft) => return,
                Ok(Event::Reaped(pid)) if pid == program => break,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }
    let end = Instant::now() + REAP_TIMEOUT;
    while Instant::now() < end {
        let _ = kill_process_group(program, Signal::KILL);
        for child in children(getpid().as_raw_nonzero().get()) {
            kill(child);
        }
        // Killing a parent reparents its children to us: check again after each exit, and at intervals.
        match events.recv_timeout(Duration::from_millis(20)) {
            Ok(Event::NoneLeft) | Err(RecvTimeoutError::Disconnected) => return,
            _ if events.try_iter().any(|event| matches!(event, Event::NoneLeft)) => return,
            _ => {}
        }
    }
}
