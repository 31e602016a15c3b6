//! Helper processes that the lab runs below its guards.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use wpclone_tests::Result;

/// Less than the guard's own time limit.
const OTHERS_LIMIT: Duration = Duration::from_secs(18);

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread().enable_io().enable_time().build()?.block_on(work)
}

fn terminate() -> io::Result<Signal> {
    signal(SignalKind::terminate())
}

/// Stays until it is told to end, and until the guards of all other folders beside its own have ended: they hold a
/// lock file each. Its own guard then removes the folder that they are all in.
pub(crate) fn keep() -> Result {
    run(async {
        terminate()?.recv().await;
        let end = Instant::now() + OTHERS_LIMIT;
        let others = || {
            let entries = fs::read_dir(".").into_iter().flatten().flatten();
            entries.filter(|e| e.path().extension().is_some_and(|e| e == "lock")).count()
        };
        while others() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
}

/// Runs a program in `folder`, with `folder/tmp` as its TMPDIR, and notes its process id and how it ended in files
/// there. Stays when the program ends, until it is told to end itself; the program is then told as well.
pub(crate) fn hold(folder: &Path, program: &Path) -> Result {
    run(async {
        let mut told = terminate()?;
        let mut command = Command::new(program);
        command.env("TMPDIR", folder.join("tmp")).current_dir(folder).process_group(0);
        let mut child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id();
        note(folder, "pid", &pid.map(|p| p.to_string()).unwrap_or_default())?;
        tokio::select! {
            status = child.wait() => {
                note(folder, "status", &status?.to_string())?;
                told.recv().await;
            }
            _ = told.recv() => {
                if let Some(pid) = pid.and_then(|p| rustix::process::Pid::from_raw(p.cast_signed())) {
                    // It may have ended by itself.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                }
                // For as long as our guard lets us.
                note(folder, "status", &child.wait().await?.to_string())?;
            }
        }
        Ok(())
    })
}

/// Whole or not at all: others read it.
fn note(folder: &Path, name: &str, text: &str) -> Result {
    let new = folder.join(format!("{name}.new"));
    fs::write(&new, text)?;
    Ok(fs::rename(new, folder.join(name))?)
}
