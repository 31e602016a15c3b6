//! A clone's php-fpm.

use std::io;
use std::path::Path;
use std::time::Duration;

use wpclone_clone_php::FpmPool;
use wpclone_provision::{EffectivePhpLimits, SourceFacts};

use crate::blocking::run_blocking;
use crate::clone_paths::{ClonePaths, PHP_LOG};
use crate::files::write_atomically;
use crate::launcher::{Daemon, LaunchSpec, Launcher};
use crate::sandbox::{ResourceLimits, SandboxSpec};
use crate::seccomp::SyscallFilter;
use crate::users::Ids;

/// Starting takes 50 ms on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What a clone's PHP uses at most: eight workers of at most 1 GiB each do not all need it at once.
const LIMITS: ResourceLimits = ResourceLimits {
    processes: 256,
    memory_bytes: 2 << 30,
    cpu_weight: 50,
    // With that of processes it bounds what a clone takes of the machine's open files (fs.file-max).
    open_files: 1024,
    file_bytes: Some(16 << 30),
};

/// Starts php-fpm and waits until it accepts connections.
pub(crate) async fn start(
    paths: &ClonePaths,
    clone_runtime: &Path,
    program: &Path,
    user: Option<Ids>,
    facts: &SourceFacts,
    launcher: &Launcher,
) -> io::Result<Daemon> {
    let conf = fpm_config(paths, clone_runtime, user.is_some(), facts);
    let file = paths.fpm_conf();
    run_blocking(move || write_atomically(&file, conf.as_bytes(), 0o644)).await?;
    let args = ["--nodaemonize".to_owned(), "--fpm-config".into(), paths.fpm_conf().display().to_string()];
    let mut daemon = launcher
        .start(LaunchSpec {
            program: program.to_owned(),
            args: args.to_vec(),
            log: paths.fpm_output(),
            user,
            grace: Duration::from_secs(1),
            sandbox: sandbox(paths, clone_runtime),
        })
        .await?;
    let socket = paths.php_socket(user);
    if let Err(error) = daemon.until_ready(START_TIMEOUT, async || socket.connect().await.is_ok()).await {
        // The next one has the same files.
        daemon.stop().await;
        return Err(error);
    }
    Ok(daemon)
}

fn fpm_config(paths: &ClonePaths, clone_runtime: &Path, own_user: bool, facts: &SourceFacts) -> String {
    let (www, tmp, login, log) = (paths.www(), paths.tmp(), paths.login(), paths.log());
    let allowed = [www.as_path(), &tmp, &login, clone_runtime];
    FpmPool {
        socket: &paths.socket(),
        fpm_log: &log.join("fpm.log"),
        php_log: &log.join(PHP_LOG),
        tmp: &tmp,
        // A clone that runs as the worker's own user could open the worker's files.
        open_basedir: (!own_user).then_some(&allowed),
        limits: Some(EffectivePhpLimits::from_source(facts.limits)),
    }
    .config()
}

/// What a clone's PHP sees: its own folders, the clone runtime, and the folder with the socket to its database.
fn sandbox(paths: &ClonePaths, clone_runtime: &Path) -> SandboxSpec {
    SandboxSpec {
        read_only: vec![paths.fpm_conf(), paths.www(), clone_runtime.to_owned(), paths.database()],
        read_write: vec![paths.tree(), paths.tmp(), paths.log(), paths.login(), paths.run()],
        limits: LIMITS,
        syscalls: SyscallFilter::Php,
    }
}
