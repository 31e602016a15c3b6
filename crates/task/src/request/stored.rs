//! Requests without their secrets, as they are stored.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    CloneDestination, CloneRef, CloneRequest, CreateAppPasswordRequest, Isolation, Login, Request, Role,
    SetupRequest, Ttl,
};
use crate::kind::named;
use crate::{AppName, Kind, SiteKey, SiteUrl, TaskId, Username};

named! {
    /// A secret field of a request. Its name is part of the associated data when it is sealed.
    SecretField {
        /// The password of the site's user.
        Password = "password",
        /// The password of the source's user.
        SourcePassword = "source.password",
        /// The password of the target's user.
        TargetPassword = "target.password",
    }
}

impl SecretField {
    /// The object within the body that holds it, if any, and its name there.
    pub(super) fn path(self) -> (Option<&'static str>, &'static str) {
        self.as_str().split_once('.').map_or((None, self.as_str()), |(object, name)| (Some(object), name))
    }

    /// Inserts a secret into a replay's body, where [`StoredRequest::parse_secrets`] reads it.
    pub fn insert_into(self, body: &mut Map<String, Value>, secret: &str) {
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

/// The secrets of a request by field.
pub type SecretFields = Vec<(SecretField, SecretString)>;

/// A login without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The site.
    pub url: SiteUrl,
    /// The user to log in as.
    pub username: Username,
}

/// A request without its secrets, as it is stored, listed and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StoredRequest {
    /// `POST /setup`.
    Setup {
        /// The site and the user.
        #[serde(flatten)]
        account: Account,
        /// What the site is used for.
        role: Role,
    },
    /// `POST /create-app-password`.
    CreateAppPassword {
        /// The site and the user.
        #[serde(flatten)]
        account: Account,
        /// The application password's name.
        app_name: AppName,
    },
    /// `POST /clone`.
    Clone {
        /// The site to copy.
        source: Account,
        /// The site that the copy goes to; `None` for a clone that expires.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Account>,
        /// How long the clone is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_minutes: Option<Ttl>,
        /// How far the clone is isolated from others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        isolation: Option<Isolation>,
        /// Whether the migrator is removed at the end from the source, and from a target, where this task installed it.
        remove_migrator: bool,
        /// Whether the tables without the source's prefix are copied too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        copy_unprefixed_tables: bool,
    },
    /// `PATCH /clones/{name}`.
    ExtendClone {
        /// The clone.
        clone: CloneRef,
        /// How long it is kept from the request on.
        ttl_minutes: Ttl,
    },
    /// `DELETE /clones/{name}`.
    DeleteClone {
        /// The clone.
        clone: CloneRef,
    },
}

impl Request {
    /// The request without its secrets, and the secrets.
    #[must_use]
    pub fn split_secrets(self) -> (StoredRequest, SecretFields) {
        let mut secrets = SecretFields::new();
        let mut split_login = |login: Login, field| {
            secrets.push((field, login.password));
            Account { url: login.site, username: login.username }
        };
        let sealed = match self {
            Self::Setup(SetupRequest { login, role }) => {
                StoredRequest::Setup { account: split_login(login, SecretField::Password), role }
            }
            Self::CreateAppPassword(CreateAppPasswordRequest { login, app_name }) => {
                StoredRequest::CreateAppPassword {
                    account: split_login(login, SecretField::Password),
                    app_name,
                }
            }
            Self::Clone(CloneRequest { source, destination, remove_migrator, copy_unprefixed_tables }) => {
                let source = split_login(source, SecretField::SourcePassword);
                let (target, ttl_minutes, isolation) = match destination {
                    CloneDestination::Clone { ttl, isolation } => (None, Some(ttl), Some(isolation)),
                    CloneDestination::Target(login) => {
                        (Some(split_login(login, SecretField::TargetPassword)), None, None)
                    }
                };
                StoredRequest::Clone {
                    source,
                    target,
                    ttl_minutes,
                    isolation,
                    remove_migrator,
                    copy_unprefixed_tables,
                }
            }
            Self::ExtendClone(clone, ttl_minutes) => StoredRequest::ExtendClone { clone, ttl_minutes },
            Self::DeleteClone(clone) => StoredRequest::DeleteClone { clone },
        };
        (sealed, secrets)
    }
}

impl StoredRequest {
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

    /// Its secret fields.
    #[must_use]
    pub fn secret_fields(&self) -> &'static [SecretField] {
        match self {
            Self::Setup { .. } | Self::CreateAppPassword { .. } => &[SecretField::Password],
            Self::Clone { target: None, .. } => &[SecretField::SourcePassword],
            Self::Clone { .. } => &[SecretField::SourcePassword, SecretField::TargetPassword],
            Self::ExtendClone { .. } | Self::DeleteClone { .. } => &[],
        }
    }

    /// What it is about, for lists: a site's address or a clone's name.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Setup { account, .. }
            | Self::CreateAppPassword { account, .. }
            | Self::Clone { source: account, .. } => account.url.as_str(),
            Self::ExtendClone { clone, .. } | Self::DeleteClone { clone } => clone.name.as_str(),
        }
    }

    /// The site and user that a secret belongs to.
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

    /// The keys of every site that its task works on, and so locks. `task` is that task.
    #[must_use]
    pub fn site_keys(&self, task: TaskId) -> Vec<SiteKey> {
        match self {
            Self::Setup { account, .. } | Self::CreateAppPassword { account, .. } => vec![account.url.key()],
            Self::Clone { source, target: Some(target), .. } => vec![source.url.key(), target.url.key()],
            Self::Clone { source, .. } => vec![source.url.key(), SiteKey::of_clone(task)],
            Self::ExtendClone { clone, .. } | Self::DeleteClone { clone } => {
                vec![SiteKey::of_clone(clone.created_by)]
            }
        }
    }

    /// The one of these sites that the task only reads once it has set it up.
    #[must_use]
    pub fn read_site(&self) -> Option<SiteKey> {
        match self {
            Self::Clone { source, .. } => Some(source.url.key()),
            Self::Setup { .. }
            | Self::CreateAppPassword { .. }
            | Self::ExtendClone { .. }
            | Self::DeleteClone { .. } => None,
        }
    }

    /// The request with its secrets; `None` when one is missing.
    #[must_use]
    pub fn with_secrets(self, secrets: &[(SecretField, SecretString)]) -> Option<Request> {
        let login = |account: Account, field| {
            let password = secrets.iter().find(|(f, _)| *f == field).map(|(_, s)| s.clone())?;
            Some(Login { site: account.url, username: account.username, password })
        };
        Some(match self {
            Self::Setup { account, role } => {
                Request::Setup(SetupRequest { login: login(account, SecretField::Password)?, role })
            }
            Self::CreateAppPassword { account, app_name } => {
                let login = login(account, SecretField::Password)?;
                Request::CreateAppPassword(CreateAppPasswordRequest { login, app_name })
            }
            Self::Clone {
                source,
                target,
                ttl_minutes,
                isolation,
                remove_migrator,
                copy_unprefixed_tables,
            } => {
                let destination = match target {
                    Some(target) => CloneDestination::Target(login(target, SecretField::TargetPassword)?),
                    None => CloneDestination::Clone { ttl: ttl_minutes?, isolation: isolation? },
                };
                let source = login(source, SecretField::SourcePassword)?;
                Request::Clone(CloneRequest { source, destination, remove_migrator, copy_unprefixed_tables })
            }
            Self::ExtendClone { clone, ttl_minutes } => Request::ExtendClone(clone, ttl_minutes),
            Self::DeleteClone { clone } => Request::DeleteClone(clone),
        })
    }
}
