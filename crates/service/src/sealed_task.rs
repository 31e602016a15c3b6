//! The sealed parts of a task, shared by the api, which seals requests and opens results, and the worker, which does the
//! reverse.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use wpclone_task::{CallbackUrl, OutputParts, SealedParts, SecretField, SecretFields, StepSecrets, TaskId};

use crate::seal::{SealError, Sealer};

/// The field that the secrets of a step's result are sealed for.
fn result_field(step: &str) -> String {
    format!("result.{step}")
}

fn request_field(field: SecretField) -> String {
    format!("request.{field}")
}

/// Seals the secrets of a request: a JSON object of seals by field.
///
/// # Errors
/// The system has no random bytes.
pub fn seal_request(sealer: &Sealer, task: TaskId, secrets: &SecretFields) -> Result<String, SealError> {
    let mut seals = Map::new();
    for (field, secret) in secrets {
        seals.insert(field.to_string(), sealer.seal(task, &request_field(*field), secret)?.into());
    }
    Ok(Value::Object(seals).to_string())
}

/// Opens the seals of [`seal_request`].
///
/// # Errors
/// It is no such object, was altered, or its key is not configured.
pub fn open_request(sealer: &Sealer, task: TaskId, sealed: &str) -> Result<SecretFields, SealError> {
    let seals: BTreeMap<SecretField, String> =
        serde_json::from_str(sealed).map_err(|_| SealError::Malformed)?;
    seals
        .into_iter()
        .map(|(field, seal)| Ok((field, sealer.open(task, &request_field(field), &seal)?)))
        .collect()
}

/// Seals a callback address: its path or query may contain a secret.
///
/// # Errors
/// The system has no random bytes.
pub fn seal_callback(sealer: &Sealer, task: TaskId, callback: &CallbackUrl) -> Result<String, SealError> {
    sealer.seal(task, CallbackUrl::FIELD, callback.secret())
}

/// Opens a seal of [`seal_callback`].
///
/// # Errors
/// It was altered, its key is not configured, or it contains no callback address.
pub fn open_callback(sealer: &Sealer, task: TaskId, sealed: &str) -> Result<CallbackUrl, SealError> {
    let text = sealer.open(task, CallbackUrl::FIELD, sealed)?;
    CallbackUrl::parse(text.expose_secret()).map_err(|_| SealError::Malformed)
}

/// Seals the secrets of a step's result; `None` when it has none.
///
/// # Errors
/// The system has no random bytes.
pub fn seal_result(
    sealer: &Sealer,
    task: TaskId,
    step: &str,
    result: &OutputParts,
) -> Result<Option<String>, SealError> {
    result.secrets_json().map(|secrets| sealer.seal(task, &result_field(step), &secrets)).transpose()
}

/// The secrets that [`seal_result`] sealed, each with the JSON pointer of its field. Show them to the task's owner only.
///
/// # Errors
/// It was altered, or its key is not configured.
pub fn open_result(
    sealer: &Sealer,
    task: TaskId,
    step: &str,
    sealed: &str,
) -> Result<Vec<(String, SecretString)>, SealError> {
    let SealedParts { result_secrets, .. } = open_parts(sealer, task, step, sealed)?;
    Ok(result_secrets.into_iter().map(|(name, secret)| (name, SecretString::from(secret))).collect())
}

/// Opens a step's secrets for later steps.
///
/// # Errors
/// It was altered, or its key is not configured.
pub fn open_step_secrets(
    sealer: &Sealer,
    task: TaskId,
    step: &str,
    sealed: &str,
) -> Result<StepSecrets, SealError> {
    let SealedParts { step_secrets, .. } = open_parts(sealer, task, step, sealed)?;
    Ok(step_secrets.into_iter().map(|(name, secret)| (name, SecretString::from(secret))).collect())
}

fn open_parts(sealer: &Sealer, task: TaskId, step: &str, sealed: &str) -> Result<SealedParts, SealError> {
    let json = sealer.open(task, &result_field(step), sealed)?;
    serde_json::from_str(json.expose_secret()).map_err(|_| SealError::Malformed)
}

#[cfg(test)]
mod tests {
    use wpclone_task::{PluginStatus, SetupResult, StepOutput};

    use super::*;

    #[test]
    fn seals_open_only_for_their_task() {
        let sealer: Sealer = Sealer::new_key("a").unwrap().parse().unwrap();
        let (task, other) = (TaskId::new(), TaskId::new());
        let secrets = vec![(SecretField::Password, SecretString::from("canary"))];
        let sealed = seal_request(&sealer, task, &secrets).unwrap();
        assert!(!sealed.contains("canary"));
        assert_eq!(open_request(&sealer, task, &sealed).unwrap()[0].1.expose_secret(), "canary");
        assert!(open_request(&sealer, other, &sealed).is_err());
        assert!(open_request(&sealer, task, "{\"x\":1}").is_err());

        let callback = CallbackUrl::parse("https://a.example/canary").unwrap();
        let sealed = seal_callback(&sealer, task, &callback).unwrap();
        assert_eq!(open_callback(&sealer, task, &sealed).unwrap().url(), callback.url());
        assert!(open_callback(&sealer, other, &sealed).is_err());

        let result = StepOutput::Setup(SetupResult {
            api_key: SecretString::from("canary"),
            plugin_status: PluginStatus::Installed,
            plugin_version: "1".into(),
            import_enabled: false,
        })
        .into_parts();
        let sealed = seal_result(&sealer, task, "setup", &result).unwrap().unwrap();
        let opened = open_result(&sealer, task, "setup", &sealed).unwrap();
        assert_eq!((opened[0].0.as_str(), opened[0].1.expose_secret()), ("/api_key", "canary"));
        assert!(open_result(&sealer, other, "setup", &sealed).is_err());
        assert!(open_result(&sealer, task, "verify", &sealed).is_err());
    }
}
