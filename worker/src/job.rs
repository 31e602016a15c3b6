//! A step to do, whatever its stage, and how it ended.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wpclone_queue::Claim;
use wpclone_service::seal::{SealError, Sealer};
use wpclone_service::sealed_task;
use wpclone_task::{Handover, Login, Outcome, Problem, Progress, Request, SecretString, SiteUrl, TaskId};

/// What the queue is to hear of a step while it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) progress: Progress,
    /// Whether the site was altered, or is again as it was; `None` while this attempt has not touched it.
    pub(crate) changed: Option<bool>,
    /// Whether this attempt may have left something of ours on a site, be it the task's target or not.
    pub(crate) left_traces: bool,
}

/// A step to do.
pub(crate) struct Job {
    pub(crate) task: TaskId,
    pub(crate) step: String,
    pub(crate) owner: String,
    pub(crate) created_at: Timestamp,
    /// How often the task was replayed.
    pub(crate) replays: u32,
    pub(crate) request: Request,
    /// What the steps before left behind, by their names.
    pub(crate) before: BTreeMap<String, Left>,
    /// All that must be in nothing that is kept.
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) news: watch::Sender<News>,
    /// Cancelled when the step must stop: its owner wants it, the lease is lost, or the worker goes.
    pub(crate) stop: CancellationToken,
    /// Told the process that all of the step's browser descends from.
    pub(crate) browser_pid: watch::Sender<Option<u32>>,
}

impl Job {
    /// How to get into the clone that this task has made.
    pub(crate) fn login_of_clone(&self) -> Option<Login> {
        let made = self.before.get("provision")?;
        let clone = made.result.get("clone")?;
        let (_, password) = made.shown.iter().find(|(field, _)| field == "/clone/password")?;
        Some(Login {
            site: SiteUrl::parse(clone.get("url")?.as_str()?).ok()?,
            username: serde_json::from_value(clone.get("username")?.clone()).ok()?,
            password: password.clone(),
        })
    }
}

/// How a step ended.
pub(crate) enum End {
    Done(Outcome),
    Failed(Problem),
    Stopped,
}

/// What a step left behind.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) result: Map<String, Value>,
    /// Secrets of its result, each with the JSON pointer of its field.
    pub(crate) shown: Vec<(String, SecretString)>,
    pub(crate) handover: Handover,
}

impl Left {
    /// All that the steps before this one left behind.
    pub(crate) fn of(claim: &Claim, sealer: &Sealer) -> Result<BTreeMap<String, Self>, SealError> {
        let task = claim.lease.task;
        let open = |step: &String, output: &wpclone_queue::StepOutput| {
            let sealed = output.sealed.as_deref();
            let shown =
                sealed.map(|sealed| sealed_task::open_result(sealer, task, step, sealed)).transpose()?;
            let handover =
                sealed.map(|sealed| sealed_task::open_handover(sealer, task, step, sealed)).transpose()?;
            Ok(Self {
                result: output.result.clone(),
                shown: shown.unwrap_or_default(),
                handover: handover.unwrap_or_default(),
            })
        };
        claim.outputs.iter().map(|(step, output)| Ok((step.clone(), open(step, output)?))).collect()
    }

    fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.shown.iter().map(|(_, secret)| secret).chain(self.handover.values())
    }
}

/// The secrets in all of these.
pub(crate) fn secrets_of(before: &BTreeMap<String, Left>) -> impl Iterator<Item = SecretString> {
    before.values().flat_map(Left::secrets).cloned()
}
