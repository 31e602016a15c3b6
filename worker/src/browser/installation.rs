//! The browser of this machine, or of the driver beside the worker: looked for and tried at start, and again while there is
//! none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::confinement::{BrowserConfinement, proxy_address};
use super::driver::Driver;
use super::own_driver::{OwnDriver, OwnDriverSpec};
use super::remote_driver::RemoteDriver;
use super::sandbox_check::check_renderers;
use super::users::BrowserUsers;
use super::webdriver::{BrowserOptions, WebDriver};
use super::{Browser as _, BrowserError};
use crate::net::PRODUCT;
use crate::running_steps::RunningBrowser;
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
enum Place {
    /// On this machine, each with a driver of its own.
    Here { programs: Programs, confinement: BrowserConfinement, users: Arc<BrowserUsers>, folders: PathBuf },
    /// Where this driver starts them.
    Elsewhere { driver: RemoteDriver, browser: PathBuf, has_sandbox: bool },
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
    /// Whether browsers that an earlier worker has left with the remote driver were ended.
    is_remote_cleared: Arc<AtomicBool>,
    found: watch::Sender<Found>,
}

impl BrowserInstallation {
    /// A driver for one browser.
    pub(super) async fn driver(&self) -> Result<Driver, BrowserError> {
        match &self.place {
            Place::Here { programs, confinement, users, folders } => {
                let Programs { browser, driver, .. } = programs;
                let spec = OwnDriverSpec { browser, driver, confinement, users, folders };
                Ok(Driver::Own(Box::new(OwnDriver::spawn(&spec).await?)))
            }
            Place::Elsewhere { driver, .. } => Ok(Driver::Remote(driver.clone())),
        }
    }

    /// How a browser is started.
    pub(super) fn browser_options(&self) -> BrowserOptions<'_> {
        let (browser, has_sandbox) = match &self.place {
            Place::Here { programs, confinement, .. } => {
                (&programs.browser, confinement.has_chromium_sandbox)
            }
            Place::Elsewhere { browser, has_sandbox, .. } => (browser, *has_sandbox),
        };
        BrowserOptions { browser, has_sandbox, user_agent: Some(&self.user_agent) }
    }

    async fn exists(&self) -> bool {
        match &self.place {
            Place::Here { programs, .. } => programs.found.iter().all(|program| program.is_file()),
            Place::Elsewhere { driver, .. } => driver.check().await.is_ok(),
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
    fn remote_browser(&self) -> PathBuf {
        self.browser.clone().unwrap_or_else(|| BROWSERS[0].into())
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
        Self { settings, folders, users, is_remote_cleared: Arc::default(), found }
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
        let exists = match self.installation() {
            Some(found) => found.exists().await,
            None => false,
        };
        if !exists {
            self.set(match &self.settings.remote {
                Some(driver) => self.find_remote(driver, shutdown).await,
                None => self.find(shutdown).await,
            });
        }
    }

    async fn find_remote(&self, driver: &RemoteDriver, shutdown: &CancellationToken) -> Found {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(Missing::Program("the worker ends".into())),
            cleared = self.clear_remote(driver) => cleared.map_err(Missing::Program)?,
        }
        let place = Place::Elsewhere {
            driver: driver.clone(),
            browser: self.settings.remote_browser(),
            has_sandbox: self.settings.has_sandbox,
        };
        let mut installation = BrowserInstallation { place, user_agent: String::new() };
        let major_version =
            try_browser(&installation, shutdown).await.map_err(|reason| self.does_not_work(&reason))?;
        installation.user_agent = user_agent(major_version);
        Ok(Arc::new(installation))
    }

    /// Ends what an earlier worker has left with the driver.
    async fn clear_remote(&self, driver: &RemoteDriver) -> Result<(), String> {
        driver.check().await?;
        // Only before there are browsers of this worker's.
        if !self.is_remote_cleared.load(Ordering::Relaxed) {
            let ended = driver.end_all().await?;
            if ended > 0 {
                tracing::warn!(ended, "ended browsers that an earlier worker has left");
            }
            self.is_remote_cleared.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn find(&self, shutdown: &CancellationToken) -> Found {
        let programs = self.settings.find().map_err(Missing::Program)?;
        let users = self.users.as_ref().clone().map_err(Missing::DoesNotWork)?;
        let mut reasons = Vec::new();
        for confinement in BrowserConfinement::candidates(self.settings.has_sandbox) {
            let is_in_bubblewrap = confinement.bubblewrap.is_some();
            let place = Place::Here {
                programs: programs.clone(),
                confinement,
                users: Arc::clone(&users),
                folders: self.folders.clone(),
            };
            let mut installation = BrowserInstallation { place, user_agent: String::new() };
            match try_browser(&installation, shutdown).await {
                Ok(major_version) => {
                    if !is_in_bubblewrap {
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
        Err(self.does_not_work(&reasons.pop().unwrap_or_default()))
    }

    fn does_not_work(&self, reason: &str) -> Missing {
        Missing::DoesNotWork(if self.settings.has_sandbox {
            format!(
                "Chromium does not work with its sandbox here: {reason}. Allow user namespaces or install chromium-sandbox \
                 (or set {NO_BROWSER_SANDBOX}=true, which gives every page a way to take over its browser)"
            )
        } else {
            format!("Chromium does not work here: {reason}")
        })
    }

    fn set(&self, found: Found) {
        self.found.send_if_modified(|last| {
            match (&*last, &found) {
                (Err(last), Err(now)) if last == now => return false,
                (_, Ok(found)) => {
                    let options = found.browser_options();
                    let bubblewrap = match &found.place {
                        Place::Here { confinement, .. } => confinement.bubblewrap.is_some(),
                        Place::Elsewhere { .. } => false,
                    };
                    tracing::info!(
                        browser = %options.browser.display(), bubblewrap, sandbox = options.has_sandbox,
                        "the browser was found and tried"
                    );
                }
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

    /// The installation, unless it is missing by now: a remote driver is asked, so that no step is begun while its container
    /// is restarted.
    pub(crate) async fn usable(&self) -> Option<Arc<BrowserInstallation>> {
        let found = self.installation()?;
        if let Place::Elsewhere { driver, .. } = &found.place
            && let Err(reason) = driver.check().await
        {
            self.set(Err(Missing::Program(reason)));
            return None;
        }
        Some(found)
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
    if let Place::Here { programs, confinement, .. } = &installation.place
        && confinement.has_chromium_sandbox
    {
        let Some(RunningBrowser::Here { supervisor }) = driver.running_browser() else {
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
