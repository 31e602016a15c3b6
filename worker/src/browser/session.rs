//! A browser session: the way to sites, and the browser's processes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wpclone_task::{Code, Problem, SiteUrl};

use super::Browser;
use super::driver::Driver;
use super::installation::BrowserInstallation;
use super::webdriver::WebDriver;
use super::wordpress::StepResult;
use crate::job::Job;
use crate::net::{EgressPolicy, EgressProxy, SiteClient};

/// What one attempt at a step holds open.
pub(super) struct BrowserSession {
    pub(super) proxy: Arc<EgressProxy>,
    pub(super) http: SiteClient,
    installation: Arc<BrowserInstallation>,
    driver: tokio::sync::Mutex<Option<Driver>>,
    browser: OnceLock<WebDriver>,
    /// The site's address, once it was found.
    pub(super) site: OnceLock<SiteUrl>,
}

impl BrowserSession {
    /// Starts the egress proxy and an HTTP client with this deadline per request. No browser is started yet.
    pub(super) async fn open(
        egress: EgressPolicy,
        deadline: Duration,
        installation: Arc<BrowserInstallation>,
    ) -> Result<Self, Box<Problem>> {
        let fault = |e: &dyn std::error::Error| {
            Box::new(Problem::new(Code::WorkerFault, format!("Sites cannot be reached: {e}.")))
        };
        let proxy = Arc::new(EgressProxy::start(egress).await.map_err(|e| fault(&e))?);
        let http = SiteClient::new(Arc::clone(&proxy), &installation.user_agent, deadline);
        let http = http.map_err(|e| fault(&e))?;
        let (driver, browser) = (tokio::sync::Mutex::default(), OnceLock::new());
        Ok(Self { proxy, http, installation, driver, browser, site: OnceLock::new() })
    }

    /// The browser, once it was started.
    pub(super) fn browser(&self) -> Option<&dyn Browser> {
        self.browser.get().map(|browser| browser as &dyn Browser)
    }

    /// Starts the browser.
    pub(super) async fn start_browser(&self, job: &Job) -> StepResult<&dyn Browser> {
        let mut slot = self.driver.lock().await;
        // Stored before it is awaited: `close` must find it if this step is stopped meanwhile.
        let driver = slot.insert(self.installation.driver().await?);
        job.browser.send_replace(driver.running_browser());
        let endpoint = driver.ready().await?;
        let proxy = driver.connect_proxy(&self.proxy)?;
        let browser = WebDriver::start(endpoint, &self.installation.browser_options(), proxy).await?;
        Ok(self.browser.get_or_init(|| browser))
    }

    /// Ends the browser; returns when none of its processes is left on this machine.
    pub(super) async fn close(self) {
        if let Some(driver) = self.driver.into_inner() {
            driver.stop(self.browser.into_inner()).await;
        }
    }
}
