//! The transfer stage: moves content between migrators.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;
use wpclone_artifacts::Artifacts;
use wpclone_migrator::{Client, ClientError, Key};
use wpclone_provision::clone_runtime::{SANDBOX_PLUGIN, SANDBOX_PLUGIN_FILE};
use wpclone_task::{
    CloneDestination, CloneRequest, Code, ExposeSecret as _, Filled, Outcome, PluginStatus, Problem,
    Progress, Request, SecretString, SiteUrl, Stage, Transferred,
};
use wpclone_transfer::{Fidelity, Meter, Obstacle, Receiver, Transfer, TransferError, settle, take_back};

use crate::job::{End, Job, News};
use crate::net::{self, Gate, Ways};

/// How often progress is told.
const TELL: Duration = Duration::from_millis(500);
/// The longest that a transfer may take.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// The longest that taking a migrator off a site may take.
const RELEASE: Duration = Duration::from_secs(60);
/// What the artifact with the whole proof is called.
const FIDELITY: &str = "fidelity.json";

/// Does steps of the transfer stage.
pub(crate) struct TransferStage {
    pub(crate) ways: Ways,
    pub(crate) user_agent: String,
    pub(crate) artifacts: Artifacts,
}

/// What is not possible, in the words of a task.
type Done<T> = Result<T, Box<Problem>>;

impl TransferStage {
    /// Does one step.
    pub(crate) async fn run(&self, job: &Job) -> End {
        let stop = CancellationToken::new();
        let work = self.work(job, &stop);
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = job.stop.cancelled() => {
                stop.cancel();
                return End::Stopped;
            }
        };
        match done {
            Ok(outcome) => End::Done(outcome),
            Err(problem) => End::Failed(problem.at(Stage::Transfer)),
        }
    }

    async fn work(&self, job: &Job, stop: &CancellationToken) -> Done<Outcome> {
        let Request::Clone(request) = &job.request else {
            return Err(fault("There is no such request in the transfer stage."));
        };
        let fault_of =
            |error: &dyn std::fmt::Display| fault(format!("There is no way out to sites: {error}."));
        let gate = Arc::new(Gate::open(self.ways.clone()).await.map_err(|e| fault_of(&e))?);
        let sites: Vec<Url> =
            [SOURCE, target(request)].into_iter().filter_map(|of| address(job, of)).collect();
        let http = net::direct_client(&gate, &self.ways, &self.user_agent, &sites).await;
        let http = http.and_then(reqwest::ClientBuilder::build).map_err(|e| fault_of(&e))?;
        match job.step.as_str() {
            "transfer" => self.transfer(job, request, &http, stop).await,
            "leave" => Ok(leave(job, request, &http).await),
            "release" => release(job, request, &http).await,
            other => Err(fault(format!("The transfer stage has no step `{other}`."))),
        }
    }

    async fn transfer(
        &self,
        job: &Job,
        request: &CloneRequest,
        http: &reqwest::Client,
        stop: &CancellationToken,
    ) -> Done<Outcome> {
        let (source, source_key) =
            source_of(job, http).ok_or_else(|| fault("The source was not prepared."))?;
        let (target, target_key) =
            target_of(job, request, http).ok_or_else(|| fault("There is nothing to copy to."))?;
        let (meter, id) = (Meter::default(), import_of(job));
        let into = match request.destination {
            CloneDestination::Clone { .. } => Receiver::Clone,
            CloneDestination::Target(_) => Receiver::Site { harmless: SANDBOX_PLUGIN },
        };
        let transfer = Transfer { source: &source, target: &target, into, job: &id, meter: &meter, stop };
        let moving = timeout(LONGEST, transfer.run());
        tokio::pin!(moving);
        let moved = loop {
            tokio::select! {
                moved = &mut moving => break moved,
                () = tokio::time::sleep(TELL) => tell(job, request, &meter),
            }
        };
        tell(job, request, &meter);
        let late = |_| Box::new(Problem::new(Code::Deadline, "The transfer took longer than six hours."));
        let fidelity = moved.map_err(late)?.map_err(|error| problem(&error))?;
        self.keep(job, &fidelity).await;
        Ok(Outcome::Transferred(Transferred {
            fidelity: serde_json::to_value(fidelity.summary()).unwrap_or(Value::Null),
            source_api_key: (!request.remove_migrator).then_some(source_key),
            target: match &request.destination {
                CloneDestination::Clone { .. } => None,
                CloneDestination::Target(_) => Some(Filled {
                    api_key: (!request.remove_migrator).then_some(target_key),
                    username: request.source.username.clone(),
                    harmless: format!("{}/{SANDBOX_PLUGIN_FILE}", fidelity.must_use_folder),
                }),
            },
        }))
    }

    /// Keeps the whole proof.
    async fn keep(&self, job: &Job, fidelity: &Fidelity) {
        let bytes = serde_json::to_vec_pretty(fidelity).unwrap_or_default();
        if let Err(error) = self.artifacts.put(job.task, FIDELITY, "application/json", &bytes).await {
            tracing::warn!(%error, "the fidelity report was not kept");
        }
    }
}

