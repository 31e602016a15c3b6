//! Runs the commands.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use wpclone_task::{
    CallbackUrl, Code, Event, QueueView, SecretField, SiteUrl, State, StoredRequest, TaskId, TaskList,
};

use crate::args::{
    ApiArgs, Cli, Command, LoginArgs, ReplayArgs, SealKeyCommand, StartArgs, TasksArgs, TokenCommand,
    WaitArgs, WebhookSecretCommand,
};
use crate::client::{Api, Task};
use crate::clones;
use crate::failure::{Failure, TASK_FAILED};
use crate::follow::{EventListener, follow};
use crate::progress::{EventPrinter, Progress};
use crate::retry::short_outage;
use crate::text::{print, print_json};
use crate::{keys, rewrite, secret, tables};

/// Largest page of tasks or clones that the API returns.
pub(crate) const PAGE_SIZE: u32 = 100;
/// Maximum number of pages. A filter that matches little makes the API return pages that are not full.
pub(crate) const MAX_PAGES: u32 = 200;
/// Timeout of the question that Ctrl-C asks.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a command and returns its exit code. `api` is set once there is a client, so that the caller can print
/// addresses.
///
/// # Errors
/// The command failed; the caller prints the reason.
pub(crate) async fn run(cli: Cli, api: &mut Option<Api>) -> Result<u8, Failure> {
    let json = cli.api.json;
    match cli.command {
        Command::Token { command: TokenCommand::New { name, scope, limits } } => {
            let created = keys::new_token(&name, scope, &limits)?;
            print(&format!("{}\n{}\n", created.token, created.line))?;
            eprintln!(
                "first line: the token, which is not shown again; second line: add it to the API's tokens file"
            );
            Ok(0)
        }
        Command::SealKey { command: SealKeyCommand::New { id } } => {
            print(&format!("{}\n", keys::new_seal_key(id)?))?;
            Ok(0)
        }
        Command::Rewrite(args) => rewrite::run(&args, json),
        Command::WebhookSecret { command: WebhookSecretCommand::New } => {
            print(&format!("{}\n", keys::new_webhook_secret()?))?;
            Ok(0)
        }
        command => {
            let api = api.insert(connect(&cli.api)?);
            with_api(api, json, command).await
        }
    }
}

fn connect(args: &ApiArgs) -> Result<Api, Failure> {
    let token = secret::token(args.token_file.as_deref())?;
    Api::new(&args.url, token.as_ref())
}

async fn with_api(api: &Api, json: bool, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Setup { login, role, start } => {
            start_on_site(api, json, "/setup", &login, ("role", role.as_str()), start).await
        }
        Command::AppPassword { login, name, start } => {
            start_on_site(api, json, "/create-app-password", &login, ("app_name", &name), start).await
        }
        Command::Clone(args) => clones::create(api, json, args).await,
        Command::Clones(args) => clones::run(api, json, args).await,
        Command::Tasks(args) => tasks(api, json, args).await,
        Command::Watch { id, wait } => wait_for(api, json, id, &wait).await,
        Command::Cancel { id } => {
            let task = api.cancel(id).await?;
            print_task(api, json, &task)?;
            if !task.view.state.is_final() {
                eprintln!("cancellation requested; the worker stops the task within seconds");
            }
            Ok(0)
        }
        Command::Replay(args) => replay(api, json, args).await,
        Command::Queue => {
            let (view, raw) = api.get::<QueueView>("/queue", &[]).await?;
            if json {
                print_json(&raw)?
            } else {
                print(&tables::queue(&view, Timestamp::now()))?
            }
            Ok(0)
        }
        Command::Rewrite(_)
        | Command::Token { .. }
        | Command::SealKey { .. }
        | Command::WebhookSecret { .. } => Ok(0),
    }
}

/// Starts a task on a site and, without `--no-wait`, waits for its end. `extra` is one more field of the request.
async fn start_on_site(
    api: &Api,
    json: bool,
    path: &str,
    login: &LoginArgs,
    extra: (&str, &str),
    start: StartArgs,
) -> Result<u8, Failure> {
    let site = parse_site("SITE", &login.site)?;
    let callback = parse_callback(&start)?;
    let from = secret::PasswordSource::site(login.password_file.as_deref());
    let password = from.password(&login_label(&login.username, &site))?;
    let mut body = account(&site, &login.username, &password);
    body[extra.0] = extra.1.into();
    start_task(api, json, Method::POST, path, with_callback(body, callback), start).await
}

