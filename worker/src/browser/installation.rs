//! The browser that this machine has: looked for and tried at start, and again while there is none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::confinement::{BrowserConfinement, proxy_address};
use super::driver::{Driver, DriverSpec};
use super::sandbox_check::check_renderers;
use super::users::BrowserUsers;
use super::webdriver::{BrowserOptions, WebDriver};
use super::{Browser as _, BrowserError};
use crate::net::PRODUCT;
use crate::settings::NO_BROWSER_SANDBOX;

/// How often the programs are looked for while they are missing, and whether they still exist once they were found.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The longest interval between two starts of a browser that does not work.
const MAX_TRY_INTERVAL: Duration = Duration::from_secs(300);

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
    /// `None`: one of the usual places.
    pub(crate) browser: Option<PathBuf>,
    /// The same of chromedriver.
    pub(crate) driver: Option<PathBuf>,
    /// Whether Chromium's sandbox is on. Without it any page can take over the browser.
    pub(crate) has_sandbox: bool,
}

/// A browser and its driver, which were tried.
#[derive(Debug)]
pub(crate) struct BrowserInstallation {
    programs: Programs,
    confinement: BrowserConfinement,
    users: Arc<BrowserUsers>,
    folders: PathBuf,
    /// How the browser identifies itself to sites.
    pub(crate) user_agent: String,
}

/// Where the programs are: as they were found, and without links in their paths.
#[derive(Debug, Clone)]
struct Programs {
    found: [PathBuf; 2],
    browser: PathBuf,
    driver: PathBuf,
}

/// Why there is no browser.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Missing {
    /// It was not looked for yet, or a program is not there.
    Program(String),
    /// It is there, and does not work.
    DoesNotWork(String),
}

/// The browser installation, or why there is none.
type Found = Result<Arc<BrowserInstallation>, Missing>;

/// The browser installation as the last check found it.
#[derive(Clone)]
pub(crate) struct BrowserAvailability {
    settings: BrowserSettings,
    /// Where each browser gets a folder.
    folders: PathBuf,
    users: Arc<Result<Arc<BrowserUsers>, String>>,
    found: watch::Sender<Found>,
}