/// What the import on the target is called: the same for every attempt.
fn import_of(job: &Job) -> String {
    job.task.derived(&format!("transfer {}", job.replays)).simple().to_string()
}

/// Takes the migrator off the sites of a copy that is there, and drops what its target had before; it does not fail for
/// that.
async fn leave(job: &Job, request: &CloneRequest, http: &reqwest::Client) -> Outcome {
    let target = match request.destination {
        CloneDestination::Target(_) => target_of(job, request, http),
        CloneDestination::Clone { .. } => None,
    };
    let mut wholly = request.remove_migrator;
    let left = |error: Box<Problem>| {
        tracing::warn!(detail = error.detail, "the migrator is left on a site, where it falls asleep");
        false
    };
    if let Some((target, _)) = target {
        let settled = if request.remove_migrator {
            remove(&target).await.unwrap_or_else(left)
        } else {
            settle(&target, &import_of(job))
                .await
                .map_err(|error| problem(&error))
                .map_or_else(left, |()| true)
        };
        wholly &= settled;
    }
    if request.remove_migrator {
        wholly &= match source_of(job, http) {
            Some((source, _)) => remove(&source).await.unwrap_or_else(left),
            None => false,
        };
    }
    Outcome::Left(wholly)
}

/// Takes the migrator off the sites of a copy that will not be. A target has afterwards what it had before.
async fn release(job: &Job, request: &CloneRequest, http: &reqwest::Client) -> Done<Outcome> {
    if let CloneDestination::Target(_) = request.destination {
        release_target(job, request, http).await?;
    }
    if has_left(job) {
        return Ok(Outcome::Left(true));
    }
    match source_of(job, http).filter(|_| request.remove_migrator) {
        Some((source, _)) => remove(&source).await.map(Outcome::Left),
        None => Ok(Outcome::Nothing),
    }
}

/// Whether [`leave`] has taken the migrator off already: nobody is there to be asked once more.
fn has_left(job: &Job) -> bool {
    job.before
        .get("leave")
        .is_some_and(|left| left.result.get("migrator_removed") == Some(&Value::Bool(true)))
}

async fn release_target(job: &Job, request: &CloneRequest, http: &reqwest::Client) -> Done<()> {
    let Some((target, _)) = target_of(job, request, http) else { return Ok(()) };
    take_back(&target, &import_of(job)).await.map_err(|error| problem(&error))?;
    let status =
        job.before.get("prepare-target").and_then(|left| left.result.get("target")?.get("plugin_status"));
    let was = |wanted: PluginStatus| status.and_then(Value::as_str) == Some(wanted.as_str());
    let is_as_it_was = if request.remove_migrator || was(PluginStatus::Installed) {
        remove(&target).await?
    } else {
        was(PluginStatus::Unchanged)
    };
    if is_as_it_was {
        job.news.send_modify(|news| news.changed = Some(false));
    }
    Ok(())
}