/// Parses a site's URL. clap does not parse it, because its errors repeat the value, which may contain a password.
pub(crate) fn parse_site(what: &str, text: &str) -> Result<SiteUrl, Failure> {
    SiteUrl::parse(text).map_err(|why| Failure::Usage(format!("{what} {why}")))
}

pub(crate) fn parse_callback(start: &StartArgs) -> Result<Option<CallbackUrl>, Failure> {
    let callback = start.callback_url.as_deref().map(CallbackUrl::parse).transpose();
    callback.map_err(|why| Failure::Usage(format!("--callback-url {why}")))
}

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

pub(crate) fn account(site: &SiteUrl, username: &str, password: &SecretString) -> Value {
    json!({"url": site.as_str(), "username": username, "password": password.expose_secret()})
}

/// Starts a task and, without `--no-wait`, waits for its end.
pub(crate) async fn start_task(
    api: &Api,
    json: bool,
    method: Method,
    path: &str,
    body: Value,
    start: StartArgs,
) -> Result<u8, Failure> {
    let key = start.idempotency_key.map_or_else(keys::new_idempotency_key, Ok)?;
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
    wait_for(api, json, id, &start.wait).await
}

/// Replays a failed task and, without `--no-wait`, waits for its end.
async fn replay(api: &Api, json: bool, args: ReplayArgs) -> Result<u8, Failure> {
    let id = args.id;
    let has_file = args.password_file.is_some() || args.target_password_file.is_some();
    let body = if has_file { Some(passwords(api, &args).await?) } else { None };
    let is_available = || {
        [secret::PasswordSource::site(None), secret::PasswordSource::target(None)]
            .iter()
            .any(|s| s.is_available())
    };
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
    follow_to_end(api, json, id, &args.wait, task.view.replays).await
}

/// Reads the passwords that a task's request needs.
async fn passwords(api: &Api, args: &ReplayArgs) -> Result<Value, Failure> {
    let request = api.task(args.id, &short_outage()).await?.view.request;
    let mut body = Map::new();
    for field in request.secret_fields() {
        let from = match field {
            SecretField::TargetPassword => {
                secret::PasswordSource::target(args.target_password_file.as_deref())
            }
            SecretField::Password | SecretField::SourcePassword => {
                secret::PasswordSource::site(args.password_file.as_deref())
            }
        };
        let label =
            request.account_of(*field).map(|a| login_label(a.username.as_str(), &a.url)).unwrap_or_default();
        field.insert_into(&mut body, from.password(&label)?.expose_secret());
    }
    Ok(body.into())
}

async fn wait_for(api: &Api, json: bool, id: TaskId, wait: &WaitArgs) -> Result<u8, Failure> {
    follow_to_end(api, json, id, wait, 0).await
}

/// Follows a task to its end, skipping the events of `failures` earlier runs.
async fn follow_to_end(
    api: &Api,
    json: bool,
    id: TaskId,
    wait: &WaitArgs,
    failures: u32,
) -> Result<u8, Failure> {
    let mut progress = NewEvents { listener: Progress::new(), failures };
    let limit = Duration::from_secs(wait.timeout * 60);
    let followed = tokio::select! {
        followed = tokio::time::timeout(limit, follow(api, id, &mut progress)) => Some(followed),
        _ = tokio::signal::ctrl_c() => None,
    };
    drop(progress);
    match followed {
        Some(Ok(task)) => print_outcome(api, json, &task?),
        Some(Err(_)) => Err(Failure::WaitEnded(id)),
        None => {
            eprintln!("the task keeps running; see it with: wpclone tasks {id}");
            if confirm_cancel().await {
                api.cancel(id).await?;
                eprintln!("the task is being cancelled");
            }
            Err(Failure::Interrupted)
        }
    }
}

/// Passes on only the events after `failures` final ones.
struct NewEvents<L> {
    listener: L,
    failures: u32,
}

