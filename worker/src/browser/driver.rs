//! The browser's processes: chromedriver and all that it starts, under a guard, in a folder of the task's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use wpclone_guard::{Guarded, Spec};

use super::BrowserError;

const START_LIMIT: Duration = Duration::from_secs(20);
const PRODUCT: &str = concat!("wpclone/", env!("CARGO_PKG_VERSION"));

/// Where Debian and others put a Chromium. The headless shell comes first: it starts faster and takes less memory.
/// Debian's /usr/bin/chromium-headless-shell is a shell script that survives its browser, so never that.
const BROWSERS: [&str; 5] = [
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/opt/google/chrome/chrome",
];
const DRIVERS: [&str; 3] =
    ["/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver", "/usr/local/bin/chromedriver"];

/// The programs that make a browser.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) browser: PathBuf,
    pub(crate) driver: PathBuf,
}

impl Programs {
    /// Whether the browser knows nothing but headless.
    pub(crate) fn is_shell(&self) -> bool {
        self.browser.file_name().is_some_and(|n| n.to_string_lossy().contains("headless-shell"))
    }

    /// Runs the browser for its version; what it then calls itself to sites: a Chrome of that version, as Chromium does,
    /// and our name, so that a site's owner can tell and allow us.
    pub(crate) async fn user_agent(&self) -> Result<String, BrowserError> {
        let gone = |what: String| BrowserError::Gone(what);
        if !self.driver.is_file() {
            return Err(gone(format!("{} is not there", self.driver.display())));
        }
        let mut command = Command::new(&self.browser);
        command
            .args(["--version", "--no-sandbox"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let said = timeout(START_LIMIT, command.output()).await.map_err(|_| BrowserError::Slow)?;
        let said = said.map_err(|e| gone(format!("{} cannot be run: {e}", self.browser.display())))?;
        let major = major_version(&String::from_utf8_lossy(&said.stdout))
            .ok_or_else(|| gone(format!("{} does not tell its version", self.browser.display())))?;
        Ok(format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36 {PRODUCT}"
        ))
    }
}

/// The programs that are named, else those found in the usual places.
pub(crate) fn find_programs(browser: Option<PathBuf>, driver: Option<PathBuf>) -> Programs {
    let find = |places: &[&str]| {
        let found = places.iter().find(|p| Path::new(p).is_file()).or(places.first());
        PathBuf::from(found.copied().unwrap_or_default())
    };
    Programs {
        browser: browser.unwrap_or_else(|| find(&BROWSERS)),
        driver: driver.unwrap_or_else(|| find(&DRIVERS)),
    }
}

/// A running chromedriver.
pub(crate) struct Driver {
    guarded: Guarded,
}

impl Driver {
    /// Starts one in a folder that is made for it and removed after it.
    pub(crate) async fn spawn(programs: &Programs, folder: PathBuf) -> Result<Self, BrowserError> {
        let home = folder.display().to_string();
        let keep = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        let mut env = vec![("HOME".to_owned(), home.clone()), ("XDG_CONFIG_HOME".to_owned(), home)];
        env.extend(["PATH", "LANG", "TZ", "FONTCONFIG_PATH"].into_iter().filter_map(keep));
        let spec = Spec {
            program: programs.driver.clone(),
            // With OFF it would not say its port either.
            args: vec!["--port=0".into(), "--log-level=SEVERE".into()],
            env,
            folder,
            grace: Duration::ZERO,
            run_as: None,
        };
        let guarded = Guarded::spawn(spec).await.map_err(|e| BrowserError::Gone(e.to_string()))?;
        Ok(Self { guarded })
    }

    /// Waits until it says its port; where it speaks WebDriver.
    pub(crate) async fn ready(&mut self) -> Result<String, BrowserError> {
        let gone = || BrowserError::Gone("the driver did not start".into());
        let mut lines = BufReader::new(self.guarded.stdout().ok_or_else(gone)?).lines();
        let announced = async {
            loop {
                let line = lines.next_line().await.ok().flatten()?;
                if let Some(port) = announced_port(&line) {
                    return Some(port);
                }
            }
        };
        let port = timeout(START_LIMIT, announced).await.ok().flatten().ok_or_else(gone)?;
        // Nobody reads on: the driver must not stand before a full pipe. Ends with the driver.
        tokio::spawn(async move { while matches!(lines.next_line().await, Ok(Some(_))) {} });
        Ok(format!("http://127.0.0.1:{port}"))
    }

    /// The process that all of the browser descends from.
    pub(crate) fn guard_pid(&self) -> Option<u32> {
        self.guarded.guard_pid()
    }

    /// Ends it and its browsers; returns when nothing is left.
    pub(crate) async fn stop(self) {
        self.guarded.stop().await;
    }
}

/// `Chromium 156.0.8078.79 built on Debian …`
fn major_version(said: &str) -> Option<u32> {
    said.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok())
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
    fn the_port_is_read_from_what_the_driver_says() {
        assert_eq!(announced_port("ChromeDriver was started successfully on port 34567."), Some(34567));
        assert_eq!(announced_port("Starting ChromeDriver 156 on port 0"), None);
        assert_eq!(major_version("Chromium 156.0.8078.79 built on Debian GNU/Linux 12"), Some(156));
        assert_eq!(major_version("segmentation fault"), None);
    }
}
