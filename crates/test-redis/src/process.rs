use std::process::{Child, Command, Stdio};

/// A child that is killed and reaped with its owner, and dies with the thread that started it, whatever ends that.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    /// Starts a program, which `configure` gives its arguments and environment.
    pub fn start(program: &str, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]).stdin(Stdio::null());
        configure(&mut command);
        let child = command.spawn();
        Self(child.unwrap_or_else(|e| panic!("setpriv (util-linux) is needed to start {program}: {e}")))
    }

    /// Sends it a signal of this name, as in `-TERM`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
