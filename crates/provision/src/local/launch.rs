//! Programs: those that go on, under guard, and those that end.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use wpclone_guard::{Guarded, Spec, unique_folder};

use super::users::Ids;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How much of a log is told.
const TAIL: u64 = 600;

/// How programs are started.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The program that is the guard: it calls `wpclone_guard::run_if_guard`.
    pub(crate) guard: PathBuf,
    /// Where the guards' folders are.
    pub(crate) run: PathBuf,
    /// `unshare`, where it can give programs a network of their own.
    pub(crate) unshare: Option<PathBuf>,
}

/// What to start.
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<String>,
    /// A file that it writes what it says to; made anew.
    pub(crate) log: &'a Path,
    pub(crate) user: Option<Ids>,
    /// Whether to give it a network of its own, if possible.
    pub(crate) own_network: bool,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
}

/// A program that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Service {
    guarded: Guarded,
    log: PathBuf,
}

impl Launcher {
    /// Starts a program that goes on.
    pub(crate) async fn start(&self, launch: Launch<'_>) -> io::Result<Service> {
        let log = File::create(launch.log)?;
        let mut run_as = launch.user.map(|ids| (ids.uid, ids.gid));
        let (mut program, mut args) = (launch.program.to_owned(), launch.args);
        if let (true, Some(unshare)) = (launch.own_network, &self.unshare) {
            let mut around = unshare_args(launch.user);
            around.push(program.display().to_string());
            around.append(&mut args);
            // A namespace has to be made before root's rights are given up.
            (program, args, run_as) = (unshare.clone(), around, None);
        }
        let spec = Spec {
            program,
            args,
            env: plain_env(),
            folder: unique_folder(&self.run, "program"),
            grace: launch.grace,
            run_as,
        };
        let err = Stdio::from(log.try_clone()?);
        let guarded = Guarded::spawn_by(&self.guard, spec, Stdio::from(log), err).await;
        Ok(Service { guarded: guarded.map_err(io::Error::other)?, log: launch.log.to_owned() })
    }
}

/// `unshare`'s arguments for an empty network, and for the user to become in it.
fn unshare_args(user: Option<Ids>) -> Vec<String> {
    let mut args = vec!["--net".to_owned()];
    match user {
        Some(ids) => args.extend([format!("--setgid={}", ids.gid), format!("--setuid={}", ids.uid)]),
        None if rustix::process::geteuid().is_root() => {}
        // Without root only who is alone in a user namespace may have a network.
        None => args.extend(["--user".to_owned(), "--map-current-user".to_owned()]),
    }
    args.push("--".to_owned());
    args
}

/// Whether programs can have a network of their own here.
pub(crate) async fn can_unshare(unshare: &Path, user: Option<Ids>) -> bool {
    let args = unshare_args(user).into_iter().chain(["/bin/true".to_owned()]);
    run(unshare, args, &[], b"", Duration::from_secs(10)).await.is_ok()
}

impl Service {
    /// Waits until `probe` holds; an error when the program ends, or takes longer than `limit`.
    pub(crate) async fn ready<F: Future<Output = bool>>(
        &mut self,
        limit: Duration,
        probe: impl Fn() -> F,
    ) -> io::Result<()> {
        let end = Instant::now() + limit;
        while !probe().await {
            if !self.runs() {
                return Err(io::Error::other(format!("it ended: {}", tail(&self.log))));
            }
            if Instant::now() >= end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, tail(&self.log)));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.guarded.runs()
    }

    /// Waits until it has ended by itself, and ends it after `limit`.
    pub(crate) async fn ended(mut self, limit: Duration) -> bool {
        let ended = timeout(limit, self.guarded.ended()).await.is_ok();
        if !ended {
            self.guarded.stop().await;
        }
        ended
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn stop(self) {
        self.guarded.stop().await;
    }
}

/// What every program may have of our environment.
pub(crate) fn plain_env() -> Vec<(String, String)> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .to_vec()
}

/// Runs a program to its end, within `limit`, and returns what it prints. It is killed when nobody waits any more.
pub(crate) async fn run<S: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = S>,
    env: &[(&str, &str)],
    input: &[u8],
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(plain_env()).envs(env.iter().copied()).kill_on_drop(true);
    // A Ctrl-C is ours to handle.
    command.process_group(0).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take();
    let feed = async {
        if let Some(stdin) = &mut stdin {
            // Who does not read all of it says why when it ends.
            let _ = stdin.write_all(input).await;
        }
        drop(stdin);
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let name = program.display();
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{name} took too long"));
    let output = timeout(limit, both).await.map_err(late)??;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(500).collect();
    Err(io::Error::other(format!("{name}: {} {said}", output.status)))
}

/// The last part of a log.
pub(crate) fn tail(log: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut text = Vec::new();
        file.take(TAIL).read_to_end(&mut text)?;
        io::Result::Ok(String::from_utf8_lossy(&text).trim().to_owned())
    };
    read().unwrap_or_default()
}
