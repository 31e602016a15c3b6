//! A claimed step with everything that its execution needs, and how it ended.

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wpclone_queue::Claim;
use wpclone_service::seal::{SealError, Sealer};
use wpclone_service::sealed_task::{open_result, open_step_secrets};
use wpclone_task::{
    OutputParts, PriorOutputs, Problem, Progress, Request, Role, SecretString, Step, StepOutput, TaskId,
};

use crate::kept_session::KeptSession;
use crate::login_checkpoint::LoginCheckpoint;
use crate::migrator_install_marker::MigratorInstallMarker;
use crate::running_steps::RunningBrowser;
use crate::shared_source::SharedSource;
use crate::site_cleanup::{Registrations, import_id};

/// What is reported to the queue while a step runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StepUpdate {
    pub(crate) progress: Progress,
    /// Whether the target was changed; `Some(false)` when it was restored, `None` while this attempt did not touch it.
    pub(crate) changed: Option<bool>,
    /// Whether this attempt may have left something of ours on a site, the task's target or not.
    pub(crate) left_traces: bool,
}

/// A claimed step.
pub(crate) struct Job {
    pub(crate) task: TaskId,
    pub(crate) step: Step,
    pub(crate) owner: String,
    /// Whether there are other owners.
    pub(crate) has_other_owners: bool,
    pub(crate) created_at: Timestamp,
    /// How often the task was replayed.
    pub(crate) replays: u32,
    pub(crate) request: Request,
    /// The outputs of earlier steps.
    pub(crate) prior: PriorOutputs,
    /// Whether the step has sent its site's password.
    pub(crate) login_checkpoint: LoginCheckpoint,
    /// The session of the step's login.
    pub(crate) kept_session: KeptSession,
    /// Whether the task has installed the migrator on its source.
    pub(crate) source_marker: MigratorInstallMarker,
    /// The same of its target.
    pub(crate) target_marker: MigratorInstallMarker,
    /// Every secret of the task: redacted in all that is kept.
    pub(crate) secrets: Vec<SecretString>,
    /// The source of a clone, which others may read too.
    pub(crate) shared_source: SharedSource,
    /// What the task would leave on its sites if it ended now.
    pub(crate) left_on_sites: Registrations,
    pub(crate) updates: watch::Sender<StepUpdate>,
    /// Cancelled when the step must stop: its owner cancels the task, the lease is lost, or the worker shuts down.
    pub(crate) stop: CancellationToken,
    /// Cancelled before `stop` when the step stops for its owner, who cancels the task.
    pub(crate) is_cancelled: CancellationToken,
    /// Receives where the step's browser runs.
    pub(crate) browser: watch::Sender<Option<RunningBrowser>>,
}

impl Job {
    /// Whether the task has installed the migrator on its source or its target.
    pub(crate) fn migrator_install_marker(&self, role: Role) -> &MigratorInstallMarker {
        match role {
            Role::Source => &self.source_marker,
            Role::Target => &self.target_marker,
        }
    }

    /// The name of the import into the target: the same for every attempt of a run.
    pub(crate) fn import_id(&self) -> String {
        import_id(self.task, self.replays)
    }

    /// Reports progress; the percentage never goes back.
    pub(crate) fn report_progress(&self, percent: u8, message: &str) {
        tracing::info!(percent, "{message}");
        self.updates.send_modify(|update| update.progress.advance(percent, message));
    }
}

/// How a step ended.
pub(crate) enum StepEnd {
    Done(StepOutput),
    Failed(Problem),
    Stopped,
}

/// Opens the outputs of earlier steps. One that cannot be read is left out: the step that needs it says so.
///
/// # Errors
/// A sealed part was altered, or its key is missing.
pub(crate) fn open_prior_outputs(claim: &Claim, sealer: &Sealer) -> Result<PriorOutputs, SealError> {
    let mut prior = Vec::new();
    for (name, stored) in &claim.outputs {
        let Ok(step) = name.parse::<Step>() else { continue };
        let mut parts = OutputParts { public: stored.result.clone(), ..OutputParts::default() };
        if let Some(sealed) = &stored.sealed {
            parts.secrets = open_result(sealer, claim.lease.task, name, sealed)?;
            parts.step_secrets = open_step_secrets(sealer, claim.lease.task, name, sealed)?;
        }
        match StepOutput::from_parts(step, parts) {
            Ok(output) => prior.push((step, output)),
            Err(error) => tracing::warn!(%error, "ignoring the output of an earlier step"),
        }
    }
    Ok(prior.into_iter().collect())
}
