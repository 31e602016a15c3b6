//! Clean-ups of sites: undoes what ended tasks have left on sites, for a day, with growing pauses.
//!
//! A clean-up knows only the migrator's key, or a session that it ends. Each attempt holds the site's lock, and gives way within seconds when a task
//! waits for the site. It touches only the import of its own task, and removes no migrator that a later task has taken over.

mod registration;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use wpclone_migrator::{Client, ClientError, Key};
use wpclone_queue::{
    ClaimAttempt, FailOutcome, Queue, QueueError, RetryPolicy, SiteCleanupClaim, StoredOutput, TaskEnding,
};
use wpclone_service::seal::Sealer;
use wpclone_service::telemetry;
use wpclone_task::{Code, ExposeSecret as _, Problem, SiteUrl, Stage};

use self::registration::MigratorCleanup;
pub(crate) use self::registration::{CleanupDetails, Registrations, import_id, seal_field};
use crate::browser::{BrowserAvailability, add_cookies, log_out};
use crate::claim_loop::claim_loop;
use crate::kept_session::LoginSession;
use crate::lease;
use crate::net::{self, EgressProxy, EgressRules, SiteClient};
use crate::report_outcome::report_with_retry;
use crate::slots::{Slot, Slots};

/// How many clean-ups run at once.
const SLOTS: u32 = 2;
/// The deadline of one attempt.
const DEADLINE: Duration = Duration::from_secs(180);
/// How often the lease is renewed: a task that waits for the site waits no longer than this.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How long a clean-up waits after it gave way to a task.
const YIELD_DELAY: Duration = Duration::from_secs(60);
/// A clean-up that is older is given up when its attempt fails.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// One to sixty minutes, with full jitter: some thirty attempts in a day.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 1000,
    backoff_base: Duration::from_secs(60),
    backoff_cap: Duration::from_secs(3600),
    not_before: Duration::from_secs(30),
};
/// The most bytes of a page that are read to see whether WordPress made it.
const MAX_PAGE: usize = 64 << 10;

/// Executes clean-ups of sites.
pub(crate) struct SiteCleanups {
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
    pub(crate) egress: EgressRules,
    pub(crate) browser: BrowserAvailability,
    /// Cancelled when attempts that still run are to be released.
    pub(crate) release: CancellationToken,
}

/// How an attempt ended, as it is reported to the queue.
enum Report {
    Done,
    Failed(Box<Problem>),
    /// A task waits for the site.
    Yield,
    Release,
    /// Nothing is reported: another worker has the clean-up now.
    LeaseLost,
}

impl SiteCleanups {
    /// Claims and executes clean-ups until `shutdown`.
    pub(crate) async fn claim_all(
        self: &Arc<Self>,
        worker: &str,
        started: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let claim = async |attempt: &ClaimAttempt| self.queue.claim_site_cleanup(worker, attempt).await;
        let start = |claim, slot: Slot| {
            let cleanups = Arc::clone(self);
            started.spawn(async move {
                cleanups.execute(claim).await;
                drop(slot);
            });
        };
        claim_loop(shutdown, &self.queue, &[Stage::Cleanup], Slots::new(SLOTS), claim, start).await;
    }

    async fn execute(&self, claim: SiteCleanupClaim) {
        let span = tracing::info_span!(
            "site_cleanup", task.id = %claim.task, site = %claim.name, attempt = claim.attempts + 1,
            trace_id = tracing::field::Empty,
        );
        telemetry::continue_trace(&span, claim.traceparent.as_deref());
        span.record("trace_id", telemetry::trace_id(&span));
        async {
            let report = self.attempt_under_lease(&claim).await;
            match &report {
                Report::Done => tracing::info!("what a task had left on a site is undone"),
                Report::Failed(problem) => {
                    tracing::warn!(detail = %problem.detail, "a site could not be cleaned up")
                }
                Report::Yield => tracing::info!("a task waits for the site: the clean-up gives way"),
                Report::Release | Report::LeaseLost => tracing::info!("the clean-up was interrupted"),
            }
            match (report_with_retry(|| self.report(&claim, &report)).await, &report) {
                (Ok(Some(FailOutcome::DeadLettered)), Report::Failed(problem)) => tracing::error!(
                    detail = %problem.detail,
                    "a site could not be cleaned up within a day: it is given up, see GET /queue"
                ),
                (Ok(_), _) => {}
                (Err(error), _) => tracing::warn!(%error, "the end of a clean-up was not stored"),
            }
        }
        .instrument(span)
        .await;
    }

