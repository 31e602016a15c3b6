//! Programs that run to completion and print something.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::service::plain_env;
use crate::{LabError, Result};

const LIMIT: Duration = Duration::from_secs(600);

/// A command with a minimal environment, killed when its future is dropped.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(plain_env()).kill_on_drop(true);
    command
}

/// Runs it with `input`; returns what it prints.
///
/// # Errors
/// It fails, or takes longer than ten minutes.
pub(crate) async fn run(mut command: Command, input: &[u8]) -> Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take();
    let feed = async {
        if let Some(stdin) = &mut stdin {
            // A program that does not read all of its input reports why when it exits.
            let _ = stdin.write_all(input).await;
        }
        drop(stdin);
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let late = |_| LabError::Late { what: format!("{name} to end"), limit: LIMIT, log: String::new() };
    let output = timeout(LIMIT, both).await.map_err(late)??;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(said(&output.stdout))
    } else {
        Err(LabError::Ended { program: name, log: said(&output.stderr) + &said(&output.stdout) })
    }
}

/// Runs a program of the machine with arguments.
pub(crate) async fn run_args<S: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
) -> Result<String> {
    let mut command = command(&crate::util::installed(program)?);
    command.args(args);
    run(command, b"").await
}
