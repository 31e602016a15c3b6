//! Commands that run to their end.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// The environment of every program; nothing of ours is passed on.
#[must_use]
pub fn clean_env() -> Vec<(String, String)> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .to_vec()
}

/// Runs a program to its end within `limit` and returns its output. It is killed when this is dropped.
///
/// # Errors
/// It cannot be started, takes too long, or fails; then the error quotes what it wrote to standard error.
pub async fn run_command<S: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = S>,
    env: &[(&str, &str)],
    input: &[u8],
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(clean_env()).envs(env.iter().copied()).kill_on_drop(true);
    // A Ctrl-C in the terminal must not reach it.
    command.process_group(0).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take();
    let feed = async {
        if let Some(stdin) = &mut stdin {
            // A program that does not read everything reports why when it ends.
            let _ = stdin.write_all(input).await;
        }
        drop(stdin);
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let name = program.display();
    let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{name} took too long"));
    let output = timeout(limit, both).await.map_err(too_slow)??;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let message: String = message.trim().chars().take(500).collect();
    Err(io::Error::other(format!("{name}: {} {message}", output.status)))
}
