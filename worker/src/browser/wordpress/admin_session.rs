//! A session in wp-admin. Requests go over plain HTTP with the browser's cookies. When a response is not what it should
//! be, the page in the browser sends them from then on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wpclone_task::{Code, Login, SiteUrl};

use super::{StepError, StepResult, log_in, resume, site_discovery};
use crate::browser::php_error::php_error;
use crate::browser::{Browser, StepReporter, fetch};
use crate::net::{SiteClient, SiteRequest, SiteResponse};

/// The oldest WordPress that the migrator supports; application passwords came with it.
pub(super) const MIN_WORDPRESS: &str = "5.6";

/// A logged-in user of a site.
pub(crate) struct AdminSession<'a> {
    pub(crate) site: &'a SiteUrl,
    pub(crate) http: &'a SiteClient,
    browser: &'a dyn Browser,
    uses_browser: AtomicBool,
}

impl<'a> AdminSession<'a> {
    /// Logs in, or goes on with the session of an earlier attempt, to a WordPress that is not too old for the migrator and for application passwords. `deadline`: of one
    /// page.
    pub(crate) async fn start(
        site: &'a SiteUrl,
        http: &'a SiteClient,
        browser: &'a dyn Browser,
        login: &Login,
        landing: &str,
        reporter: &StepReporter<'_>,
        deadline: Duration,
    ) -> StepResult<Self> {
        let version = match reporter.earlier_session() {
            Some(session) => resume(browser, http, site, session, landing, reporter, deadline).await?,
            None => log_in(browser, http, site, login, landing, reporter, deadline).await?,
        };
        if let Some(version) = version.filter(|version| is_older(version, MIN_WORDPRESS)) {
            let detail = format!("The site runs WordPress {version}; at least {MIN_WORDPRESS} is needed.");
            return Err(StepError::new(Code::ReqUnmet, detail).with("wordpress", version).into());
        }
        Ok(Self { site, http, browser, uses_browser: AtomicBool::new(false) })
    }

    /// Sends a request as the logged-in user. Obstacles that any page of wp-admin may show are errors.
    pub(crate) async fn send(&self, request: SiteRequest) -> StepResult<SiteResponse> {
        checked(self.send_unchecked(request).await?)
    }

    /// Sends a request as the logged-in user. The caller judges the response. A session that the site has ended is an
    /// error: a second login would send the password again.
    pub(crate) async fn send_unchecked(&self, request: SiteRequest) -> StepResult<SiteResponse> {
        loop {
            let uses_browser = self.uses_browser();
            let request = uncached(request.clone())?;
            let response = if uses_browser {
                fetch::fetch(self.browser, &request).await?
            } else {
                self.http.send(request).await?
            };
            let logged_out = response.is_logged_out();
            if !logged_out && !is_blocked(&response) {
                return Ok(response);
            }
            if !uses_browser {
                // It may answer only the very browser that logged in.
                tracing::info!(
                    status = response.status,
                    "plain HTTP does not get the expected response; switching to the browser"
                );
                self.uses_browser.store(true, Ordering::Relaxed);
            } else if logged_out {
                let detail = "The site ended the session after it had accepted the login. The password is not sent again.";
                return Err(StepError::shown(Code::SessionLost, detail, &response).into());
            } else {
                return Ok(response);
            }
        }
    }

    /// Whether the page in the browser sends the requests.
    pub(crate) fn uses_browser(&self) -> bool {
        self.uses_browser.load(Ordering::Relaxed)
    }
}

/// A request that no cache answers.
pub(super) fn uncached(request: SiteRequest) -> StepResult<SiteRequest> {
    request.uncached().map_err(|error| {
        StepError::new(Code::WorkerFault, format!("There are no random numbers: {error}.")).into()
    })
}

/// WordPress' own forms with a password in pages of wp-admin: for FTP access, and to change one's own.
const OTHER_PASSWORD_FORMS: &str =
    "#request-filesystem-credentials-form, #request-filesystem-credentials-dialog, #your-profile";
/// Forms of a page of wp-admin that a person must answer before the site shows another one.
const QUESTIONS: &str = "body.wp-admin \
    form[method=post i]:not(#adv-settings):not(#quick-press):not(#bulk-action-form):not(#posts-filter)";

/// Whether a page has a form for a password or a code: a login, or a plugin that wants to know once more who is there.
pub(super) fn asks_a_person(response: &SiteResponse) -> bool {
    response.page(|p| {
        p.has("form input[autocomplete=one-time-code]")
            || p.has("form input[type=password]") && !p.has(OTHER_PASSWORD_FORMS)
    })
}

/// A page that is not the one that was asked for, at `asked`.
pub(super) fn unexpected_page(what: &str, asked: &str, response: &SiteResponse) -> Box<StepError> {
    let path = response.url.path();
    let is_elsewhere = !path.ends_with(asked.split('?').next().unwrap_or_default());
    let (code, why) = if asks_a_person(response) {
        let why = "It shows a form that asks for a password or a code instead; nothing was entered.";
        (Code::AuthInterstitial, why.to_owned())
    } else if is_elsewhere && response.page(|p| p.has(QUESTIONS)) {
        let why = format!("The site leads to {path} instead, a page with a form that a person must answer.");
        (Code::AuthInterstitial, why)
    } else if let Some(words) = php_error(&response.text()) {
        return site_discovery::fatal_error(response, &words);
    } else if is_elsewhere {
        (Code::UnexpectedAnswer, format!("The site leads to {path} instead."))
    } else {
        (Code::UnexpectedAnswer, format!("(The site returned {}.)", response.status))
    };
    Box::new(StepError::shown(code, format!("{what} {why}"), response))
}

/// Whether something other than WordPress rejected the request: WordPress does so in JSON, or on its error page.
fn is_blocked(response: &SiteResponse) -> bool {
    let rejected = match response.status {
        401 => response.header("www-authenticate").is_none(),
        429 => !response.is_by_server(),
        status => matches!(status, 403 | 406 | 412 | 418 | 451 | 501),
    };
    response.is_challenge() || rejected && !response.is_json() && !response.is_error_page()
}

/// A response without the obstacles that any page may show.
fn checked(response: SiteResponse) -> StepResult<SiteResponse> {
    if let Some(to) = &response.location {
        let to = to.origin().ascii_serialization();
        let detail = format!("A page of wp-admin redirects to {to}.");
        return Err(StepError::shown(Code::Redirected, detail, &response).with("to", to).into());
    }
    if response.url.path().ends_with("/wp-admin/upgrade.php") {
        let detail = "WordPress must upgrade its database before wp-admin can be used.";
        return Err(StepError::shown(Code::DbUpgradePending, detail, &response).into());
    }
    if response.is_challenge() {
        let detail = "A firewall in front of the site blocks wp-admin.";
        return Err(StepError::shown(Code::EdgeChallenge, detail, &response).into());
    }
    let is_rest = response.status == 501 || response.is_json();
    match site_discovery::status_error(&response).filter(|_| !is_rest) {
        Some(error) => Err(error),
        None => Ok(response),
    }
}

/// Whether a version is older than another of two numbers.
fn is_older(version: &str, than: &str) -> bool {
    let numbers = |v: &str| -> Vec<u32> { v.split('.').map_while(|n| n.parse().ok()).collect() };
    numbers(version) < numbers(than)
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
