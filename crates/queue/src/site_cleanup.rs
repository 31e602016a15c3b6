//! Clean-ups of sites: what a task has left on a site when it ends, undone by the queue itself.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wpclone_task::{LeftOnSite, LeftState, SiteCleanupView, SiteKey, Stage, TaskId};

use crate::claim::RawClaim;
use crate::record::{Body, Fields, millis, unreadable};
use crate::{ClaimAttempt, Lease, Queue, QueueError};

/// The most bytes of a registration.
const MAX_REGISTRATION: usize = 4 << 10;
/// How many pending clean-ups, and how many that were given up, are listed.
const LISTED: u32 = 50;

/// What a task would leave on a site if it ended now. The queue passes it on to a clean-up when the task ends.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteCleanup {
    /// The site, whose lock each attempt takes.
    pub site: SiteKey,
    /// What is left and where, as a sentence for the task's owner.
    pub left: String,
    /// What the worker needs to know. Opaque to the queue, and stored openly.
    pub details: Value,
    /// The secret that the worker needs. Opaque to the queue. `None` while nobody knows it: only the site's owner could undo
    /// what is left.
    pub sealed: Option<String>,
}

/// Stands for no secret in a registration (`NO_SECRET` in site_cleanups.lua).
const NO_SECRET: &str = "-";

/// How a task ended that has left something on a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnding {
    /// All of its steps are done, but optional ones: what it has achieved stays.
    Completed,
    /// In any other way: what it has done is undone.
    Ended,
}

/// A claimed clean-up of a site. Its lease is used like that of a step; it holds the site's lock for as long as the lease
/// lasts. A heartbeat asks it to stop when a task waits for the site.
#[derive(Debug, Clone)]
pub struct SiteCleanupClaim {
    /// The lease.
    pub lease: Lease,
    /// How long the lease lasts without a heartbeat.
    pub lease_duration: Duration,
    /// The task that has left something.
    pub task: TaskId,
    /// The name under which the task registered it.
    pub name: String,
    /// How the task ended.
    pub ending: TaskEnding,
    /// [`SiteCleanup::details`].
    pub details: Value,
    /// [`SiteCleanup::sealed`]: what was registered without it is no clean-up.
    pub sealed: String,
    /// Whether a later task has taken over what was left ([`Queue::supersede_site_cleanups`]).
    pub superseded: bool,
    /// W3C trace context of the task's request.
    pub traceparent: Option<String>,
    /// When the task ended.
    pub created_at: Timestamp,
    /// Earlier attempts that failed.
    pub attempts: u32,
}

/// The text of a clean-up as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredText {
    left: String,
    details: Value,
}

impl Queue {
    /// Registers what the task would leave on a site under this name; `None` when nothing is left any more. When the task
    /// ends, what is still registered with a secret is cleaned up in the stage [`Stage::Cleanup`]; its end says what is left.
    ///
    /// # Errors
    /// The lease is lost, the registration is too large, or Redis failed.
    pub async fn set_site_cleanup(
        &self,
        lease: &Lease,
        name: &str,
        cleanup: Option<&SiteCleanup>,
    ) -> Result<(), QueueError> {
        let text = cleanup.map(stored).transpose()?.unwrap_or_default();
        if text.len() > MAX_REGISTRATION {
            return Err(QueueError::TooLarge("the registration of a clean-up"));
        }
        let mut call = self.leased_call(lease, "set_site_cleanup");
        call.arg(name).arg(text);
        self.run_leased(&call).await.map(drop)
    }

    /// Keeps a session on a site for the next attempt at the step, whose claim returns its sealed secret
    /// ([`Claim::kept_session`](crate::Claim::kept_session)); `None` when the session has ended. It is registered as what the
    /// step would leave on the site: when the task ends with it, a clean-up ends the session. A replay gets none.
    ///
    /// # Errors
    /// Those of [`Queue::set_site_cleanup`].
    pub async fn keep_session(&self, lease: &Lease, session: Option<&SiteCleanup>) -> Result<(), QueueError> {
        self.set_site_cleanup(lease, &session_name(lease), session).await
    }

    /// Marks the pending clean-ups of a site: the task has taken over what was left there, and its owner was told so.
    ///
    /// # Errors
    /// The lease is lost, or Redis failed.
    pub async fn supersede_site_cleanups(&self, lease: &Lease, site: &SiteKey) -> Result<(), QueueError> {
        let mut call = self.leased_call(lease, "supersede_site_cleanups");
        call.arg(site.as_str());
        self.run_leased(&call).await.map(drop)
    }

