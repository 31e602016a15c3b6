//! `wpclone`, the command line program: a client of the API.

mod args;
mod client;
mod clone_list;
mod clones;
mod commands;
mod failure;
mod follow;
mod generate;
mod progress;
mod prompt;
mod replay;
mod retry;
mod rewrite;
mod secret;
mod sse;
mod start;
mod tables;
mod tasks;
mod text;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;
use wpclone_task::Code;

use crate::failure::Failure;

fn main() -> anyhow::Result<ExitCode> {
    let cli = args::Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut api = None;
    let outcome = runtime.block_on(commands::run(cli, &mut api));
    // A prompt may still be blocked on standard input; do not wait for its thread.
    runtime.shutdown_background();
    let code = outcome.unwrap_or_else(|failure| {
        print_failure(&failure, api.as_ref());
        failure.exit_code()
    });
    Ok(ExitCode::from(code))
}

fn print_failure(failure: &Failure, api: Option<&client::Api>) {
    match (failure, api) {
        (Failure::Problem { problem, .. }, Some(api)) => {
            eprint!("{}", tables::problem(api, problem, None));
            if failure.has_code(Code::Unauthenticated) {
                eprintln!("  Set WPCLONE_TOKEN, or use --token-file FILE.");
            }
            if failure.has_code(Code::CredentialsGone) {
                eprintln!("  Use --password-file FILE, or set WPCLONE_SITE_PASSWORD.");
            }
            if let Some(wait) = failure.retry_after() {
                eprintln!("  Try again in {} s.", wait.as_secs());
            }
        }
        (Failure::Interrupted, _) => {}
        _ if failure.exit_code() == 0 => {}
        _ => eprintln!("error: {}", text::sanitize(&failure.to_string())),
    }
}
