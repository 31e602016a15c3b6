//! What a step works with once it has a browser, and what steps have in common.

use std::time::Duration;

use tokio::time::timeout;
use url::Url;
use wpclone_task::{Code, Login, Problem, SiteUrl, StepOutput, TaskId};

use super::browser_step::BrowserStep;
use super::install_record::InstallRecord;
use super::step_reporter::StepReporter;
use super::wordpress::{AdminSession, StepError, StepResult};
use super::{Browser, BrowserError};
use crate::net::{EgressProxy, SiteClient};

/// The deadline of the screenshot at the end of a step.
const SCREENSHOT_DEADLINE: Duration = Duration::from_secs(15);

/// What a step works with.
pub(super) struct StepContext<'a> {
    pub(super) browser: &'a dyn Browser,
    pub(super) http: &'a SiteClient,
    pub(super) proxy: &'a EgressProxy,
    pub(super) reporter: &'a StepReporter<'a>,
    /// The deadline of a request, or of one part of the step.
    pub(super) deadline: Duration,
}

pub(super) fn deadline_exceeded(what: &str, limit: Duration) -> Problem {
    Problem::new(Code::Deadline, format!("{what} took longer than {} seconds.", limit.as_secs()))
}

impl StepContext<'_> {
    pub(super) async fn execute(
        &self,
        task: TaskId,
        step: &BrowserStep<'_>,
        site: &SiteUrl,
    ) -> StepResult<StepOutput> {
        match step {
            BrowserStep::Setup { login, role } => {
                self.set_up(login, *role, None, site).await.map(StepOutput::Setup)
            }
            BrowserStep::CreateAppPassword(request) => {
                self.create_app_password(task, request, site).await.map(StepOutput::AppPassword)
            }
            BrowserStep::Prepare { login, role, remove_migrator, job } => {
                let record = InstallRecord { job, role: *role, site };
                let prepared = self.prepare(login, *remove_migrator, &record).await?;
                Ok(StepOutput::Prepared(*role, Box::new(prepared)))
            }
            BrowserStep::VerifyClone { login, source, target } => {
                // Nothing but the address of WordPress itself is reached.
                let is_here = |home: &&SiteUrl| home.url().origin() == site.url().origin();
                let home = target.and_then(|target| target.home.as_ref()).filter(is_here).unwrap_or(site);
                self.verify_clone(login, source, site, home).await.map(StepOutput::Verified)
            }
        }
    }

    /// Runs a part of the step within its deadline.
    pub(super) async fn part<T>(
        &self,
        name: &str,
        work: impl Future<Output = StepResult<T>>,
    ) -> StepResult<T> {
        timeout(self.deadline, work)
            .await
            .unwrap_or_else(|_| Err(StepError::from(deadline_exceeded(name, self.deadline)).into()))
    }

    /// Logs in to wp-admin; the browser is then at the page `landing`.
    pub(super) async fn log_in<'a>(
        &'a self,
        site: &'a SiteUrl,
        login: &'a Login,
        landing: &'static str,
    ) -> StepResult<AdminSession<'a>> {
        self.reporter.progress(15, "Logging in");
        let login =
            AdminSession::start(site, self.http, self.browser, login, landing, self.reporter, self.deadline);
        let admin = self.part("The login", login).await?;
        self.reporter.progress(25, "Logged in");
        Ok(admin)
    }

    /// Takes the screenshot of what the step did. A step that succeeded does not fail because of it.
    pub(super) async fn final_screenshot(&self, page: &Url, scroll_to: &str) {
        let screenshot = async {
            self.browser.go(page).await?;
            self.reporter.artifacts.screenshot(self.browser, "after.png", Some(scroll_to)).await;
            Ok::<_, BrowserError>(())
        };
        match timeout(SCREENSHOT_DEADLINE, screenshot).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last screenshot could not be taken"),
            Err(_) => tracing::warn!("the last screenshot took too long"),
        }
        // The logout reads the page that is open.
        let _ = self.browser.stop_loading().await;
    }
}
