//! The transfer stage: moves content between migrators, through a gate like everything that reaches a site.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;
use wpclone_artifacts::Artifacts;
use wpclone_migrator::{Client, Key};
use wpclone_task::{
    CloneRequest, Code, Destination, ExposeSecret as _, Outcome, Problem, Progress, Request, SecretString,
    SiteUrl, Stage, Transferred,
};
use wpclone_transfer::{Fidelity, Meter, Obstacle, Reading, Transfer, TransferError};

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
        let http = net::client(&gate, &self.user_agent).and_then(reqwest::ClientBuilder::build);
        let http = http.map_err(|e| fault_of(&e))?;
        match job.step.as_str() {
            "transfer" => self.transfer(job, request, &http, stop).await,
            "leave" => Ok(leave(job, &http).await),
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
        let (target, _) =
            target_of(job, request, http).ok_or_else(|| fault("There is nothing to copy to."))?;
        let name = format!("transfer {}", job.replays);
        let (meter, id) = (Meter::default(), job.task.derived(&name).simple().to_string());
        let transfer = Transfer { source: &source, target: &target, job: &id, meter: &meter, stop };
        let moving = timeout(LONGEST, transfer.run());
        tokio::pin!(moving);
        let moved = loop {
            tokio::select! {
                moved = &mut moving => break moved,
                () = tokio::time::sleep(TELL) => tell(job, meter.read()),
            }
        };
        let late = |_| Box::new(Problem::new(Code::Deadline, "The transfer took longer than six hours."));
        let fidelity = moved.map_err(late)?.map_err(|error| problem(&error))?;
        self.keep(job, &fidelity).await;
        Ok(Outcome::Transferred(Transferred {
            fidelity: serde_json::to_value(fidelity.summary()).unwrap_or(Value::Null),
            source_api_key: (!request.remove_migrator).then_some(source_key),
            target_api_key: None,
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

/// Takes the migrator off the source of a clone that is there; it does not fail for that.
async fn leave(job: &Job, http: &reqwest::Client) -> Outcome {
    let Some((source, _)) = source_of(job, http) else { return Outcome::Left(false) };
    match remove(&source).await {
        Ok(wholly) => Outcome::Left(wholly),
        Err(error) => {
            tracing::warn!(
                detail = error.detail,
                "the migrator is left on the source, where it falls asleep"
            );
            Outcome::Left(false)
        }
    }
}

/// Takes the migrator off the source of a clone that will not be.
async fn release(job: &Job, request: &CloneRequest, http: &reqwest::Client) -> Done<Outcome> {
    if !request.remove_migrator {
        return Ok(Outcome::Nothing);
    }
    match source_of(job, http) {
        Some((source, _)) => remove(&source).await.map(Outcome::Left),
        None => Ok(Outcome::Nothing),
    }
}

/// Whether nothing is left.
async fn remove(source: &Client) -> Done<bool> {
    let removed = timeout(RELEASE, source.remove()).await;
    let late =
        |_| Box::new(Problem::new(Code::Deadline, "The source did not take the migrator off in time."));
    let removed = removed.map_err(late)?.map_err(|error| {
        let detail = format!("The source did not take the migrator off: {error}.");
        Box::new(Problem::new(Code::MigratorUnreachable, detail))
    })?;
    if !removed.wholly() {
        tracing::warn!(left = ?removed.left, answers = removed.answers, "something of the migrator is left on the source");
    }
    Ok(removed.wholly())
}

fn source_of(job: &Job, http: &reqwest::Client) -> Option<(Client, SecretString)> {
    let prepared = job.before.get("prepare")?;
    let url = prepared.result.get("source")?.get("url")?.as_str()?;
    client(url, prepared.handover.get(Outcome::MIGRATOR_KEY)?, http)
}

fn target_of(job: &Job, request: &CloneRequest, http: &reqwest::Client) -> Option<(Client, SecretString)> {
    match request.to {
        Destination::Clone { .. } => {
            let made = job.before.get("provision")?;
            let url = made.result.get("clone")?.get("url")?.as_str()?;
            client(url, made.handover.get(Outcome::MIGRATOR_KEY)?, http)
        }
        Destination::Target(_) => None,
    }
}

fn client(url: &str, key: &SecretString, http: &reqwest::Client) -> Option<(Client, SecretString)> {
    let site: Url = SiteUrl::parse(url).ok()?.url().clone();
    let parsed: Key = key.expose_secret().parse().ok()?;
    Some((Client::new(http.clone(), site, parsed), key.clone()))
}

fn tell(job: &Job, now: Reading) {
    const MIB: u64 = 1 << 20;
    let share = now.bytes.saturating_mul(80).checked_div(now.expected.max(now.bytes)).unwrap_or_default();
    let message = format!("Moved {} rows and {} files, {} MB", now.rows, now.files, now.bytes / MIB);
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
        TransferError::Impossible(Obstacle::Address, _) => Code::UnexpectedAnswer,
        TransferError::Differs(_) => Code::VerifyFailed,
        TransferError::Source(_) | TransferError::Target(_) | TransferError::Stopped => Code::TransferFailed,
    };
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    Box::new(Problem::new(code, format!("{first}{}{stop}", letters.as_str())))
}