    /// Claims the first clean-up that is due and whose site nobody has locked, as [`Queue::claim`] does a step. One whose
    /// site is locked is put off. [`Queue::subscribe_ready`] signals [`Stage::Cleanup`].
    ///
    /// # Errors
    /// Those of [`Queue::claim`].
    pub async fn claim_site_cleanup(
        &self,
        worker: &str,
        attempt: &ClaimAttempt,
    ) -> Result<Option<SiteCleanupClaim>, QueueError> {
        let stages = [Stage::Cleanup.as_str()];
        let lease_duration = self.options().lease_duration;
        self.claim_first(worker, &stages, attempt, |raw| site_cleanup(raw, lease_duration)).await
    }

    /// Clean-ups of sites: up to 50 that are pending, oldest first, and up to 50 that were given up, newest first.
    ///
    /// # Errors
    /// Redis does not respond.
    pub async fn site_cleanups(&self) -> Result<Vec<SiteCleanupView>, QueueError> {
        let mut call = self.read_call("list_site_cleanups");
        call.arg(LISTED);
        let found: Vec<[String; 7]> = self.store().run_idempotent(&call).await?;
        let view = |[state, since, site, task, _name, _ending, text]: [String; 7]| {
            let stored: StoredText = serde_json::from_str(&text).ok()?;
            Some(SiteCleanupView {
                task: task.parse().ok()?,
                site,
                left: stored.left,
                state: state.parse().ok()?,
                since: millis(&since).ok()?,
            })
        };
        Ok(found.into_iter().filter_map(view).collect())
    }
}

/// The name under which a step's session is registered (`append_kept_session` in claiming.lua).
#[must_use]
pub fn session_name(lease: &Lease) -> String {
    format!("session.{}", lease.step)
}

/// `<site> <sealed> <text>`, as `set_site_cleanup.lua` takes it.
fn stored(cleanup: &SiteCleanup) -> Result<String, QueueError> {
    let text = StoredText { left: cleanup.left.clone(), details: cleanup.details.clone() };
    let text = serde_json::to_string(&text).map_err(|_| unreadable("clean-up"))?;
    if cleanup.sealed.as_deref().is_some_and(|s| s.is_empty() || s == NO_SECRET || s.contains([' ', '\n'])) {
        return Err(QueueError::Unexpected("a sealed secret must be one word".into()));
    }
    let sealed = cleanup.sealed.as_deref().unwrap_or(NO_SECRET);
    Ok(format!("{} {sealed} {text}", cleanup.site.as_str()))
}

/// A claimed clean-up; `None` when this version cannot read it.
fn site_cleanup(raw: &RawClaim<'_>, lease_duration: Duration) -> Option<SiteCleanupClaim> {
    let body = Body::read(raw.record)?;
    let mut words = body.request.splitn(4, ' ');
    let (task, name, ending, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let text: StoredText = serde_json::from_str(text).ok()?;
    Some(SiteCleanupClaim {
        lease: raw.lease.clone(),
        lease_duration,
        task: task.parse().ok()?,
        name: name.to_owned(),
        ending: match ending {
            "completed" => TaskEnding::Completed,
            "ended" => TaskEnding::Ended,
            _ => return None,
        },
        details: text.details,
        sealed: body.secrets.to_owned(),
        superseded: raw.outputs.first().is_some_and(|superseded| superseded == "1"),
        traceparent: (!body.trace.is_empty()).then(|| body.trace.to_owned()),
        created_at: body.created,
        attempts: raw.attempts.parse().ok()?,
    })
}

/// What an ended task has left on its sites, of the fields `left.<name>` of its outputs: `<state> <task> <name> <ending>
/// <text>`.
pub(crate) fn left_on_sites(output: &Fields) -> Vec<LeftOnSite> {
    let left = |(name, value): (&String, &String)| {
        name.strip_prefix("left.")?;
        let mut words = value.splitn(5, ' ');
        let state: LeftState = words.next()?.parse().ok()?;
        let text: StoredText = serde_json::from_str(words.nth(3)?).ok()?;
        Some((name.clone(), LeftOnSite { left: text.left, state }))
    };
    let mut all: Vec<_> = output.0.iter().filter_map(left).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, left)| left).collect()
}
