//! What WordPress' pages are and how they are used. Structure decides (status, ids, classes, form fields, cookies,
//! REST codes), never the words of a page, which are in the site's language. Evidence of words is for people.

mod admin;
mod app_password;
mod install;
mod key;
mod login;
mod place;
mod rest;

use wpclone_task::{Code, Problem};

use super::BrowserError;
use crate::net::Answer;

pub(crate) use admin::Admin;
pub(crate) use app_password::{
    PROFILE_PAGE, PROFILE_SECTION, create as create_app_password, forget as forget_app_password,
};
pub(crate) use install::{PLUGINS_PAGE, install, plugin_row};
pub(crate) use key::{open as open_migrator, prove as prove_migrator};
pub(crate) use login::log_in;
pub(crate) use place::{find, is_wordpress};

/// A problem, and the page that shows it.
pub(crate) struct Trouble {
    pub(crate) problem: Problem,
    pub(crate) answer: Option<Answer>,
}

impl Trouble {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// A problem that this answer shows.
    pub(crate) fn shown(code: Code, detail: impl Into<String>, answer: &Answer) -> Self {
        Self { problem: Problem::new(code, detail), answer: Some(answer.clone()) }
    }

    /// The same with a member more in its problem.
    pub(crate) fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.problem = self.problem.with(name, value);
        self
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self { problem, answer: None }
    }
}

impl From<BrowserError> for Trouble {
    fn from(error: BrowserError) -> Self {
        Problem::from(error).into()
    }
}

/// What came of a step.
pub(crate) type Done<T> = Result<T, Box<Trouble>>;

impl From<Problem> for Box<Trouble> {
    fn from(problem: Problem) -> Self {
        Self::new(problem.into())
    }
}

impl From<BrowserError> for Box<Trouble> {
    fn from(error: BrowserError) -> Self {
        Self::new(error.into())
    }
}

/// What the words of a page say, quoted for people.
fn quoted(text: Option<String>) -> String {
    text.map(|text| format!(" It says: \u{201c}{text}\u{201d}")).unwrap_or_default()
}
