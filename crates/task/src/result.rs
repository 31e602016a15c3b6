//! What tasks achieve.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::kind::named;

named! {
    /// What had to be done to have the migrator on the site.
    PluginStatus {
        /// It was not there.
        Installed = "installed",
        /// Another version was there, and was replaced.
        Updated = "updated",
        /// This version was there, switched off.
        Activated = "activated",
        /// This version was there and running.
        Unchanged = "unchanged",
    }
}

/// The result of `setup`.
#[derive(Debug, Clone)]
pub struct SetupResult {
    /// The migrator's key on that site (64 hex digits).
    pub api_key: SecretString,
    /// What had to be done.
    pub plugin_status: PluginStatus,
    /// The migrator's version.
    pub plugin_version: String,
    /// Whether the site takes content in.
    pub import_enabled: bool,
}

/// The result of `create-app-password`.
#[derive(Debug, Clone)]
pub struct AppPasswordResult {
    /// The password, in groups of four as WordPress shows it.
    pub application_password: SecretString,
    /// The login name to use it with.
    pub username: String,
    /// WordPress' id of it.
    pub uuid: String,
    /// The name it is listed under.
    pub app_name: String,
}

/// What a finished task achieved.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Of a setup.
    Setup(SetupResult),
    /// Of a create-app-password.
    AppPassword(AppPasswordResult),
}

/// A result as it is stored: its public fields, and its secrets to be sealed.
///
/// A secret's field is `null` in `public`; the api fills it in for the task's owner while the secret lives.
#[derive(Debug, Clone)]
pub struct SplitResult {
    /// Field names and values; secrets are null.
    pub public: Map<String, Value>,
    /// Each secret and the JSON pointer (RFC 6901) of its field.
    pub secrets: Vec<(&'static str, SecretString)>,
}

/// Lays an object over another: where both hold an object it is laid over likewise, else the upper one's value counts.
pub fn lay_over(lower: &mut Map<String, Value>, upper: Map<String, Value>) {
    for (name, value) in upper {
        match (lower.get_mut(&name), value) {
            (Some(Value::Object(lower)), Value::Object(upper)) => lay_over(lower, upper),
            (Some(lower), value) => *lower = value,
            (None, value) => drop(lower.insert(name, value)),
        }
    }
}

/// Fills a secret in at its JSON pointer; where the result has no such field, it stays as it is.
pub fn fill_in(result: &mut Map<String, Value>, pointer: &str, secret: &SecretString) {
    let mut fields = pointer.split('/').skip(1);
    let Some(mut place) = fields.next().and_then(|first| result.get_mut(first)) else { return };
    for field in fields {
        let Some(next) = place.get_mut(field) else { return };
        place = next;
    }
    *place = Value::from(secret.expose_secret());
}

impl Outcome {
    /// The result with its secrets apart.
    #[must_use]
    pub fn split(self) -> SplitResult {
        let (public, secrets) = match self {
            Self::Setup(r) => (
                json!({
                    "api_key": null, "plugin_status": r.plugin_status, "plugin_version": r.plugin_version,
                    "import_enabled": r.import_enabled,
                }),
                vec![("/api_key", r.api_key)],
            ),
            Self::AppPassword(r) => (
                json!({
                    "application_password": null, "username": r.username, "uuid": r.uuid, "app_name": r.app_name,
                }),
                vec![("/application_password", r.application_password)],
            ),
        };
        let Value::Object(public) = public else {
            return SplitResult { public: Map::new(), secrets };
        };
        SplitResult { public, secrets }
    }
}

impl SplitResult {
    /// The secrets as the JSON object that gets sealed; `None` when there are none.
    #[must_use]
    pub fn secrets_json(&self) -> Option<SecretString> {
        if self.secrets.is_empty() {
            return None;
        }
        let object: Map<String, Value> =
            self.secrets.iter().map(|(k, v)| ((*k).to_owned(), Value::from(v.expose_secret()))).collect();
        Some(SecretString::from(Value::Object(object).to_string()))
    }
}
