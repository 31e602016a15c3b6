//! How far a transfer is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// How far a transfer is. Readers may look at any time.
#[derive(Debug, Default)]
pub struct Meter {
    rows: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    expected: AtomicU64,
    touched: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

/// How far a transfer was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Rows that were read and sent on.
    pub rows: u64,
    /// Files that were.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes it may be in all; a guess.
    pub expected: u64,
}

impl Meter {
    pub(crate) fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn rows(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn files(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A file of so many bytes that need not be moved.
    pub(crate) fn keep_file(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.keep(bytes);
    }

    /// So many bytes need not be moved.
    pub(crate) fn keep(&self, bytes: u64) {
        let less = |expected: u64| Some(expected.saturating_sub(bytes));
        let _ = self.expected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    pub(crate) fn warn(&self, warnings: &[String]) {
        *self.warnings.lock() = warnings.to_vec();
    }

    /// Whether what was live on the target may have been touched.
    #[must_use]
    pub fn has_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// What was noticed before anything was moved, once.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }

    /// How far it is now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Reading {
            rows: load(&self.rows),
            files: load(&self.files),
            bytes: load(&self.bytes),
            expected: load(&self.expected),
        }
    }
}
