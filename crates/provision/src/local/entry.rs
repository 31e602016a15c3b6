//! A clone in memory: its record, and the programs that run it.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::dirs::{Dirs, Seat};
use super::launch::Service;
use super::lock;
use super::mariadb::MariaDb;
use super::record::Record;
use crate::{CloneInfo, Phase};

/// How many requests a clone works on or has waiting.
const MOST_REQUESTS: usize = 48;

/// The programs of a clone.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    pub(crate) fpm: Option<Service>,
    /// Its own database server, when it is dedicated.
    pub(crate) server: Option<MariaDb>,
}

/// A clone.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) seat: Seat,
    record: Mutex<Record>,
    /// Whether its WordPress takes requests.
    up: AtomicBool,
    /// Permit by whoever changes what the clone is made of.
    pub(crate) programs: tokio::sync::Mutex<Programs>,
    /// Places for requests.
    pub(crate) places: Semaphore,
}

impl Entry {
    pub(crate) fn new(dirs: &Dirs, record: Record) -> Self {
        Self {
            seat: Seat::of(dirs, &record.info.name),
            record: Mutex::new(record),
            up: AtomicBool::new(false),
            programs: tokio::sync::Mutex::default(),
            places: Semaphore::new(MOST_REQUESTS),
        }
    }

    pub(crate) fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    pub(crate) fn info(&self) -> CloneInfo {
        lock(&self.record).info.clone()
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.record).info.phase
    }

    pub(crate) fn slot(&self) -> u32 {
        lock(&self.record).slot
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }

    /// Changes the record, on the disk first, if `change` wants to; it compares and sets under one lock. It blocks
    /// for the length of a write.
    pub(crate) fn change<E: From<io::Error>>(
        &self,
        dirs: &Dirs,
        change: impl FnOnce(&mut Record) -> Result<bool, E>,
    ) -> Result<CloneInfo, E> {
        let mut record = lock(&self.record);
        let mut new = record.clone();
        if change(&mut new)? {
            new.write(dirs)?;
            *record = new;
        }
        Ok(record.info.clone())
    }
}
