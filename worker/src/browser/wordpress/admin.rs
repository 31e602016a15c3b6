//! A session in wp-admin. Requests go over plain HTTP with the browser's cookies; where the answer is not what it
//! should be, the page in the browser makes them from then on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wpclone_task::{Code, Login, SiteUrl};

use super::{Done, Trouble, log_in, place};
use crate::browser::{Browser, Ledger, fetch};
use crate::net::{Answer, Ask, Http};

/// What the migrator's header asks for; application passwords came with it.
pub(super) const MIN_WORDPRESS: &str = "5.6";

/// A logged-in user of a site.
pub(crate) struct Admin<'a> {
    pub(crate) site: &'a SiteUrl,
    pub(crate) http: &'a Http,
    browser: &'a dyn Browser,
    login: &'a Login,
    landing: &'static str,
    ledger: &'a Ledger<'a>,
    limit: Duration,
    by_browser: AtomicBool,
    logged_in_again: AtomicBool,
}

impl<'a> Admin<'a> {
    /// Logs in, to a WordPress that is not too old for the migrator and for application passwords alike. `limit`: how
    /// long a page may take.
    pub(crate) async fn enter(
        site: &'a SiteUrl,
        http: &'a Http,
        browser: &'a dyn Browser,
        login: &'a Login,
        landing: &'static str,
        ledger: &'a Ledger<'a>,
        limit: Duration,
    ) -> Done<Self> {
        let (by_browser, logged_in_again) = (AtomicBool::new(false), AtomicBool::new(false));
        let admin = Self { site, http, browser, login, landing, ledger, limit, by_browser, logged_in_again };
        if let Some(version) = admin.log_in().await?.filter(|version| is_older(version, MIN_WORDPRESS)) {
            let detail = format!("The site runs WordPress {version}; at least {MIN_WORDPRESS} is needed.");
            return Err(Trouble::new(Code::ReqUnmet, detail).with("wordpress", version).into());
        }
        Ok(admin)
    }

    async fn log_in(&self) -> Done<Option<String>> {
        let Self { site, http, browser, login, landing, ledger, limit, .. } = *self;
        log_in(browser, http, site, login, landing, ledger, limit).await
    }

    /// Asks as the logged-in user; troubles that may meet any page of wp-admin are told.
    pub(crate) async fn ask(&self, ask: Ask) -> Done<Answer> {
        usable(self.exchange(ask).await?)
    }

    /// Asks as the logged-in user. A lost session is taken up again once; any answer is the caller's to judge.
    pub(crate) async fn exchange(&self, ask: Ask) -> Done<Answer> {
        loop {
            let by_browser = self.is_by_browser();
            let answer = if by_browser {
                fetch::fetch(self.browser, &ask).await?
            } else {
                self.http.send(ask.clone()).await?
            };
            let lost = answer.is_logged_out();
            if !lost && !is_refusal(&answer) {
                return Ok(answer);
            }
            if !by_browser {
                // Perhaps it answers only the very browser that logged in.
                tracing::info!(
                    status = answer.status,
                    "plain HTTP is not answered as it should be; the browser goes on"
                );
                self.by_browser.store(true, Ordering::Relaxed);
            } else if lost && !self.logged_in_again.swap(true, Ordering::Relaxed) {
                self.log_in().await?;
            } else if lost {
                let detail = "The site asked for the login again, twice in one task.";
                return Err(Trouble::shown(Code::SessionLost, detail, &answer).into());
            } else {
                return Ok(answer);
            }
        }
    }

    /// Whether requests are made by the page in the browser.
    pub(crate) fn is_by_browser(&self) -> bool {
        self.by_browser.load(Ordering::Relaxed)
    }
}

/// Whether something other than WordPress said no: WordPress says it in JSON, or on its error page.
fn is_refusal(answer: &Answer) -> bool {
    let no = matches!(answer.status, 401 | 403 | 406 | 412 | 418 | 429 | 451 | 501);
    answer.is_challenge() || no && answer.json::<serde_json::Value>().is_none() && !answer.is_error_page()
}

/// An answer that has none of the troubles that any page may have.
fn usable(answer: Answer) -> Done<Answer> {
    if let Some(to) = &answer.location {
        let to = to.origin().ascii_serialization();
        return Err(Trouble::shown(Code::Redirected, format!("A page of wp-admin leads to {to}."), &answer)
            .with("to", to)
            .into());
    }
    if answer.url.path().ends_with("/wp-admin/upgrade.php") {
        let detail = "WordPress wants to upgrade its database before anybody may work.";
        return Err(Trouble::shown(Code::DbUpgradePending, detail, &answer).into());
    }
    if answer.is_challenge() {
        return Err(Trouble::shown(
            Code::EdgeChallenge,
            "A firewall stands between us and wp-admin.",
            &answer,
        )
        .into());
    }
    if answer.status >= 500 && answer.status != 501 && answer.json::<serde_json::Value>().is_none() {
        return Err(place::server_error(&answer));
    }
    Ok(answer)
}

/// Whether a version is older than a bound of two numbers.
fn is_older(version: &str, bound: &str) -> bool {
    let numbers = |v: &str| -> Vec<u32> { v.split('.').map_while(|n| n.parse().ok()).collect() };
    numbers(version) < numbers(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_older("5.5.9", MIN_WORDPRESS) && is_older("4.9", MIN_WORDPRESS));
        assert!(
            !is_older("5.6", MIN_WORDPRESS)
                && !is_older("6.1.9", MIN_WORDPRESS)
                && !is_older("10.0", MIN_WORDPRESS)
        );
    }
}