    /// One attempt, whose lease is renewed until it ends.
    async fn attempt_under_lease(&self, claim: &SiteCleanupClaim) -> Report {
        match lease::confirm(&self.queue, &claim.lease, claim.lease_duration).await {
            Ok(reply) if reply.cancel_requested => return Report::Yield,
            Ok(_) => {}
            Err(QueueError::LeaseLost) => return Report::LeaseLost,
            Err(_) => return Report::Release,
        }
        let attempt = timeout(DEADLINE, self.attempt(claim));
        tokio::pin!(attempt);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                done = &mut attempt => return match done {
                    Ok(Ok(())) => Report::Done,
                    Ok(Err(problem)) => Report::Failed(problem),
                    Err(_) => Report::Failed(failure("The site did not respond in time.")),
                },
                () = self.release.cancelled() => return Report::Release,
                () = sleep(HEARTBEAT_INTERVAL) => {}
            }
            let sent = Instant::now();
            match self.queue.heartbeat(&claim.lease, None).await {
                Ok(reply) if reply.cancel_requested => return Report::Yield,
                Ok(_) => renewed = sent,
                Err(QueueError::LeaseLost) => return Report::LeaseLost,
                Err(_) if renewed.elapsed() > claim.lease_duration * 2 / 3 => return Report::LeaseLost,
                Err(error) => tracing::warn!(%error, "a heartbeat failed"),
            }
        }
    }

    async fn attempt(&self, claim: &SiteCleanupClaim) -> Result<(), Box<Problem>> {
        let details: CleanupDetails = serde_json::from_value(claim.details.clone())
            .map_err(|error| fault(format!("The clean-up cannot be read: {error}.")))?;
        match details {
            CleanupDetails::Migrator(cleanup) => self.clean_up_migrator(claim, &cleanup).await,
            CleanupDetails::Session { .. } => self.end_session(claim).await,
        }
    }

    /// Ends the session of a login that no worker has ended. What the site says to that is not judged: a session that is not
    /// known any more looks the same.
    async fn end_session(&self, claim: &SiteCleanupClaim) -> Result<(), Box<Problem>> {
        let session = LoginSession::open(&self.sealer, claim.task, &claim.name, &claim.sealed);
        let session = session.map_err(|error| fault(format!("The session cannot be opened: {error}.")))?;
        let site = SiteUrl::parse(session.site.as_str());
        let site = site.map_err(|_| fault("The session has no site.".to_owned()))?;
        let no_egress = |error: &dyn std::fmt::Display| fault(format!("Sites cannot be reached: {error}."));
        let egress = self.egress.for_task(std::slice::from_ref(&session.site), None);
        let proxy = Arc::new(EgressProxy::start(egress).await.map_err(|e| no_egress(&e))?);
        let http = SiteClient::new(proxy, &self.browser.user_agent(), DEADLINE).map_err(|e| no_egress(&e))?;
        http.restrict_to(site.url());
        add_cookies(&http, &site, &session.cookies);
        log_out(None, &http, &site).await.map(drop).map_err(Box::new)
    }

    async fn clean_up_migrator(
        &self,
        claim: &SiteCleanupClaim,
        cleanup: &MigratorCleanup,
    ) -> Result<(), Box<Problem>> {
        let is_completed = claim.ending == TaskEnding::Completed;
        let removes = if is_completed { cleanup.remove_when_completed } else { cleanup.remove_when_ended };
        let removes = removes && !claim.superseded;
        if cleanup.import.is_none() && !removes {
            return Ok(());
        }
        let key = self.sealer.open(cleanup.sealed_for, &seal_field(&claim.name), &claim.sealed);
        let key = key.map_err(|error| fault(format!("The migrator's key cannot be opened: {error}.")))?;
        let key: Key =
            key.expose_secret().parse().map_err(|_| fault("The migrator's key is malformed.".to_owned()))?;
        let no_egress = |error: &dyn std::fmt::Display| fault(format!("Sites cannot be reached: {error}."));
        let sites = [cleanup.url.clone()];
        // No clone of ours: those are deleted as a whole.
        let egress = self.egress.for_task(&sites, None);
        let proxy = Arc::new(EgressProxy::start(egress.clone()).await.map_err(|e| no_egress(&e))?);
        let http = net::direct_client(&proxy, &egress, &self.browser.user_agent(), &sites).await;
        let http = http.and_then(reqwest::ClientBuilder::build).map_err(|e| no_egress(&e))?;
        let client = Client::new(http.clone(), cleanup.url.clone(), key);
        if let Some(import) = &cleanup.import {
            let job = client.earlier_job(import);
            let ended = if is_completed { job.commit().await } else { job.roll_back().await };
            ended.map_err(|error| failure(format!("The import could not be ended: {error}.")))?;
        }
        if removes { remove(&client, &http, cleanup).await } else { Ok(()) }
    }

    async fn report(
        &self,
        claim: &SiteCleanupClaim,
        report: &Report,
    ) -> Result<Option<FailOutcome>, QueueError> {
        let lease = &claim.lease;
        match report {
            Report::Done => self.queue.complete(lease, &StoredOutput::default()).await.map(|_| None),
            Report::Failed(problem) => {
                let is_last = Timestamp::now().duration_since(claim.created_at) >= LIFETIME;
                let max_attempts = if is_last { 1 } else { RETRY.max_attempts };
                let retry = RetryPolicy { max_attempts, ..RETRY };
                self.queue.fail_with(lease, problem, &retry).await.map(Some)
            }
            Report::Yield => self.queue.defer(lease, YIELD_DELAY).await.map(|()| None),
            Report::Release => self.queue.release(lease).await.map(|()| None),
            Report::LeaseLost => Ok(None),
        }
    }
}

