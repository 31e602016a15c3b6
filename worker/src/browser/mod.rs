//! The browser stage: logs in to wp-admin with a real browser.
//!
//! [`Browser`] is what a browser can do; [`local_driver`] runs its processes, confined as [`confinement`] says, or they run
//! beside the worker ([`remote_driver`]); [`webdriver`] speaks WebDriver; [`wordpress`] knows WordPress and nothing of
//! browsers; [`stage`] executes a step.

mod app_password;
mod artifact_recorder;
mod availability;
mod browser_step;
mod confinement;
mod context;
mod driver;
mod fetch;
mod install_record;
mod installation;
mod json_page;
mod limited_connector;
mod local_driver;
mod other_origins;
mod page_comparison;
mod page_origins;
mod page_questions;
mod php_error;
mod relay;
mod remote_driver;
mod sandbox_check;
mod session;
mod setup;
mod source_aliases;
mod stage;
mod step_reporter;
mod users;
mod verify_clone;
mod webdriver;
mod wordpress;

use std::time::Duration;

use serde_json::Value;
use url::Url;
use wpclone_task::{Code, Problem};

use crate::net::SESSION_COOKIE;

pub(crate) use availability::BrowserAvailability;
pub(crate) use install_record::InstallRecord;
pub(crate) use installation::BrowserSettings;
pub(crate) use relay::run_if_relay;
pub(crate) use remote_driver::RemoteDriver;
pub(crate) use stage::{BrowserStage, Deadlines};
pub(crate) use step_reporter::StepReporter;
pub(crate) use wordpress::{add_cookies, log_out};

/// How often a page is asked whether it is ready.
const POLL: Duration = Duration::from_millis(25);
/// The deadline of a script.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(20);
/// The deadline of a script that is run again and again: none runs while the browser waits for another page.
const POLL_DEADLINE: Duration = Duration::from_secs(2);

/// Errors of a browser.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowserError {
    /// The browser or its driver has ended.
    #[error("the browser is gone: {0}")]
    Gone(String),
    /// It did not respond, or a page did not become ready, in time.
    #[error("the page did not become ready in time")]
    Slow,
    /// It returned an error.
    #[error("the browser returned an error: {0}")]
    Refused(String),
}

impl From<BrowserError> for Problem {
    fn from(error: BrowserError) -> Self {
        match error {
            BrowserError::Slow => {
                Self::new(Code::Deadline, "A page of the site did not become ready in time.")
            }
            BrowserError::Gone(what) | BrowserError::Refused(what) => {
                Self::new(Code::BrowserCrashed, format!("The browser stopped working: {what}."))
            }
        }
    }
}

/// A cookie as a browser keeps it (`Network.Cookie` of its DevTools protocol). It has no `Debug`: it may be a credential.
#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) path: String,
    /// Begins with a dot unless it is for this very host.
    pub(crate) domain: String,
    #[serde(default)]
    pub(crate) secure: bool,
    /// Whether scripts of pages do not see it.
    #[serde(default)]
    pub(crate) http_only: bool,
}

impl Cookie {
    /// Whether it says that a user is logged in to WordPress.
    pub(crate) fn is_session(&self) -> bool {
        self.name.starts_with(SESSION_COOKIE) && !self.value.is_empty()
    }
}

/// A browser with one page open. Every call has a deadline of its own.
#[async_trait::async_trait]
pub(crate) trait Browser: Send + Sync {
    /// Goes to an address; does not wait for the page.
    async fn go(&self, url: &Url) -> Result<(), BrowserError>;
    /// The address of the page, or of the page that could not be loaded.
    async fn url(&self) -> Result<Url, BrowserError>;
    /// Runs a function body on the page and returns what it returns.
    async fn run(&self, script: &str, args: Vec<Value>) -> Result<Value, BrowserError> {
        self.run_within(script, args, SCRIPT_DEADLINE).await
    }
    /// The same with a deadline: no script runs while the browser waits for the first bytes of another page.
    async fn run_within(
        &self,
        script: &str,
        args: Vec<Value>,
        deadline: Duration,
    ) -> Result<Value, BrowserError>;
    /// The same for a body that calls its last argument with the result.
    async fn run_async(&self, script: &str, args: Vec<Value>) -> Result<Value, BrowserError>;
    /// Gives up the page that is being loaded: the one before it stays, or what has arrived.
    async fn stop_loading(&self) -> Result<(), BrowserError>;
    /// All cookies, of every path; also while a page is being loaded.
    async fn cookies(&self) -> Result<Vec<Cookie>, BrowserError>;
    /// Sets cookies of a site at this address, as they were before.
    async fn set_cookies(&self, site: &Url, cookies: &[Cookie]) -> Result<(), BrowserError>;
    /// A picture (PNG) of the window.
    async fn screenshot(&self) -> Result<Vec<u8>, BrowserError>;
    /// Loads nothing whose address matches these patterns (`*` for any text). Engines that cannot, load it.
    async fn block(&self, patterns: &[&str]) -> Result<(), BrowserError>;
    /// What the pages' scripts wrote to the console since the last call, a line each.
    async fn console(&self) -> Result<Vec<String>, BrowserError>;
}

/// Runs a script again and again until it returns something other than null.
async fn wait(
    browser: &dyn Browser,
    script: &str,
    args: Vec<Value>,
    limit: Duration,
) -> Result<Value, BrowserError> {
    // The driver itself ends the script soon: until then it would take no other command.
    let deadline = limit.min(POLL_DEADLINE);
    let ready = async {
        loop {
            match browser.run_within(script, args.clone(), deadline).await {
                Ok(Value::Null) => tokio::time::sleep(POLL).await,
                // Between two documents there may be none to run a script on.
                Err(BrowserError::Refused(_) | BrowserError::Slow) => tokio::time::sleep(POLL).await,
                done => return done,
            }
        }
    };
    tokio::time::timeout(limit, ready).await.map_err(|_| BrowserError::Slow)?
}
