//! The transfer stage: copies content from one migrator to another, and removes migrators afterwards.

mod migrators;
mod removal;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wpclone_artifacts::{ArtifactError, Artifacts};
use wpclone_clone_proxy::is_hidden;
use wpclone_migrator::ClientError;
use wpclone_provision::clone_runtime::{SANDBOX_PLUGIN, SANDBOX_PLUGIN_FILE};
use wpclone_task::{
    CloneDestination, CloneRequest, Code, FilledTarget, Problem, Request, SiteText, Stage, Step, StepOutput,
    Transferred,
};
use wpclone_transfer::{Fidelity, PreflightFailure, TargetKind, Transfer, TransferError, TransferProgress};

use self::migrators::Migrators;
use crate::browser::BrowserAvailability;
use crate::job::{Job, StepEnd, StepUpdate};
use crate::net::{self, EgressProxy, EgressRules};

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// The deadline of a transfer.
const DEADLINE: Duration = Duration::from_secs(6 * 3600);
/// The artifact with the whole fidelity report.
const FIDELITY: &str = "fidelity.json";

/// Executes steps of the transfer stage.
pub(crate) struct TransferStage {
    pub(crate) egress: EgressRules,
    pub(crate) browser: BrowserAvailability,
    pub(crate) artifacts: Artifacts,
    /// The most bytes of the disk that a clone may take.
    pub(crate) clone_max_bytes: u64,
}

/// What came of a step, or of a part of one.
type StepResult<T> = Result<T, Box<Problem>>;

impl TransferStage {
    /// Executes one step.
    pub(crate) async fn run(&self, job: &Job) -> StepEnd {
        let stop = CancellationToken::new();
        let work = self.execute(job, &stop);
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = job.stop.cancelled() => {
                stop.cancel();
                return StepEnd::Stopped;
            }
        };
        match done {
            Ok(output) => StepEnd::Done(output),
            Err(problem) => StepEnd::Failed(problem.at(Stage::Transfer)),
        }
    }

    async fn execute(&self, job: &Job, stop: &CancellationToken) -> StepResult<StepOutput> {
        let Request::Clone(request) = &job.request else {
            return Err(fault("The transfer stage does not know this kind of request."));
        };
        let no_egress = |error: &dyn std::fmt::Display| fault(format!("Sites cannot be reached: {error}."));
        let sites = migrators::addresses(job, request);
        let egress = self.egress.for_task(&sites, migrators::clone_address(job, request).as_ref());
        let proxy = Arc::new(EgressProxy::start(egress.clone()).await.map_err(|e| no_egress(&e))?);
        let http = net::direct_client(&proxy, &egress, &self.browser.user_agent(), &sites).await;
        let http = http.and_then(reqwest::ClientBuilder::build).map_err(|e| no_egress(&e))?;
        let migrators = Migrators { job, request, http: &http };
        match job.step {
            Step::Transfer => self.transfer(job, request, &migrators, stop).await,
            Step::RemoveMigrator | Step::Commit => {
                Ok(StepOutput::MigratorRemoved(removal::finish(&migrators).await))
            }
            Step::Rollback => removal::roll_back(&migrators).await.map(StepOutput::MigratorRemoved),
            other => Err(fault(format!("The transfer stage has no step `{other}`."))),
        }
    }

    async fn transfer(
        &self,
        job: &Job,
        request: &CloneRequest,
        migrators: &Migrators<'_>,
        stop: &CancellationToken,
    ) -> StepResult<StepOutput> {
        let source = migrators.source().ok_or_else(|| fault("The source was not prepared."))?;
        let target = migrators.destination().ok_or_else(|| fault("There is nothing to copy to."))?;
        let (progress, id) = (TransferProgress::default(), job.import_id());
        let target_kind = match request.destination {
            CloneDestination::Clone { .. } => {
                TargetKind::Clone { max_bytes: self.clone_max_bytes, hides: is_hidden }
            }
            CloneDestination::Target(_) => TargetKind::ExistingSite { sandbox_plugin: SANDBOX_PLUGIN },
        };
        let (from, to) = (&source.client, &target.client);
        let transfer = Transfer {
            source: from,
            target: to,
            target_kind,
            copy_unprefixed_tables: request.copy_unprefixed_tables,
            job_id: &id,
            progress: &progress,
            cancel: stop,
        };
        let run = timeout(DEADLINE, transfer.run());
        tokio::pin!(run);
        let transferred = loop {
            tokio::select! {
                transferred = &mut run => break transferred,
                () = tokio::time::sleep(PROGRESS_INTERVAL) => report_progress(job, request, &progress),
            }
        };
        report_progress(job, request, &progress);
        let late = |_| Box::new(Problem::new(Code::Deadline, "The transfer took longer than six hours."));
        let fidelity = transferred.map_err(late)?.map_err(|error| problem(&error))?;
        let summary = serde_json::to_value(fidelity.summary()).unwrap_or(Value::Null);
        let must_use_plugin = format!("{}/{SANDBOX_PLUGIN_FILE}", fidelity.mu_plugins_dir);
        self.store(job, fidelity).await;
        Ok(StepOutput::Transferred(Transferred {
            fidelity: summary,
            source_api_key: (!source.is_removed_at_end).then_some(source.key),
            target: match &request.destination {
                CloneDestination::Clone { .. } => None,
                CloneDestination::Target(_) => Some(FilledTarget {
                    api_key: (!target.is_removed_at_end).then_some(target.key),
                    username: request.source.username.clone(),
                    must_use_plugin,
                }),
            },
        }))
    }

    /// Stores the whole fidelity report as an artifact. One that is too large is cut.
    async fn store(&self, job: &Job, fidelity: Fidelity) {
        let put = async |bytes: &[u8]| {
            self.artifacts.put(job.task, &job.owner, FIDELITY, "application/json", bytes).await
        };
        let mut stored = put(&report_bytes(&fidelity)).await;
        if matches!(stored, Err(ArtifactError::TooLarge)) {
            stored = put(&report_bytes(&fidelity.truncated())).await;
        }
        if let Err(error) = stored {
            tracing::warn!(%error, "the fidelity report was not stored");
        }
    }
}

