//! `wpclone`, the command line: a client of the API.

mod args;
mod client;
mod clones;
mod commands;
mod failure;
mod follow;
mod keys;
mod patience;
mod progress;
mod prompt;
mod rewrite;
mod secret;
mod show;
mod sse;
mod text;

use std::process::ExitCode;

use clap::Parser as _;
use wpclone_task::Code;

use crate::failure::Failure;

fn main() -> anyhow::Result<ExitCode> {
    let cli = args::Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut api = None;
    let ended = runtime.block_on(commands::run(cli, &mut api));
    // A prompt that nobody answered must not keep the program.
    runtime.shutdown_background();
    let code = ended.unwrap_or_else(|failure| {
        say(&failure, api.as_ref());
        failure.exit_code()
    });
    Ok(ExitCode::from(code))
}

fn say(failure: &Failure, api: Option<&client::Api>) {
    match (failure, api) {
        (Failure::Problem { problem, .. }, Some(api)) => {
            eprint!("{}", show::problem(api, problem, None));
            if failure.is(Code::Unauthenticated) {
                eprintln!("  Here: set WPCLONE_TOKEN, or give --token-file FILE.");
            }
            if failure.is(Code::CredentialsGone) {
                eprintln!("  Here: give --password-file FILE, or set WPCLONE_SITE_PASSWORD.");
            }
            if let Some(wait) = failure.retry_after() {
                eprintln!("  Here: wait {} s, then try again.", wait.as_secs());
            }
        }
        (Failure::Interrupted, _) => {}
        _ if failure.exit_code() == 0 => {}
        _ => eprintln!("error: {}", text::clean(&failure.to_string())),
    }
}
