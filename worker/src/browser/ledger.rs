//! What a step says while it goes on, and what it has done to the site.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use wpclone_task::{Code, Problem, Progress, SecretString, Stage};

use super::evidence::Evidence;
use crate::job::News;

/// The most characters of a problem's detail, which may quote a site.
const MAX_DETAIL: usize = 600;

/// The ledger of one attempt at a step.
pub(crate) struct Ledger<'a> {
    news: &'a watch::Sender<News>,
    pub(super) evidence: &'a Evidence<'a>,
    notes: Mutex<Notes>,
    part: Part,
}

/// What the site of a step is to its task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A clone comes from it.
    Source,
    /// The task is to alter it (what `changed_target` speaks of): set up, given an application password, or filled.
    Target,
    /// This task made it, and the login that is tried there.
    Copy,
}

#[derive(Default)]
struct Notes {
    achieved: Vec<String>,
    login: Login,
}

/// How far the one login is that a site is asked for.
#[derive(Default, PartialEq, Eq)]
enum Login {
    #[default]
    NotSent,
    /// Sent, and the site has not said yet what became of it.
    Sent,
    In,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(news: &'a watch::Sender<News>, evidence: &'a Evidence<'a>, part: Part) -> Self {
        Self { news, evidence, notes: Mutex::default(), part }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock()
    }

    /// Progress; never goes back.
    pub(crate) fn say(&self, percent: u8, message: &str) {
        tracing::info!(percent, "{message}");
        self.news.send_modify(|news| {
            news.progress =
                Progress { percent: news.progress.percent.max(percent), message: message.to_owned() };
        });
    }

    /// Something that stays, whatever comes after.
    pub(crate) fn achieved(&self, what: impl Into<String>) {
        self.notes().achieved.push(what.into());
    }

    /// From here on the site may have been altered.
    pub(crate) fn changed(&self) {
        self.news.send_modify(|news| {
            news.left_traces = true;
            if self.part == Part::Target {
                news.changed = Some(true);
            }
        });
    }

    /// What was altered is as it was, in earlier attempts too.
    pub(crate) fn unchanged(&self) {
        if self.part == Part::Target {
            self.news.send_modify(|news| news.changed = Some(false));
        }
    }

    /// Whether this attempt may have altered the site, and it is not again as it was.
    pub(crate) fn has_changed(&self) -> bool {
        self.news.borrow().changed == Some(true)
    }

    /// The password is on its way: whatever happens now, it is not sent again before the site has said yes to it.
    pub(crate) fn login_sent(&self) {
        self.notes().login = Login::Sent;
    }

    /// The site said yes.
    pub(crate) fn logged_in(&self) {
        self.notes().login = Login::In;
    }

    /// A secret that has become known.
    pub(crate) fn secret(&self, secret: &SecretString) {
        self.evidence.secret(secret);
    }

    /// The problem as the task is to end with it: complete, without secrets, and not to be tried again where that could
    /// cost the site's user a second attempt. A copy's login is nobody's yet.
    pub(super) fn complete(&self, mut problem: Problem) -> Problem {
        let notes = self.notes();
        if self.part == Part::Copy {
            problem = of_copy(problem);
        } else if notes.login == Login::Sent && problem.code.retryable() {
            let detail = format!("{} The login had been sent, so it is not sent again.", problem.detail);
            problem = Problem::new(Code::AuthUnanswered, detail);
        }
        problem.achieved.clone_from(&notes.achieved);
        problem.changed_target = self.has_changed();
        problem.detail = shortened(self.evidence.clean(&problem.detail));
        for value in problem.more.values_mut() {
            if let Some(text) = value.as_str() {
                *value = shortened(self.evidence.clean(text)).into();
            }
        }
        problem.at(Stage::Browser)
    }
}

/// What a copy does wrong is called so, whatever it would be of somebody's site. What may pass, and what went wrong here,
/// keeps its name.
fn of_copy(problem: Problem) -> Problem {
    match problem.code {
        Code::CloneBroken
        | Code::SiteUnreachable
        | Code::SiteNotAllowed
        | Code::BrowserCrashed
        | Code::Deadline
        | Code::WorkerFault => problem,
        _ => {
            let detail = format!("Of the copy a browser found this: {}", problem.detail);
            Problem { more: problem.more, ..Problem::new(Code::CloneBroken, detail) }
        }
    }
}

/// Cut after it was cleaned: half a secret would not be found.
fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text,
    }
}
