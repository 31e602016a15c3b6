//! Executes a step of the browser stage, from its claim to its artifacts.

use std::time::Duration;

use tokio::time::timeout;
use wpclone_artifacts::Artifacts;
use wpclone_task::{Code, Problem, StepOutput};

use super::artifact_recorder::ArtifactRecorder;
use super::browser_step::BrowserStep;
use super::context::{StepContext, deadline_exceeded};
use super::installation::BrowserAvailability;
use super::session::BrowserSession;
use super::step_reporter::{SiteRole, StepReporter};
use super::wordpress::{self, StepError, StepResult};
use crate::job::{Job, StepEnd};
use crate::login_checkpoint::LoginCheckpoint;
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

/// Executes steps of the browser stage.
pub(crate) struct BrowserStage {
    pub(crate) availability: BrowserAvailability,
    pub(crate) deadlines: Deadlines,
    pub(crate) egress: EgressRules,
    pub(crate) artifacts: Artifacts,
}

impl BrowserStage {
    /// Executes one step. Afterwards no process and no folder of it is left.
    pub(crate) async fn run(&self, job: &Job) -> StepEnd {
        let Some(step) = BrowserStep::of(job) else {
            let detail = format!("The browser stage cannot execute the step `{}`.", job.step);
            return StepEnd::Failed(Problem::new(Code::WorkerFault, detail));
        };
        // It vanished after the claim: the step is released.
        let Some(installation) = self.availability.installation() else { return StepEnd::Stopped };
        let prefix = step.artifact_prefix();
        let recorder = ArtifactRecorder::new(&self.artifacts, job.task, &job.owner, prefix, &job.secrets);
        let login = step.login_checkpoint(job);
        let reporter = StepReporter::new(&job.updates, &recorder, step.site_role(), login);
        if login.is_some_and(LoginCheckpoint::is_unanswered) {
            let detail = "An earlier attempt sent the login, and its worker was lost or stopped before the site had \
                          answered. It is not sent again.";
            return StepEnd::Failed(reporter.complete(Problem::new(Code::AuthUnanswered, detail)));
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
        if let Some(site) = session.site.get() {
            let log_out = wordpress::log_out(session.browser(), &session.http, site);
            if timeout(LOGOUT_DEADLINE, log_out).await.is_err() {
                tracing::warn!("the site did not respond to the logout in time");
            }
        }
        session.close().await;
        job.browser_pid.send_replace(None);
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
