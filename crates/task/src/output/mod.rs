//! What the steps of a task leave behind: parts of the task's result, and what later steps need.

mod page;
mod parts;
mod truncate;

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

pub use page::{AnsweredPage, ComparedPage, PageAnswer, PageKind, PageQuestion};
pub use parts::{OutputError, OutputParts, SealedParts, StepSecrets};
pub use truncate::{TRUNCATED, truncate_result};

use crate::kind::named;
use crate::{CloneName, Login, Role, SiteUrl, Step, Username};

named! {
    /// How the migrator came to be on the site.
    PluginStatus {
        /// It was missing.
        Installed = "installed",
        /// Another version was there and was replaced.
        Updated = "updated",
        /// This version was there, inactive.
        Activated = "activated",
        /// This version was there and active.
        Unchanged = "unchanged",
    }
}

named! {
    /// What became of the migrator on a site at the end of a task.
    MigratorRemoval {
        /// The task had installed it and has removed it.
        Removed = "removed",
        /// It stays: it was there before the task, or the request keeps it.
        Kept = "kept",
        /// Other clones still read the source; the last of them removes it.
        InUse = "in_use",
        /// The task had installed it, and parts of it may be left. It closes by itself.
        Incomplete = "incomplete",
    }
}

/// The result of `setup`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetupResult {
    /// The migrator's key on that site (64 hex digits).
    #[serde(serialize_with = "null", skip_deserializing)]
    pub api_key: SecretString,
    /// How the migrator came to be there.
    pub plugin_status: PluginStatus,
    /// The migrator's version.
    pub plugin_version: String,
    /// Whether the site accepts imports.
    pub import_enabled: bool,
}

/// The result of `create-app-password`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppPasswordResult {
    /// The password, in groups of four as WordPress shows it.
    #[serde(serialize_with = "null", skip_deserializing)]
    pub application_password: SecretString,
    /// The login name to use it with.
    pub username: String,
    /// WordPress' id of it.
    pub uuid: String,
    /// The name it is listed under.
    pub app_name: String,
}

/// A new clone: an empty WordPress.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provisioned {
    /// Its name.
    pub name: CloneName,
    /// Its address.
    pub url: String,
    /// Its administrator.
    pub username: String,
    /// The administrator's password.
    #[serde(serialize_with = "null", skip_deserializing)]
    pub password: SecretString,
    /// The key of its migrator (64 hex digits), which accepts imports.
    #[serde(skip)]
    pub migrator_key: SecretString,
    /// What isolates it from other clones, as the provisioner reports it.
    pub effective_isolation: Value,
}

/// A site whose migrator is ready to export, or to import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreparedSite {
    /// The site's own address, as it reported it.
    #[serde(rename = "url")]
    pub site: SiteUrl,
    /// How the migrator came to be there.
    pub plugin_status: PluginStatus,
    /// What the site runs on.
    pub facts: SiteFacts,
    /// The address of its front page, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<SiteUrl>,
    /// Other addresses of the same site, such as second domains: origins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What a source answers to the questions that its copy is asked later; at most some twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<AnsweredPage>,
    /// The key of its migrator (64 hex digits).
    #[serde(skip)]
    pub api_key: SecretString,
}

/// What a site runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFacts {
    /// WordPress' version.
    pub wordpress: String,
    /// PHP's version.
    pub php: String,
    /// What the names of its tables begin with.
    pub prefix: String,
    /// PHP's `memory_limit` in bytes; `None` for no limit.
    pub memory_limit: Option<u64>,
    /// PHP's `max_execution_time` in seconds; 0 for no limit.
    pub max_execution_time: u64,
    /// PHP's `max_input_vars`.
    pub max_input_vars: Option<u64>,
    /// `DB_CHARSET` of a copy: how bytes of the database are read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub charset: String,
    /// `DB_COLLATE`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub collation: String,
    /// The folder of a copy's uploads below its WordPress, if it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads: Option<String>,
    /// Constants of wp-config.php that a copy gets: booleans, integers and texts.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub constants: Map<String, Value>,
}

/// Content that was copied and verified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transferred {
    /// The summary of what was copied, changed and left out.
    pub fidelity: Value,
    /// The migrator's key on the source, unless the task removes the migrator.
    #[serde(serialize_with = "null", skip_deserializing)]
    pub source_api_key: Option<SecretString>,
    /// A target of the caller's; `None` for a clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<FilledTarget>,
}

