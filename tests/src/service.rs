//! A program that runs under a supervisor of the lab.

use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use wpclone_supervisor::{Confinement, ProcessSpec, Supervised};

use crate::processes::children;
use crate::util::{at, base_folder, built, tail, unique, until};
use crate::{LabError, Result};

/// How long a service may take until it is ready; two cores may be busy with a build.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(180);

/// How long a supervisor may take to end everything, beyond the program's grace, on a busy machine.
const SUPERVISOR_LIMIT: Duration = Duration::from_secs(60);

/// What to start.
pub(crate) struct Launch<'a> {
    pub(crate) name: &'a str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) run_as: Option<(u32, u32)>,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
}

impl<'a> Launch<'a> {
    pub(crate) fn new(name: &'a str, program: PathBuf) -> Self {
        Self {
            name,
            program,
            args: Vec::new(),
            env: plain_env(),
            run_as: None,
            grace: Duration::from_secs(5),
        }
    }

    pub(crate) fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}

/// The environment of every program.
pub(crate) fn plain_env() -> Vec<(String, String)> {
    let path = std::env::var("PATH").unwrap_or_default();
    [("PATH", path.as_str()), ("LANG", "C.UTF-8"), ("TZ", "UTC"), ("HOME", "/nonexistent")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .to_vec()
}

/// A running program. Dropping it ends it and everything it started, and waits until that is done.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    supervised: Mutex<Option<Supervised>>,
    log: PathBuf,
    grace: Duration,
}

impl Service {
    pub(crate) async fn start(launch: Launch<'_>) -> Result<Self> {
        let name = unique(launch.name);
        let base = base_folder().await?;
        let log = base.join("logs").join(format!("{name}.log"));
        let out = File::create(&log).map_err(at(&log))?;
        let err = out.try_clone()?;
        let spec = ProcessSpec {
            program: launch.program,
            args: launch.args,
            env: launch.env,
            folder: base.join(&name),
            grace: launch.grace,
            run_as: launch.run_as,
            confinement: Confinement::default(),
        };
        let supervised =
            Supervised::spawn_with(&built("lab")?, spec, Stdio::from(out), Stdio::from(err)).await?;
        Ok(Self { name, supervised: Mutex::new(Some(supervised)), log, grace: launch.grace })
    }

    /// Waits until `probe` holds; notices when the program ends instead.
    pub(crate) async fn ready<C, F>(&self, probe: C) -> Result<()>
    where
        C: Fn() -> F,
        F: Future<Output = bool>,
    {
        let end = Instant::now() + READY_LIMIT;
        while !probe().await {
            if !self.runs() {
                return Err(LabError::Ended { program: self.name.clone(), log: tail(&self.log) });
            }
            if Instant::now() >= end {
                let what = format!("{} to be ready", self.name);
                return Err(LabError::Late { what, limit: READY_LIMIT, log: tail(&self.log) });
            }
            tokio::time::sleep(crate::util::POLL_INTERVAL).await;
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    fn supervisor_pid(&self) -> Option<u32> {
        self.supervised.lock().as_ref()?.supervisor_pid()
    }

    /// Whether its supervisor runs; it ends with the program.
    fn runs(&self) -> bool {
        self.supervisor_pid().is_some_and(is_alive)
    }

    /// Kills the program, and with it whatever it started.
    pub(crate) async fn kill9(self) -> Result<()> {
        if let Some(pid) = self.supervisor_pid().and_then(child_of) {
            signal(pid, Signal::KILL);
        }
        until("the killed program's supervisor to end", SUPERVISOR_LIMIT, Some(&self.log), async || {
            !self.runs()
        })
        .await
    }

    /// Ends it and waits until it is gone. Blocks the thread, so that it works without a runtime.
    pub(crate) fn end(&self) {
        let supervised = self.supervised.lock().take();
        if let Some(supervised) = supervised {
            end(supervised, self.grace);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends a supervisor and its program, and waits until both are gone.
pub(crate) fn end(supervised: Supervised, grace: Duration) {
    let Some(supervisor) = supervised.supervisor_pid() else { return };
    // Closes the pipe.
    drop(supervised);
    let limit = Instant::now() + grace + SUPERVISOR_LIMIT;
    while is_alive(supervisor) && Instant::now() < limit {
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The process may have ended already.
        let _ = kill_process(pid, signal);
    }
}

/// State and parent of a process: proc(5), fields 3 and 4; the name before them may hold anything.
pub(crate) fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// All process ids that we can see.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

fn child_of(parent: u32) -> Option<u32> {
    // A supervisor starts its program first; what it adopts later has a later id, but ids wrap: the oldest by id will do.
    children(parent).into_iter().min()
}
