//! A site that holds its login page, so that a test acts before a browser has sent the password.

use std::path::Path;
use std::time::Duration;

use crate::util::until;
use crate::{Result, Site};

/// Longer than a busy machine needs to start a browser.
const LIMIT: Duration = Duration::from_secs(180);

/// Holds the page for browsers while this plugin is there, at most for two minutes. Only they send the header,
/// with every page that they open.
const PLUGIN: &str = "if (isset($_SERVER['HTTP_UPGRADE_INSECURE_REQUESTS']) && basename($_SERVER['SCRIPT_NAME']) === 'wp-login.php' \
    && $_SERVER['REQUEST_METHOD'] === 'GET') { touch(WP_CONTENT_DIR . '/asked'); \
    for ($i = 0; $i < 2400 && is_file(__FILE__); $i++) { usleep(50000); clearstatcache(); } }";

/// The name of the must-use plugin.
const NAME: &str = "held-login-page";

/// The login page of a site, held until it is released.
#[derive(Debug)]
pub struct HeldLoginPage<'a>(&'a Site);

impl<'a> HeldLoginPage<'a> {
    /// From now on the page is held.
    ///
    /// # Errors
    /// The site's files cannot be changed.
    pub fn of(site: &'a Site) -> Result<Self> {
        site.put_mu_plugin(NAME, PLUGIN)?;
        Ok(Self(site))
    }

    /// Waits until a browser has asked for the page; `log` is that of its worker.
    ///
    /// # Errors
    /// None has, in time.
    pub async fn wait_until_asked(&self, log: Option<&Path>) -> Result<()> {
        let asked = async || self.0.tree().join("wp-content/asked").is_file();
        until("the login page to be asked for", LIMIT, log, asked).await
    }

    /// The page is shown to who waits and to who asks from now on.
    ///
    /// # Errors
    /// The site's files cannot be changed.
    pub fn release(self) -> Result<()> {
        self.0.remove_mu_plugin(NAME)
    }
}
