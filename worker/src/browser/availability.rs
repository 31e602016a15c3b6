//! Whether there is a browser: looked for and tried at start, and again while there is none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::confinement::BrowserConfinement;
use super::installation::{BrowserInstallation, BrowserSettings, Place};
use super::remote_driver::RemoteDriver;
use super::users::BrowserUsers;
use crate::net::PRODUCT;
use crate::settings::NO_BROWSER_SANDBOX;

/// How often the programs are looked for while they are missing, and whether they still exist once they were found.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The longest interval between two starts of a browser that does not work.
const MAX_TRY_INTERVAL: Duration = Duration::from_secs(300);

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
        let (mut interval, mut is_remote_cleared) = (CHECK_INTERVAL, false);
        loop {
            self.check(&mut is_remote_cleared, &shutdown).await;
            let does_not_work = matches!(*self.found.borrow(), Err(Missing::DoesNotWork(_)));
            interval = if does_not_work { (interval * 2).min(MAX_TRY_INTERVAL) } else { CHECK_INTERVAL };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// `is_remote_cleared`: whether browsers that an earlier worker has left with the remote driver were ended.
    async fn check(&self, is_remote_cleared: &mut bool, shutdown: &CancellationToken) {
        let exists = match self.installation() {
            Some(found) => found.exists().await,
            None => false,
        };
        if !exists {
            self.set(match &self.settings.remote {
                Some(driver) => self.find_remote(driver, is_remote_cleared, shutdown).await,
                None => self.find(shutdown).await,
            });
        }
    }

    async fn find_remote(
        &self,
        driver: &RemoteDriver,
        is_cleared: &mut bool,
        shutdown: &CancellationToken,
    ) -> Found {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(Missing::Program("the worker ends".into())),
            cleared = clear_remote(driver, is_cleared) => cleared.map_err(Missing::Program)?,
        }
        let place = Place::Remote {
            driver: driver.clone(),
            browser: self.settings.remote_browser(),
            has_sandbox: self.settings.has_sandbox,
        };
        let tried = BrowserInstallation::tried(place, shutdown).await;
        tried.map_err(|reason| self.does_not_work(&reason))
    }

    async fn find(&self, shutdown: &CancellationToken) -> Found {
        let programs = self.settings.find().map_err(Missing::Program)?;
        let users = self.users.as_ref().clone().map_err(Missing::DoesNotWork)?;
        let mut reasons = Vec::new();
        for confinement in BrowserConfinement::candidates(self.settings.has_sandbox) {
            let place = Place::Local {
                programs: programs.clone(),
                confinement,
                users: Arc::clone(&users),
                folders: self.folders.clone(),
            };
            match BrowserInstallation::tried(place, shutdown).await {
                Ok(found) => {
                    if !found.is_in_bubblewrap() {
                        tracing::warn!(
                            reason = reasons.pop().unwrap_or_else(|| "it is not installed".into()),
                            "browsers run without bubblewrap: other users of this machine can reach the port of a \
                             browser's driver, and with it start programs as the browser's user"
                        );
                    }
                    return Ok(found);
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
                    let bubblewrap = found.is_in_bubblewrap();
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
        if let Some(driver) = found.remote_driver()
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

/// Ends what an earlier worker has left with the driver.
async fn clear_remote(driver: &RemoteDriver, is_cleared: &mut bool) -> Result<(), String> {
    driver.check().await?;
    // Only before there are browsers of this worker's.
    if !*is_cleared {
        let ended = driver.end_all().await?;
        if ended > 0 {
            tracing::warn!(ended, "ended browsers that an earlier worker has left");
        }
        *is_cleared = true;
    }
    Ok(())
}
