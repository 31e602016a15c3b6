//! What each command does.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use wpclone_task::{CallbackUrl, Code, Event, QueueView, SealedRequest, SiteUrl, State, TaskId, TaskList};

use crate::args::{
    ApiArgs, Cli, Command, LoginArgs, ReplayArgs, SealKeyCommand, StartArgs, TasksArgs, TokenCommand,
    WaitArgs, WebhookSecretCommand,
};
use crate::client::{Api, Task};
use crate::failure::{Failure, TASK_FAILED};
use crate::follow::{Listener, follow};
use crate::patience::short_outage;
use crate::progress::{Events, Progress};
use crate::text::{out, out_json};
use crate::{keys, rewrite, secret, show};

/// The most tasks that the API gives at once.
const PAGE: u32 = 100;
/// The most pages to ask for: a filter that matches little makes pages that are not full.
const MAX_PAGES: u32 = 200;
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

/// Starts a task and, unless told otherwise, waits for its end.
async fn begin(
    api: &Api,
    json: bool,
    path: &str,
    login: &LoginArgs,
    extra: (&str, &str),
    start: StartArgs,
) -> Result<u8, Failure> {
    // Not clap's to check: it would repeat an address with a password in it.
    let site = SiteUrl::parse(&login.site).map_err(|why| Failure::Usage(format!("SITE {why}")))?;
    let who = format!("{} on {site}", crate::text::clean(&login.username));
    let callback = start.callback_url.as_deref().map(CallbackUrl::parse).transpose();
    let callback = callback.map_err(|why| Failure::Usage(format!("--callback-url {why}")))?;
    let password = secret::password(login.password_file.as_deref(), &who)?;
    let key = start.idempotency_key.map_or_else(keys::new_idempotency_key, Ok)?;
    let mut body = body(&site, &login.username, &password, extra);
    if let Some(callback) = callback {
        body[CallbackUrl::FIELD] = callback.secret().expose_secret().into();
    }
    let task = api.start(path, &body, &key).await?;
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

fn body(site: &SiteUrl, username: &str, password: &SecretString, extra: (&str, &str)) -> Value {
    json!({"url": site.as_str(), "username": username, "password": password.expose_secret(), extra.0: extra.1})
}

/// Does a failed task again and, unless told otherwise, waits for its end.
async fn replay(api: &Api, json: bool, args: ReplayArgs) -> Result<u8, Failure> {
    let id = args.id;
    let given = args.password_file.as_deref().map(|file| secret::password(Some(file), "")).transpose()?;
    let task = match api.replay(id, given.as_ref()).await {
        Err(failure) if failure.is(Code::CredentialsGone) && secret::can_be_had() => {
            let task = api.task(id, &short_outage()).await?;
            let field = |name: &str| task.raw["request"][name].as_str().unwrap_or_default();
            let who = crate::text::clean(&format!("{} on {}", field("username"), field("url")));
            let password = secret::password(None, &who)?;
            api.replay(id, Some(&password)).await?
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
        out(&show::list(&raws, &views))?;
    }
    if let Some(cursor) = next {
        eprintln!("there are more: --limit N, or --cursor {}", crate::text::clean(&cursor));
    }
    Ok(())
}
