//! The browser of this machine, or of the driver beside the worker, and how it is tried.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::confinement::{BrowserConfinement, proxy_address};
use super::driver::Driver;
use super::local_driver::{LocalDriver, LocalDriverSpec};
use super::remote_driver::RemoteDriver;
use super::sandbox_check::check_renderers;
use super::users::BrowserUsers;
use super::webdriver::{BrowserOptions, WebDriver};
use super::{Browser as _, BrowserError};
use crate::net::PRODUCT;
use crate::running_steps::RunningBrowser;

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

/// A page that needs no network, with something for its process to do.
const PAGE: &str = "data:text/html,<p>wpclone";

/// Which programs to use, and whether with Chromium's sandbox.
#[derive(Debug, Clone)]
pub(crate) struct BrowserSettings {
    /// `None`: one of the usual places. With a remote driver it is a path of the driver's container.
    pub(crate) browser: Option<PathBuf>,
    /// The same of chromedriver.
    pub(crate) driver: Option<PathBuf>,
    /// Instead of starting a driver.
    pub(crate) remote: Option<RemoteDriver>,
    /// Whether Chromium's sandbox is on. Without it any page can take over the browser.
    pub(crate) has_sandbox: bool,
}

/// A browser and its driver, which were tried.
#[derive(Debug)]
pub(crate) struct BrowserInstallation {
    place: Place,
    /// How the browser identifies itself to sites.
    pub(crate) user_agent: String,
}

/// Where browsers run.
#[derive(Debug)]
pub(super) enum Place {
    /// On this machine, each with a driver of its own.
    Local { programs: Programs, confinement: BrowserConfinement, users: Arc<BrowserUsers>, folders: PathBuf },
    /// Where this driver starts them.
    Remote { driver: RemoteDriver, browser: PathBuf, has_sandbox: bool },
}

/// Where the programs are: as they were found, and without links in their paths.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    found: [PathBuf; 2],
    browser: PathBuf,
    driver: PathBuf,
}

impl BrowserInstallation {
    /// What is there, after a browser was tried; else why it does not work.
    pub(super) async fn tried(place: Place, shutdown: &CancellationToken) -> Result<Arc<Self>, String> {
        let mut installation = Self { place, user_agent: String::new() };
        installation.user_agent = user_agent(try_browser(&installation, shutdown).await?);
        Ok(Arc::new(installation))
    }

    /// Whether browsers are confined by bubblewrap here.
    pub(super) fn is_in_bubblewrap(&self) -> bool {
        matches!(&self.place, Place::Local { confinement, .. } if confinement.bubblewrap.is_some())
    }

    /// The driver that is not started here, if it is one.
    pub(super) fn remote_driver(&self) -> Option<&RemoteDriver> {
        match &self.place {
            Place::Local { .. } => None,
            Place::Remote { driver, .. } => Some(driver),
        }
    }

    /// A driver for one browser.
    pub(super) async fn driver(&self) -> Result<Driver, BrowserError> {
        match &self.place {
            Place::Local { programs, confinement, users, folders } => {
                let Programs { browser, driver, .. } = programs;
                let spec = LocalDriverSpec { browser, driver, confinement, users, folders };
                Ok(Driver::Local(Box::new(LocalDriver::spawn(&spec).await?)))
            }
            Place::Remote { driver, .. } => Ok(Driver::Remote(driver.clone())),
        }
    }