impl BrowserInstallation {
    /// How its processes are started.
    pub(super) fn driver_spec(&self) -> DriverSpec<'_> {
        DriverSpec {
            browser: &self.programs.browser,
            driver: &self.programs.driver,
            confinement: &self.confinement,
            users: &self.users,
            folders: &self.folders,
        }
    }

    /// How a browser is started.
    pub(super) fn browser_options(&self) -> BrowserOptions<'_> {
        BrowserOptions {
            browser: &self.programs.browser,
            has_sandbox: self.confinement.has_chromium_sandbox,
            user_agent: Some(&self.user_agent),
        }
    }

    fn exists(&self) -> bool {
        self.programs.found.iter().all(|program| program.is_file())
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

    fn find(&self) -> Result<Programs, String> {
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

impl BrowserAvailability {
    /// Nothing is looked for until [`BrowserAvailability::keep_checking`]. `folders`: where each browser gets a folder.
    pub(crate) fn new(settings: BrowserSettings, folders: PathBuf) -> Self {
        let users = Arc::new(BrowserUsers::find().map(Arc::new));
        let found = watch::Sender::new(Err(Missing::Program("it was not checked yet".into())));
        Self { settings, folders, users, found }
    }

    /// Where each browser gets a folder.
    pub(crate) fn folders(&self) -> &Path {
        &self.folders
    }

    /// Looks for the programs again and again until `shutdown`, after which no process of it is left. One that does not
    /// work is tried less and less often.
    pub(crate) async fn keep_checking(self, shutdown: CancellationToken) {
        if !self.settings.has_sandbox {
            tracing::warn!(
                "{NO_BROWSER_SANDBOX} is set: browsers run without Chromium's sandbox, so a page can take over its browser"
            );
        }
        let mut interval = CHECK_INTERVAL;
        loop {
            self.check(&shutdown).await;
            let does_not_work = matches!(*self.found.borrow(), Err(Missing::DoesNotWork(_)));
            interval = if does_not_work { (interval * 2).min(MAX_TRY_INTERVAL) } else { CHECK_INTERVAL };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    async fn check(&self, shutdown: &CancellationToken) {
        if !self.installation().is_some_and(|found| found.exists()) {
            self.set(self.find(shutdown).await);
        }
    }

    async fn find(&self, shutdown: &CancellationToken) -> Found {
        let programs = self.settings.find().map_err(Missing::Program)?;
        let users = self.users.as_ref().clone().map_err(Missing::DoesNotWork)?;
        let mut reasons = Vec::new();
        for confinement in BrowserConfinement::candidates(self.settings.has_sandbox) {
            let mut installation = BrowserInstallation {
                programs: programs.clone(),
                confinement,
                users: Arc::clone(&users),
                folders: self.folders.clone(),
                user_agent: String::new(),
            };
            match try_browser(&installation, shutdown).await {
                Ok(major_version) => {
                    if installation.confinement.bubblewrap.is_none() {
                        tracing::warn!(
                            reason = reasons.pop().unwrap_or_else(|| "it is not installed".into()),
                            "browsers run without bubblewrap: other users of this machine can reach the port of a \
                             browser's driver, and with it start programs as the browser's user"
                        );
                    }
                    installation.user_agent = user_agent(major_version);
                    return Ok(Arc::new(installation));
                }
                Err(reason) => reasons.push(reason),
            }
        }
        // The last candidate is the one that demands least of the machine.
        let reason = reasons.pop().unwrap_or_default();
        Err(Missing::DoesNotWork(if self.settings.has_sandbox {
            format!(
                "Chromium does not work with its sandbox here: {reason}. Allow user namespaces or install chromium-sandbox \
                 (or set {NO_BROWSER_SANDBOX}=true, which gives every page a way to take over its browser)"
            )
        } else {
            format!("Chromium does not work here: {reason}")
        }))
    }

    fn set(&self, found: Found) {
        self.found.send_if_modified(|last| {
            match (&*last, &found) {
                (Err(last), Err(now)) if last == now => return false,
                (_, Ok(found)) => tracing::info!(
                    browser = %found.programs.browser.display(), bubblewrap = found.confinement.bubblewrap.is_some(),
                    sandbox = found.confinement.has_chromium_sandbox, "the browser was found and tried"
                ),
                (_, Err(Missing::Program(reason) | Missing::DoesNotWork(reason))) => {
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
        match &*self.found.borrow() {
            Ok(_) => None,
            Err(Missing::Program(reason) | Missing::DoesNotWork(reason)) => Some(reason.clone()),
        }
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

/// Opens a page in a browser, and checks that its sandbox is on if it has to be. Returns the browser's major version.
async fn try_browser(
    installation: &BrowserInstallation,
    shutdown: &CancellationToken,
) -> Result<u32, String> {
    let mut driver = Driver::spawn(&installation.driver_spec()).await.map_err(|error| error.to_string())?;
    let tried = tokio::select! {
        biased;
        () = shutdown.cancelled() => Err("the worker ends".to_owned()),
        tried = try_driver(&mut driver, installation) => tried,
    };
    driver.stop().await;
    tried
}

async fn try_driver(driver: &mut Driver, installation: &BrowserInstallation) -> Result<u32, String> {
    let failed = |error: BrowserError| error.to_string();
    let endpoint = driver.ready().await.map_err(failed)?;
    let options = BrowserOptions { user_agent: None, ..installation.browser_options() };
    // There is no proxy here: the page needs none.
    let browser = WebDriver::start(endpoint, &options, proxy_address()).await.map_err(failed)?;
    let page = Url::parse(PAGE).map_err(|error| error.to_string())?;
    browser.go(&page).await.map_err(failed)?;
    let user_agent = browser.run("return navigator.userAgent", Vec::<Value>::new()).await.map_err(failed)?;
    if installation.confinement.has_chromium_sandbox {
        let supervisor = driver.supervisor_pid().ok_or("it has ended")?;
        check_renderers(supervisor, &installation.programs.browser).await?;
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
            has_sandbox: true,
        };
        assert!(settings.find().unwrap_err().contains("chromedriver is missing at"));
        fs::write(&driver, "").unwrap();
        assert!(settings.find().unwrap_err().contains("Chromium is missing at"));
        fs::write(&browser, "").unwrap();
        assert_eq!(settings.find().unwrap().found, [browser, driver]);
    }
}
