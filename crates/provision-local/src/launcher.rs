//! Starts daemons, each under a supervisor and in a sandbox.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use wpclone_provision::clean_env;
use wpclone_supervisor::{Confinement, ProcessSpec, Supervised, unique_folder};

use crate::blocking::run_blocking;
use crate::cgroup::{Cgroups, NewCgroups};
use crate::logs::log_tail;
use crate::sandbox::{ResourceLimits, Sandbox, SandboxSpec};
use crate::seccomp::SyscallFilter;
use crate::users::Ids;

/// How often a daemon's readiness is probed.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// How long the program may take that shows whether sandboxes work.
const SANDBOX_CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// The limits of that program.
const SANDBOX_CHECK_LIMITS: ResourceLimits = ResourceLimits {
    processes: 16,
    memory_bytes: 256 << 20,
    cpu_weight: 100,
    open_files: 64,
    file_bytes: None,
};
/// What it prints.
const SANDBOX_WORKS: &str = "the sandbox works";

/// How daemons are started.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The program that becomes the supervisor: it calls `wpclone_supervisor::run_if_supervisor`.
    pub(crate) supervisor: PathBuf,
    /// The supervisors' folders.
    pub(crate) run: PathBuf,
    /// What builds sandboxes; `None` where programs run without.
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) cgroups: Cgroups,
    /// What goes on when nobody waits for it any more: starts, and ends of daemons that were dropped.
    pub(crate) work: TaskTracker,
}

/// A daemon to be started.
#[derive(Debug)]
pub(crate) struct LaunchSpec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// The file for its output; it is truncated.
    pub(crate) log: PathBuf,
    pub(crate) user: Option<Ids>,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    /// What it may see and use.
    pub(crate) sandbox: SandboxSpec,
}

/// What a daemon is started with.
struct Prepared {
    spec: ProcessSpec,
    log: File,
    cgroups: NewCgroups,
}

/// A running daemon. Dropping it ends the daemon; [`Launcher::close`] waits for that.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// `None` once it has ended.
    supervised: Option<Supervised>,
    log: PathBuf,
    work: TaskTracker,
}

impl Launcher {
    /// Starts a daemon. When the caller stops waiting, it is ended again.
    pub(crate) async fn start(&self, launch: LaunchSpec) -> io::Result<Daemon> {
        // Who closes it either waits for this start or is seen by it.
        let token = self.work.token();
        if self.work.is_closed() {
            return Err(io::Error::other("no programs are started any more"));
        }
        let launcher = self.clone();
        let starting = tokio::spawn(async move {
            let _token = token;
            launcher.start_now(launch).await
        });
        starting.await.map_err(io::Error::other)?
    }

    /// Starts no more daemons, and waits until all that were dropped have ended.
    pub(crate) async fn close(&self) {
        self.work.close();
        self.work.wait().await;
    }

    async fn start_now(&self, launch: LaunchSpec) -> io::Result<Daemon> {
        if launch.user.is_none() && geteuid().is_root() {
            return Err(io::Error::other("programs of clones never run as root"));
        }
        let (launcher, path) = (self.clone(), launch.log.clone());
        let Prepared { spec, log, cgroups } = run_blocking(move || launcher.prepare(launch)).await?;
        let stderr = Stdio::from(log.try_clone()?);
        let supervised = Supervised::spawn_with(&self.supervisor, spec, Stdio::from(log), stderr).await;
        let supervised = supervised.map_err(io::Error::other)?;
        cgroups.hand_over();
        Ok(Daemon { supervised: Some(supervised), log: path, work: self.work.clone() })
    }

    /// Creates a daemon's log and its control groups. It blocks.
    fn prepare(&self, launch: LaunchSpec) -> io::Result<Prepared> {
        let log = File::create(launch.log)?;
        let folder = unique_folder(&self.run, "program");
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let cgroups = self.cgroups.create(&name, &launch.sandbox.limits)?;
        let confinement = Confinement {
            is_bubblewrap: self.sandbox.is_some(),
            without_huge_pages: true,
            inherited_files: self.sandbox.iter().map(|it| it.filter_of(&launch.sandbox)).collect(),
            cgroups: cgroups.all(),
        };
        let (program, args) = match &self.sandbox {
            None => (launch.program, launch.args),
            Some(sandbox) => {
                let limit_memory = !self.cgroups.limit_memory();
                sandbox.command(&launch.sandbox, &folder, limit_memory, &launch.program, launch.args)
            }
        };
        let spec = ProcessSpec {
            program,
            args,
            env: clean_env(),
            folder,
            grace: launch.grace,
            run_as: launch.user.map(|ids| (ids.uid, ids.gid)),
            confinement,
        };
        Ok(Prepared { spec, log, cgroups })
    }

    /// Checks that sandboxes work on this machine: starts a program in one.
    ///
    /// # Errors
    /// What bubblewrap reports.
    pub(crate) async fn check_sandbox(&self, user: Option<Ids>) -> io::Result<()> {
        let log = self.run.with_file_name("sandbox-check.log");
        let launch = LaunchSpec {
            program: "/bin/echo".into(),
            args: vec![SANDBOX_WORKS.to_owned()],
            log: log.clone(),
            user,
            grace: Duration::ZERO,
            sandbox: SandboxSpec {
                read_only: Vec::new(),
                read_write: Vec::new(),
                limits: SANDBOX_CHECK_LIMITS,
                syscalls: SyscallFilter::Php,
            },
        };
        let ended = self.start(launch).await?.wait(SANDBOX_CHECK_TIMEOUT).await;
        let output = log_tail(&log).await;
        // A leftover is overwritten by the next check.
        let _ = run_blocking(move || std::fs::remove_file(log)).await;
        match output {
            text if text == SANDBOX_WORKS => Ok(()),
            text if text.is_empty() && !ended => Err(io::ErrorKind::TimedOut.into()),
            text => Err(io::Error::other(text)),
        }
    }
}

impl Daemon {
    /// Waits until `probe` returns true.
    ///
    /// # Errors
    /// The daemon ended, or `limit` passed.
    pub(crate) async fn until_ready<F: Future<Output = bool>>(
        &mut self,
        limit: Duration,
        probe: impl Fn() -> F,
    ) -> io::Result<()> {
        let end = Instant::now() + limit;
        while !probe().await {
            if !self.is_running() {
                return Err(io::Error::other(format!("it ended: {}", log_tail(&self.log).await)));
            }
            if Instant::now() >= end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, log_tail(&self.log).await));
            }
            sleep(PROBE_INTERVAL).await;
        }
        Ok(())
    }

    /// The process id of its supervisor, while that runs.
    pub(crate) fn supervisor_pid(&self) -> Option<u32> {
        self.supervised.as_ref().and_then(Supervised::supervisor_pid)
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.supervised.as_mut().is_some_and(Supervised::is_running)
    }

    /// Waits until it has ended by itself, and ends it after `limit`. Returns whether it ended by itself.
    pub(crate) async fn wait(mut self, limit: Duration) -> bool {
        let Some(supervised) = &mut self.supervised else { return true };
        let ended = timeout(limit, supervised.wait()).await.is_ok();
        self.stop().await;
        ended
    }

    /// Ends it and waits until it is gone. It can be called again.
    pub(crate) async fn stop(&mut self) {
        if let Some(supervised) = &mut self.supervised {
            supervised.stop().await;
            self.supervised = None;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Without a runtime nobody waits: the supervisor ends it.
        if let Some(mut supervised) = self.supervised.take()
            && let Ok(runtime) = Handle::try_current()
        {
            self.work.spawn_on(async move { supervised.stop().await }, &runtime);
        }
    }
}
