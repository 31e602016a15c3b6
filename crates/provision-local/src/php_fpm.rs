//! A clone's php-fpm.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use wpclone_provision::SourceFacts;

use crate::clone_paths::ClonePaths;
use crate::files::write_atomically;
use crate::fpm_config::fpm_config;
use crate::launcher::{Daemon, LaunchSpec, Launcher};
use crate::users::Ids;

/// Starting takes 50 ms on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts php-fpm and waits until it accepts connections.
pub(crate) async fn start(
    paths: &ClonePaths,
    clone_runtime: &Path,
    program: &Path,
    user: Option<Ids>,
    facts: &SourceFacts,
    launcher: &Launcher,
) -> io::Result<Daemon> {
    let conf = fpm_config(paths, clone_runtime, user.is_some(), facts.limits);
    write_atomically(&paths.fpm_conf(), conf.as_bytes(), 0o644)?;
    let args = ["--nodaemonize".to_owned(), "--fpm-config".into(), paths.fpm_conf().display().to_string()];
    let mut daemon = launcher
        .start(LaunchSpec {
            program,
            args: args.to_vec(),
            log: &paths.fpm_output(),
            user,
            own_network: true,
            grace: Duration::from_secs(1),
        })
        .await?;
    let socket = paths.socket();
    daemon.until_ready(START_TIMEOUT, async || UnixStream::connect(&socket).await.is_ok()).await?;
    Ok(daemon)
}
