//! What each command does.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use wpclone_task::{
    CallbackUrl, Code, Event, QueueView, SealedRequest, SecretField, SiteUrl, State, TaskId, TaskList,
};

use crate::args::{
    ApiArgs, Cli, Command, LoginArgs, ReplayArgs, SealKeyCommand, StartArgs, TasksArgs, TokenCommand,
    WaitArgs, WebhookSecretCommand,
};
use crate::client::{Api, Task};
use crate::clones;
use crate::failure::{Failure, TASK_FAILED};
use crate::follow::{Listener, follow};
use crate::patience::short_outage;
use crate::progress::{Events, Progress};
use crate::text::{out, out_json};
use crate::{keys, rewrite, secret, show};

/// The most tasks or clones that the API gives at once.
pub(crate) const PAGE: u32 = 100;
/// The most pages to ask for: a filter that matches little makes pages that are not full.
pub(crate) const MAX_PAGES: u32 = 200;
/// How long to wait for an answer to the question that Ctrl-C brings up.
const QUESTION: Duration = Duration::from_secs(60);

/// Does what was typed.
///
/// # Errors
/// It was not done; the caller says why.
pub(crate) async fn run(cli: Cli, api: &mut Option<Api>) -> Result<u8, Failure> {
    let json = cli.api.json;
    match cli.command {
        Command::Token { command: TokenCommand::New { name, scope, limits } } => {
            let made = keys::new_token(&name, scope, &limits)?;
            out(&format!("{}\n{}\n", made.token, made.line))?;
            eprintln!("first line: the token, shown only now; second line: for the API's tokens file");
            Ok(0)
        }
        Command::SealKey { command: SealKeyCommand::New { id } } => {
            out(&format!("{}\n", keys::new_seal_key(id)?))?;
            Ok(0)
        }
        Command::Rewrite(args) => rewrite::run(&args, json),
        Command::WebhookSecret { command: WebhookSecretCommand::New } => {
            out(&format!("{}\n", keys::new_webhook_secret()?))?;
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
            begin(api, json, "/setup", &login, ("role", role.as_str()), start).await
        }
        Command::AppPassword { login, name, start } => {
            begin(api, json, "/create-app-password", &login, ("app_name", &name), start).await
        }
        Command::Clone(args) => clones::make(api, json, args).await,
        Command::Clones(args) => clones::run(api, json, args).await,
        Command::Tasks(args) => tasks(api, json, args).await,
        Command::Watch { id, wait } => wait_for(api, json, id, &wait).await,
        Command::Cancel { id } => {
            let task = api.cancel(id).await?;
            print_task(api, json, &task)?;
            if !task.view.state.is_final() {
                eprintln!("asked to end; the worker that has it stops within some seconds");
            }
            Ok(0)
        }
        Command::Replay(args) => replay(api, json, args).await,
        Command::Queue => {
            let (view, raw) = api.get::<QueueView>("/queue", &[]).await?;
            if json {
                out_json(&raw)?
            } else {
                out(&show::queue(&view, Timestamp::now()))?
            }
            Ok(0)
        }
        Command::Rewrite(_)
        | Command::Token { .. }
        | Command::SealKey { .. }
        | Command::WebhookSecret { .. } => Ok(0),
    }
}

/// Logs in somewhere for a task and, unless told otherwise, waits for its end.
async fn begin(
    api: &Api,
    json: bool,
    path: &str,
    login: &LoginArgs,
    extra: (&str, &str),
    start: StartArgs,
) -> Result<u8, Failure> {
    let site = site("SITE", &login.site)?;
    let callback = callback(&start)?;
    let from = secret::Source::site(login.password_file.as_deref());
    let password = from.password(&who(&login.username, &site))?;
    let mut body = account(&site, &login.username, &password);
    body[extra.0] = extra.1.into();
    started(api, json, Method::POST, path, with_callback(body, callback), start).await
}

/// Not clap's to check: it would repeat an address with a password in it.
pub(crate) fn site(what: &str, text: &str) -> Result<SiteUrl, Failure> {
    SiteUrl::parse(text).map_err(|why| Failure::Usage(format!("{what} {why}")))
}

pub(crate) fn callback(start: &StartArgs) -> Result<Option<CallbackUrl>, Failure> {
    let callback = start.callback_url.as_deref().map(CallbackUrl::parse).transpose();
    callback.map_err(|why| Failure::Usage(format!("--callback-url {why}")))
}

pub(crate) fn with_callback(mut body: Value, callback: Option<CallbackUrl>) -> Value {
    if let Some(callback) = callback {
        body[CallbackUrl::FIELD] = callback.secret().expose_secret().into();
    }
    body
}

/// Who logs in where, for a prompt.
pub(crate) fn who(username: &str, site: &SiteUrl) -> String {
    crate::text::clean(&format!("{username} on {site}"))
}

pub(crate) fn account(site: &SiteUrl, username: &str, password: &SecretString) -> Value {
    json!({"url": site.as_str(), "username": username, "password": password.expose_secret()})
}