impl<L: EventListener> EventListener for NewEvents<L> {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if self.failures == 0 {
            return self.listener.event(event);
        }
        self.failures -= u32::from(event.state.is_final());
        Ok(())
    }

    fn connected(&mut self, connected: bool) {
        self.listener.connected(connected);
    }

    fn polling(&mut self) {
        self.failures = 0;
    }
}

/// Prints a finished task; returns the exit code.
fn print_outcome(api: &Api, json: bool, task: &Task) -> Result<u8, Failure> {
    let final_name = task.view.result.as_ref().and_then(|result| result.get("app_name")?.as_str());
    if let (StoredRequest::CreateAppPassword { app_name, .. }, Some(final_name)) =
        (&task.view.request, final_name)
        && final_name != app_name.as_str()
    {
        eprintln!(
            "the name is taken; WordPress lists the password as: {}",
            crate::text::sanitize(final_name)
        );
    }
    let succeeded = task.view.state == State::Succeeded;
    if json {
        print_json(&task.raw)?;
    } else if succeeded {
        print(&tables::result(task))?;
    }
    if succeeded {
        return Ok(0);
    }
    match &task.view.problem {
        Some(problem) => eprint!("{}", tables::problem(api, problem, Some(&task.view))),
        None => eprintln!("the task was {}", task.view.state),
    }
    Ok(TASK_FAILED)
}

/// Asks whether to cancel the task. The answer is no without a terminal, after the timeout, and on another Ctrl-C.
async fn confirm_cancel() -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    eprint!("cancel it? [y/N] ");
    let _ = std::io::stderr().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = tokio::select! {
        answer = answer => answer.ok().and_then(Result::ok),
        () = tokio::time::sleep(PROMPT_TIMEOUT) => None,
        _ = tokio::signal::ctrl_c() => None,
    };
    if answer.is_none() {
        eprintln!();
    }
    answer.is_some_and(|line| matches!(line.trim(), "y" | "Y" | "yes"))
}

async fn tasks(api: &Api, json: bool, args: TasksArgs) -> Result<u8, Failure> {
    match args.id {
        Some(id) if args.events => {
            follow(api, id, &mut EventPrinter { json }).await?;
        }
        Some(id) => print_task(api, json, &api.task(id, &short_outage()).await?)?,
        None => list(api, json, &args).await?,
    }
    Ok(0)
}

fn print_task(api: &Api, json: bool, task: &Task) -> Result<(), Failure> {
    if json {
        return print_json(&task.raw);
    }
    print(&tables::task(api, task))?;
    match &task.view.problem {
        Some(problem) => print(&format!("\n{}", tables::problem(api, problem, None))),
        None => Ok(()),
    }
}

/// Lists tasks page by page up to the limit.
async fn list(api: &Api, json: bool, args: &TasksArgs) -> Result<(), Failure> {
    let (mut views, mut raws, mut next) = (Vec::new(), Vec::new(), args.cursor.clone());
    for _ in 0..MAX_PAGES {
        let missing = args.limit.saturating_sub(u32::try_from(views.len()).unwrap_or(u32::MAX));
        let mut query = vec![("limit", missing.min(PAGE_SIZE).to_string())];
        query.extend(args.state.map(|s| ("state", s.to_string())));
        query.extend(args.kind.map(|k| ("kind", k.to_string())));
        query.extend(args.search.clone().map(|text| ("q", text)));
        query.extend(next.take().map(|cursor| ("cursor", cursor)));
        let (page, mut raw) = api.get::<TaskList>("/tasks", &query).await?;
        views.extend(page.tasks);
        if let Some(Value::Array(tasks)) = raw.get_mut("tasks").map(Value::take) {
            raws.extend(tasks);
        }
        next = page.next;
        if next.is_none() || views.len() >= args.limit as usize {
            break;
        }
    }
    if json {
        let mut page = Map::from_iter([("tasks".to_owned(), Value::from(raws))]);
        page.extend(next.map(|cursor| ("next".to_owned(), Value::from(cursor))));
        return print_json(&Value::Object(page));
    }
    if views.is_empty() {
        eprintln!("no tasks");
    } else {
        print(&tables::tasks(&views))?;
    }
    if let Some(cursor) = next {
        eprintln!(
            "there are more; continue with --cursor {} or raise --limit",
            crate::text::sanitize(&cursor)
        );
    }
    Ok(())
}
