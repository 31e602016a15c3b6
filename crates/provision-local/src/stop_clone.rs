//! Stops clones for good.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;
use wpclone_provision::{CloneName, CloneProblem, CloneProblemKind};

use crate::blocking::run_blocking;
use crate::database_admin::DatabaseAdmin;
use crate::engine::LocalEngine;
use crate::local_clone::LocalClone;
use crate::state_dir::StateLock;

/// How often the record of a stopped clone is written again, and how many times: the disk may be full.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);
const WRITE_ATTEMPTS: u32 = 360;

impl LocalEngine {
    /// Stops a clone at once, whatever is being done with it. It is not started again, also not by the next process; it still
    /// expires and can be deleted.
    pub(crate) async fn stop_clone(&self, entry: &Arc<LocalClone>, problem: CloneProblem) {
        let fills_memory = problem.kind == CloneProblemKind::DatabaseLimitExceeded;
        entry.mark_stopped(problem);
        let killed = Arc::clone(entry);
        // Who holds the clone's lock may wait for its PHP, so this does not wait for the lock.
        let _ = run_blocking(move || {
            killed.kill_programs();
            Ok(())
        })
        .await;
        let (name, admin, entry) = (entry.name(), self.shared.admin(), Arc::clone(entry));
        let lock = Arc::downgrade(&self.host.lock);
        self.host.launcher.work.spawn(async move {
            // A statement goes on without the program that sent it.
            end_connections(&admin, &name).await;
            // What tables take in memory would stay there as long as the clone does.
            if fills_memory && let Err(error) = admin.release_memory(name.as_str()).await {
                tracing::warn!(clone = %name, %error, "the memory of a stopped clone's tables cannot be freed");
            }
            entry.processes.lock().await.stop().await;
            // Its socket is closed now: only what was being connected before is left.
            end_connections(&admin, &name).await;
            tokio::spawn(record_stop(entry, lock));
        });
    }
}

/// Writes into a clone's record why it was stopped, as soon as the disk takes it.
async fn record_stop(entry: Arc<LocalClone>, lock: Weak<StateLock>) {
    for _ in 0..WRITE_ATTEMPTS {
        // This must not keep the next process from the state folder.
        let Some(lock) = lock.upgrade() else { return };
        if entry.record_stop(&lock).await.is_ok() {
            return;
        }
        drop(lock);
        sleep(WRITE_INTERVAL).await;
    }
    tracing::error!(clone = %entry.name(), "the record of a stopped clone cannot be written");
}

/// Ends a clone's connections to the shared database server. That needs no space: the disk may be full.
async fn end_connections(admin: &DatabaseAdmin, clone: &CloneName) {
    if let Err(error) = admin.end_connections(clone.as_str()).await {
        tracing::warn!(%clone, %error, "the database connections of a stopped clone cannot be ended");
    }
}
