//! The programs under test, run as real processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::service::{Launch, Service, is_alive, plain_env, processes, signal};
use crate::util::{at, base_folder, built, free_port, tail, unique, until};
use crate::{LabError, Result};

/// The time after a worker's death by which nothing of its work may be left, on a busy machine.
const CLEAN_LIMIT: Duration = Duration::from_secs(60);

/// How long a program that was asked to end may take.
const TERMINATE_LIMIT: Duration = Duration::from_secs(180);

/// A `wpclone-api` or `wpclone-worker`. It runs below `lab run-program`, which stays when the program is killed, so
/// that leftovers can be detected. Dropping it kills the program and panics if anything of it is left.
#[derive(Debug)]
pub struct Program {
    name: String,
    /// Instead of the program of this name.
    program: Option<PathBuf>,
    env: Vec<(String, String)>,
    port: u16,
    folder: PathBuf,
    service: Option<Service>,
}

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// Command lines of processes that work in its temporary folder.
    pub processes: Vec<String>,
    /// What lies in its temporary folder.
    pub files: Vec<String>,
}

impl Leftovers {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.files.is_empty()
    }
}

impl Program {
    /// Starts `wpclone-api` and waits until it is ready.
    ///
    /// # Errors
    /// It is not.
    pub async fn api(port: Option<u16>, env: Vec<(String, String)>) -> Result<Self> {
        Self::start("wpclone-api", "WPCLONE_LISTEN", port, env).await
    }

    /// Starts `wpclone-worker` and waits until it is ready.
    ///
    /// # Errors
    /// It is not.
    pub async fn worker(port: Option<u16>, env: Vec<(String, String)>) -> Result<Self> {
        Self::start("wpclone-worker", "WPCLONE_ADMIN_LISTEN", port, env).await
    }

    /// The same with another program, which becomes a worker.
    ///
    /// # Errors
    /// It is not ready.
    pub async fn worker_program(program: &Path, env: Vec<(String, String)>) -> Result<Self> {
        let mut worker = Self::prepare("wpclone-worker", "WPCLONE_ADMIN_LISTEN", None, env).await?;
        worker.program = Some(program.to_owned());
        worker.restart().await?;
        Ok(worker)
    }

    async fn start(name: &str, listen: &str, port: Option<u16>, env: Vec<(String, String)>) -> Result<Self> {
        let mut program = Self::prepare(name, listen, port, env).await?;
        program.restart().await?;
        Ok(program)
    }

    async fn prepare(
        name: &str,
        listen: &str,
        port: Option<u16>,
        env: Vec<(String, String)>,
    ) -> Result<Self> {
        let folder = base_folder().await?.join(unique(name));
        fs::create_dir_all(folder.join("tmp")).map_err(at(&folder))?;
        let port = port.map_or_else(free_port, Ok)?;
        let mut program = Self { name: name.into(), program: None, env, port, folder, service: None };
        program.env.push((listen.into(), format!("127.0.0.1:{port}")));
        Ok(program)
    }

