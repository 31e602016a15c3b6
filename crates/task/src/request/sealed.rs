//! Requests without their secrets.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    CloneRequest, CreateAppPasswordRequest, Destination, Isolation, KeptClone, Login, Request, Role,
    SetupRequest, Ttl,
};
use crate::kind::named;
use crate::{AppName, Kind, Plan, SiteKey, SiteUrl, Stage, StepPlan, TaskId, Username};

named! {
    /// A secret that a request brings. Its name is part of what it is sealed with.
    SecretField {
        /// The password of the site's user.
        Password = "password",
        /// That of the source's user.
        SourcePassword = "source.password",
        /// That of the target's user.
        TargetPassword = "target.password",
    }
}

impl SecretField {
    /// The object that it is in, unless that is the body, and its name there.
    pub(super) fn path(self) -> (Option<&'static str>, &'static str) {
        self.as_str().split_once('.').map_or((None, self.as_str()), |(object, name)| (Some(object), name))
    }

    /// Puts a secret where a body has it: what [`SealedRequest::read_secrets`] reads.
    pub fn put_into(self, body: &mut Map<String, Value>, secret: &str) {
        let (object, name) = self.path();
        let place = match object {
            None => body,
            Some(object) => match body.entry(object).or_insert_with(|| json!({})) {
                Value::Object(inner) => inner,
                _ => return,
            },
        };
        place.insert(name.to_owned(), secret.into());
    }
}

/// The secrets of a request, by field.
pub type SecretFields = Vec<(SecretField, SecretString)>;

/// A login without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The site.
    pub url: SiteUrl,
    /// The user to log in as.
    pub username: Username,
}

/// A request without its secrets: what is stored, listed and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SealedRequest {
    /// `POST /setup`.
    Setup {
        /// Where, and as whom.
        #[serde(flatten)]
        account: Account,
        /// What for.
        role: Role,
    },
    /// `POST /create-app-password`.
    CreateAppPassword {
        /// Where, and as whom.
        #[serde(flatten)]
        account: Account,
        /// The name to list it under.
        app_name: AppName,
    },
    /// `POST /clone`.
    Clone {
        /// What is copied.
        source: Account,
        /// Where the copy goes, when that is no clone of ours.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Account>,
        /// For how long the clone is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_minutes: Option<Ttl>,
        /// How much the clone has for itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        isolation: Option<Isolation>,
        /// Whether the migrator is taken off the source at the end.
        remove_migrator: bool,
    },
    /// `PATCH /clones/{name}`.
    ExtendClone {
        /// Which.
        clone: KeptClone,
        /// For how long from the request on.
        ttl_minutes: Ttl,
    },
    /// `DELETE /clones/{name}`.
    DeleteClone {
        /// Which.
        clone: KeptClone,
    },
}

impl Request {
    /// The request without its secrets, and the secrets.
    #[must_use]
    pub fn split(self) -> (SealedRequest, SecretFields) {
        let mut secrets = SecretFields::new();
        let mut part = |login: Login, field| {
            secrets.push((field, login.password));
            Account { url: login.site, username: login.username }
        };
        let sealed = match self {
            Self::Setup(SetupRequest { login, role }) => {
                SealedRequest::Setup { account: part(login, SecretField::Password), role }
            }
            Self::CreateAppPassword(CreateAppPasswordRequest { login, app_name }) => {
                SealedRequest::CreateAppPassword { account: part(login, SecretField::Password), app_name }
            }
            Self::Clone(CloneRequest { source, to, remove_migrator }) => {
                let source = part(source, SecretField::SourcePassword);
                let (target, ttl_minutes, isolation) = match to {
                    Destination::Clone { ttl, isolation } => (None, Some(ttl), Some(isolation)),
                    Destination::Target(login) => {
                        (Some(part(login, SecretField::TargetPassword)), None, None)
                    }
                };
                SealedRequest::Clone { source, target, ttl_minutes, isolation, remove_migrator }
            }
            Self::ExtendClone(clone, ttl_minutes) => SealedRequest::ExtendClone { clone, ttl_minutes },
            Self::DeleteClone(clone) => SealedRequest::DeleteClone { clone },
        };
        (sealed, secrets)
    }
}

