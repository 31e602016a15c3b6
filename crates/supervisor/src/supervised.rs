//! The owner's side: starts a supervisor and ends it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::cgroup::remove_cgroup;
use crate::folder::sweep;
use crate::processes::{kill_orphans, reap_orphans, reaped};
use crate::spec::{ARGUMENT, ProcessSpec};

/// How long a supervisor may take to end everything, beyond the program's grace: as long as its own timeouts together.
const STOP_TIMEOUT: Duration = Duration::from_secs(16);

/// How long removing a control group may take. Nothing runs in it any more.
const CGROUP_TIMEOUT: Duration = Duration::from_secs(1);

/// How often killed processes are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Why a program could not be supervised.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The supervisor could not be started, or ended at once.
    #[error("the supervisor of {program} could not be started: {error}")]
    Start {
        /// The program's path.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A supervised program. Dropping it closes the pipe, which ends the program.
#[derive(Debug)]
pub struct Supervised {
    supervisor: Child,
    pipe: Option<ChildStdin>,
    spec: ProcessSpec,
}

/// Makes this process the subreaper of its descendants, so that a program whose supervisor was killed can be reaped. Call it
/// once at the start.
///
/// # Errors
/// The kernel refused.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

impl Supervised {
    /// Starts a program under a supervisor, which is this program started again. Its standard output is piped to us, its
    /// standard error is inherited.
    ///
    /// # Errors
    /// The supervisor could not be started.
    pub async fn spawn(spec: ProcessSpec) -> Result<Self, SupervisorError> {
        Self::spawn_with(Path::new("/proc/self/exe"), spec, Stdio::piped(), Stdio::inherit()).await
    }

    /// The same with another program that calls [`crate::run_if_supervisor`], and with these outputs.
    ///
    /// # Errors
    /// The supervisor could not be started.
    pub async fn spawn_with(
        supervisor: &Path,
        spec: ProcessSpec,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Result<Self, SupervisorError> {
        let failed = |error| SupervisorError::Start { program: spec.program.clone(), error };
        let mut command = Command::new(supervisor);
        // Our environment may contain keys, and the supervisor needs nothing of it.
        command
            .env_clear()
            .arg(ARGUMENT)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr);
        let mut child = command.spawn().map_err(failed)?;
        let mut pipe = child.stdin.take().ok_or_else(|| failed(io::Error::other("no pipe")))?;
        let mut line = serde_json::to_vec(&spec).map_err(|e| failed(io::Error::other(e)))?;
        line.push(b'\n');
        pipe.write_all(&line).await.map_err(failed)?;
        Ok(Self { supervisor: child, pipe: Some(pipe), spec })
    }

    /// The program's standard output; `None` after the first call.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.supervisor.stdout.take()
    }

    /// The supervisor's process id; `None` once it has ended. The program and everything it starts are its descendants.
    #[must_use]
    pub fn supervisor_pid(&self) -> Option<u32> {
        self.supervisor.id()
    }

    /// Whether the program runs: its supervisor ends with it.
    pub fn is_running(&mut self) -> bool {
        matches!(self.supervisor.try_wait(), Ok(None))
    }

    /// The program's working folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.spec.folder
    }

    /// Waits until the program has ended by itself and all its descendants are gone.
    pub async fn wait(&mut self) {
        let _ = self.supervisor.wait().await;
        self.clean_up().await;
    }

    /// Ends the program and all its descendants, and waits until they are gone. Who gives up waiting can call it again, and
    /// keeps this until it has returned.
    pub async fn stop(&mut self) {
        self.pipe = None;
        if tokio::time::timeout(self.spec.grace + STOP_TIMEOUT, self.supervisor.wait()).await.is_err() {
            tracing::warn!(program = %self.spec.program.display(), "a supervisor did not end in time and is killed");
            let _ = self.supervisor.kill().await;
        }
        self.clean_up().await;
    }

    /// Reaps what of a sandbox has ended with its supervisor; returns how many processes have not ended yet.
    fn reap_sandbox(&self) -> usize {
        if !self.spec.confinement.is_bubblewrap {
            return 0;
        }
        reap_orphans(&self.spec.program, self.spec.run_as.map(|(uid, _)| uid))
    }

    /// Cleans up after a supervisor that was killed itself.
    async fn clean_up(&self) {
        self.end_orphans().await;
        self.remove_cgroups().await;
    }

    /// Removes control groups that the supervisor has left.
    async fn remove_cgroups(&self) {
        let folders = self.spec.confinement.cgroups.iter().map(|cgroup| cgroup.folder.clone());
        let left: Vec<PathBuf> = folders.filter(|folder| folder.exists()).collect();
        if left.is_empty() {
            return;
        }
        let remove = move || {
            for folder in left {
                if let Err(error) = remove_cgroup(&folder, CGROUP_TIMEOUT) {
                    tracing::warn!(%error, cgroup = %folder.display(), "a control group cannot be removed");
                }
            }
        };
        // It blocks.
        let _ = tokio::task::spawn_blocking(remove).await;
    }

    /// Ends the descendants of a killed supervisor. They were reparented to us (see [`adopt_orphans`]), so we have to reap
    /// them.
    async fn end_orphans(&self) {
        if !tokio::fs::try_exists(&self.spec.folder).await.unwrap_or(true) {
            return;
        }
        let end = Instant::now() + STOP_TIMEOUT;
        let mut killed = kill_orphans(&self.spec.folder);
        while (self.reap_sandbox() > 0 || !killed.is_empty()) && Instant::now() < end {
            killed.retain(|pid| !reaped(*pid));
            tokio::time::sleep(CHECK_INTERVAL).await;
            // A child may have been started while its parent was killed.
            killed.extend(kill_orphans(&self.spec.folder));
        }
        let Some(base) = self.spec.folder.parent().map(Path::to_owned) else { return };
        let swept =
            tokio::task::spawn_blocking(move || sweep(&base)).await.map_err(io::Error::other).flatten();
        if let Err(error) = swept {
            tracing::warn!(%error, "folders of dead supervisors could not be removed");
        }
    }
}
