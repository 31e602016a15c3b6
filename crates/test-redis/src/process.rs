use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A child process that is killed and reaped on drop, and dies with the thread that started it.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    /// Starts a program; `configure` sets its arguments and environment.
    pub fn start(program: impl AsRef<OsStr>, configure: impl FnOnce(&mut Command)) -> Self {
        let program = program.as_ref();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
        configure(&mut command);
        let child = command.spawn();
        Self(
            child.unwrap_or_else(|e| {
                panic!("setpriv (util-linux) is needed to start {}: {e}", program.display())
            }),
        )
    }

    /// Sends it a signal, as in `-TERM`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(done.unwrap().success());
    }

    /// Stops it with SIGSTOP, and blocks until all of its threads are stopped.
    ///
    /// # Panics
    /// It does not stop.
    pub fn freeze(&self) {
        self.signal("-STOP");
        let since = Instant::now();
        while !self.is_frozen() {
            assert!(since.elapsed() < crate::redis::PATIENCE, "a stopped process goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether all of its threads are stopped: the state is the first field after the name (proc(5)).
    fn is_frozen(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let stat = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("stat"));
        threads.flatten().filter_map(|t| stat(t).ok()).all(|stat| {
            let (_, state) = stat.rsplit_once(") ").unwrap();
            state.starts_with('T')
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
