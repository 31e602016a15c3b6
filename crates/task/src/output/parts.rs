//! An output as it is stored: its public fields, and its secrets, which are sealed.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{AppPasswordResult, PreparedSite, Provisioned, SetupResult, StepOutput, Transferred};
use crate::{Role, SiteText, Step};

const API_KEY: &str = "/api_key";
const APPLICATION_PASSWORD: &str = "/application_password";
const CLONE_PASSWORD: &str = "/clone/password";
const SOURCE_API_KEY: &str = "/source_api_key";
const TARGET_API_KEY: &str = "/target_api_key";
/// A migrator's key among the secrets for later steps.
const MIGRATOR_KEY: &str = "migrator_key";

/// The parts of an output.
///
/// A secret's field is `null` in `public`; the api fills it in for the task's owner while the secret is kept.
#[derive(Debug, Clone, Default)]
pub struct OutputParts {
    /// Field names and values of the task's result; secrets are null.
    pub public: Map<String, Value>,
    /// Each secret of the result and the JSON pointer (RFC 6901) of its field.
    pub secrets: Vec<(String, SecretString)>,
    /// Secrets that only later steps see.
    pub step_secrets: StepSecrets,
}

/// Secrets of a step for later steps, by name.
pub type StepSecrets = BTreeMap<String, SecretString>;

/// Why stored parts are no output of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// A field is missing or has another type.
    #[error("the output of the step `{0}` cannot be read")]
    Malformed(Step),
    /// A secret is no longer kept.
    #[error("the output of the step `{0}` lacks the secret `{1}`")]
    SecretMissing(Step, &'static str),
}

/// The secrets of an output as they are sealed.
#[derive(Serialize, Deserialize)]
pub struct SealedParts {
    /// Secrets of the result, by the JSON pointer of their fields.
    pub result_secrets: BTreeMap<String, String>,
    /// Secrets for later steps, by name.
    #[serde(default)]
    pub step_secrets: BTreeMap<String, String>,
}

impl OutputParts {
    /// The secrets as the JSON object that is sealed; `None` when there are none.
    #[must_use]
    pub fn secrets_json(&self) -> Option<SecretString> {
        if self.secrets.is_empty() && self.step_secrets.is_empty() {
            return None;
        }
        let plain = |name: &str, secret: &SecretString| (name.to_owned(), secret.expose_secret().to_owned());
        let parts = SealedParts {
            result_secrets: self.secrets.iter().map(|(name, secret)| plain(name, secret)).collect(),
            step_secrets: self.step_secrets.iter().map(|(name, secret)| plain(name, secret)).collect(),
        };
        serde_json::to_string(&parts).ok().map(SecretString::from)
    }

    /// Texts in `fields` may come from a site.
    fn public(fields: impl Serialize) -> Self {
        match serde_json::to_value(fields).map(SiteText::clean_json) {
            Ok(Value::Object(public)) => Self { public, ..Self::default() },
            _ => Self::default(),
        }
    }

    fn with_secret(mut self, pointer: &str, secret: impl Into<Option<SecretString>>) -> Self {
        self.secrets.extend(secret.into().map(|secret| (pointer.to_owned(), secret)));
        self
    }

    fn with_migrator_key(mut self, key: SecretString) -> Self {
        self.step_secrets.insert(MIGRATOR_KEY.to_owned(), key);
        self
    }
}

impl StepOutput {
    /// Splits the output into what is stored openly and what is sealed.
    #[must_use]
    pub fn into_parts(self) -> OutputParts {
        match self {
            Self::Setup(result) => OutputParts::public(&result).with_secret(API_KEY, result.api_key),
            Self::AppPassword(result) => {
                OutputParts::public(&result).with_secret(APPLICATION_PASSWORD, result.application_password)
            }
            Self::Provisioned(clone) => {
                let mut parts = OutputParts::public(json!({ "clone": clone }));
                parts.public["clone"]["expires_at"] = Value::Null;
                parts.with_secret(CLONE_PASSWORD, clone.password).with_migrator_key(clone.migrator_key)
            }
            Self::Prepared(role, site) => {
                OutputParts::public(json!({ role.as_str(): site })).with_migrator_key(site.api_key)
            }
            Self::Transferred(transferred) => {
                let mut parts = OutputParts::public(&transferred);
                parts.public.insert("target_api_key".to_owned(), Value::Null);
                if transferred.target.is_some() {
                    parts.public.insert("clone".to_owned(), Value::Null);
                }
                let target_key = transferred.target.and_then(|target| target.api_key);
                parts
                    .with_secret(SOURCE_API_KEY, transferred.source_api_key)
                    .with_secret(TARGET_API_KEY, target_key)
            }
            Self::Verified(checks) => OutputParts::public(json!({ "verification": checks })),
            Self::CloneExpiry(expiry) => OutputParts::public(json!({ "clone": expiry })),
            Self::MigratorRemoved(removed) => OutputParts::public(json!({ "migrator": removed })),
            Self::Nothing => OutputParts::default(),
        }
    }

