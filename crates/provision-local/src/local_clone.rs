//! A clone in memory: its record, and the programs that run it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wpclone_provision::{CloneInfo, CloneName, Phase, ProvisionError};

use crate::clone_paths::ClonePaths;
use crate::database_server::DatabaseServer;
use crate::error::failed;
use crate::launcher::Daemon;
use crate::record::CloneRecord;

/// How many requests of a clone may be in PHP or wait for it.
const MAX_REQUESTS: usize = 48;

/// The programs of a clone.
#[derive(Debug, Default)]
pub(crate) struct CloneProcesses {
    pub(crate) fpm: Option<Daemon>,
    /// Its own database server, when it is dedicated.
    pub(crate) database: Option<DatabaseServer>,
}

impl CloneProcesses {
    /// Ends the programs.
    pub(crate) async fn stop(&mut self) {
        if let Some(fpm) = self.fpm.take() {
            fpm.stop().await;
        }
        if let Some(database) = self.database.take() {
            database.stop().await;
        }
    }
}

/// A clone.
#[derive(Debug)]
pub(crate) struct LocalClone {
    pub(crate) paths: ClonePaths,
    record: Mutex<CloneRecord>,
    /// Whether its WordPress takes requests.
    serving: AtomicBool,
    /// Locked while the clone is started, changed or deleted.
    pub(crate) processes: tokio::sync::Mutex<CloneProcesses>,
    /// Permits for requests.
    pub(crate) requests: Arc<Semaphore>,
}

impl LocalClone {
    pub(crate) fn new(paths: ClonePaths, record: CloneRecord) -> Self {
        Self {
            paths,
            record: Mutex::new(record),
            serving: AtomicBool::new(false),
            processes: tokio::sync::Mutex::default(),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
        }
    }

    pub(crate) fn record(&self) -> CloneRecord {
        self.record.lock().clone()
    }

    pub(crate) fn info(&self) -> CloneInfo {
        self.record.lock().info.clone()
    }

    pub(crate) fn name(&self) -> CloneName {
        self.record.lock().info.name.clone()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.record.lock().info.phase
    }

    pub(crate) fn slot(&self) -> u32 {
        self.record.lock().slot
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// The clone, if it is complete.
    ///
    /// # Errors
    /// It is still being created, or is being deleted.
    pub(crate) fn usable(&self) -> Result<CloneInfo, ProvisionError> {
        let info = self.info();
        match info.phase {
            Phase::Ready | Phase::Published => Ok(info),
            Phase::Deleting => Err(ProvisionError::Gone(info.name)),
            Phase::Creating | Phase::Unreadable => Err(ProvisionError::NotReady(info.name)),
        }
    }

    /// Changes the record, first on the disk, when `change` returns true: a compare-and-swap under one lock. It blocks for
    /// the length of a write.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut CloneRecord) -> Result<bool, ProvisionError>,
    ) -> Result<CloneInfo, ProvisionError> {
        let mut record = self.record.lock();
        let mut new = record.clone();
        if change(&mut new)? {
            new.write(&self.paths).map_err(failed("the clone's record cannot be written"))?;
            *record = new;
        }
        Ok(record.info.clone())
    }

    /// Marks the clone as being deleted in memory, for when the disk takes no record.
    pub(crate) fn mark_deleting(&self) {
        self.record.lock().info.phase = Phase::Deleting;
    }
}