/// Whether nothing is left.
async fn remove(source: &Client) -> Done<bool> {
    let removed = timeout(RELEASE, source.remove()).await;
    let late = |_| Box::new(Problem::new(Code::Deadline, "The site did not take the migrator off in time."));
    let removed = removed.map_err(late)?.map_err(|error| {
        let detail = format!("The site did not take the migrator off: {error}.");
        Box::new(Problem::new(Code::MigratorUnreachable, detail))
    })?;
    if !removed.is_complete() {
        tracing::warn!(left = ?removed.remaining, answers = removed.still_responds, "something of the migrator is left on the site");
    }
    Ok(removed.is_complete())
}

fn source_of(job: &Job, http: &reqwest::Client) -> Option<(Client, SecretString)> {
    client(job, SOURCE, http)
}

fn target_of(job: &Job, request: &CloneRequest, http: &reqwest::Client) -> Option<(Client, SecretString)> {
    client(job, target(request), http)
}

/// The step that prepared the source, and what its result calls it.
const SOURCE: (&str, &str) = ("prepare", "source");

/// The same of what is copied to.
fn target(request: &CloneRequest) -> (&'static str, &'static str) {
    match request.destination {
        CloneDestination::Clone { .. } => ("provision", "clone"),
        CloneDestination::Target(_) => ("prepare-target", "target"),
    }
}

fn address(job: &Job, (step, site): (&str, &str)) -> Option<Url> {
    let url = job.before.get(step)?.result.get(site)?.get("url")?.as_str()?;
    Some(SiteUrl::parse(url).ok()?.url().clone())
}

fn client(job: &Job, of: (&str, &str), http: &reqwest::Client) -> Option<(Client, SecretString)> {
    let key = job.before.get(of.0)?.handover.get(Outcome::MIGRATOR_KEY)?;
    let parsed: Key = key.expose_secret().parse().ok()?;
    Some((Client::new(http.clone(), address(job, of)?, parsed), key.clone()))
}

fn tell(job: &Job, request: &CloneRequest, meter: &Meter) {
    const MIB: u64 = 1 << 20;
    let now = meter.read();
    if meter.has_touched() && matches!(request.destination, CloneDestination::Target(_)) {
        job.news.send_if_modified(|news| news.changed.replace(true) != Some(true));
    }
    let share = now.bytes.saturating_mul(80).checked_div(now.expected.max(now.bytes)).unwrap_or_default();
    let warnings = meter.take_warnings();
    let message = if warnings.is_empty() {
        format!("Moved {} rows and {} files, {} MB", now.rows, now.files, now.bytes / MIB)
    } else {
        format!("Before the first row: {}", warnings.join(" "))
    };
    let percent = u8::try_from(share.min(80)).unwrap_or(80) + 10;
    job.news.send_if_modified(|news: &mut News| {
        let progress = Progress { percent: news.progress.percent.max(percent), message };
        let changed = news.progress != progress;
        news.progress = progress;
        changed
    });
}

fn fault(detail: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::WorkerFault, detail))
}

fn problem(error: &TransferError) -> Box<Problem> {
    let code = match error {
        TransferError::Impossible(Obstacle::Multisite, _) => Code::MultisiteUnsupported,
        TransferError::Impossible(Obstacle::NoSpace, _) => Code::DiskInsufficient,
        TransferError::Impossible(Obstacle::NotEmpty, _) => Code::TargetNotEmpty,
        TransferError::Impossible(Obstacle::Php, _) => Code::PhpMismatch,
        TransferError::Impossible(Obstacle::Address, _) => Code::UnexpectedAnswer,
        TransferError::Differs(_) => Code::VerifyFailed,
        // The disk filled up while it came, or its room could not be known before.
        TransferError::Target(ClientError::Migrator { status: 507, .. }) => Code::DiskInsufficient,
        TransferError::Source(_) | TransferError::Target(_) | TransferError::Stopped => Code::TransferFailed,
    };
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    Box::new(Problem::new(code, format!("{first}{}{stop}", letters.as_str())))
}
