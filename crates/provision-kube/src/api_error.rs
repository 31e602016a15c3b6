//! From errors of the API server to the provisioner's.

use kube::Error;
use kube::core::Status;
use wpclone_provision::ProvisionError;

/// The reasons of a status (k8s.io/apimachinery `metav1.StatusReason`).
const NOT_FOUND: &str = "NotFound";
const ALREADY_EXISTS: &str = "AlreadyExists";
const CONFLICT: &str = "Conflict";

/// Whether the object does not exist. A kind that the server does not know is another error: its objects may exist.
pub(crate) fn is_not_found(error: &Error) -> bool {
    has_reason(error, NOT_FOUND)
}

/// Whether an object of this name exists already.
pub(crate) fn already_exists(error: &Error) -> bool {
    has_reason(error, ALREADY_EXISTS)
}

/// Whether the object has changed meanwhile.
pub(crate) fn is_conflict(error: &Error) -> bool {
    has_reason(error, CONFLICT)
}

fn has_reason(error: &Error, reason: &str) -> bool {
    matches!(error, Error::Api(status) if status.reason == reason)
}

/// Whether this is what the API server says when a quota is reached (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`).
/// It is in messages alone: the reason is that of all that is forbidden.
pub(crate) fn is_quota_message(message: &str) -> bool {
    message.contains("exceeded quota")
}

/// Whether the API server refuses because a quota has not been counted yet: for up to five minutes after the clones' kind is new.
pub(crate) fn is_quota_uncounted(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 403 && status.message.contains("status unknown for quota"))
}

/// The error of a call.
pub(crate) fn failed(operation: &'static str) -> impl FnOnce(Error) -> ProvisionError {
    move |error| match error {
        Error::Api(status) => refused(operation, &status),
        error => ProvisionError::Unavailable(format!("{operation}: the cluster cannot be reached ({error})")),
    }
}

fn refused(operation: &str, status: &Status) -> ProvisionError {
    let message = &status.message;
    match status.code {
        403 if is_quota_message(message) => ProvisionError::QuotaReached(message.clone()),
        // The body of a path that the server does not serve is no status.
        404 => ProvisionError::DefinitionInactive(format!(
            "{operation}: the cluster does not know the kind ({message})"
        )),
        400 | 422 => ProvisionError::InstanceFailed(message.clone()),
        code => ProvisionError::Unavailable(format!("{operation}: the cluster answers {code} ({message})")),
    }
}