impl SealedRequest {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Setup { .. } => Kind::Setup,
            Self::CreateAppPassword { .. } => Kind::CreateAppPassword,
            Self::Clone { .. } => Kind::Clone,
            Self::ExtendClone { .. } => Kind::ExtendClone,
            Self::DeleteClone { .. } => Kind::DeleteClone,
        }
    }

    /// The secrets that came with it.
    #[must_use]
    pub fn secret_fields(&self) -> &'static [SecretField] {
        match self {
            Self::Setup { .. } | Self::CreateAppPassword { .. } => &[SecretField::Password],
            Self::Clone { target: None, .. } => &[SecretField::SourcePassword],
            Self::Clone { .. } => &[SecretField::SourcePassword, SecretField::TargetPassword],
            Self::ExtendClone { .. } | Self::DeleteClone { .. } => &[],
        }
    }

    /// What it is about, in the words of a list: a site's address, or a clone's name.
    #[must_use]
    pub fn about(&self) -> &str {
        match self {
            Self::Setup { account, .. }
            | Self::CreateAppPassword { account, .. }
            | Self::Clone { source: account, .. } => account.url.as_str(),
            Self::ExtendClone { clone, .. } | Self::DeleteClone { clone } => clone.name.as_str(),
        }
    }

    /// Who logs in where with a secret that came with it.
    #[must_use]
    pub fn account_of(&self, field: SecretField) -> Option<&Account> {
        match (self, field) {
            (
                Self::Setup { account, .. } | Self::CreateAppPassword { account, .. },
                SecretField::Password,
            )
            | (Self::Clone { source: account, .. }, SecretField::SourcePassword)
            | (Self::Clone { target: Some(account), .. }, SecretField::TargetPassword) => Some(account),
            _ => None,
        }
    }

    /// The keys of every site that its task works on: what it locks. `task` is that task.
    #[must_use]
    pub fn sites(&self, task: TaskId) -> Vec<SiteKey> {
        match self {
            Self::Setup { account, .. } | Self::CreateAppPassword { account, .. } => vec![account.url.key()],
            Self::Clone { source, target: Some(target), .. } => vec![source.url.key(), target.url.key()],
            Self::Clone { source, .. } => vec![source.url.key(), SiteKey::of_clone(task)],
            Self::ExtendClone { clone, .. } | Self::DeleteClone { clone } => {
                vec![SiteKey::of_clone(clone.made_by)]
            }
        }
    }

    /// The steps that its task takes.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let step = |name: &str, stage| StepPlan { name: name.to_owned(), stage, optional: false, share: 1 };
        // Where the time goes, and more of it the larger the site is.
        let transfer = StepPlan { share: 10, ..step("transfer", Stage::Transfer) };
        let one = |name, stage| Plan { phases: vec![vec![step(name, stage)]], clean_up: Vec::new() };
        let look = StepPlan { optional: true, share: 2, ..step("look", Stage::Browser) };
        let prepare = |name| StepPlan { share: 2, ..step(name, Stage::Browser) };
        match self {
            Self::Setup { .. } => one("setup", Stage::Browser),
            Self::CreateAppPassword { .. } => one("app-password", Stage::Browser),
            Self::Clone { target: None, remove_migrator, .. } => Plan {
                phases: vec![
                    vec![step("provision", Stage::Provisioning), prepare("prepare")],
                    // The clone gets what its source has: table prefix, PHP and its limits.
                    vec![step("adapt", Stage::Provisioning)],
                    vec![transfer],
                    // The source's users have taken the place of the clone's: one is added for its owner.
                    vec![step("open", Stage::Provisioning)],
                    // A step of its own: a transfer that was done is never done again for it.
                    [look]
                        .into_iter()
                        .chain(remove_migrator.then(|| step("leave", Stage::Transfer)))
                        .collect(),
                    vec![step("publish", Stage::Provisioning)],
                ],
                clean_up: vec![step("discard", Stage::Provisioning), step("release", Stage::Transfer)],
            },
            Self::Clone { .. } => Plan {
                phases: vec![
                    vec![prepare("prepare"), prepare("prepare-target")],
                    vec![transfer],
                    vec![look],
                    // Until then a transfer that is done once more finds what the target had.
                    vec![step("leave", Stage::Transfer)],
                ],
                clean_up: vec![step("release", Stage::Transfer)],
            },
            Self::ExtendClone { .. } => one("extend", Stage::Provisioning),
            Self::DeleteClone { .. } => one("delete", Stage::Provisioning),
        }
    }

    /// The request whole again; `None` when a secret is missing.
    #[must_use]
    pub fn join(self, secrets: &[(SecretField, SecretString)]) -> Option<Request> {
        let whole = |account: Account, field| {
            let password = secrets.iter().find(|(f, _)| *f == field).map(|(_, s)| s.clone())?;
            Some(Login { site: account.url, username: account.username, password })
        };
        Some(match self {
            Self::Setup { account, role } => {
                Request::Setup(SetupRequest { login: whole(account, SecretField::Password)?, role })
            }
            Self::CreateAppPassword { account, app_name } => {
                let login = whole(account, SecretField::Password)?;
                Request::CreateAppPassword(CreateAppPasswordRequest { login, app_name })
            }
            Self::Clone { source, target, ttl_minutes, isolation, remove_migrator } => {
                let to = match target {
                    Some(target) => Destination::Target(whole(target, SecretField::TargetPassword)?),
                    None => Destination::Clone { ttl: ttl_minutes?, isolation: isolation? },
                };
                let source = whole(source, SecretField::SourcePassword)?;
                Request::Clone(CloneRequest { source, to, remove_migrator })
            }
            Self::ExtendClone { clone, ttl_minutes } => Request::ExtendClone(clone, ttl_minutes),
            Self::DeleteClone { clone } => Request::DeleteClone(clone),
        })
    }
}
