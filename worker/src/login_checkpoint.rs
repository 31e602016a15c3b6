//! Whether a step has sent its site's password, remembered across workers: it is sent only once. A replay is its owner's new
//! decision, and begins anew.

use std::sync::atomic::{AtomicBool, Ordering};

use wpclone_queue::{Claim, Queue};
use wpclone_task::Problem;

use crate::checkpoint::Checkpoint;

const SENT: &str = "sent";
const ACCEPTED: &str = "accepted";

/// The state of a step's login in this run of its task.
pub(crate) struct LoginCheckpoint {
    checkpoint: Checkpoint,
    /// How often the task was replayed.
    run: u32,
    is_accepted: AtomicBool,
}

/// What an earlier attempt at the step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EarlierLogin {
    /// Nothing was sent.
    None,
    /// It sent the password, and ended before the site's answer was known.
    Unanswered,
    /// The site has accepted the password.
    Accepted,
}

impl LoginCheckpoint {
    pub(crate) fn of(queue: &Queue, claim: &Claim) -> Self {
        let checkpoint = Checkpoint::of(queue, claim, format!("login.{}", claim.step));
        Self { checkpoint, run: claim.replays, is_accepted: AtomicBool::new(false) }
    }

    pub(crate) fn earlier(&self) -> EarlierLogin {
        if self.was(SENT) {
            EarlierLogin::Unanswered
        } else if self.was(ACCEPTED) {
            EarlierLogin::Accepted
        } else {
            EarlierLogin::None
        }
    }

    /// Stores that the password is about to be sent.
    ///
    /// # Errors
    /// The queue did not confirm it: nothing may be sent.
    pub(crate) async fn set_sent(&self) -> Result<(), Problem> {
        self.checkpoint.store(&self.value(SENT)).await
    }

    /// Stores that the site has accepted the password.
    pub(crate) async fn set_accepted(&self) {
        if !self.is_accepted.swap(true, Ordering::Relaxed) {
            self.checkpoint.try_store(Some(&self.value(ACCEPTED))).await;
        }
    }

    fn was(&self, state: &str) -> bool {
        self.checkpoint.stored.as_deref() == Some(&self.value(state))
    }

    fn value(&self, state: &str) -> String {
        format!("{} {state}", self.run)
    }
}
