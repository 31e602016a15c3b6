//! `wpclone replay`.

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};
use wpclone_task::{Code, SecretField};

use crate::args::ReplayArgs;
use crate::client::Api;
use crate::failure::Failure;
use crate::retry::short_outage;
use crate::secret::PasswordSource;
use crate::start::login_label;
use crate::tasks::print_task;
use crate::wait::to_end;

/// Replays a failed task and, without `--no-wait`, waits for its end.
pub(crate) async fn run(api: &Api, json: bool, args: ReplayArgs) -> Result<u8, Failure> {
    let id = args.id;
    let has_file = args.password_file.is_some() || args.target_password_file.is_some();
    let body = if has_file { Some(passwords(api, &args).await?) } else { None };
    let is_available =
        || [PasswordSource::site(None), PasswordSource::target(None)].iter().any(|s| s.is_available());
    let task = match api.replay(id, body.as_ref()).await {
        Err(failure) if failure.has_code(Code::CredentialsGone) && is_available() => {
            api.replay(id, Some(&passwords(api, &args).await?)).await?
        }
        response => response?,
    };
    if args.no_wait {
        print_task(api, json, &task)?;
        eprintln!("queued again; follow it with: wpclone watch {id}");
        return Ok(0);
    }
    to_end(api, json, id, &args.wait, task.view.replays).await
}

/// Reads the passwords that a task's request needs.
async fn passwords(api: &Api, args: &ReplayArgs) -> Result<Value, Failure> {
    let request = api.task(args.id, &short_outage()).await?.view.request;
    let mut body = Map::new();
    for field in request.secret_fields() {
        let from = match field {
            SecretField::TargetPassword => PasswordSource::target(args.target_password_file.as_deref()),
            SecretField::Password | SecretField::SourcePassword => {
                PasswordSource::site(args.password_file.as_deref())
            }
        };
        let label =
            request.account_of(*field).map(|a| login_label(a.username.as_str(), &a.url)).unwrap_or_default();
        field.insert_into(&mut body, from.password(&label)?.expose_secret());
    }
    Ok(body.into())
}
