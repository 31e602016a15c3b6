//! Starts tasks: reads logins, builds the request and sends it.

use std::io::IsTerminal as _;

use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use wpclone_task::{CallbackUrl, SiteUrl};

use crate::args::{LoginArgs, StartArgs};
use crate::client::Api;
use crate::failure::Failure;
use crate::generate;
use crate::secret::PasswordSource;
use crate::tasks::print_task;
use crate::wait::to_end;

/// Starts a task on a site and, without `--no-wait`, waits for its end. `extra` is one more field of the request.
pub(crate) async fn on_site(
    api: &Api,
    json: bool,
    path: &str,
    login: &LoginArgs,
    extra: (&str, &str),
    start: StartArgs,
) -> Result<u8, Failure> {
    let site = parse_site("SITE", &login.site)?;
    let callback = parse_callback(&start)?;
    let from = PasswordSource::site(login.password_file.as_deref());
    let password = from.password(&login_label(&login.username, &site))?;
    let mut body = account(&site, &login.username, &password);
    body[extra.0] = extra.1.into();
    task(api, json, Method::POST, path, with_callback(body, callback), start).await
}

/// Parses a site's URL. clap does not parse it, because its errors repeat the value, which may contain a password.
pub(crate) fn parse_site(what: &str, text: &str) -> Result<SiteUrl, Failure> {
    SiteUrl::parse(text).map_err(|why| Failure::Usage(format!("{what} {why}")))
}

/// Parses `--callback-url`, which may contain a secret: see [`parse_site`].
pub(crate) fn parse_callback(start: &StartArgs) -> Result<Option<CallbackUrl>, Failure> {
    let callback = start.callback_url.as_deref().map(CallbackUrl::parse).transpose();
    callback.map_err(|why| Failure::Usage(format!("--callback-url {why}")))
}

/// Adds the callback URL to a request's body.
pub(crate) fn with_callback(mut body: Value, callback: Option<CallbackUrl>) -> Value {
    if let Some(callback) = callback {
        body[CallbackUrl::FIELD] = callback.secret().expose_secret().into();
    }
    body
}

/// Names an account in a prompt.
pub(crate) fn login_label(username: &str, site: &SiteUrl) -> String {
    crate::text::sanitize(&format!("{username} on {site}"))
}

/// A login as the API's requests contain it.
pub(crate) fn account(site: &SiteUrl, username: &str, password: &SecretString) -> Value {
    json!({"url": site.as_str(), "username": username, "password": password.expose_secret()})
}

/// Starts a task and, without `--no-wait`, waits for its end.
pub(crate) async fn task(
    api: &Api,
    json: bool,
    method: Method,
    path: &str,
    body: Value,
    start: StartArgs,
) -> Result<u8, Failure> {
    let key = start.idempotency_key.map_or_else(generate::idempotency_key, Ok)?;
    let task = api.start(method, path, (!body.is_null()).then_some(&body), &key).await?;
    let id = task.view.id;
    if start.no_wait {
        print_task(api, json, &task)?;
        eprintln!("accepted; follow it with: wpclone watch {id}");
        return Ok(0);
    }
    if std::io::stderr().is_terminal() {
        eprintln!("task {id}");
    }
    to_end(api, json, id, &start.wait, 0).await
}
