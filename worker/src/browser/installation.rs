//! The browser that this machine has: looked for at start, and again while there is none.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::net::PRODUCT;

/// How often the programs are looked for while they are missing, and whether they still exist once they were found.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The deadline of `chromium --version`.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// Where Debian and others install Chromium. The headless shell comes first: it starts faster and needs less memory.
/// Debian's /usr/bin/chromium-headless-shell is a shell script that survives its browser, so it is not in the list.
const BROWSERS: [&str; 5] = [
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/opt/google/chrome/chrome",
];
const DRIVERS: [&str; 3] =
    ["/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver", "/usr/local/bin/chromedriver"];

/// Which programs to use.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrowserSettings {
    /// `None`: one of the usual places.
    pub(crate) browser: Option<PathBuf>,
    /// The same of chromedriver.
    pub(crate) driver: Option<PathBuf>,
}

/// A browser and its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrowserInstallation {
    pub(crate) browser: PathBuf,
    pub(crate) driver: PathBuf,
    /// How the browser identifies itself to sites.
    pub(crate) user_agent: String,
}

/// The browser installation, or why there is none.
type Found = Result<Arc<BrowserInstallation>, String>;

/// The browser installation as the last check found it.
#[derive(Clone)]
pub(crate) struct BrowserAvailability {
    settings: BrowserSettings,
    found: watch::Sender<Found>,
}

impl BrowserInstallation {
    /// Whether the browser can only run headless.
    pub(super) fn is_headless_shell(&self) -> bool {
        self.browser.file_name().is_some_and(|name| name.to_string_lossy().contains("headless-shell"))
    }

    fn exists(&self) -> bool {
        self.browser.is_file() && self.driver.is_file()
    }
}

impl BrowserSettings {
    /// The browser to use; `None` when there is none in the usual places.
    pub(crate) fn browser(&self) -> Option<PathBuf> {
        self.browser.clone().or_else(|| first_file(&BROWSERS))
    }

    /// The driver to use; `None` when there is none in the usual places.
    pub(crate) fn driver(&self) -> Option<PathBuf> {
        self.driver.clone().or_else(|| first_file(&DRIVERS))
    }

    async fn find(&self) -> Found {
        let driver = self.driver().filter(|driver| driver.is_file());
        let driver = driver.ok_or_else(|| missing("chromedriver", self.driver.as_deref()))?;
        let browser = self.browser().filter(|browser| browser.is_file());
        let browser = browser.ok_or_else(|| missing("Chromium", self.browser.as_deref()))?;
        let user_agent = user_agent(&browser).await?;
        Ok(Arc::new(BrowserInstallation { browser, driver, user_agent }))
    }
}

impl BrowserAvailability {
    /// Nothing is looked for until [`BrowserAvailability::keep_checking`].
    pub(crate) fn new(settings: BrowserSettings) -> Self {
        Self { settings, found: watch::Sender::new(Err("it was not checked yet".into())) }
    }

    /// Looks for the programs again and again, for as long as it is awaited.
    pub(crate) async fn keep_checking(&self) {
        loop {
            self.check().await;
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    async fn check(&self) {
        if !self.installation().is_some_and(|found| found.exists()) {
            self.set(self.settings.find().await);
        }
    }

    fn set(&self, found: Found) {
        self.found.send_if_modified(|last| {
            if *last == found {
                return false;
            }
            match &found {
                Ok(found) => tracing::info!(browser = %found.browser.display(), "the browser was found"),
                Err(reason) => {
                    tracing::warn!(reason, "there is no browser; steps of the browser stage are not claimed")
                }
            }
            *last = found;
            true
        });
    }

    /// The installation, unless it is missing.
    pub(crate) fn installation(&self) -> Option<Arc<BrowserInstallation>> {
        self.found.borrow().as_ref().ok().map(Arc::clone)
    }

    /// Why there is no browser; `None` when there is one.
    pub(crate) fn missing(&self) -> Option<String> {
        self.found.borrow().as_ref().err().cloned()
    }

    /// How requests identify themselves to sites: as the browser does, when there is one.
    pub(crate) fn user_agent(&self) -> String {
        self.installation().map_or_else(
            || format!("Mozilla/5.0 (X11; Linux x86_64) {PRODUCT}"),
            |installation| installation.user_agent.clone(),
        )
    }

    /// Waits until there is a browser.
    pub(crate) async fn available(&self) {
        // Ends with an error only when the sender is gone, and it is part of `self`.
        let _ = self.found.subscribe().wait_for(Result::is_ok).await;
    }
}

fn first_file(paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned)
}

fn missing(program: &str, named: Option<&Path>) -> String {
    match named {
        Some(path) => format!("{program} is missing at {}", path.display()),
        None => format!("{program} is in none of the usual places"),
    }
}

/// Asks the browser for its version. It identifies itself as a Chrome of that version, as Chromium does, and by our
/// name, so that a site's owner can recognise and allow us.
async fn user_agent(browser: &Path) -> Result<String, String> {
    let mut command = Command::new(browser);
    command.args(["--version", "--no-sandbox"]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let path = browser.display();
    let output = timeout(VERSION_DEADLINE, command.output()).await;
    let output = output.map_err(|_| format!("{path} does not report its version in time"))?;
    let output = output.map_err(|error| format!("{path} cannot be run: {error}"))?;
    let major = major_version(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| format!("{path} does not report its version"))?;
    Ok(format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36 {PRODUCT}"
    ))
}

/// `Chromium 156.0.8078.79 built on Debian …`
fn major_version(output: &str) -> Option<u32> {
    output.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_version_is_read_from_the_browsers_output() {
        assert_eq!(major_version("Chromium 156.0.8078.79 built on Debian GNU/Linux 12"), Some(156));
        assert_eq!(major_version("segmentation fault"), None);
    }

    #[tokio::test]
    async fn a_browser_that_is_installed_later_is_found_and_one_that_is_removed_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let (browser, driver) = (folder.path().join("chromium"), folder.path().join("chromedriver"));
        let settings = BrowserSettings { browser: Some(browser.clone()), driver: Some(driver.clone()) };
        let availability = BrowserAvailability::new(settings);
        availability.check().await;
        assert!(availability.missing().unwrap().contains("chromedriver is missing at"));

        fs::write(&driver, "").unwrap();
        fs::write(&browser, "#!/bin/sh\necho Chromium 156.0.1.2\n").unwrap();
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
        availability.check().await;
        availability.available().await;
        assert!(availability.installation().unwrap().user_agent.contains("Chrome/156.0.0.0"));

        fs::remove_file(&browser).unwrap();
        availability.check().await;
        assert!(availability.missing().unwrap().contains("Chromium is missing at"));
    }
}
