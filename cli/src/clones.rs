//! `wpclone clone` and `wpclone clones`.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Map, Value, json};
use wpclone_task::{CloneList, CloneName, CloneView};

use crate::args::{BareStartArgs, CloneArgs, ClonesArgs, ClonesCommand, StartArgs};
use crate::client::{Api, MAX_PAGES, PAGE_SIZE};
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
        None => list(api, json, args.limit, args.cursor).await?,
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

/// Lists clones page by page up to the limit.
async fn list(api: &Api, json: bool, limit: u32, mut next: Option<CloneName>) -> Result<(), Failure> {
    let (mut views, mut raws) = (Vec::new(), Vec::new());
    for _ in 0..MAX_PAGES {
        let missing = limit.saturating_sub(u32::try_from(views.len()).unwrap_or(u32::MAX));
        let mut query = vec![("limit", missing.min(PAGE_SIZE).to_string())];
        query.extend(next.take().map(|cursor| ("cursor", cursor.to_string())));
        let (page, mut raw) = api.get::<CloneList>("/clones", &query).await?;
        views.extend(page.clones);
        if let Some(Value::Array(clones)) = raw.get_mut("clones").map(Value::take) {
            raws.extend(clones);
        }
        next = page.next;
        if next.is_none() || views.len() >= limit as usize {
            break;
        }
    }
    if json {
        let mut page = Map::from_iter([("clones".to_owned(), Value::from(raws))]);
        page.extend(next.map(|cursor| ("next".to_owned(), Value::from(cursor.as_str()))));
        return print_json(&Value::Object(page));
    }
    if views.is_empty() {
        eprintln!("no clones");
    } else {
        print(&tables::clones(&views, Timestamp::now()))?;
    }
    if let Some(cursor) = next {
        eprintln!("there are more; continue with --cursor {cursor} or raise --limit");
    }
    Ok(())
}
