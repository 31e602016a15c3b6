//! Parsing requests from JSON, so that every fault is reported at once.

use secrecy::SecretString;
use serde_json::Value;

use super::object_reader::{FieldErrors, ObjectReader};
use super::schema;
use super::{
    CloneDestination, CloneRef, CloneRequest, CreateAppPasswordRequest, Login, Request, SecretFields,
    SetupRequest, StoredRequest, Ttl,
};
use crate::names::password;
use crate::{AppName, CallbackUrl, SiteUrl, Username};

impl Request {
    /// Parses the body of `POST /setup` ([`schema::SETUP`]). Here and below, `callback_url` has been taken out before
    /// ([`Request::parse_with_callback`]).
    ///
    /// # Errors
    /// Every fault at once, one for each unknown field included; so for every kind of request.
    pub fn parse_setup(body: Value) -> Result<Self, FieldErrors> {
        let mut body = ObjectReader::new(body)?;
        let login = login(&mut body);
        let role = body.choice(&schema::ROLE);
        let request = login.zip(role).map(|(login, role)| Self::Setup(SetupRequest { login, role }));
        body.finish(request)
    }

    /// Parses the body of `POST /create-app-password` ([`schema::CREATE_APP_PASSWORD`]).
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse_create_app_password(body: Value) -> Result<Self, FieldErrors> {
        let mut body = ObjectReader::new(body)?;
        let login = login(&mut body);
        let name = body.text(&schema::APP_NAME, AppName::read);
        let request = login.zip(name);
        let request = request.map(|(login, app_name)| CreateAppPasswordRequest { login, app_name });
        body.finish(request.map(Self::CreateAppPassword))
    }

    /// Parses the body of `POST /clone` ([`schema::CLONE`]).
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse_clone(body: Value) -> Result<Self, FieldErrors> {
        let mut body = ObjectReader::new(body)?;
        let source = body.object(&schema::SOURCE, login);
        let destination = if body.has_object(schema::TARGET.name) {
            for field in [&schema::CLONE_TTL, &schema::ISOLATION] {
                if body.has(field.name) {
                    body.report(field.name, "is for clones that expire; a target of your own does not");
                    body.ignore(field.name);
                }
            }
            body.object(&schema::TARGET, login).map(CloneDestination::Target)
        } else {
            // Absent, null, or a value that is reported.
            let _: Option<()> = body.object(&schema::TARGET, |_| None);
            let (ttl, isolation) = (ttl(&mut body, &schema::CLONE_TTL), body.choice(&schema::ISOLATION));
            ttl.zip(isolation).map(|(ttl, isolation)| CloneDestination::Clone { ttl, isolation })
        };
        let remove_migrator = body.boolean(&schema::REMOVE_MIGRATOR);
        let copy_unprefixed_tables = body.boolean(&schema::COPY_UNPREFIXED_TABLES);
        if let (Some(source), Some(CloneDestination::Target(target))) = (&source, &destination)
            && source.site.key() == target.site.key()
        {
            body.report(schema::TARGET.name, "must be another site than the source");
        }
        let options = remove_migrator.zip(copy_unprefixed_tables);
        let request = source.zip(destination).zip(options);
        let request = request.map(|((source, destination), (remove_migrator, copy_unprefixed_tables))| {
            CloneRequest { source, destination, remove_migrator, copy_unprefixed_tables }
        });
        body.finish(request.map(Self::Clone))
    }

    /// Parses the body of `PATCH /clones/{name}` ([`schema::EXTEND_CLONE`]).
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse_extend_clone(clone: CloneRef, body: Value) -> Result<Self, FieldErrors> {
        let mut body = ObjectReader::new(body)?;
        let ttl = ttl(&mut body, &schema::EXTENDED_TTL);
        body.finish(ttl.map(|ttl| Self::ExtendClone(clone, ttl)))
    }

    /// Parses the body of `DELETE /clones/{name}`, which has no fields.
    ///
    /// # Errors
    /// One for each field.
    pub fn parse_delete_clone(clone: CloneRef, body: Value) -> Result<Self, FieldErrors> {
        ObjectReader::new(body)?.finish(Some(Self::DeleteClone(clone)))
    }

    /// Takes `callback_url` out of a body and parses the rest with `parse`. `callbacks_enabled`: whether webhooks can be
    /// signed; otherwise the field is refused.
    ///
    /// # Errors
    /// Every fault at once, that of `callback_url` included.
    pub fn parse_with_callback(
        mut body: Value,
        callbacks_enabled: bool,
        parse: impl FnOnce(Value) -> Result<Self, FieldErrors>,
    ) -> Result<(Self, Option<CallbackUrl>), FieldErrors> {
        let callback = CallbackUrl::take(&mut body, callbacks_enabled);
        match (parse(body), callback) {
            (Ok(request), Ok(callback)) => Ok((request, callback)),
            (request, callback) => {
                let mut errors = request.err().unwrap_or_default();
                errors.extend(callback.err());
                Err(errors)
            }
        }
    }
}

impl StoredRequest {
    /// Parses the body of a replay ([`schema::REPLAY`]): no secrets, or every secret that this request had.
    ///
    /// # Errors
    /// Every fault at once, one for each unknown field included.
    pub fn parse_secrets(&self, body: Value) -> Result<Option<SecretFields>, FieldErrors> {
        let mut body = ObjectReader::new(body)?;
        let paths = || self.secret_fields().iter().map(|field| (*field, field.path()));
        if !paths().any(|(_, (object, name))| body.has(object.unwrap_or(name))) {
            paths().for_each(|(_, (object, name))| body.ignore(object.unwrap_or(name)));
            return body.finish(Some(None));
        }
        let mut secrets = SecretFields::new();
        for (field, (object, _)) in paths() {
            let secret = match object {
                None => password_of(&mut body),
                Some(object) => {
                    let object =
                        schema::Field { name: object, required: true, ..schema::SITE_PASSWORD_OF_SOURCE };
                    body.object(&object, password_of)
                }
            };
            secrets.extend(secret.map(|secret| (field, secret)));
        }
        body.finish(Some(Some(secrets)))
    }
}

fn login(object: &mut ObjectReader) -> Option<Login> {
    let site = object.text(&schema::URL, |text| SiteUrl::parse(&text).map_err(|e| e.to_string()));
    let username = object.text(&schema::USERNAME, Username::read);
    let password = password_of(object);
    Some(Login { site: site?, username: username?, password: password? })
}

fn password_of(object: &mut ObjectReader) -> Option<SecretString> {
    object.text(&schema::PASSWORD, password)
}

fn ttl(object: &mut ObjectReader, field: &schema::Field) -> Option<Ttl> {
    object.integer(field, |minutes| Ttl::try_from(minutes).map_err(str::to_owned))
}
