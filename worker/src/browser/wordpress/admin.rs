//! A session in wp-admin. Requests go over plain HTTP with the browser's cookies; where the answer is not what it
//! should be, the page in the browser makes them from then on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wpclone_task::{Code, Login, SiteUrl};

use super::{Done, Trouble, log_in, place};
use crate::browser::{Browser, fetch};
use crate::net::{Answer, Ask, Http};

/// A logged-in user of a site.
pub(crate) struct Admin<'a> {
    pub(crate) site: &'a SiteUrl,
    pub(crate) http: &'a Http,
    browser: &'a dyn Browser,
    login: &'a Login,
    landing: &'static str,
    limit: Duration,
    by_browser: AtomicBool,
    logged_in_again: AtomicBool,
}

impl<'a> Admin<'a> {
    /// Logs in.
    pub(crate) async fn enter(
        site: &'a SiteUrl,
        http: &'a Http,
        browser: &'a dyn Browser,
        login: &'a Login,
        landing: &'static str,
        limit: Duration,
    ) -> Done<Self> {
        log_in(browser, http, site, login, landing, limit).await?;
        let (by_browser, logged_in_again) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self {
            site,
            http,
            browser,
            login,
            landing,
            limit,
            by_browser,
            logged_in_again,
        })
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
                log_in(
                    self.browser,
                    self.http,
                    self.site,
                    self.login,
                    self.landing,
                    self.limit,
                )
                .await?;
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
        return Err(Trouble::shown(
            Code::Redirected,
            format!("A page of wp-admin leads to {to}."),
            &answer,
        )
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
