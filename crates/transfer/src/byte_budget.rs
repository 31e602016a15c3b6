//! Bounds how much a source sends in all, by what it had announced. One that sends more does not fill the target's disk.

use std::sync::atomic::{AtomicU64, Ordering};

use wpclone_migrator::ClientError;

use crate::error::TransferError;

/// Rows of all tables have at most so many times the bytes that the source's database estimates (a compressed table has more
/// than are stored), and some more.
const MAX_ROWS_FACTOR: u64 = 16;
const MAX_UNESTIMATED_ROW_BYTES: u64 = 16 << 30;
/// Files have at most so many times the size that they had when the transfer began, and some more.
const MAX_FILES_FACTOR: u64 = 2;
const MAX_NEW_FILE_BYTES: u64 = 4 << 30;

/// How many bytes a source may still send.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    bytes_left: AtomicU64,
    /// What is sent, for errors.
    what: &'static str,
}

impl ByteBudget {
    /// For the rows of tables of which the source's database estimates these bytes.
    pub(crate) fn of_rows(estimated: u64) -> Self {
        let bytes = estimated.saturating_mul(MAX_ROWS_FACTOR).saturating_add(MAX_UNESTIMATED_ROW_BYTES);
        Self { bytes_left: bytes.into(), what: "rows" }
    }

    /// For files that have this size together.
    pub(crate) fn of_files(size: u64) -> Self {
        let bytes = size.saturating_mul(MAX_FILES_FACTOR).saturating_add(MAX_NEW_FILE_BYTES);
        Self { bytes_left: bytes.into(), what: "files" }
    }

    /// Takes bytes off.
    ///
    /// # Errors
    /// There are not so many left.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), TransferError> {
        let less = |left: u64| left.checked_sub(bytes);
        match self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(TransferError::Source(ClientError::Endless(self.what))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_of_a_source_have_a_bound_whatever_it_estimates_of_each_table() {
        let budget = ByteBudget::of_rows(10);
        assert!(budget.take(MAX_UNESTIMATED_ROW_BYTES).is_ok() && budget.take(160).is_ok());
        let error = budget.take(1).unwrap_err();
        assert_eq!(error.to_string(), "the source: the site's answers have no end: rows");
        assert!(ByteBudget::of_rows(u64::MAX).take(u64::MAX).is_ok());
    }
}
