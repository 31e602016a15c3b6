//! A site that holds its login page, so that a test acts before a browser has sent the password.

use std::time::Duration;

use wpclone_tests::{Result, Site, TestApp, until};

/// Longer than a busy machine needs to start a browser.
const LIMIT: Duration = Duration::from_secs(180);

/// Holds the page for browsers while this plugin is there, at most for two minutes. Only they send the header.
const PLUGIN: &str = "if (isset($_SERVER['HTTP_SEC_FETCH_MODE']) && basename($_SERVER['SCRIPT_NAME']) === 'wp-login.php' \
    && $_SERVER['REQUEST_METHOD'] === 'GET') { touch(WP_CONTENT_DIR . '/asked'); \
    for ($i = 0; $i < 2400 && is_file(__FILE__); $i++) { usleep(50000); clearstatcache(); } }";

/// The name of the must-use plugin.
const NAME: &str = "held-login-page";

/// The login page of a site, held until it is released.
pub(crate) struct HeldLoginPage<'a>(&'a Site);

impl<'a> HeldLoginPage<'a> {
    /// From now on the page is held.
    pub(crate) fn of(site: &'a Site) -> Result<Self> {
        site.put_mu_plugin(NAME, PLUGIN)?;
        Ok(Self(site))
    }

    /// Waits until a browser has asked for the page.
    pub(crate) async fn wait_until_asked(&self, app: &TestApp) -> Result {
        let asked = async || self.0.tree().join("wp-content/asked").is_file();
        until("the login page to be asked for", LIMIT, Some(&app.workers[0].log()), asked).await
    }

    /// The page is shown to who waits and to who asks from now on.
    pub(crate) fn release(self) -> Result {
        self.0.remove_mu_plugin(NAME)
    }
}
