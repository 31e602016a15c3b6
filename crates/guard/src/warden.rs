//! The guard's own side.

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
use crate::process::{children, kill, mark};
use crate::{Spec, WORD};

/// How long killed processes are waited for before the guard gives up on the one that hangs in the kernel.
const REAP_LIMIT: Duration = Duration::from_secs(5);

enum News {
    /// The owner has gone or wants the end.
    PipeClosed,
    /// A child was reaped.
    Reaped(Pid),
    /// There are no children left.
    NoneLeft,
}

/// Becomes a guard, and does not return, if this program was started as one. Call it first in `main`, before any
/// thread is started.
pub fn run_if_guard() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|a| a == WORD) && args.next().is_none() {
        let code = match guard() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("guard: {error}");
                70
            }
        };
        std::process::exit(code);
    }
}

fn guard() -> io::Result<()> {
    let mut pipe = BufReader::new(io::stdin());
    let mut line = String::new();
    pipe.by_ref().take(1 << 20).read_line(&mut line)?;
    let spec: Spec = serde_json::from_str(&line).map_err(io::Error::other)?;

    set_child_subreaper(Some(getpid()))?;
    let folder = Folder::make(&spec.folder)?;
    let started = start(&spec);
    if let Ok(program) = &started {
        let (news, inbox) = channel();
        watch_pipe(pipe, news.clone());
        watch_children(news);
        // Whichever comes first: the owner goes, or the program ends.
        while matches!(inbox.recv(), Ok(News::Reaped(pid)) if pid != *program) {}
        end_all(*program, spec.grace, &inbox);
    }
    folder.remove();
    started.map(|_| ())
}

fn start(spec: &Spec) -> io::Result<Pid> {
    // Inherited by the program and all it starts; opened first, so that nothing runs without it.
    let mark = File::create(mark(&spec.folder))?;
    rustix::io::fcntl_setfd(&mark, FdFlags::empty())?;
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

fn watch_pipe(mut pipe: BufReader<io::Stdin>, news: Sender<News>) {
    thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(pipe.read(&mut rest), Ok(n) if n > 0) {}
        let _ = news.send(News::PipeClosed);
    });
}

fn watch_children(news: Sender<News>) {
    thread::spawn(move || {
        loop {
            let said = match wait(WaitOptions::empty()) {
                Ok(Some((pid, _))) => news.send(News::Reaped(pid)),
                Ok(None) | Err(rustix::io::Errno::INTR) => continue,
                Err(_) => {
                    let _ = news.send(News::NoneLeft);
                    return;
                }
            };
            if said.is_err() {
                return;
            }
        }
    });
}

/// Ends the program's group, then every child that came to us, until none is left.
fn end_all(program: Pid, grace: Duration, inbox: &Receiver<News>) {
    if !grace.is_zero() && kill_process_group(program, Signal::TERM).is_ok() {
        let end = Instant::now() + grace;
        loop {
            match inbox.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(News::NoneLeft) => return,
                Ok(News::Reaped(pid)) if pid == program => break,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }
    let end = Instant::now() + REAP_LIMIT;
    while Instant::now() < end {
        let _ = kill_process_group(program, Signal::KILL);
        for child in children(getpid().as_raw_nonzero().get()) {
            kill(child);
        }
        // Killing a parent hands its children to us: look again after each wave of deaths, and now and then besides.
        match inbox.recv_timeout(Duration::from_millis(20)) {
            Ok(News::NoneLeft) | Err(RecvTimeoutError::Disconnected) => return,
            _ if inbox.try_iter().any(|news| matches!(news, News::NoneLeft)) => return,
            _ => {}
        }
    }
}