    /// Starts it again, on the same port, after it ended. What the run before left is cleared.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.service = None;
        for note in ["pid", "status"] {
            let _ = fs::remove_file(self.folder.join(note));
        }
        let mut env = plain_env();
        env.extend(self.env.iter().cloned());
        let program = self.program.clone().map_or_else(|| built(&self.name), Ok)?;
        let args = [self.folder.display().to_string(), program.display().to_string()];
        let launch = Launch { env, ..Launch::new(&self.name, built("lab")?) }
            .args(["run-program".to_owned()])
            .args(args);
        let service = Service::start(launch).await?;
        let url = format!("{}/readyz", self.url());
        let http = crate::client::http()?;
        let ready =
            async || self.status().is_some() || http.get(&url).send().await.is_ok_and(|r| r.status() == 200);
        let became = service.ready(ready).await;
        self.service = Some(service);
        became?;
        match self.status() {
            Some(status) => {
                Err(LabError::Ended { program: format!("{} ({status})", self.name), log: tail(&self.log()) })
            }
            None => Ok(()),
        }
    }

    /// Where it listens: the API, or a worker's health and metrics.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until `/readyz` responds with a text for which `says` is true, whatever the status.
    ///
    /// # Errors
    /// It does not within the limit.
    pub async fn until_ready_says(
        &self,
        what: &str,
        limit: Duration,
        says: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let url = format!("{}/readyz", self.url());
        let http = crate::client::http()?;
        let told = async || match http.get(&url).send().await {
            Ok(response) => response.text().await.is_ok_and(|text| says(&text)),
            Err(_) => false,
        };
        until(what, limit, Some(&self.log()), told).await
    }

    /// The file with all that it wrote since its last start.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.service.as_ref().map(|s| s.log().to_owned()).unwrap_or_default()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()?;
        (self.status().is_none() && is_alive(pid)).then_some(pid)
    }

    /// How it ended: `exit status: 0`, `signal: 9 (SIGKILL)`; `None` while it runs.
    #[must_use]
    pub fn status(&self) -> Option<String> {
        fs::read_to_string(self.folder.join("status")).ok()
    }

    /// Kills it; what it started is left to itself.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill9(&self) -> Result<()> {
        self.end_by(Signal::KILL).await.map(|_| ())
    }

    /// Asks it to end (SIGTERM), and waits. Says how it ended.
    ///
    /// # Errors
    /// It does not run, or does not end within three minutes.
    pub async fn terminate(&self) -> Result<String> {
        self.end_by(Signal::TERM).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, which: Signal) -> Result<()> {
        let help = "start it before you end it";
        let pid = self.pid().ok_or(LabError::Missing { what: format!("a running {}", self.name), help })?;
        signal(pid, which);
        Ok(())
    }

    async fn end_by(&self, which: Signal) -> Result<String> {
        self.signal(which)?;
        let ended = async || self.status().is_some();
        until(&format!("{} to end", self.name), TERMINATE_LIMIT, Some(&self.log()), ended).await?;
        Ok(self.status().unwrap_or_default())
    }

    /// The temporary folder that it works in.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Processes and files in its temporary folder now. An empty top-level folder, which programs create for
    /// their tasks' folders, does not count.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        let list = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
        let (folders, mut files): (Vec<_>, Vec<_>) = list(&self.tmp()).partition(|p| p.is_dir());
        files.extend(folders.iter().flat_map(|f| list(f)));
        Leftovers {
            processes: processes_in(&self.tmp(), self.pid()),
            files: files.iter().map(|p| p.display().to_string()).collect(),
        }
    }

    /// Waits until nothing is left.
    ///
    /// # Errors
    /// Something is left after a minute.
    pub async fn clean(&self) -> Result<()> {
        self.clean_within(CLEAN_LIMIT).await
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// Something is left by then.
    pub async fn clean_within(&self, limit: Duration) -> Result<()> {
        let late = until("nothing to be left", limit, None, async || self.leftovers().is_empty()).await;
        late.map_err(|_| LabError::Late {
            what: format!("{} to leave nothing behind", self.name),
            limit,
            log: format!("{:?}", self.leftovers()),
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            signal(pid, Signal::KILL);
        }
        let end = Instant::now() + CLEAN_LIMIT;
        let mut left = self.leftovers();
        while !left.is_empty() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
            left = self.leftovers();
        }
        drop(self.service.take());
        let _ = fs::remove_dir_all(&self.folder);
        assert!(left.is_empty() || thread::panicking(), "{} left behind: {left:?}", self.name);
    }
}

/// Command lines of processes whose working folder, TMPDIR or arguments are below `folder`.
fn processes_in(folder: &Path, but: Option<u32>) -> Vec<String> {
    let mark = folder.display().to_string();
    let in_folder = |pid: u32| {
        let works = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        let says = |file: &str| {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(&mark)
        };
        works || says("environ") || says("cmdline")
    };
    let command = |pid: u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ").chars().take(200).collect::<String>()
    };
    processes().filter(|pid| Some(*pid) != but && is_alive(*pid) && in_folder(*pid)).map(command).collect()
}
