//! Child processes that the lab runs below its supervisors.

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

/// Less than the supervisor's own time limit, which the removal of the files needs too.
const OTHERS_LIMIT: Duration = Duration::from_secs(90);

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread().enable_io().enable_time().build()?.block_on(work)
}

fn terminate() -> io::Result<Signal> {
    signal(SignalKind::terminate())
}

/// Waits for SIGTERM, and then until the supervisors of all other folders beside its own have ended: each holds a lock
/// file. Then it removes what is left in their common parent, because copies of WordPress have more files than its own
/// supervisor, which removes the parent, can remove in its time on a busy machine.
pub(crate) fn keep_folder() -> Result {
    run(async {
        terminate()?.recv().await;
        let end = Instant::now() + OTHERS_LIMIT;
        let others = || {
            let entries = fs::read_dir(".").into_iter().flatten().flatten();
            entries.filter(|e| e.path().extension().is_some_and(|e| e == "lock")).count()
        };
        while others() > 0 {
            if Instant::now() > end {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        for entry in fs::read_dir(".")? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    })
}

/// Runs a program in `folder`, with `folder/tmp` as its TMPDIR, and writes its process id and exit status to files there.
/// Waits for SIGTERM even after the program has ended, and forwards it to the program.
pub(crate) fn run_program(folder: &Path, program: &Path) -> Result {
    run(async {
        let mut sigterm = terminate()?;
        let mut command = Command::new(program);
        command.env("TMPDIR", folder.join("tmp")).current_dir(folder).process_group(0);
        let mut child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id();
        write_file(folder, "pid", &pid.map(|p| p.to_string()).unwrap_or_default())?;
        tokio::select! {
            status = child.wait() => {
                write_file(folder, "status", &status?.to_string())?;
                sigterm.recv().await;
            }
            _ = sigterm.recv() => {
                if let Some(pid) = pid.and_then(|p| rustix::process::Pid::from_raw(p.cast_signed())) {
                    // It may have ended by itself.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                }
                // The supervisor limits this wait.
                write_file(folder, "status", &child.wait().await?.to_string())?;
            }
        }
        Ok(())
    })
}

/// Writes a file atomically, because other processes read it.
fn write_file(folder: &Path, name: &str, text: &str) -> Result {
    let new = folder.join(format!("{name}.new"));
    fs::write(&new, text)?;
    Ok(fs::rename(new, folder.join(name))?)
}
