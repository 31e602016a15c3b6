//! Reports a step's progress and what it has done to the site, and completes its problem.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use wpclone_task::{Code, Problem, SecretString, SiteText, SiteUrl, Stage};

use super::Cookie;
use super::artifact_recorder::ArtifactRecorder;
use crate::job::StepUpdate;
use crate::kept_session::{KeptSession, LoginSession};
use crate::login_checkpoint::LoginCheckpoint;

/// The most characters of a problem's detail, which may quote a site.
const MAX_DETAIL: usize = 600;

/// Reports on one attempt at a step.
pub(crate) struct StepReporter<'a> {
    updates: &'a watch::Sender<StepUpdate>,
    pub(super) artifacts: &'a ArtifactRecorder<'a>,
    state: Mutex<State>,
    role: SiteRole,
    login: StepLogin<'a>,
}

/// What a step remembers of its login for its next attempt.
#[derive(Clone, Copy)]
pub(super) struct StepLogin<'a> {
    /// Whether the password was sent. None for a copy: its source has accepted the login of a filled target, and that of a
    /// clone is nobody's yet.
    pub(super) checkpoint: Option<&'a LoginCheckpoint>,
    /// The session. None for a clone.
    pub(super) session: Option<&'a KeptSession>,
}

/// What the site of a step is to its task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SiteRole {
    /// A clone is made of it.
    Source,
    /// The task changes it (`changed_target`): it is set up, gets an application password, or is filled.
    Target,
    /// This task made it, and the login that is tried there.
    Clone,
    /// A site of the caller's that the task has filled.
    FilledTarget,
}

#[derive(Default)]
struct State {
    achieved: Vec<SiteText>,
    login: LoginState,
    /// Those that are redacted.
    cookies: Vec<Cookie>,
}

/// A site is asked for one login at most.
#[derive(Default, PartialEq, Eq)]
enum LoginState {
    #[default]
    NotSent,
    /// Sent, and not answered yet.
    Sent,
    LoggedIn,
}

impl<'a> StepReporter<'a> {
    pub(super) fn new(
        updates: &'a watch::Sender<StepUpdate>,
        artifacts: &'a ArtifactRecorder<'a>,
        role: SiteRole,
        login: StepLogin<'a>,
    ) -> Self {
        Self { updates, artifacts, state: Mutex::default(), role, login }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Reports progress; the percentage never goes back.
    pub(crate) fn progress(&self, percent: u8, message: &str) {
        tracing::info!(percent, "{message}");
        self.updates.send_modify(|update| update.progress.advance(percent, message));
    }

    /// Adds a sentence to what the problem lists as achieved, should the step fail later.
    pub(crate) fn achieved(&self, what: impl Into<SiteText>) {
        self.state().achieved.push(what.into());
    }

    /// From here on the site may be changed.
    pub(crate) fn site_changed(&self) {
        self.updates.send_modify(|update| {
            update.left_traces = true;
            if self.role == SiteRole::Target {
                update.changed = Some(true);
            }
        });
    }

    /// The site is as it was before the task, earlier attempts included.
    pub(crate) fn site_restored(&self) {
        if self.role == SiteRole::Target {
            self.updates.send_modify(|update| update.changed = Some(false));
        }
    }

    /// Whether this attempt may have changed the target and not restored it.
    pub(crate) fn has_changed_site(&self) -> bool {
        self.updates.borrow().changed == Some(true)
    }

    /// The session of an earlier attempt.
    pub(crate) fn earlier_session(&self) -> Option<&'a LoginSession> {
        self.login.session?.earlier()
    }

    /// The password is about to be sent. It is not sent a second time, by no worker.
    ///
    /// # Errors
    /// That could not be stored: nothing may be sent.
    pub(crate) async fn login_sent(&self) -> Result<(), Problem> {
        if let Some(login) = self.login.checkpoint {
            login.set_sent().await?;
        }
        self.state().login = LoginState::Sent;
        Ok(())
    }

    /// The site accepted the login, now or in an earlier attempt, and has set these cookies. The session is stored before
    /// anything else is done.
    pub(crate) async fn logged_in(&self, site: &SiteUrl, cookies: &[Cookie]) {
        let is_new = {
            let mut state = self.state();
            state.login = LoginState::LoggedIn;
            let is_new = state.cookies != cookies;
            state.cookies = cookies.to_vec();
            is_new
        };
        if is_new {
            LoginSession::secrets_of(cookies).iter().for_each(|secret| self.add_secret(secret));
        }
        if let Some(session) = self.login.session {
            session.keep(site, cookies).await;
        }
        if let Some(login) = self.login.checkpoint {
            login.set_accepted().await;
        }
    }

    /// Adds a secret to those that are redacted.
    pub(crate) fn add_secret(&self, secret: &SecretString) {
        self.artifacts.add_secret(secret);
    }

    /// Completes a problem: without secrets, with what was achieved and changed, and not retryable where a retry could
    /// cost the site's user a second login attempt. The login of a clone is nobody's yet.
    pub(super) fn complete(&self, mut problem: Problem) -> Problem {
        let state = self.state();
        if self.role == SiteRole::FilledTarget {
            problem = problem_of_target(problem);
        }
        if self.role == SiteRole::Clone {
            problem = problem_of_copy(problem);
        } else if state.login == LoginState::Sent && problem.code.retryable() {
            let detail = format!("{} The login had been sent, so it is not sent again.", problem.detail);
            problem = Problem::new(Code::AuthUnanswered, detail);
        } else if state.login == LoginState::LoggedIn
            && problem.retryable
            && self.login.checkpoint.is_some()
            && let Some(why) = self.login.session.and_then(KeptSession::failure)
        {
            // Another attempt would have to send the password again.
            problem.retryable = false;
            let detail = format!(
                "{} It is not tried again: the session could not be kept ({why}), and the password is not sent twice.",
                problem.detail
            );
            problem.detail = detail.into();
        }
        problem.achieved.clone_from(&state.achieved);
        problem.changed_target = self.has_changed_site();
        problem.detail = self.shown(&problem.detail);
        for value in problem.more.values_mut() {
            if let Some(text) = value.as_str() {
                *value = String::from(self.shown(text)).into();
            }
        }
        problem.at(Stage::Browser)
    }

    /// A text without secrets, cut after it was redacted: half a secret would not be found.
    fn shown(&self, text: &str) -> SiteText {
        SiteText::with_limit(&self.artifacts.redact(text), MAX_DETAIL)
    }
}

/// Where a copy leads is no address for the login of a target: a site that was just filled leads elsewhere by mistake. What
/// it says of the login keeps its code.
fn problem_of_target(problem: Problem) -> Problem {
    match problem.code {
        Code::Redirected | Code::NotWordPress | Code::LoginUrlNotFound | Code::SiteFatal => {
            let mut problem = problem_of_copy(problem);
            problem.more.remove("to");
            problem
        }
        _ => problem,
    }
}

/// A defect of a clone gets its own code, whatever the code would be on a customer's site. What may pass, and faults of
/// the worker, keep theirs.
fn problem_of_copy(problem: Problem) -> Problem {
    match problem.code {
        Code::CloneBroken
        | Code::SiteUnreachable
        | Code::SiteNotAllowed
        | Code::BrowserCrashed
        | Code::Deadline
        | Code::WorkerFault => problem,
        _ => {
            let detail = format!("In the copy a browser found this: {}", problem.detail);
            Problem { more: problem.more, ..Problem::new(Code::CloneBroken, detail) }
        }
    }
}
