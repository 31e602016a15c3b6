//! The owner's side.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::process::{kill_strays, reaped};
use crate::{Spec, WORD};

/// How long a guard may take, beyond the program's grace, to end everything.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// How often killed processes are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a program could not be guarded.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The guard could not be started, or went at once.
    #[error("the guard of {program} could not be started: {error}")]
    Start {
        /// The program's path.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A program under guard. Dropping it closes the pipe, and so ends the program.
#[derive(Debug)]
pub struct Guarded {
    guard: Child,
    pipe: Option<ChildStdin>,
    spec: Spec,
}

/// Makes this process the one that orphans of its descendants come back to, so that a program whose guard was
/// killed is still ours to find. Call once at start.
///
/// # Errors
/// The kernel refused.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

impl Guarded {
    /// Starts a program under a guard that is this program run again. Its standard output is piped to us, its
    /// standard error goes where ours goes.
    ///
    /// # Errors
    /// The guard could not be started.
    pub async fn spawn(spec: Spec) -> Result<Self, GuardError> {
        Self::spawn_by(Path::new("/proc/self/exe"), spec, Stdio::piped(), Stdio::inherit()).await
    }

    /// The same by another program that calls [`crate::run_if_guard`], with outputs of one's own.
    ///
    /// # Errors
    /// The guard could not be started.
    pub async fn spawn_by(
        guard: &Path,
        spec: Spec,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Result<Self, GuardError> {
        let failed = |error| GuardError::Start { program: spec.program.clone(), error };
        let mut command = Command::new(guard);
        // Our environment may hold keys, and the guard needs nothing of it.
        command.env_clear().arg(WORD).process_group(0).stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().map_err(failed)?;
        let mut pipe = child.stdin.take().ok_or_else(|| failed(io::Error::other("no pipe")))?;
        let mut line = serde_json::to_vec(&spec).map_err(|e| failed(io::Error::other(e)))?;
        line.push(b'\n');
        pipe.write_all(&line).await.map_err(failed)?;
        Ok(Self { guard: child, pipe: Some(pipe), spec })
    }

    /// The program's standard output; once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.guard.stdout.take()
    }

    /// The guard's process id; `None` once it has ended. The program and all it starts are its descendants.
    #[must_use]
    pub fn guard_pid(&self) -> Option<u32> {
        self.guard.id()
    }

    /// Whether the guard is there; it ends with its program.
    pub fn runs(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(None))
    }

    /// The folder that the program works in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.spec.folder
    }

    /// Waits until the program has ended by itself and everything of it is gone.
    pub async fn ended(&mut self) {
        let _ = self.guard.wait().await;
        self.clear().await;
    }

    /// Ends the program and everything of it, and waits until it is gone.
    pub async fn stop(mut self) {
        self.pipe = None;
        if tokio::time::timeout(self.spec.grace + STOP_LIMIT, self.guard.wait()).await.is_err() {
            tracing::warn!(program = %self.spec.program.display(), "the guard did not end in time and is killed");
            let _ = self.guard.kill().await;
        }
        self.clear().await;
    }

    /// What a guard leaves only if it was killed itself. What was under it has come to us (see [`adopt_orphans`]), and
    /// is ours to reap.
    async fn clear(&self) {
        if !self.spec.folder.exists() {
            return;
        }
        let end = Instant::now() + STOP_LIMIT;
        let mut killed = kill_strays(&self.spec.folder);
        while !killed.is_empty() && Instant::now() < end {
            killed.retain(|pid| !reaped(*pid));
            tokio::time::sleep(LOOK_EVERY).await;
            // A child may have been born while its parent was killed.
            killed.extend(kill_strays(&self.spec.folder));
        }
        if let Some(base) = self.spec.folder.parent()
            && let Err(error) = crate::sweep(base)
        {
            tracing::warn!(%error, "folders of dead guards could not be cleared");
        }
    }
}
