//! Reading requests from JSON: every fault at once.

use secrecy::SecretString;
use serde_json::Value;

use super::{
    CloneRequest, CreateAppPasswordRequest, Destination, Isolation, KeptClone, Login, Request, Role,
    SealedRequest, SecretFields, SetupRequest, Ttl,
};
use crate::fields::{Faults, Fields};
use crate::names::password;
use crate::{AppName, CallbackUrl, SiteUrl, UnknownName, Username};

impl Request {
    /// Reads the body of `POST /setup`. Here and below, `callback_url` is taken out before ([`CallbackUrl::take`]).
    ///
    /// # Errors
    /// Every fault at once, unknown fields among them; so for every kind.
    pub fn setup(body: Value) -> Result<Self, Faults> {
        let mut fields = Fields::of(body)?;
        let login = login(&mut fields);
        let role = fields.optional("role", Role::Source, named);
        let request = login.zip(role).map(|(login, role)| Self::Setup(SetupRequest { login, role }));
        fields.finish(request)
    }

    /// Reads the body of `POST /create-app-password`.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn create_app_password(body: Value) -> Result<Self, Faults> {
        let mut fields = Fields::of(body)?;
        let login = login(&mut fields);
        let name = fields.optional("app_name", AppName::default(), AppName::read);
        let request = login.zip(name);
        let request = request.map(|(login, app_name)| CreateAppPasswordRequest { login, app_name });
        fields.finish(request.map(Self::CreateAppPassword))
    }

    /// Reads the body of `POST /clone`.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn clone_site(body: Value) -> Result<Self, Faults> {
        let mut fields = Fields::of(body)?;
        let source = fields.object("source").map(|mut source| fields.within(login(&mut source), source));
        if source.is_none() && !fields.is_faulty("source") {
            fields.fault("source", "is required");
        }
        let to = match fields.object("target") {
            Some(mut target) => {
                for name in ["ttl_minutes", "isolation"] {
                    if fields.has(name) {
                        fields.fault(name, "is for clones that expire; a target of your own does not");
                        fields.ignore(name);
                    }
                }
                fields.within(login(&mut target), target).map(Destination::Target)
            }
            None => {
                let ttl = ttl(&mut fields, Some(Ttl::DEFAULT));
                let isolation = fields.optional("isolation", Isolation::Shared, named);
                ttl.zip(isolation).map(|(ttl, isolation)| Destination::Clone { ttl, isolation })
            }
        };
        let remove_migrator = fields.flag("remove_migrator", true);
        if let (Some(Some(source)), Some(Destination::Target(target))) = (&source, &to)
            && source.site.key() == target.site.key()
        {
            fields.fault("target", "must be another site than the source");
        }
        let request = source.flatten().zip(to).zip(remove_migrator);
        let request =
            request.map(|((source, to), remove_migrator)| CloneRequest { source, to, remove_migrator });
        fields.finish(request.map(Self::Clone))
    }

    /// Reads the body of `PATCH /clones/{name}`.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn extend_clone(clone: KeptClone, body: Value) -> Result<Self, Faults> {
        let mut fields = Fields::of(body)?;
        let ttl = ttl(&mut fields, None);
        fields.finish(ttl.map(|ttl| Self::ExtendClone(clone, ttl)))
    }

    /// Reads the body of `DELETE /clones/{name}`: it has no fields.
    ///
    /// # Errors
    /// Every field, for it is unknown.
    pub fn delete_clone(clone: KeptClone, body: Value) -> Result<Self, Faults> {
        Fields::of(body)?.finish(Some(Self::DeleteClone(clone)))
    }

    /// Takes `callback_url` out of a body, and reads the rest. `may_call`: whether anything can be told at all.
    ///
    /// # Errors
    /// Every fault at once, those of `callback_url` among them.
    pub fn with_callback(
        mut body: Value,
        may_call: bool,
        read: impl FnOnce(Value) -> Result<Self, Faults>,
    ) -> Result<(Self, Option<CallbackUrl>), Faults> {
        let callback = CallbackUrl::take(&mut body, may_call);
        match (read(body), callback) {
            (Ok(request), Ok(callback)) => Ok((request, callback)),
            (request, callback) => {
                let mut faults = request.err().unwrap_or_default();
                faults.extend(callback.err());
                Err(faults)
            }
        }
    }
}

impl SealedRequest {
    /// Reads the secrets that a replay may bring: none, or all that this request has, by the same names.
    ///
    /// # Errors
    /// Every fault at once, unknown fields among them.
    pub fn read_secrets(&self, body: Value) -> Result<Option<SecretFields>, Faults> {
        let mut fields = Fields::of(body)?;
        let brought = self.secret_fields().iter().any(|field| match field.path() {
            (None, name) => fields.has(name),
            (Some(site), _) => fields.has(site),
        });
        let mut secrets = SecretFields::new();
        for field in self.secret_fields() {
            let (site, name) = field.path();
            let secret = match site {
                None => secret(&mut fields, name, brought),
                Some(site) if brought => {
                    let Some(mut inner) = fields.object(site) else {
                        if !fields.is_faulty(site) {
                            fields.fault(site, "is required");
                        }
                        continue;
                    };
                    fields.within(secret(&mut inner, name, true), inner)
                }
                Some(site) => {
                    fields.ignore(site);
                    None
                }
            };
            secrets.extend(secret.map(|secret| (*field, secret)));
        }
        fields.finish(Some(brought.then_some(secrets)))
    }
}

fn secret(fields: &mut Fields, name: &str, needed: bool) -> Option<SecretString> {
    if needed {
        fields.required(name, password)
    } else {
        fields.optional(name, None, |text| password(text).map(Some))?
    }
}

fn login(fields: &mut Fields) -> Option<Login> {
    let site = fields.required("url", |text| SiteUrl::parse(&text).map_err(|e| e.to_string()));
    let username = fields.required("username", Username::read);
    let password: Option<SecretString> = fields.required("password", password);
    Some(Login { site: site?, username: username?, password: password? })
}

fn ttl(fields: &mut Fields, default: Option<Ttl>) -> Option<Ttl> {
    fields.number("ttl_minutes", default, |minutes| Ttl::try_from(minutes).map_err(str::to_owned))
}

fn named<T: std::str::FromStr<Err = UnknownName>>(text: String) -> Result<T, String> {
    text.parse().map_err(|e: UnknownName| e.to_string())
}