/// A target of the caller's that has the content now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FilledTarget {
    /// The migrator's key on it, unless the task removes the migrator.
    #[serde(skip)]
    pub api_key: Option<SecretString>,
    /// Who can log in there now: the source's user.
    pub username: Username,
    /// The must-use plugin that keeps it from sending mail and calling others: the file to remove when it goes live.
    #[serde(rename = "remove_to_go_live")]
    pub must_use_plugin: String,
}

/// When a clone expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneExpiry {
    /// The clone.
    pub name: CloneName,
    /// When it expires; `None` when it was deleted.
    #[serde(serialize_with = "crate::timestamp::serialize_option")]
    pub expires_at: Option<Timestamp>,
}

/// What became of the migrator on the sites of a task; `None` for a site that the step did not touch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratorRemoved {
    /// On the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<MigratorRemoval>,
    /// On a target of the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<MigratorRemoval>,
}

/// What a step leaves behind. Each [`Step`] has one variant.
#[derive(Debug, Clone)]
pub enum StepOutput {
    /// Of [`Step::Setup`].
    Setup(SetupResult),
    /// Of [`Step::CreateAppPassword`].
    AppPassword(AppPasswordResult),
    /// Of [`Step::Provision`].
    Provisioned(Provisioned),
    /// Of [`Step::Prepare`] and [`Step::PrepareTarget`].
    Prepared(Role, Box<PreparedSite>),
    /// Of [`Step::Transfer`].
    Transferred(Transferred),
    /// Of [`Step::Verify`]: what was checked, by name.
    Verified(Map<String, Value>),
    /// Of [`Step::Publish`], [`Step::Extend`], [`Step::Discard`] and [`Step::Delete`].
    CloneExpiry(CloneExpiry),
    /// Of [`Step::RemoveMigrator`], [`Step::Commit`] and [`Step::Rollback`].
    MigratorRemoved(MigratorRemoved),
    /// Of the others.
    Nothing,
}

/// The outputs of the steps before one. Each can be read only by the worker that has the seal key.
#[derive(Debug, Clone, Default)]
pub struct PriorOutputs(BTreeMap<Step, StepOutput>);

impl FromIterator<(Step, StepOutput)> for PriorOutputs {
    fn from_iter<I: IntoIterator<Item = (Step, StepOutput)>>(outputs: I) -> Self {
        Self(outputs.into_iter().collect())
    }
}

impl PriorOutputs {
    /// The clone that this task made.
    #[must_use]
    pub fn provisioned(&self) -> Option<&Provisioned> {
        match self.0.get(&Step::Provision)? {
            StepOutput::Provisioned(provisioned) => Some(provisioned),
            _ => None,
        }
    }

    /// The source or the target that this task prepared.
    #[must_use]
    pub fn prepared(&self, role: Role) -> Option<&PreparedSite> {
        let step = match role {
            Role::Source => Step::Prepare,
            Role::Target => Step::PrepareTarget,
        };
        match self.0.get(&step)? {
            StepOutput::Prepared(_, prepared) => Some(prepared),
            _ => None,
        }
    }

    /// What [`Step::RemoveMigrator`] did.
    #[must_use]
    pub fn migrator_removed(&self) -> Option<MigratorRemoved> {
        match self.0.get(&Step::RemoveMigrator)? {
            StepOutput::MigratorRemoved(removed) => Some(*removed),
            _ => None,
        }
    }

    /// All secrets in them.
    pub fn secrets(&self) -> impl Iterator<Item = SecretString> {
        let secrets = |output: &StepOutput| {
            let parts = output.clone().into_parts();
            parts.secrets.into_iter().map(|(_, secret)| secret).chain(parts.step_secrets.into_values())
        };
        self.0.values().flat_map(secrets)
    }
}

impl Provisioned {
    /// The login of the clone's administrator; `None` when the provisioner reported none that can be used.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        Some(Login {
            site: SiteUrl::parse(&self.url).ok()?,
            username: Username::try_from(self.username.clone()).ok()?,
            password: self.password.clone(),
        })
    }
}

/// A secret in the public part of an output.
fn null<T, S: Serializer>(_secret: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_none()
}
