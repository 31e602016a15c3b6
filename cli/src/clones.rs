//! `wpclone clone` and `wpclone clones`.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use wpclone_task::{CloneName, CloneView};

use crate::args::{BareStartArgs, CloneArgs, ClonesArgs, ClonesCommand, StartArgs};
use crate::client::Api;
use crate::clone_list::{self, ListQuery};
use crate::failure::Failure;
use crate::secret::PasswordSource;
use crate::start::{self, account, login_label, parse_callback, parse_site, with_callback};
use crate::tables;
use crate::text::{print, print_json};

/// Starts a clone task and, without `--no-wait`, waits for its end.
pub(crate) async fn create(api: &Api, json: bool, args: CloneArgs) -> Result<u8, Failure> {
    let CloneArgs { source_password_file, target_password_file, .. } = &args;
    let source = parse_site("SITE", args.site.as_deref().or(args.source.as_deref()).unwrap_or_default())?;
    let target = args.target.as_deref().map(|target| parse_site("--target", target)).transpose()?;
    let callback = parse_callback(&args.start)?;
    let is_stdin = |file: &Option<_>| file.as_deref() == Some(std::path::Path::new("-"));
    if is_stdin(source_password_file) && is_stdin(target_password_file) {
        return Err(Failure::Usage("only one password can come from standard input".into()));
    }
    let from = PasswordSource::site(source_password_file.as_deref());
    let password = from.password(&login_label(&args.source_user, &source))?;
    let mut body = json!({
        "source": account(&source, &args.source_user, &password), "remove_migrator": !args.keep_migrator,
    });
    if let (Some(target), Some(user)) = (target, &args.target_user) {
        let password =
            PasswordSource::target(target_password_file.as_deref()).password(&login_label(user, &target))?;
        body["target"] = account(&target, user, &password);
    }
    if let Some(minutes) = args.ttl {
        body["ttl_minutes"] = minutes.into();
    }
    if let Some(isolation) = args.isolation {
        body["isolation"] = isolation.as_str().into();
    }
    if args.unprefixed_tables {
        body["copy_unprefixed_tables"] = true.into();
    }
    start::task(api, json, Method::POST, "/clone", with_callback(body, callback), args.start).await
}

/// Lists clones, or shows or changes one.
pub(crate) async fn run(api: &Api, json: bool, args: ClonesArgs) -> Result<u8, Failure> {
    match args.command {
        None => {
            let query = ListQuery { limit: args.limit, cursor: args.cursor };
            if args.watch {
                clone_list::watch(api, json, &query).await?;
            } else {
                clone_list::once(api, json, &query).await?;
            }
        }
        Some(ClonesCommand::Show { name }) => {
            let (clone, raw) = api.get::<CloneView>(&address(&name), &[]).await?;
            if json { print_json(&raw)? } else { print(&tables::clone(&clone, Timestamp::now()))? }
        }
        Some(ClonesCommand::Extend { name, ttl, start }) => {
            let body = with_callback(json!({"ttl_minutes": ttl}), parse_callback(&start)?);
            return start::task(api, json, Method::PATCH, &address(&name), body, start).await;
        }
        Some(ClonesCommand::Delete { name, start: BareStartArgs { no_wait, wait } }) => {
            let start = StartArgs { no_wait, wait, idempotency_key: None, callback_url: None };
            return start::task(api, json, Method::DELETE, &address(&name), Value::Null, start).await;
        }
        Some(ClonesCommand::Login { name }) => {
            let (link, raw) = api.login(&name).await?;
            if json { print_json(&raw)? } else { print(&format!("{}\n", crate::text::sanitize(&link.url)))? }
        }
    }
    Ok(0)
}

fn address(name: &CloneName) -> String {
    format!("/clones/{name}")
}
