//! Executes a step of the browser stage, from its claim to its artifacts.

use std::time::Duration;

use tokio::time::timeout;
use wpclone_artifacts::Artifacts;
use wpclone_task::{Code, Problem, SiteUrl, StepOutput};

use super::artifact_recorder::ArtifactRecorder;
use super::availability::BrowserAvailability;
use super::browser_step::BrowserStep;
use super::context::{StepContext, deadline_exceeded};
use super::session::BrowserSession;
use super::step_reporter::{SiteRole, StepLogin, StepReporter};
use super::wordpress::{self, StepError, StepResult};
use crate::job::{Job, StepEnd};
use crate::kept_session::KeptSession;
use crate::login_checkpoint::EarlierLogin;
use crate::net::EgressRules;

/// The deadline of a logout. A worker that is told to stop waits for it.
const LOGOUT_DEADLINE: Duration = Duration::from_secs(4);

/// The deadlines of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// Of a request, or of one part of a step such as the login.
    pub(crate) part: Duration,
    /// Of the step's work.
    pub(crate) soft: Duration,
    /// Of the step with its artifacts.
    pub(crate) hard: Duration,
}

/// Why the step cannot be tried again: the password was sent, and its session is not known.
fn lost_login(login: &StepLogin<'_>) -> Option<Problem> {
    if login.session.is_some_and(|session| session.earlier().is_some()) {
        return None;
    }
    match login.checkpoint?.earlier() {
        EarlierLogin::None => None,
        EarlierLogin::Unanswered => Some(Problem::new(
            Code::AuthUnanswered,
            "An earlier attempt sent the login, and its worker was lost or stopped before the site had answered. It is not \
             sent again.",
        )),
        EarlierLogin::Accepted => Some(Problem::new(
            Code::SessionLost,
            "An earlier attempt logged in, and its worker was lost or stopped when the session had ended or could not be \
             kept. The password is not sent again.",
        )),
    }
}

/// Whether another attempt at the step goes on with the session that is kept.
fn is_session_needed(job: &Job, session: Option<&KeptSession>, end: &StepEnd) -> bool {
    session.is_some_and(|session| match end {
        StepEnd::Done(_) => false,
        StepEnd::Failed(problem) => session.is_needed_after(problem),
        StepEnd::Stopped => session.stored().is_some() && !job.is_cancelled.is_cancelled(),
    })
}

/// Logs out, if there is a session. One that is kept is deleted then, or left to a clean-up when the site is too slow.
async fn log_out(browser_session: &BrowserSession, kept: Option<&KeptSession>) {
    let http = &browser_session.http;
    let used = browser_session.site.get().filter(|site| wordpress::has_session(http, site));
    let (browser, site) = match (used, kept.and_then(KeptSession::stored)) {
        (Some(site), _) => (browser_session.browser(), site.clone()),
        // This attempt has not come to use it.
        (None, Some(stored)) => {
            let Ok(site) = SiteUrl::parse(stored.site.as_str()) else { return };
            http.restrict_to(site.url());
            wordpress::add_cookies(http, &site, &stored.cookies);
            (None, site)
        }
        (None, None) => return,
    };
    match timeout(LOGOUT_DEADLINE, wordpress::log_out(browser, http, &site)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => tracing::warn!("the site may keep the session until it expires"),
        Ok(Err(problem)) => tracing::warn!(%problem, "the site may keep the session until it expires"),
        Err(_) => {
            tracing::warn!("the site did not respond to the logout in time");
            return;
        }
    }
    if let Some(kept) = kept {
        kept.delete().await;
    }
}

/// Executes steps of the browser stage.
pub(crate) struct BrowserStage {
    pub(crate) availability: BrowserAvailability,
    pub(crate) deadlines: Deadlines,
    pub(crate) egress: EgressRules,
    pub(crate) artifacts: Artifacts,
}

