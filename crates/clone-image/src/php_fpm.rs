//! The clone's php-fpm.

use std::fs;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use wpclone_clone_php::FpmPool;
use wpclone_clone_proxy::fastcgi::PhpSocket;
use wpclone_provision::clean_env;
use wpclone_provision::clone_image::PHP_INI_FOLDER;

/// A link of the image to the php-fpm of its PHP.
const PROGRAM: &str = "/usr/local/sbin/php-fpm";
const CONFIG: &str = "/run/php-fpm.conf";
const SOCKET: &str = "/run/php.sock";
/// What php-fpm writes itself; it writes it to standard error too, where the container's log begins.
const FPM_LOG: &str = "/run/php-fpm.log";
/// The standard error of php-fpm's workers, which php-fpm passes on.
const PHP_LOG: &str = "/proc/self/fd/2";
const TMP: &str = "/tmp";
/// Starting takes 50 ms on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long PHP's requests may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// php-fpm, which ends when this is dropped.
pub(crate) struct PhpFpm {
    child: Child,
}

/// The socket that php-fpm listens on.
pub(crate) fn socket() -> PhpSocket {
    PhpSocket { path: SOCKET.into(), uid: rustix::process::geteuid().as_raw() }
}

impl PhpFpm {
    /// Starts php-fpm and waits until it accepts connections.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let pool = FpmPool {
            socket: Path::new(SOCKET),
            fpm_log: Path::new(FPM_LOG),
            php_log: Path::new(PHP_LOG),
            tmp: Path::new(TMP),
            open_basedir: None,
            limits: None,
        };
        fs::write(CONFIG, pool.config()).context("php-fpm's configuration cannot be written")?;
        let mut command = Command::new(PROGRAM);
        command.args(["--nodaemonize", "--force-stderr", "--fpm-config", CONFIG]);
        // The empty entry stands for PHP's own folder.
        command.env_clear().envs(clean_env()).env("PHP_INI_SCAN_DIR", format!(":{PHP_INI_FOLDER}"));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let mut fpm = Self { child: command.spawn().context("php-fpm cannot be started")? };
        let socket = socket();
        let connects = async {
            loop {
                if let Some(status) = fpm.child.try_wait()? {
                    bail!("php-fpm ended at once: {status}");
                }
                if socket.connect().await.is_ok() {
                    return Ok(());
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(START_TIMEOUT, connects).await.context("php-fpm does not accept connections")??;
        Ok(fpm)
    }

    /// Waits until it ends.
    pub(crate) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            // It fails when php-fpm has ended.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