    /// Reads what [`StepOutput::into_parts`] made of the output of this step.
    ///
    /// # Errors
    /// A field or a secret is missing.
    pub fn from_parts(step: Step, parts: OutputParts) -> Result<Self, OutputError> {
        let mut stored = Stored { step, parts };
        Ok(match step {
            Step::Setup => {
                let api_key = stored.secret(API_KEY)?;
                Self::Setup(SetupResult { api_key, ..stored.all()? })
            }
            Step::CreateAppPassword => {
                let application_password = stored.secret(APPLICATION_PASSWORD)?;
                Self::AppPassword(AppPasswordResult { application_password, ..stored.all()? })
            }
            Step::Provision => {
                let (password, migrator_key) = (stored.secret(CLONE_PASSWORD)?, stored.migrator_key()?);
                let clone = stored.field("clone")?;
                Self::Provisioned(Provisioned { password, migrator_key, ..clone })
            }
            Step::Prepare => Self::Prepared(Role::Source, Box::new(stored.prepared(Role::Source)?)),
            Step::PrepareTarget => Self::Prepared(Role::Target, Box::new(stored.prepared(Role::Target)?)),
            Step::Transfer => {
                let source_api_key = stored.secret(SOURCE_API_KEY).ok();
                let target_api_key = stored.secret(TARGET_API_KEY).ok();
                let mut transferred = Transferred { source_api_key, ..stored.all()? };
                if let Some(target) = &mut transferred.target {
                    target.api_key = target_api_key;
                }
                Self::Transferred(transferred)
            }
            Step::Verify => Self::Verified(stored.field("verification")?),
            Step::Publish | Step::Extend | Step::Discard | Step::Delete => {
                Self::CloneExpiry(stored.field("clone")?)
            }
            Step::RemoveMigrator | Step::Commit | Step::Rollback => {
                Self::MigratorRemoved(stored.field("migrator")?)
            }
            Step::MatchSource | Step::GrantAccess => Self::Nothing,
        })
    }
}

/// The parts of a step's output, being read.
struct Stored {
    step: Step,
    parts: OutputParts,
}

impl Stored {
    fn all<T: DeserializeOwned>(&mut self) -> Result<T, OutputError> {
        let public = std::mem::take(&mut self.parts.public);
        serde_json::from_value(Value::Object(public)).map_err(|_| OutputError::Malformed(self.step))
    }

    fn field<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, OutputError> {
        let value = self.parts.public.remove(name).unwrap_or_default();
        serde_json::from_value(value).map_err(|_| OutputError::Malformed(self.step))
    }

    fn secret(&mut self, pointer: &'static str) -> Result<SecretString, OutputError> {
        let index = self.parts.secrets.iter().position(|(name, _)| name == pointer);
        let index = index.ok_or(OutputError::SecretMissing(self.step, pointer))?;
        Ok(self.parts.secrets.swap_remove(index).1)
    }

    fn migrator_key(&mut self) -> Result<SecretString, OutputError> {
        self.parts
            .step_secrets
            .remove(MIGRATOR_KEY)
            .ok_or(OutputError::SecretMissing(self.step, MIGRATOR_KEY))
    }

