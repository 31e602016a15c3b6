//! The requests of clients. A value of these types is valid.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::kind::named;
use crate::{AppName, CallbackUrl, CloneName, Kind, SiteUrl, TaskId, Username};

mod object_reader;
#[cfg(feature = "openapi")]
pub mod openapi;
mod parse;
pub mod schema;
mod stored;
#[cfg(test)]
mod tests;

pub use object_reader::{FieldError, FieldErrors};
pub use stored::{Account, SecretField, SecretFields, StoredRequest};

named! {
    /// What a site is used for.
    Role {
        /// Content is copied from it.
        Source = "source",
        /// Content is copied to it: the migrator's import is enabled.
        Target = "target",
    }
}

named! {
    /// How far a clone is isolated from other clones.
    Isolation {
        /// A database and a database user of its own in a server that clones share.
        Shared = "shared",
        /// A database server of its own.
        Dedicated = "dedicated",
    }
}

/// A wp-admin login of a site.
#[derive(Debug, Clone)]
pub struct Login {
    /// The site.
    pub site: SiteUrl,
    /// The user's login name or e-mail address.
    pub username: Username,
    /// The user's password.
    pub password: SecretString,
}

/// `POST /setup`: install the migrator on a site and read its key.
#[derive(Debug, Clone)]
pub struct SetupRequest {
    /// The site and its administrator.
    pub login: Login,
    /// Whether the site is to be a source or a target.
    pub role: Role,
}

/// `POST /create-app-password`: create an application password.
#[derive(Debug, Clone)]
pub struct CreateAppPasswordRequest {
    /// The site and the user who gets the application password.
    pub login: Login,
    /// The application password's name.
    pub app_name: AppName,
}

/// `POST /clone`: copy a site.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// The site to copy.
    pub source: Login,
    /// Where the copy goes.
    pub destination: CloneDestination,
    /// Whether the migrator is removed at the end from the source, and from a target, where this task installed it.
    pub remove_migrator: bool,
    /// Whether the tables without the source's prefix are copied too.
    pub copy_unprefixed_tables: bool,
}

/// Where a copy goes.
#[derive(Debug, Clone)]
pub enum CloneDestination {
    /// To a new clone that expires.
    Clone {
        /// How long it is kept from when it is ready.
        ttl: Ttl,
        /// How far it is isolated from other clones.
        isolation: Isolation,
    },
    /// To an empty WordPress of the caller's.
    Target(Login),
}

/// How long a clone is kept: 5 to 1,440 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct Ttl(u16);

impl Ttl {
    /// The shortest, in minutes.
    pub const MIN_MINUTES: u16 = 5;
    /// The longest, in minutes.
    pub const MAX_MINUTES: u16 = 1440;
    /// That of a request without one.
    pub const DEFAULT: Self = Self(60);

    /// In minutes.
    #[must_use]
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl TryFrom<u64> for Ttl {
    type Error = &'static str;

    fn try_from(minutes: u64) -> Result<Self, Self::Error> {
        let allowed = Self::MIN_MINUTES..=Self::MAX_MINUTES;
        let fits = u16::try_from(minutes).ok().filter(|minutes| allowed.contains(minutes));
        fits.map(Self).ok_or("must be between 5 and 1440")
    }
}

impl From<Ttl> for u16 {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

/// A request of any kind.
#[derive(Debug, Clone)]
pub enum Request {
    /// `POST /setup`.
    Setup(SetupRequest),
    /// `POST /create-app-password`.
    CreateAppPassword(CreateAppPasswordRequest),
    /// `POST /clone`.
    Clone(CloneRequest),
    /// `PATCH /clones/{name}`: keep the clone so long from now.
    ExtendClone(CloneRef, Ttl),
    /// `DELETE /clones/{name}`.
    DeleteClone(CloneRef),
}

/// The clone that a request is about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CloneRef {
    /// Its name.
    pub name: CloneName,
    /// The task that created it.
    pub created_by: TaskId,
}

impl Request {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Setup(_) => Kind::Setup,
            Self::CreateAppPassword(_) => Kind::CreateAppPassword,
            Self::Clone(_) => Kind::Clone,
            Self::ExtendClone(..) => Kind::ExtendClone,
            Self::DeleteClone(_) => Kind::DeleteClone,
        }
    }

    /// A text that is equal for two requests exactly when their fields and their callback URLs are. It contains the
    /// passwords: store only a keyed hash of it.
    #[must_use]
    pub fn fingerprint_text(&self, callback: Option<&CallbackUrl>) -> SecretString {
        let (sealed, secrets) = self.clone().split_secrets();
        let mut parts = vec![serde_json::to_value(&sealed).unwrap_or_default()];
        parts.extend(secrets.iter().map(|(f, s)| serde_json::json!([f, s.expose_secret()])));
        parts.extend(
            callback.map(|url| serde_json::json!([CallbackUrl::FIELD, url.secret().expose_secret()])),
        );
        SecretString::from(Value::Array(parts).to_string())
    }

    /// A text that is equal for two requests of these owners exactly when both read the same source with the same login, and
    /// remove the migrator there or both keep it; `None` for a request that reads none. It contains the password: store only
    /// a keyed hash of it.
    #[must_use]
    pub fn share_text(&self, owner: &str) -> Option<SecretString> {
        let Self::Clone(CloneRequest { source, remove_migrator, .. }) = self else { return None };
        let Login { site, username, password } = source;
        let parts =
            serde_json::json!(["source", owner, site, username, password.expose_secret(), remove_migrator]);
        Some(SecretString::from(parts.to_string()))
    }
}
