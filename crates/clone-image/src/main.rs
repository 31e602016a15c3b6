//! wpclone-clone: the program in the image of clones.

mod check;
mod clone_address;
mod php_fpm;
mod prepare;
mod serve;
mod setup;
mod wordpress_files;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use wpclone_clone_php::WordPressError;
use wpclone_http_server::raise_open_files_limit;
use wpclone_provision::clone_image::{DATABASE_EXIT_CODE, URL_VARIABLE};

use crate::clone_address::CloneAddress;

/// Installs one clone's WordPress and serves it.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install WordPress where there is none; once for each setup.json make sure of the administrator and open the migrator
    Setup {
        /// The clone's address
        #[arg(long, env = URL_VARIABLE)]
        url: CloneAddress,
    },
    /// Serve the clone
    Serve {
        /// The clone's address
        #[arg(long, env = URL_VARIABLE)]
        url: CloneAddress,
    },
    /// Say whether the clone is served
    Check,
    /// Put into an image what `setup` and `serve` need
    Prepare {
        /// A folder with WordPress
        wordpress: PathBuf,
    },
}

fn main() -> ExitCode {
    let filter =
        EnvFilter::builder().with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into());
    tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(std::io::stderr).init();
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wpclone-clone: {error:#}");
            match error.downcast_ref() {
                Some(WordPressError::NoDatabase(_)) => ExitCode::from(DATABASE_EXIT_CODE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check => check::check(),
        Command::Prepare { wordpress } => prepare::prepare(&wordpress),
        Command::Setup { url } => block_on(setup::setup(&url)),
        Command::Serve { url } => block_on(serve::serve(url)),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(work)
}