impl BrowserStage {
    /// Executes one step. Afterwards no process and no folder of it is left on this machine.
    pub(crate) async fn run(&self, job: &Job) -> StepEnd {
        let Some(step) = BrowserStep::of(job) else {
            let detail = format!("The browser stage cannot execute the step `{}`.", job.step);
            return StepEnd::Failed(Problem::new(Code::WorkerFault, detail));
        };
        // It vanished after the claim: the step is released.
        let Some(installation) = self.availability.usable().await else { return StepEnd::Stopped };
        let prefix = step.artifact_prefix();
        let recorder = ArtifactRecorder::new(&self.artifacts, job.task, &job.owner, prefix, &job.secrets);
        let login = step.step_login(job);
        let reporter = StepReporter::new(&job.updates, &recorder, step.site_role(), login);
        if let Some(problem) = lost_login(&login) {
            return StepEnd::Failed(reporter.complete(problem));
        }
        let site = step.login().site.url();
        let egress = match step.site_role() {
            SiteRole::Clone => self.egress.for_task([], Some(site)),
            SiteRole::Source | SiteRole::Target | SiteRole::FilledTarget => {
                self.egress.for_task([site], None)
            }
        };
        let session = match BrowserSession::open(egress, self.deadlines.part, installation).await {
            Ok(session) => session,
            Err(problem) => return StepEnd::Failed(reporter.complete(*problem)),
        };
        let end = tokio::select! {
            biased;
            () = job.stop.cancelled() => StepEnd::Stopped,
            end = self.attempt(job, &step, &reporter, &session) => end,
        };
        if !is_session_needed(job, login.session, &end) {
            log_out(&session, login.session).await;
        }
        session.close().await;
        job.browser.send_replace(None);
        end
    }

    /// Works until the soft deadline. The time from there to the hard one is for artifacts, which never hide the error
    /// that it is about.
    async fn attempt(
        &self,
        job: &Job,
        step: &BrowserStep<'_>,
        reporter: &StepReporter<'_>,
        session: &BrowserSession,
    ) -> StepEnd {
        let Deadlines { soft, hard, .. } = self.deadlines;
        let done = timeout(soft, self.execute(job, step, reporter, session)).await;
        let error = match done.unwrap_or_else(|_| Err(deadline_exceeded("The task", soft).into())) {
            Ok(output) => return StepEnd::Done(output),
            Err(error) => error,
        };
        self.store_failure_artifacts(reporter, session, &error, hard - soft).await;
        StepEnd::Failed(reporter.complete(error.problem))
    }

    async fn store_failure_artifacts(
        &self,
        reporter: &StepReporter<'_>,
        session: &BrowserSession,
        error: &StepError,
        limit: Duration,
    ) {
        let storing =
            reporter.artifacts.store_failure(session.browser(), &session.http, &session.proxy, error);
        if timeout(limit, storing).await.is_err() {
            tracing::warn!("not all artifacts could be stored in time");
        }
    }

    async fn execute(
        &self,
        job: &Job,
        step: &BrowserStep<'_>,
        reporter: &StepReporter<'_>,
        session: &BrowserSession,
    ) -> StepResult<StepOutput> {
        reporter.progress(2, "Checking the site and starting a browser");
        let given = &step.login().site;
        // Starting the browser takes as long as the site takes to answer.
        let (site, browser) = if matches!(step, BrowserStep::VerifyClone { .. }) {
            // Its address is known, and pages of a copy may lead to its source, under any name.
            session.http.restrict_to(given.url());
            (Ok(given.clone()), session.start_browser(job).await)
        } else {
            let discovery = wordpress::discover_site(&session.http, given);
            tokio::join!(discovery, session.start_browser(job))
        };
        let site = site?;
        let site = session.site.get_or_init(|| site);
        let context = StepContext {
            browser: browser?,
            http: &session.http,
            proxy: &session.proxy,
            reporter,
            deadline: self.deadlines.part,
        };
        context.execute(job.task, step, site).await
    }
}
