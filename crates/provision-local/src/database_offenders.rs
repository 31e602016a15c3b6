//! Clones that fill the memory of their database server.

use std::sync::Arc;

use tokio::sync::mpsc;
use wpclone_provision::{CloneProblem, CloneProblemKind};

use crate::engine::LocalEngine;

/// The most clones that wait to be stopped. One that finds no place is reported again.
const MAX_WAITING: usize = 16;
/// What is said of such a clone.
const DETAIL: &str = "It filled the memory of its database server.";

/// Where such clones are reported by name.
pub(crate) type OffenderSender = mpsc::Sender<String>;
/// Where they are received.
pub(crate) type OffenderReceiver = mpsc::Receiver<String>;

/// A channel for them.
pub(crate) fn channel() -> (OffenderSender, OffenderReceiver) {
    mpsc::channel(MAX_WAITING)
}

/// Stops clones that are reported; returns when nobody can report any more.
pub(crate) async fn stop_offenders(engine: &Arc<LocalEngine>) {
    let mut offenders = engine.offenders.lock().await;
    while let Some(name) = offenders.recv().await {
        let found = engine.clones.all().into_iter().find(|clone| clone.name().as_str() == name);
        if let Some(clone) = found.filter(|clone| clone.runs_its_own_code()) {
            tracing::error!(clone = %name, "a clone is stopped: it filled the memory of its database server");
            engine
                .stop_clone(&clone, CloneProblem::new(CloneProblemKind::DatabaseLimitExceeded, DETAIL))
                .await;
        }
    }
}
