//! From I/O errors to the provisioner's.

use std::io;

use wpclone_provision::ProvisionError;

/// Maps the I/O error of an operation; a timeout stays one.
pub(crate) fn failed(operation: impl Into<String>) -> impl FnOnce(io::Error) -> ProvisionError {
    move |error| match error.kind() {
        io::ErrorKind::TimedOut => ProvisionError::Timeout(operation.into()),
        _ => ProvisionError::internal(operation, error),
    }
}

/// The error of a spawned task that panicked or was aborted.
pub(crate) fn task_failed(error: tokio::task::JoinError) -> ProvisionError {
    ProvisionError::internal("the work on a clone was aborted", error)
}
