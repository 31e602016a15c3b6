//! Creates an application password.

use tokio::time::timeout;
use wpclone_task::{AppPasswordResult, CreateAppPasswordRequest, SiteUrl, TaskId};

use super::context::StepContext;
use super::wordpress::{self, PROFILE_PAGE, PROFILE_SECTION, StepResult};

impl StepContext<'_> {
    /// The whole step. A password that was created and cannot be used is deleted again.
    pub(super) async fn create_app_password(
        &self,
        task: TaskId,
        request: &CreateAppPasswordRequest,
        site: &SiteUrl,
    ) -> StepResult<AppPasswordResult> {
        let admin = self.log_in(site, &request.login, PROFILE_PAGE).await?;
        self.reporter.artifacts.screenshot(self.browser, "before.png", Some(PROFILE_SECTION)).await;
        let create = wordpress::create_app_password(&admin, task, &request.app_name, self.reporter);
        let created = self.part("Creating the application password", create).await;
        if created.is_err() && self.reporter.has_changed_site() {
            match timeout(self.deadline, wordpress::delete_app_password(&admin, task)).await {
                Ok(Ok(())) => self.reporter.site_restored(),
                _ => tracing::warn!("the application password may be left on the site"),
            }
        }
        let created = created?;
        self.reporter.progress(95, "The application password works");
        self.final_screenshot(&site.at(PROFILE_PAGE), PROFILE_SECTION).await;
        Ok(created)
    }
}
