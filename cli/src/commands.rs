//! Runs the commands.

use jiff::Timestamp;
use wpclone_task::QueueView;

use crate::args::{ApiArgs, Cli, Command, SealKeyCommand, TokenCommand, WebhookSecretCommand};
use crate::client::Api;
use crate::failure::Failure;
use crate::text::{print, print_json};
use crate::{clones, generate, replay, rewrite, secret, start, tables, tasks, wait};

/// Runs a command and returns its exit code. `api` is set once there is a client, so that the caller can print
/// addresses.
///
/// # Errors
/// The command failed; the caller prints the reason.
pub(crate) async fn run(cli: Cli, api: &mut Option<Api>) -> Result<u8, Failure> {
    let json = cli.api.json;
    match cli.command {
        Command::Token { command: TokenCommand::New { name, scope, limits } } => {
            let created = generate::token(&name, scope, &limits)?;
            print(&format!("{}\n{}\n", created.token, created.line))?;
            eprintln!(
                "first line: the token, which is not shown again; second line: add it to the API's tokens file"
            );
            Ok(0)
        }
        Command::SealKey { command: SealKeyCommand::New { id } } => {
            print(&format!("{}\n", generate::seal_key(id)?))?;
            Ok(0)
        }
        Command::Rewrite(args) => rewrite::run(&args, json),
        Command::WebhookSecret { command: WebhookSecretCommand::New } => {
            print(&format!("{}\n", generate::webhook_secret()?))?;
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
        Command::Setup { login, role, start: args } => {
            start::on_site(api, json, "/setup", &login, ("role", role.as_str()), args).await
        }
        Command::AppPassword { login, name, start: args } => {
            start::on_site(api, json, "/create-app-password", &login, ("app_name", &name), args).await
        }
        Command::Clone(args) => clones::create(api, json, args).await,
        Command::Clones(args) => clones::run(api, json, args).await,
        Command::Tasks(args) => tasks::run(api, json, args).await,
        Command::Watch { id, wait: args } => wait::to_end(api, json, id, &args, 0).await,
        Command::Cancel { id } => {
            let task = api.cancel(id).await?;
            tasks::print_task(api, json, &task)?;
            if !task.view.state.is_final() {
                eprintln!("cancellation requested; the worker stops the task within seconds");
            }
            Ok(0)
        }
        Command::Replay(args) => replay::run(api, json, args).await,
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
