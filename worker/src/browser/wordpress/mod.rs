//! What WordPress' pages are and how they are used. Structure decides (status, ids, classes, form fields, cookies,
//! REST codes), never the text of a page, which is in the site's language. Quoted text is for people to read.

mod admin_session;
mod application_passwords;
mod cookies;
mod core_folder;
mod install;
mod login;
mod logout;
mod migrator_settings;
mod rest;
mod site_discovery;

use wpclone_task::{Code, Problem, SiteText};

use super::BrowserError;
use crate::net::SiteResponse;

pub(crate) use admin_session::AdminSession;
pub(crate) use application_passwords::{
    PROFILE_PAGE, PROFILE_SECTION, create as create_app_password, delete_of_task as delete_app_password,
};
pub(crate) use cookies::add_cookies;
pub(crate) use install::{PLUGINS_PAGE, install as install_migrator, plugin_row};
pub(crate) use login::{log_in, resume};
pub(crate) use logout::{has_session, log_out};
pub(crate) use migrator_settings::{open as open_migrator, status as migrator_status};
pub(crate) use site_discovery::{discover as discover_site, is_wordpress};

/// A problem, and the page that shows it.
pub(crate) struct StepError {
    pub(crate) problem: Problem,
    pub(crate) response: Option<SiteResponse>,
}

impl StepError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// A problem that this response shows.
    pub(crate) fn shown(code: Code, detail: impl Into<String>, response: &SiteResponse) -> Self {
        Self { problem: Problem::new(code, detail), response: Some(response.clone()) }
    }

    /// Adds a member to its problem.
    pub(crate) fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.problem = self.problem.with(name, value);
        self
    }
}

impl From<Problem> for StepError {
    fn from(problem: Problem) -> Self {
        Self { problem, response: None }
    }
}

impl From<BrowserError> for StepError {
    fn from(error: BrowserError) -> Self {
        Problem::from(error).into()
    }
}

/// What came of a step, or of a part of one.
pub(crate) type StepResult<T> = Result<T, Box<StepError>>;

impl From<Problem> for Box<StepError> {
    fn from(problem: Problem) -> Self {
        Self::new(problem.into())
    }
}

impl From<BrowserError> for Box<StepError> {
    fn from(error: BrowserError) -> Self {
        Self::new(error.into())
    }
}

/// The text of a page, quoted for people.
fn quoted(text: Option<SiteText>) -> String {
    text.map(|text| format!(" It says: \u{201c}{text}\u{201d}")).unwrap_or_default()
}
