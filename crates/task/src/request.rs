//! What clients ask for. A value of these types is valid.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{Faults, Fields};
use crate::kind::named;
use crate::names::password;
use crate::{AppName, CallbackUrl, Kind, SiteKey, SiteUrl, Username};

named! {
    /// What a site will be used for.
    Role {
        /// Content comes from it.
        Source = "source",
        /// Content goes to it: the migrator's import is switched on.
        Target = "target",
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

/// A request of any kind.
#[derive(Debug, Clone)]
pub enum Request {
    /// `POST /setup`.
    Setup(SetupRequest),
    /// `POST /create-app-password`.
    CreateAppPassword(CreateAppPasswordRequest),
}

named! {
    /// A secret that a request brings. Its name is part of what it is sealed with.
    SecretField {
        /// The password of the site's user.
        Password = "password",
    }
}

/// The secrets of a request, by field.
pub type SecretFields = Vec<(SecretField, SecretString)>;

/// A request without its secrets: what is stored, listed and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SealedRequest {
    /// `POST /setup`.
    Setup {
        /// Where.
        url: SiteUrl,
        /// The user to log in as.
        username: Username,
        /// What for.
        role: Role,
    },
    /// `POST /create-app-password`.
    CreateAppPassword {
        /// Where.
        url: SiteUrl,
        /// The user to log in as.
        username: Username,
        /// The name to list it under.
        app_name: AppName,
    },
}

fn login(fields: &mut Fields) -> Option<Login> {
    let site = fields.required("url", |text| SiteUrl::parse(&text).map_err(|e| e.to_string()));
    let username = fields.required("username", Username::read);
    let password = fields.required("password", password);
    Some(Login { site: site?, username: username?, password: password? })
}

impl Request {
    /// Reads a request's body, `callback_url` and other fields that belong to no kind taken out before.
    ///
    /// # Errors
    /// Every fault at once, unknown fields among them.
    pub fn parse(kind: Kind, body: Value) -> Result<Self, Faults> {
        let mut fields = Fields::of(body)?;
        let login = login(&mut fields);
        let request = match kind {
            Kind::Setup => {
                let role = fields.optional("role", Role::Source, |t| {
                    t.parse().map_err(|e: crate::UnknownName| e.to_string())
                });
                login.zip(role).map(|(login, role)| Self::Setup(SetupRequest { login, role }))
            }
            Kind::CreateAppPassword => {
                let name = fields.optional("app_name", AppName::default(), AppName::read);
                login.zip(name).map(|(login, app_name)| {
                    Self::CreateAppPassword(CreateAppPasswordRequest { login, app_name })
                })
            }
        };
        match (request, fields.finish()) {
            (Some(request), faults) if faults.is_empty() => Ok(request),
            (_, faults) => Err(faults),
        }
    }

    /// Reads the body of a POST that starts work: the request, and where its end is to be told. `may_call`: whether
    /// anything can be told at all.
    ///
    /// # Errors
    /// Every fault at once, those of `callback_url` among them.
    pub fn parse_with_callback(
        kind: Kind,
        mut body: Value,
        may_call: bool,
    ) -> Result<(Self, Option<CallbackUrl>), Faults> {
        let callback = CallbackUrl::take(&mut body, may_call);
        match (Self::parse(kind, body), callback) {
            (Ok(request), Ok(callback)) => Ok((request, callback)),
            (request, callback) => {
                let mut faults = request.err().unwrap_or_default();
                faults.extend(callback.err());
                Err(faults)
            }
        }
    }

    /// Reads the secrets that a replay may bring: none, or all that a request of this kind has, by the same names.
    ///
    /// # Errors
    /// Every fault at once, unknown fields among them.
    pub fn parse_secrets(kind: Kind, body: Value) -> Result<Option<SecretFields>, Faults> {
        let wanted = match kind {
            Kind::Setup | Kind::CreateAppPassword => [SecretField::Password],
        };
        let mut fields = Fields::of(body)?;
        let brought = wanted.iter().any(|field| fields.has(field.as_str()));
        let mut secrets = SecretFields::new();
        for field in wanted {
            let read = |text| password(text).map(Some);
            let secret = match brought {
                true => fields.required(field.as_str(), read),
                false => fields.optional(field.as_str(), None, read),
            };
            secrets.extend(secret.flatten().map(|secret| (field, secret)));
        }
        let faults = fields.finish();
        if faults.is_empty() { Ok(brought.then_some(secrets)) } else { Err(faults) }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Setup(_) => Kind::Setup,
            Self::CreateAppPassword(_) => Kind::CreateAppPassword,
        }
    }

    /// The login it brings.
    #[must_use]
    pub fn login(&self) -> &Login {
        match self {
            Self::Setup(r) => &r.login,
            Self::CreateAppPassword(r) => &r.login,
        }
    }

    /// The request without its secrets, and the secrets.
    #[must_use]
    pub fn split(self) -> (SealedRequest, SecretFields) {
        match self {
            Self::Setup(SetupRequest { login: Login { site, username, password }, role }) => {
                (SealedRequest::Setup { url: site, username, role }, vec![(SecretField::Password, password)])
            }
            Self::CreateAppPassword(CreateAppPasswordRequest {
                login: Login { site, username, password },
                app_name,
            }) => (
                SealedRequest::CreateAppPassword { url: site, username, app_name },
                vec![(SecretField::Password, password)],
            ),
        }
    }

    /// The text that two requests have in common exactly when they ask for the same, and for the same callback. It
    /// contains the password: only a keyed hash of it may be stored.
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

impl SealedRequest {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Setup { .. } => Kind::Setup,
            Self::CreateAppPassword { .. } => Kind::CreateAppPassword,
        }
    }

    /// The keys of every site that it works on: what its task locks.
    #[must_use]
    pub fn sites(&self) -> Vec<SiteKey> {
        match self {
            Self::Setup { url, .. } | Self::CreateAppPassword { url, .. } => vec![url.key()],
        }
    }

    /// The request whole again; `None` when a secret is missing.
    #[must_use]
    pub fn join(self, secrets: &[(SecretField, SecretString)]) -> Option<Request> {
        let secret = |field| secrets.iter().find(|(f, _)| *f == field).map(|(_, s)| s.clone());
        Some(match self {
            Self::Setup { url, username, role } => Request::Setup(SetupRequest {
                login: Login { site: url, username, password: secret(SecretField::Password)? },
                role,
            }),
            Self::CreateAppPassword { url, username, app_name } => {
                Request::CreateAppPassword(CreateAppPasswordRequest {
                    login: Login { site: url, username, password: secret(SecretField::Password)? },
                    app_name,
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn details(kind: Kind, body: Value) -> Vec<String> {
        let faults = Request::parse(kind, body).unwrap_err();
        faults.into_iter().map(|f| format!("{} {}", f.pointer, f.detail)).collect()
    }

    #[test]
    fn every_fault_is_named_at_once() {
        insta::assert_json_snapshot!(
            details(Kind::Setup, json!({"url": "ftp://a", "username": 7, "password": "", "role": "boss", "extra/x": 1})),
            @r#"
        [
          "/url must begin with http:// or https://",
          "/username must be a string",
          "/password must not be empty",
          "/role `boss` is not one of source, target",
          "/extra~1x is not a field of this request"
        ]
        "#
        );
        assert_eq!(details(Kind::Setup, json!([])), [" must be a JSON object"]);
        assert_eq!(
            details(
                Kind::CreateAppPassword,
                json!({"url": "http://a", "username": "b", "password": "c", "app_name": "<b>"})
            ),
            ["/app_name must not contain `<` or `%`, which WordPress takes out"]
        );
    }

    #[test]
    fn a_request_survives_being_split_from_its_secrets() {
        let body = json!({"url": "http://a.example/x", "username": "b", "password": " c ", "role": "target"});
        let request = Request::parse(Kind::Setup, body).unwrap();
        assert!(!format!("{request:?}").contains(" c "));
        let (sealed, secrets) = request.clone().split();
        let stored = serde_json::to_string(&sealed).unwrap();
        assert_eq!(stored, r#"{"kind":"setup","url":"http://a.example/x","username":"b","role":"target"}"#);
        let sealed: SealedRequest = serde_json::from_str(&stored).unwrap();
        assert!(sealed.clone().join(&[]).is_none());
        let whole = sealed.join(&secrets).unwrap();
        let text = request.fingerprint_text(None);
        assert_eq!(whole.fingerprint_text(None).expose_secret(), text.expose_secret());
        assert_eq!(whole.login().password.expose_secret(), " c ");
        let callback = CallbackUrl::parse("https://b.example/hook").unwrap();
        assert_ne!(request.fingerprint_text(Some(&callback)).expose_secret(), text.expose_secret());
    }

    #[test]
    fn a_replay_brings_all_secrets_or_none() {
        let parse = |body| Request::parse_secrets(Kind::Setup, body);
        for none in [json!({}), json!({"password": null})] {
            assert!(parse(none).unwrap().is_none());
        }
        let secrets = parse(json!({"password": " c "})).unwrap().unwrap();
        assert_eq!((secrets[0].0, secrets[0].1.expose_secret()), (SecretField::Password, " c "));
        let faults = |body| {
            let faults = parse(body).unwrap_err();
            faults.into_iter().map(|f| format!("{} {}", f.pointer, f.detail)).collect::<Vec<_>>()
        };
        assert_eq!(
            faults(json!({"password": "", "username": "b"})),
            ["/password must not be empty", "/username is not a field of this request"]
        );
        assert_eq!(faults(json!([])), [" must be a JSON object"]);
    }

    #[test]
    fn a_callback_is_read_together_with_the_request() {
        let body = |callback: &str| json!({"url": "http://a.example", "username": "b", "password": "c", "callback_url": callback});
        let (request, callback) =
            Request::parse_with_callback(Kind::Setup, body("https://b.example/hook"), true).unwrap();
        assert_eq!(request.login().username.as_str(), "b");
        assert_eq!(callback.unwrap().url().path(), "/hook");
        let mut wrong = body("nowhere");
        wrong["url"] = Value::Null;
        let faults = Request::parse_with_callback(Kind::Setup, wrong, true).unwrap_err();
        assert_eq!(faults.iter().map(|f| &f.pointer).collect::<Vec<_>>(), ["/url", "/callback_url"]);
    }
}
