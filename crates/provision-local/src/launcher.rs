//! Starts daemons, each under a supervisor.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wpclone_supervisor::{ProcessSpec, Supervised, unique_folder};

use crate::command::{clean_env, log_tail, run};
use crate::users::Ids;

/// How often a daemon's readiness is probed.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// How daemons are started.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The program that becomes the supervisor: it calls `wpclone_supervisor::run_if_supervisor`.
    pub(crate) supervisor: PathBuf,
    /// The supervisors' folders.
    pub(crate) run: PathBuf,
    /// `unshare`, where it can start programs in a network namespace of their own.
    pub(crate) unshare: Option<PathBuf>,
}

/// A daemon to be started.
pub(crate) struct LaunchSpec<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<String>,
    /// The file for its output; it is truncated.
    pub(crate) log: &'a Path,
    pub(crate) user: Option<Ids>,
    /// Whether it is started in an empty network namespace, where that is possible.
    pub(crate) own_network: bool,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
}

/// A running daemon. Dropping it ends the daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    supervised: Supervised,
    log: PathBuf,
}

impl Launcher {
    /// Starts a daemon.
    pub(crate) async fn start(&self, launch: LaunchSpec<'_>) -> io::Result<Daemon> {
        let log = File::create(launch.log)?;
        let mut run_as = launch.user.map(|ids| (ids.uid, ids.gid));
        let (mut program, mut args) = (launch.program.to_owned(), launch.args);
        if let (true, Some(unshare)) = (launch.own_network, &self.unshare) {
            let mut wrapped = unshare_args(launch.user);
            wrapped.push(program.display().to_string());
            wrapped.append(&mut args);
            // The namespace has to be created before root's rights are dropped.
            (program, args, run_as) = (unshare.clone(), wrapped, None);
        }
        let spec = ProcessSpec {
            program,
            args,
            env: clean_env(),
            folder: unique_folder(&self.run, "program"),
            grace: launch.grace,
            run_as,
        };
        let stderr = Stdio::from(log.try_clone()?);
        let supervised = Supervised::spawn_with(&self.supervisor, spec, Stdio::from(log), stderr).await;
        Ok(Daemon { supervised: supervised.map_err(io::Error::other)?, log: launch.log.to_owned() })
    }
}

/// The arguments of `unshare` for an empty network namespace and for the user to run as in it.
fn unshare_args(user: Option<Ids>) -> Vec<String> {
    let mut args = vec!["--net".to_owned()];
    match user {
        Some(ids) => args.extend([format!("--setgid={}", ids.gid), format!("--setuid={}", ids.uid)]),
        None if rustix::process::geteuid().is_root() => {}
        // Without root a network namespace needs a user namespace around it.
        None => args.extend(["--user".to_owned(), "--map-current-user".to_owned()]),
    }
    args.push("--".to_owned());
    args
}

/// Whether programs can have a network namespace of their own here.
pub(crate) async fn can_unshare(unshare: &Path, user: Option<Ids>) -> bool {
    let args = unshare_args(user).into_iter().chain(["/bin/true".to_owned()]);
    run(unshare, args, &[], b"", Duration::from_secs(10)).await.is_ok()
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
                return Err(io::Error::other(format!("it ended: {}", log_tail(&self.log))));
            }
            if Instant::now() >= end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, log_tail(&self.log)));
            }
            sleep(PROBE_INTERVAL).await;
        }
        Ok(())
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.supervised.is_running()
    }

    /// Waits until it has ended by itself, and ends it after `limit`. Returns whether it ended by itself.
    pub(crate) async fn wait(mut self, limit: Duration) -> bool {
        let ended = timeout(limit, self.supervised.wait()).await.is_ok();
        if !ended {
            self.supervised.stop().await;
        }
        ended
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.supervised.stop().await;
    }
}
