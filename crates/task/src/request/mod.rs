//! What clients ask for. A value of these types is valid.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::kind::named;
use crate::{AppName, CallbackUrl, CloneName, Kind, SiteUrl, TaskId, Username};

mod read;
mod sealed;
#[cfg(test)]
mod tests;

pub use sealed::{Account, SealedRequest, SecretField, SecretFields};

named! {
    /// What a site will be used for.
    Role {
        /// Content comes from it.
        Source = "source",
        /// Content goes to it: the migrator's import is switched on.
        Target = "target",
    }
}

named! {
    /// How much a clone has for itself.
    Isolation {
        /// A schema and a user of its own in a database server that clones share.
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

/// `POST /setup`: put the migrator on a site and read its key.
#[derive(Debug, Clone)]
pub struct SetupRequest {
    /// Where.
    pub login: Login,
    /// What for.
    pub role: Role,
}

/// `POST /create-app-password`: make an application password.
#[derive(Debug, Clone)]
pub struct CreateAppPasswordRequest {
    /// Where.
    pub login: Login,
    /// The name to list it under.
    pub app_name: AppName,
}

/// `POST /clone`: copy a site.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// What is copied.
    pub source: Login,
    /// Where the copy goes.
    pub to: Destination,
    /// Whether the migrator is taken off the source at the end.
    pub remove_migrator: bool,
}

/// Where a copy goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// To a clone that is made for it and expires.
    Clone {
        /// For so long from when it is ready.
        ttl: Ttl,
        /// How much it has for itself.
        isolation: Isolation,
    },
    /// To an empty WordPress of the caller's.
    Target(Login),
}

/// For how long a clone is kept: 5 to 1,440 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct Ttl(u16);

impl Ttl {
    /// What a request that names none gets.
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
        let fits = u16::try_from(minutes).ok().filter(|minutes| (5..=1440).contains(minutes));
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
    /// `PATCH /clones/{name}`: let it live so long from now.
    ExtendClone(KeptClone, Ttl),
    /// `DELETE /clones/{name}`.
    DeleteClone(KeptClone),
}

/// A clone that a request is about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeptClone {
    /// Its name.
    pub name: CloneName,
    /// The task that made it.
    pub made_by: TaskId,
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

    /// The text that two requests have in common exactly when they ask for the same, and for the same callback. It
    /// contains the passwords: only a keyed hash of it may be stored.
    #[must_use]
    pub fn fingerprint_text(&self, callback: Option<&CallbackUrl>) -> SecretString {
        let (sealed, secrets) = self.clone().split();
        let mut parts = vec![serde_json::to_value(&sealed).unwrap_or_default()];
        parts.extend(secrets.iter().map(|(f, s)| serde_json::json!([f, s.expose_secret()])));
        parts.extend(
            callback.map(|url| serde_json::json!([CallbackUrl::FIELD, url.secret().expose_secret()])),
        );
        SecretString::from(Value::Array(parts).to_string())
    }
}
