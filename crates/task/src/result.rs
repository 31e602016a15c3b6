//! What tasks achieve.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::kind::named;
use crate::{CloneName, Role, SiteUrl, Username, to_milliseconds};

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

/// A clone that was made: a WordPress that waits for content.
#[derive(Debug, Clone)]
pub struct Provisioned {
    /// Its name.
    pub name: CloneName,
    /// Its address.
    pub url: String,
    /// Its administrator.
    pub username: String,
    /// The administrator's password.
    pub password: SecretString,
    /// The key of its migrator (64 hex digits), which takes content in.
    pub migrator_key: SecretString,
    /// What separates it from others, in words of the provisioner.
    pub effective_isolation: Value,
}

/// A site that is ready to be read, or to take content in.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What it is to be.
    pub role: Role,
    /// Its own address, as it told it.
    pub site: SiteUrl,
    /// What had to be done to have the migrator on it.
    pub plugin_status: PluginStatus,
    /// What it runs on: versions, table prefix, limits.
    pub facts: Value,
    /// The key of its migrator (64 hex digits).
    pub api_key: SecretString,
}

/// Content that was moved and verified.
#[derive(Debug, Clone)]
pub struct Transferred {
    /// The summary of what was moved, changed and left out.
    pub fidelity: Value,
    /// The migrator's key on the source, unless it was removed there.
    pub source_api_key: Option<SecretString>,
    /// What a target of the caller's got; `None` for a clone.
    pub target: Option<Filled>,
}

/// A target of the caller's that has the content now.
#[derive(Debug, Clone)]
pub struct Filled {
    /// The migrator's key on it, unless it is removed there.
    pub api_key: Option<SecretString>,
    /// Who may log in there now: the source's user.
    pub username: Username,
    /// The must-use plugin that keeps it harmless: the file to remove when it goes live.
    pub harmless: String,
}

/// What a step achieved.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Of a setup.
    Setup(SetupResult),
    /// Of a create-app-password.
    AppPassword(AppPasswordResult),
    /// Of a clone's `provision`.
    Provisioned(Provisioned),
    /// Of a clone's `prepare` and `prepare-target`.
    Prepared(Prepared),
    /// Of a clone's `transfer`.
    Transferred(Transferred),
    /// Of a clone's `look`: what was looked at, by name.
    Looked(Map<String, Value>),
    /// Of a clone's `publish`, of extend-clone and delete-clone: the clone, and when it expires, unless it is gone.
    Kept(CloneName, Option<Timestamp>),
    /// Of a clone's `leave` and `release`: whether nothing of the migrator is left on the sites.
    Left(bool),
    /// Of what leaves nothing to tell.
    Nothing,
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
    /// What later steps need to know, and nobody else.
    pub handover: Handover,
}

/// Secrets that a step leaves for later ones, by name.
pub type Handover = BTreeMap<String, SecretString>;

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
    /// The name under which a migrator's key is handed over.
    pub const MIGRATOR_KEY: &'static str = "migrator_key";

    /// The result with its secrets apart.
    #[must_use]
    pub fn split(self) -> SplitResult {
        let mut handover = Handover::new();
        let mut hand_over_key = |key| drop(handover.insert(Self::MIGRATOR_KEY.to_owned(), key));
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
            Self::Provisioned(r) => {
                hand_over_key(r.migrator_key);
                let clone = json!({
                    "name": r.name, "url": r.url, "username": r.username, "password": null, "expires_at": null,
                    "effective_isolation": r.effective_isolation,
                });
                (json!({ "clone": clone }), vec![("/clone/password", r.password)])
            }
            Self::Prepared(r) => {
                hand_over_key(r.api_key);
                let site = json!({"url": r.site, "plugin_status": r.plugin_status, "facts": r.facts});
                (json!({ r.role.as_str(): site }), Vec::new())
            }
            Self::Transferred(r) => {
                let mut public =
                    json!({"source_api_key": null, "target_api_key": null, "fidelity": r.fidelity});
                let mut keys = vec![("/source_api_key", r.source_api_key)];
                if let Some(filled) = r.target {
                    public["clone"] = Value::Null;
                    public["target"] =
                        json!({"username": filled.username, "remove_to_go_live": filled.harmless});
                    keys.push(("/target_api_key", filled.api_key));
                }
                (public, keys.into_iter().filter_map(|(field, key)| Some((field, key?))).collect())
            }
            Self::Looked(seen) => (json!({ "look": seen }), Vec::new()),
            Self::Kept(name, expires_at) => {
                (json!({"clone": {"name": name, "expires_at": expires_at.map(to_milliseconds)}}), Vec::new())
            }
            Self::Left(wholly) => (json!({"migrator_removed": wholly}), Vec::new()),
            Self::Nothing => (json!({}), Vec::new()),
        };
        let Value::Object(public) = public else {
            return SplitResult { public: Map::new(), secrets, handover };
        };
        SplitResult { public, secrets, handover }
    }
}

/// The secrets of a result as they are sealed.
#[derive(Serialize, Deserialize)]
pub struct SealedParts {
    /// By the JSON pointer of their fields.
    pub shown: BTreeMap<String, String>,
    /// What is handed over, by name.
    #[serde(default)]
    pub handover: BTreeMap<String, String>,
}

impl SplitResult {
    /// The secrets as the JSON object that gets sealed; `None` when there are none.
    #[must_use]
    pub fn secrets_json(&self) -> Option<SecretString> {
        if self.secrets.is_empty() && self.handover.is_empty() {
            return None;
        }
        let plain = |name: &str, secret: &SecretString| (name.to_owned(), secret.expose_secret().to_owned());
        let parts = SealedParts {
            shown: self.secrets.iter().map(|(name, secret)| plain(name, secret)).collect(),
            handover: self.handover.iter().map(|(name, secret)| plain(name, secret)).collect(),
        };
        serde_json::to_string(&parts).ok().map(SecretString::from)
    }
}