    /// How a browser is started.
    pub(super) fn browser_options(&self) -> BrowserOptions<'_> {
        let (browser, has_sandbox) = match &self.place {
            Place::Local { programs, confinement, .. } => {
                (&programs.browser, confinement.has_chromium_sandbox)
            }
            Place::Remote { browser, has_sandbox, .. } => (browser, *has_sandbox),
        };
        BrowserOptions { browser, has_sandbox, user_agent: Some(&self.user_agent) }
    }

    /// Whether it is still there.
    pub(super) async fn exists(&self) -> bool {
        match &self.place {
            Place::Local { programs, .. } => programs.found.iter().all(|program| program.is_file()),
            Place::Remote { driver, .. } => driver.check().await.is_ok(),
        }
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

    /// The browser in the remote driver's container.
    pub(super) fn remote_browser(&self) -> PathBuf {
        self.browser.clone().unwrap_or_else(|| BROWSERS[0].into())
    }

    /// The programs of this machine; else which is missing.
    pub(super) fn find(&self) -> Result<Programs, String> {
        let driver = self.driver().filter(|driver| driver.is_file());
        let driver = driver.ok_or_else(|| missing("chromedriver", self.driver.as_deref()))?;
        let browser = self.browser().filter(|browser| browser.is_file());
        let browser = browser.ok_or_else(|| missing("Chromium", self.browser.as_deref()))?;
        let real =
            |path: &PathBuf| path.canonicalize().map_err(|error| format!("{}: {error}", path.display()));
        let (real_browser, real_driver) = (real(&browser)?, real(&driver)?);
        Ok(Programs { found: [browser, driver], browser: real_browser, driver: real_driver })
    }
}

/// Opens a page in a browser, and checks that its sandbox is on if it has to be. Returns the browser's major version.
async fn try_browser(
    installation: &BrowserInstallation,
    shutdown: &CancellationToken,
) -> Result<u32, String> {
    let mut driver = installation.driver().await.map_err(|error| error.to_string())?;
    let mut browser = None;
    let tried = tokio::select! {
        biased;
        () = shutdown.cancelled() => Err("the worker ends".to_owned()),
        tried = try_driver(&mut driver, &mut browser, installation) => tried,
    };
    driver.stop(browser).await;
    tried
}

async fn try_driver(
    driver: &mut Driver,
    slot: &mut Option<WebDriver>,
    installation: &BrowserInstallation,
) -> Result<u32, String> {
    let failed = |error: BrowserError| error.to_string();
    let endpoint = driver.ready().await.map_err(failed)?;
    let options = BrowserOptions { user_agent: None, ..installation.browser_options() };
    // There is no proxy here: the page needs none.
    let browser = WebDriver::start(endpoint, &options, proxy_address()).await.map_err(failed)?;
    let browser = slot.insert(browser);
    let page = Url::parse(PAGE).map_err(|error| error.to_string())?;
    browser.go(&page).await.map_err(failed)?;
    let user_agent = browser.run("return navigator.userAgent", Vec::<Value>::new()).await.map_err(failed)?;
    // Chromium itself ends where it has to have a sandbox and none works. Processes of other containers are not seen from here.
    if let Place::Local { programs, confinement, .. } = &installation.place
        && confinement.has_chromium_sandbox
    {
        let Some(RunningBrowser::Local { supervisor }) = driver.running_browser() else {
            return Err("it has ended".into());
        };
        check_renderers(supervisor, &programs.browser).await?;
    }
    major_version(user_agent.as_str().unwrap_or_default())
        .ok_or_else(|| "it does not report its version".to_owned())
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

/// The browser identifies itself as a Chrome of its version, as Chromium does, and by our name, so that a site's owner can
/// recognise and allow us.
fn user_agent(major_version: u32) -> String {
    format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major_version}.0.0.0 Safari/537.36 {PRODUCT}"
    )
}

/// `… HeadlessChrome/156.0.0.0 Safari/537.36`
fn major_version(user_agent: &str) -> Option<u32> {
    user_agent.split_once("Chrome/")?.1.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_version_is_read_from_the_browsers_user_agent() {
        let given = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36";
        assert_eq!(major_version(given), Some(156));
        assert_eq!(major_version("Mozilla/5.0"), None);
        assert!(user_agent(156).contains("Chrome/156.0.0.0"));
    }

    #[test]
    fn a_missing_program_is_named_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let (browser, driver) = (folder.path().join("chromium"), folder.path().join("chromedriver"));
        let settings = BrowserSettings {
            browser: Some(browser.clone()),
            driver: Some(driver.clone()),
            remote: None,
            has_sandbox: true,
        };
        assert!(settings.find().unwrap_err().contains("chromedriver is missing at"));
        fs::write(&driver, "").unwrap();
        assert!(settings.find().unwrap_err().contains("Chromium is missing at"));
        fs::write(&browser, "").unwrap();
        assert_eq!(settings.find().unwrap().found, [browser, driver]);
    }
}