    fn prepared(&mut self, role: Role) -> Result<PreparedSite, OutputError> {
        let api_key = self.migrator_key()?;
        Ok(PreparedSite { api_key, ..self.field(role.as_str())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AnsweredPage, CloneExpiry, FilledTarget, MigratorRemoval, MigratorRemoved, PageAnswer, PageKind,
        PageQuestion, PluginStatus, PriorOutputs, SiteFacts, Username,
    };

    fn facts() -> SiteFacts {
        SiteFacts {
            wordpress: "6.8".into(),
            php: "8.2.1".into(),
            prefix: "wp_".into(),
            memory_limit: None,
            max_execution_time: 30,
            max_input_vars: Some(1000),
            charset: "latin1".into(),
            collation: String::new(),
            uploads: Some("files".into()),
            constants: Map::from_iter([("EXAMPLE_LEVEL".to_owned(), json!(3))]),
        }
    }

    fn outputs() -> Vec<(Step, StepOutput)> {
        let name: crate::CloneName = "clone-20261123-163105-abcdef".parse().unwrap();
        let prepared = |role, key: &str| {
            let site = crate::SiteUrl::parse("https://a.example").unwrap();
            let prepared = PreparedSite {
                site,
                plugin_status: PluginStatus::Installed,
                facts: facts(),
                home: None,
                aliases: vec!["https://b.example".to_owned()],
                pages: vec![AnsweredPage {
                    question: PageQuestion { page: String::new(), logged_in: false },
                    answer: PageAnswer {
                        title: Some("A title".into()),
                        letters: "\u{e4}".to_owned(),
                        ..PageAnswer::of(200, PageKind::WordPress)
                    },
                }],
                api_key: key.into(),
            };
            StepOutput::Prepared(role, Box::new(prepared))
        };
        let setup = SetupResult {
            api_key: "canary-setup".into(),
            plugin_status: PluginStatus::Updated,
            plugin_version: "1".into(),
            import_enabled: true,
        };
        let password = AppPasswordResult {
            application_password: "canary-app".into(),
            username: "u".into(),
            uuid: "1".into(),
            app_name: "a".into(),
        };
        let clone = Provisioned {
            name: name.clone(),
            url: "http://127.0.0.1/c".into(),
            username: "u".into(),
            password: "canary-clone".into(),
            migrator_key: "canary-key".into(),
            effective_isolation: json!({"own_user": true}),
        };
        let filled = FilledTarget {
            api_key: Some("canary-target".into()),
            username: Username::try_from("u".to_owned()).unwrap(),
            must_use_plugin: "m.php".into(),
        };
        let transferred = Transferred {
            fidelity: json!({"rows": 1}),
            source_api_key: Some("canary-source".into()),
            target: Some(filled),
        };
        let removed = MigratorRemoved { source: Some(MigratorRemoval::Removed), target: None };
        let expiry = CloneExpiry { name, expires_at: Some(jiff::Timestamp::UNIX_EPOCH) };
        vec![
            (Step::Setup, StepOutput::Setup(setup)),
            (Step::CreateAppPassword, StepOutput::AppPassword(password)),
            (Step::Provision, StepOutput::Provisioned(clone)),
            (Step::Prepare, prepared(Role::Source, "canary-prepare")),
            (Step::PrepareTarget, prepared(Role::Target, "canary-prepare-target")),
            (Step::Transfer, StepOutput::Transferred(transferred)),
            (Step::Verify, StepOutput::Verified(Map::from_iter([("rest".to_owned(), json!(200))]))),
            (Step::RemoveMigrator, StepOutput::MigratorRemoved(removed)),
            (Step::Publish, StepOutput::CloneExpiry(expiry)),
            (Step::GrantAccess, StepOutput::Nothing),
        ]
    }

    #[test]
    fn an_output_is_read_back_as_it_was() {
        let exposed = |output: &StepOutput| {
            let parts = output.clone().into_parts();
            (parts.public.clone(), parts.secrets_json().map(|json| json.expose_secret().to_owned()))
        };
        for (step, output) in outputs() {
            let read = StepOutput::from_parts(step, output.clone().into_parts()).unwrap();
            assert_eq!(exposed(&read), exposed(&output), "{step}");
        }
    }

    #[test]
    fn the_public_part_of_an_output_has_no_secret() {
        for (step, output) in outputs() {
            let debug = format!("{output:?}");
            let public = Value::Object(output.into_parts().public).to_string();
            assert!(!public.contains("canary") && !debug.contains("canary"), "{step}: {public} {debug}");
        }
        let public: Map<String, Value> =
            outputs().into_iter().flat_map(|(_, output)| output.into_parts().public).collect();
        insta::assert_json_snapshot!(public);
    }

    #[test]
    fn an_output_whose_secret_or_field_is_missing_is_an_error() {
        let provisioned = || outputs().swap_remove(2).1.into_parts();
        let without_secrets = OutputParts { secrets: Vec::new(), ..provisioned() };
        let missing = StepOutput::from_parts(Step::Provision, without_secrets).unwrap_err();
        assert_eq!(missing, OutputError::SecretMissing(Step::Provision, CLONE_PASSWORD));
        let without_fields = OutputParts { public: Map::new(), ..provisioned() };
        let malformed = StepOutput::from_parts(Step::Provision, without_fields).unwrap_err();
        assert_eq!(malformed, OutputError::Malformed(Step::Provision));
    }

    #[test]
    fn prior_outputs_are_found_by_what_they_are() {
        let prior: PriorOutputs = outputs().into_iter().collect();
        assert_eq!(prior.prepared(Role::Source).unwrap().facts, facts());
        let key = |role| prior.prepared(role).unwrap().api_key.expose_secret().to_owned();
        assert_eq!(
            (key(Role::Source), key(Role::Target)),
            ("canary-prepare".into(), "canary-prepare-target".into())
        );
        let login = prior.provisioned().unwrap().login().unwrap();
        assert_eq!(
            (login.site.as_str(), login.password.expose_secret()),
            ("http://127.0.0.1/c", "canary-clone")
        );
        assert_eq!(prior.migrator_removed().unwrap().source, Some(MigratorRemoval::Removed));
        assert_eq!(prior.secrets().count(), 8);
    }
}