async fn remove(
    client: &Client,
    http: &reqwest::Client,
    cleanup: &MigratorCleanup,
) -> Result<(), Box<Problem>> {
    match client.remove(cleanup.import.as_deref()).await {
        Ok(report) if report.is_complete() => Ok(()),
        Ok(_) => Err(failure("Parts of the migrator are left on the site.")),
        Err(error) if is_no_migrator(&error) && is_wordpress(http, cleanup).await => Ok(()),
        Err(error) => Err(failure(format!("The site did not remove the migrator: {error}."))),
    }
}

/// Whether the site answers, and not with its migrator. A firewall or an error page may do the same.
fn is_no_migrator(error: &ClientError) -> bool {
    match error {
        ClientError::UnexpectedContent { status } | ClientError::Unverified { status, .. } => {
            *status < 500 && !matches!(status, 403 | 408 | 413 | 429)
        }
        _ => false,
    }
}

/// Whether WordPress makes the front page: it links to its REST API, or to its own files.
async fn is_wordpress(http: &reqwest::Client, cleanup: &MigratorCleanup) -> bool {
    let Ok(mut page) = http.get(cleanup.url.clone()).send().await else { return false };
    if !page.status().is_success() {
        return false;
    }
    let links = page.headers().get_all(reqwest::header::LINK);
    if links.iter().any(|link| link.to_str().is_ok_and(|link| link.contains("https://api.w.org/"))) {
        return true;
    }
    let mut body = Vec::new();
    while body.len() < MAX_PAGE
        && let Ok(Some(part)) = page.chunk().await
    {
        body.extend_from_slice(&part);
    }
    let body = String::from_utf8_lossy(&body);
    ["/wp-content/", "/wp-includes/"].iter().any(|path| body.contains(path))
}

fn failure(detail: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::MigratorUnreachable, detail))
}

fn fault(detail: String) -> Box<Problem> {
    Box::new(Problem::new(Code::WorkerFault, detail))
}
