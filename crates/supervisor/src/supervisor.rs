//! The supervisor's own side.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, wait};

use crate::folder::Folder;
use crate::processes::{children, kill, tag_file};
use crate::spec::{ARGUMENT, ProcessSpec};

/// How long the supervisor waits for killed processes; one may hang in the kernel.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);

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
    let folder = Folder::create(&spec.folder)?;
    let started = start(&spec);
    if let Ok(program) = &started {
        let (sender, events) = channel();
        watch_pipe(pipe, sender.clone());
        watch_children(sender);
        // Until the owner closes the pipe or the program ends.
        while matches!(events.recv(), Ok(Event::Reaped(pid)) if pid != *program) {}
        end_all(*program, spec.grace, &events);
    }
    folder.remove();
    started.map(|_| ())
}

fn start(spec: &ProcessSpec) -> io::Result<Pid> {
    // Inherited by the program and everything it starts; opened first, so that no process is without it.
    let tag = File::create(tag_file(&spec.folder))?;
    rustix::io::fcntl_setfd(&tag, FdFlags::empty())?;
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(spec.env.iter().map(|(k, v)| (k, v)));
    command.env("TMPDIR", &spec.folder).current_dir(&spec.folder);
    command.stdin(Stdio::null()).process_group(0);
    if let Some((uid, gid)) = spec.run_as {
        std::os::unix::fs::chown(&spec.folder, Some(uid), Some(gid))?;
        command.uid(uid).gid(gid);
    }
    let child = command.spawn()?;
    // Reaped by `watch_children`, not through this handle.
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process id"))
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

/// Ends the program's group, then every child that was reparented to us, until none is left.
fn end_all(program: Pid, grace: Duration, events: &Receiver<Event>) {
    if !grace.is_zero() && kill_process_group(program, Signal::TERM).is_ok() {
        let end = Instant::now() + grace;
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
