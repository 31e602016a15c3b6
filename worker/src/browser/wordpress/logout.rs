//! The end of a session: a site keeps none that a task has opened.

use std::time::Duration;

use url::Url;
use wpclone_task::{Code, Problem, SiteUrl};

use super::site_discovery::LOGIN_PAGE;
use crate::browser::{Browser, BrowserError, fetch};
use crate::net::{SiteClient, SiteRequest, SiteResponse};

/// The link that logs out: in the admin bar, and on the page that WordPress shows to who wants to log out without a nonce.
const LINK: &str = "a[href*='action=logout'][href*='_wpnonce=']";
/// The deadline of reading the page that is open.
const READ_DEADLINE: Duration = Duration::from_secs(1);
/// Reads the links of the page that is open.
const READ_LINK: &str = "const link = document.querySelector(arguments[0]); return link && link.getAttribute('href') ? link.href : null";

/// Whether the client has a session that can be logged out.
pub(crate) fn has_session(http: &SiteClient, site: &SiteUrl) -> bool {
    http.has_session(&site.at(LOGIN_PAGE))
}

/// Logs out. Returns whether the site ended the session.
///
/// # Errors
/// The site cannot be reached.
pub(crate) async fn log_out(
    browser: Option<&dyn Browser>,
    http: &SiteClient,
    site: &SiteUrl,
) -> Result<bool, Problem> {
    if let Some(link) = link_of_open_page(browser, site).await
        && ended(&http.send_once_with_cookies(SiteRequest::get(link)).await?)
    {
        return Ok(true);
    }
    let ask = SiteRequest::get(site.at("wp-login.php?action=logout"));
    let response = http.send_once_with_cookies(ask.clone()).await?;
    if let Some(link) = link_of(&response, site) {
        return Ok(ended(&http.send_once_with_cookies(SiteRequest::get(link)).await?));
    }
    // The site may answer only the very browser that logged in.
    let Some(browser) = browser else {
        let is_down = response.status == 429 || response.status >= 500;
        let down = || Problem::new(Code::SiteUnreachable, format!("The site returned {}.", response.status));
        return if is_down { Err(down()) } else { Ok(false) };
    };
    match link_of(&fetch::fetch(browser, &ask).await?, site) {
        Some(link) => Ok(fetch::fetch(browser, &SiteRequest::get(link)).await?.is_success()),
        None => Ok(false),
    }
}

async fn link_of_open_page(browser: Option<&dyn Browser>, site: &SiteUrl) -> Option<Url> {
    let found: Result<_, BrowserError> =
        browser?.run_within(READ_LINK, vec![LINK.into()], READ_DEADLINE).await;
    own(Url::parse(found.ok()?.as_str()?).ok()?, site)
}

fn link_of(response: &SiteResponse, site: &SiteUrl) -> Option<Url> {
    let href = response.page(|p| p.attr(LINK, "href"))?;
    own(response.url.join(&href).ok()?, site)
}

/// A page may be hostile: its link is followed only to the site's login page.
fn own(link: Url, site: &SiteUrl) -> Option<Url> {
    let page = site.at(LOGIN_PAGE);
    (link.origin() == page.origin() && link.path() == page.path()).then_some(link)
}

/// WordPress redirects after a logout, wherever plugins want it to.
fn ended(response: &SiteResponse) -> bool {
    response.location.is_some()
}