/// The report as JSON. It quotes names, versions and values of the sites.
fn report_bytes(fidelity: &Fidelity) -> Vec<u8> {
    let report = serde_json::to_value(fidelity).map(SiteText::clean_json);
    report.and_then(|report| serde_json::to_vec_pretty(&report)).unwrap_or_default()
}

fn report_progress(job: &Job, request: &CloneRequest, progress: &TransferProgress) {
    const MIB: u64 = 1 << 20;
    let now = progress.snapshot();
    if progress.may_have_changed_target() && matches!(request.destination, CloneDestination::Target(_)) {
        job.updates.send_if_modified(|update| update.changed.replace(true) != Some(true));
    }
    let share =
        now.bytes.saturating_mul(80).checked_div(now.expected_bytes.max(now.bytes)).unwrap_or_default();
    let warnings = progress.take_warnings();
    let message = if warnings.is_empty() {
        format!("Moved {} rows and {} files, {} MB", now.rows, now.files, now.bytes / MIB)
    } else {
        format!("Before the first row: {}", warnings.join(" "))
    };
    let percent = u8::try_from(share.min(80)).unwrap_or(80) + 10;
    job.updates.send_if_modified(|update: &mut StepUpdate| {
        let before = update.progress.clone();
        update.progress.advance(percent, &message);
        update.progress != before
    });
}

fn fault(detail: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::WorkerFault, detail))
}

fn problem(error: &TransferError) -> Box<Problem> {
    let code = match error.cause() {
        TransferError::Preflight(PreflightFailure::Multisite, _) => Code::MultisiteUnsupported,
        TransferError::Preflight(PreflightFailure::DiskSpace, _) => Code::DiskInsufficient,
        TransferError::Preflight(PreflightFailure::TargetNotEmpty, _) => Code::TargetNotEmpty,
        TransferError::Preflight(PreflightFailure::PhpVersion, _) => Code::PhpMismatch,
        TransferError::Preflight(PreflightFailure::InvalidAddress, _) => Code::UnexpectedAnswer,
        TransferError::Verification(_) | TransferError::TableChanged(_) => Code::VerifyFailed,
        // The disk filled up during the transfer, or its free space could not be known before.
        TransferError::Target(ClientError::Migrator { status: 507, .. }) => Code::DiskInsufficient,
        TransferError::Stalled => Code::Deadline,
        TransferError::Source(_)
        | TransferError::Target(_)
        | TransferError::Table { .. }
        | TransferError::Cancelled => Code::TransferFailed,
    };
    let mut problem = Problem::new(code, sentence(&error.to_string()));
    // The same content gives the same error.
    problem.retryable &= !error.is_about_content();
    Box::new(problem)
}

/// Begins a text with a capital and ends it with a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}
