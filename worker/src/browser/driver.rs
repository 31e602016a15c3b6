//! The browser's processes: chromedriver and all that it starts, under a supervisor, in a folder of the task's own.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;
use wpclone_supervisor::{Confinement, ProcessSpec, Supervised};

use super::{BrowserError, BrowserInstallation};

/// The deadline of chromedriver's start.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running chromedriver.
pub(crate) struct Driver {
    supervised: Supervised,
}

impl Driver {
    /// Starts one in a folder that is created for it and removed after it.
    pub(crate) async fn spawn(
        installation: &BrowserInstallation,
        folder: PathBuf,
    ) -> Result<Self, BrowserError> {
        let home = folder.display().to_string();
        let keep = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        let mut env = vec![("HOME".to_owned(), home.clone()), ("XDG_CONFIG_HOME".to_owned(), home)];
        env.extend(["PATH", "LANG", "TZ", "FONTCONFIG_PATH"].into_iter().filter_map(keep));
        let spec = ProcessSpec {
            program: installation.driver.clone(),
            // With OFF it would not print its port either.
            args: vec!["--port=0".into(), "--log-level=SEVERE".into()],
            env,
            folder,
            grace: Duration::ZERO,
            run_as: None,
            confinement: Confinement::default(),
        };
        let supervised = Supervised::spawn(spec).await.map_err(|e| BrowserError::Gone(e.to_string()))?;
        Ok(Self { supervised })
    }

    /// Waits until it is ready; returns its WebDriver address.
    pub(crate) async fn ready(&mut self) -> Result<String, BrowserError> {
        let gone = || BrowserError::Gone("the driver did not start".into());
        let mut lines = BufReader::new(self.supervised.stdout().ok_or_else(gone)?).lines();
        let announced = async {
            loop {
                let line = lines.next_line().await.ok().flatten()?;
                if let Some(port) = announced_port(&line) {
                    return Some(port);
                }
            }
        };
        let port = timeout(START_DEADLINE, announced).await.ok().flatten().ok_or_else(gone)?;
        // Drains the pipe, or the driver would block once it is full. Ends with the driver.
        tokio::spawn(async move { while matches!(lines.next_line().await, Ok(Some(_))) {} });
        Ok(format!("http://127.0.0.1:{port}"))
    }

    /// The process that all processes of the browser descend from.
    pub(crate) fn supervisor_pid(&self) -> Option<u32> {
        self.supervised.supervisor_pid()
    }

    /// Ends it and its browsers; returns when no process is left.
    pub(crate) async fn stop(self) {
        self.supervised.stop().await;
    }
}

/// `ChromeDriver was started successfully on port 34567.`
fn announced_port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("successfully on port ")?;
    rest.trim_end().trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_drivers_output() {
        assert_eq!(announced_port("ChromeDriver was started successfully on port 34567."), Some(34567));
        assert_eq!(announced_port("Starting ChromeDriver 156 on port 0"), None);
    }
}