/// Starts a task and, unless told otherwise, waits for its end.
pub(crate) async fn started(
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

/// Does a failed task again and, unless told otherwise, waits for its end.
async fn replay(api: &Api, json: bool, args: ReplayArgs) -> Result<u8, Failure> {
    let id = args.id;
    let given = args.password_file.is_some() || args.target_password_file.is_some();
    let body = if given { Some(passwords(api, &args).await?) } else { None };
    let can_be_had =
        || [secret::Source::site(None), secret::Source::target(None)].iter().any(|s| s.can_be_had());
    let task = match api.replay(id, body.as_ref()).await {
        Err(failure) if failure.is(Code::CredentialsGone) && can_be_had() => {
            api.replay(id, Some(&passwords(api, &args).await?)).await?
        }
        answered => answered?,
    };
    if args.no_wait {
        print_task(api, json, &task)?;
        eprintln!("queued again; follow it with: wpclone watch {id}");
        return Ok(0);
    }
    follow_to_end(api, json, id, &args.wait, task.view.replays).await
}

/// The passwords of a task's request, each from where it is to be had.
async fn passwords(api: &Api, args: &ReplayArgs) -> Result<Value, Failure> {
    let request = api.task(args.id, &short_outage()).await?.view.request;
    let mut body = Map::new();
    for field in request.secret_fields() {
        let from = match field {
            SecretField::TargetPassword => secret::Source::target(args.target_password_file.as_deref()),
            SecretField::Password | SecretField::SourcePassword => {
                secret::Source::site(args.password_file.as_deref())
            }
        };
        let who = request.account_of(*field).map(|a| who(a.username.as_str(), &a.url)).unwrap_or_default();
        field.put_into(&mut body, from.password(&who)?.expose_secret());
    }
    Ok(body.into())
}

async fn wait_for(api: &Api, json: bool, id: TaskId, wait: &WaitArgs) -> Result<u8, Failure> {
    follow_to_end(api, json, id, wait, 0).await
}

/// `failures`: so many ends of the task are known already, and what led to them is not told again.
async fn follow_to_end(
    api: &Api,
    json: bool,
    id: TaskId,
    wait: &WaitArgs,
    failures: u32,
) -> Result<u8, Failure> {
    let mut progress = News { listener: Progress::new(), failures };
    let limit = Duration::from_secs(wait.timeout * 60);
    let followed = tokio::select! {
        followed = tokio::time::timeout(limit, follow(api, id, &mut progress)) => Some(followed),
        _ = tokio::signal::ctrl_c() => None,
    };
    drop(progress);
    match followed {
        Some(Ok(task)) => finished(api, json, &task?),
        Some(Err(_)) => Err(Failure::WaitEnded(id)),
        None => {
            eprintln!("the task goes on; look again with: wpclone tasks {id}");
            if wants_its_end().await {
                api.cancel(id).await?;
                eprintln!("the task is being ended");
            }
            Err(Failure::Interrupted)
        }
    }
}

/// Hears only what comes after so many ends.
struct News<L> {
    listener: L,
    failures: u32,
}

impl<L: Listener> Listener for News<L> {
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

/// Prints a task that has ended.
fn finished(api: &Api, json: bool, task: &Task) -> Result<u8, Failure> {
    let named = task.view.result.as_ref().and_then(|result| result.get("app_name")?.as_str());
    if let (SealedRequest::CreateAppPassword { app_name, .. }, Some(named)) = (&task.view.request, named)
        && named != app_name.as_str()
    {
        eprintln!("that name was taken; the password is listed as: {}", crate::text::clean(named));
    }
    let succeeded = task.view.state == State::Succeeded;
    if json {
        out_json(&task.raw)?;
    } else if succeeded {
        out(&show::result(task))?;
    }
    if succeeded {
        return Ok(0);
    }
    match &task.view.problem {
        Some(problem) => eprint!("{}", show::problem(api, problem, Some(&task.view))),
        None => eprintln!("the task was {}", task.view.state),
    }
    Ok(TASK_FAILED)
}

/// Asks on a terminal; elsewhere the answer is no. So it is when nobody answers, or Ctrl-C comes again.
async fn wants_its_end() -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    eprint!("end it? [y/N] ");
    let _ = std::io::stderr().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = tokio::select! {
        answer = answer => answer.ok().and_then(Result::ok),
        () = tokio::time::sleep(QUESTION) => None,
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
            follow(api, id, &mut Events { json }).await?;
        }
        Some(id) => print_task(api, json, &api.task(id, &short_outage()).await?)?,
        None => list(api, json, &args).await?,
    }
    Ok(0)
}

fn print_task(api: &Api, json: bool, task: &Task) -> Result<(), Failure> {
    if json {
        return out_json(&task.raw);
    }
    out(&show::details(api, task))?;
    match &task.view.problem {
        Some(problem) => out(&format!("\n{}", show::problem(api, problem, None))),
        None => Ok(()),
    }
}

/// Lists tasks page by page until there are enough.
async fn list(api: &Api, json: bool, args: &TasksArgs) -> Result<(), Failure> {
    let (mut views, mut raws, mut next) = (Vec::new(), Vec::new(), args.cursor.clone());
    for _ in 0..MAX_PAGES {
        let wanted = args.limit.saturating_sub(u32::try_from(views.len()).unwrap_or(u32::MAX));
        let mut query = vec![("limit", wanted.min(PAGE).to_string())];
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
        return out_json(&Value::Object(page));
    }
    if views.is_empty() {
        eprintln!("no tasks");
    } else {
        out(&show::list(&views))?;
    }
    if let Some(cursor) = next {
        eprintln!("there are more: --limit N, or --cursor {}", crate::text::clean(&cursor));
    }
    Ok(())
}
