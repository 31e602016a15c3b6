//! The progress of a transfer, shared between the transfer and its observers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// The progress of a transfer. It can be read at any time.
#[derive(Debug, Default)]
pub struct TransferProgress {
    rows: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    expected_bytes: AtomicU64,
    target_changed: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

/// The progress at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// Rows transferred.
    pub rows: u64,
    /// Files transferred, or found on the target.
    pub files: u64,
    /// Bytes of rows and files transferred.
    pub bytes: u64,
    /// Estimate of all bytes to transfer.
    pub expected_bytes: u64,
}

impl TransferProgress {
    pub(crate) fn expect_bytes(&self, bytes: u64) {
        self.expected_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_rows(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_files(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a file that an earlier attempt transferred.
    pub(crate) fn skip_file(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.skip_bytes(bytes);
    }

    /// Takes bytes that an earlier attempt transferred off the estimate.
    pub(crate) fn skip_bytes(&self, bytes: u64) {
        let less = |expected: u64| Some(expected.saturating_sub(bytes));
        let _ = self.expected_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Called before the first change to live content of the target.
    pub(crate) fn mark_target_changed(&self) {
        self.target_changed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_warnings(&self, warnings: &[String]) {
        *self.warnings.lock() = warnings.to_vec();
    }

    /// Whether live content of the target may have changed.
    #[must_use]
    pub fn may_have_changed_target(&self) -> bool {
        self.target_changed.load(Ordering::Relaxed)
    }

    /// Takes the warnings that were found before the first row was transferred. Later calls return none.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }

    /// The progress now.
    #[must_use]
    pub fn snapshot(&self) -> ProgressSnapshot {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ProgressSnapshot {
            rows: load(&self.rows),
            files: load(&self.files),
            bytes: load(&self.bytes),
            expected_bytes: load(&self.expected_bytes),
        }
    }
}
