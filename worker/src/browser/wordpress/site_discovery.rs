//! Finds the address that a site really has, before the login: no POST must meet a redirect, and no password must go to
//! another site.

use std::fmt::Write as _;

use url::Url;
use wpclone_task::{Code, SiteText, SiteUrl};

use super::{StepError, StepResult, core_folder};
use crate::browser::php_error::{component, php_error};
use crate::net::{SiteClient, SiteRequest, SiteResponse};

pub(super) const LOGIN_PAGE: &str = "wp-login.php";
const LOGIN_FORM: &str = "#loginform";
/// From http to https, then to or from www.
const MAX_MOVES: usize = 3;

/// Finds the address of the site's login page. Follows redirects to https and to or from `www.`; any other address is
/// another site.
pub(crate) async fn discover(http: &SiteClient, given: &SiteUrl) -> StepResult<SiteUrl> {
    let mut site = given.clone();
    for _ in 0..=MAX_MOVES {
        let response = http.send(SiteRequest::get(site.at(LOGIN_PAGE))).await?;
        match classify(&response, &site) {
            LoginPage::Here => return Ok(site),
            LoginPage::Moved(to) => site = to,
            LoginPage::Elsewhere(to) => return Err(no_login_here(http, &site, &to, &response).await?),
            LoginPage::Missing => return Err(no_login(http, &site, &response).await?),
            LoginPage::Broken(error) => return Err(error),
        }
    }
    Err(StepError::new(Code::Redirected, "The site redirects from address to address without end.").into())
}

/// What a response says of where the login page is.
enum LoginPage {
    Here,
    Moved(SiteUrl),
    /// On another site.
    Elsewhere(Url),
    Missing,
    Broken(Box<StepError>),
}

fn classify(response: &SiteResponse, site: &SiteUrl) -> LoginPage {
    if let Some(to) = &response.location {
        return follow(to, site);
    }
    let form = response.page(|p| p.has(LOGIN_FORM).then(|| p.attr(LOGIN_FORM, "action").unwrap_or_default()));
    if let Some(action) = form {
        // The form is sent to the address that WordPress is configured with (siteurl).
        return match response.url.join(&action) {
            Ok(to) if to.origin() == response.url.origin() && to.path() == site.at(LOGIN_PAGE).path() => {
                LoginPage::Here
            }
            Ok(to) => follow(&to, site),
            Err(_) => LoginPage::Missing,
        };
    }
    match response.status {
        // A browser may pass the challenge.
        _ if response.is_challenge() => LoginPage::Here,
        403 | 406 => LoginPage::Here,
        429 if !response.is_by_server() => LoginPage::Here,
        _ => match status_error(response) {
            Some(error) => LoginPage::Broken(error),
            None => LoginPage::Missing,
        },
    }
}

/// An address with https, with `www.` or without, is the same site; but never with http instead of https.
fn follow(to: &Url, site: &SiteUrl) -> LoginPage {
    let mut base = to.clone();
    base.set_query(None);
    base.set_fragment(None);
    let same = to.path().ends_with(LOGIN_PAGE).then(|| SiteUrl::parse(base.as_str()).ok()).flatten();
    match same {
        Some(moved)
            if moved.key() == site.key() && moved != *site && !is_downgrade(site.url(), moved.url()) =>
        {
            LoginPage::Moved(moved)
        }
        // A hidden login page redirects visitors to the front page or to a page that does not exist.
        _ if to.origin() == site.url().origin() && !to.path().ends_with(LOGIN_PAGE) => LoginPage::Missing,
        _ => LoginPage::Elsewhere(to.clone()),
    }
}

fn is_downgrade(from: &Url, to: &Url) -> bool {
    from.scheme() == "https" && to.scheme() == "http"
}

fn elsewhere(to: &Url, response: &SiteResponse) -> Box<StepError> {
    let mut base = to.clone();
    base.set_query(None);
    base.set_fragment(None);
    // The address to use instead is without wp-login.php, which SiteUrl removes.
    let to = SiteUrl::parse(base.as_str()).map_or_else(|_| base.to_string(), |s| s.to_string());
    let detail = format!("The login page of this address is at {to}, which is another site to us.");
    Box::new(StepError::shown(Code::Redirected, detail, response).with("to", to))
}

/// What a status says that means the same for every page, before and after the login.
pub(super) fn status_error(response: &SiteResponse) -> Option<Box<StepError>> {
    match response.status {
        401 if response.header("www-authenticate").is_some() => Some(Box::new(StepError::shown(
            Code::HttpAuthRequired,
            format!("The web server asks for a user and password of its own at {}.", response.url.path()),
            response,
        ))),
        429 if response.is_by_server() => Some(Box::new(StepError::shown(
            Code::SiteUnreachable,
            "The web server returned 429: it admits no more requests for the moment.",
            response,
        ))),
        500.. => Some(server_error(response)),
        _ => None,
    }
}

/// What WordPress' error page says.
pub(super) fn error_text(response: &SiteResponse) -> Option<SiteText> {
    response.page(|p| p.text("body#error-page .wp-die-message"))
}

/// What an error of the server means.
pub(super) fn server_error(response: &SiteResponse) -> Box<StepError> {
    let text = error_text(response);
    let status = response.status;
    Box::new(match status {
        // WordPress itself answers 503 during an update.
        502..=504 => StepError::shown(
            Code::SiteUnreachable,
            format!(
                "The site returned {status}: it is overloaded, or under maintenance.{}",
                super::quoted(text)
            ),
            response,
        ),
        _ => {
            if let Some(words) = php_error(&response.text()) {
                return fatal_error(response, &words);
            }
            let detail = format!(
                "The site returned an error ({status}) at {}.{}",
                response.url.path(),
                super::quoted(text)
            );
            StepError::shown(Code::SiteFatal, detail, response)
        }
    })
}

/// The error of PHP that ended a page.
pub(super) fn fatal_error(response: &SiteResponse, words: &str) -> Box<StepError> {
    let of = component(words).map(|component| format!(" of wp-content/{component}")).unwrap_or_default();
    let detail = format!(
        "An error{of} ended the page {} ({}). PHP says: \u{201c}{words}\u{201d}",
        response.url.path(),
        response.status
    );
    Box::new(StepError::shown(Code::SiteFatal, detail, response))
}

/// Why the login page, or its form, leads to another site: the page is hidden, or the whole site is there.
async fn no_login_here(
    http: &SiteClient,
    site: &SiteUrl,
    to: &Url,
    response: &SiteResponse,
) -> StepResult<Box<StepError>> {
    if response.location.is_some() && !to.path().ends_with(LOGIN_PAGE) {
        let front = front_page(http, site).await?;
        if let Some(to) = other_host(&front, site) {
            return Ok(elsewhere(to, response));
        }
        if front.location.is_none() && is_wordpress(&front) {
            let to = to.origin().ascii_serialization();
            let detail = format!(
                "The site is a WordPress, but its wp-login.php leads to {to}, and that is no login page of WordPress."
            );
            return Ok(Box::new(StepError::shown(Code::LoginUrlNotFound, detail, response)));
        }
    }
    Ok(elsewhere(to, response))
}

/// The front page. Redirects to https, and to or from `www.`, are followed, whatever path they lead to.
async fn front_page(http: &SiteClient, site: &SiteUrl) -> StepResult<SiteResponse> {
    let mut front = http.send(SiteRequest::get(site.at(""))).await?;
    for _ in 0..MAX_MOVES {
        let Some(to) = front.location.clone().filter(|to| is_same_host(&front.url, to)) else { break };
        front = http.send(SiteRequest::get(to)).await?;
    }
    Ok(front)
}

/// The address on another host that the front page leads to. (WordPress leaves out the port where it has another address.)
fn other_host<'a>(front: &'a SiteResponse, site: &SiteUrl) -> Option<&'a Url> {
    front.location.as_ref().filter(|to| to.host_str() != site.url().host_str())
}

/// Whether an address is on the same host, with `www.` or without, and not with http instead of https.
fn is_same_host(from: &Url, to: &Url) -> bool {
    let key = |url: &Url| SiteUrl::parse(&url.origin().ascii_serialization()).ok().map(|site| site.key());
    key(from).is_some_and(|from| key(to) == Some(from)) && !is_downgrade(from, to)
}

/// Why there is no login form: it is hidden, WordPress is in a folder of its own, or this is no WordPress.
async fn no_login(http: &SiteClient, site: &SiteUrl, response: &SiteResponse) -> StepResult<Box<StepError>> {
    let front = front_page(http, site).await?;
    if let Some(to) = other_host(&front, site) {
        return Ok(elsewhere(to, response));
    }
    let status = response.status;
    if !is_wordpress(&front) {
        let detail = format!("There is no WordPress at this address (wp-login.php returned {status}).");
        return Ok(Box::new(StepError::shown(Code::NotWordPress, detail, &front)));
    }
    let mut detail =
        format!("The site is a WordPress, but wp-login.php shows no login form (it returned {status}).");
    let folder = folder_with_login(http, site, &front).await;
    if let Some(folder) = &folder {
        let _ = write!(
            detail,
            " WordPress is in a folder of its own, and its login page is at {folder}: use that address."
        );
    }
    let error = StepError::shown(Code::LoginUrlNotFound, detail, response);
    Ok(Box::new(match folder {
        Some(folder) => error.with("to", folder.as_str()),
        None => error,
    }))
}

/// The folder of the site's own origin that has its login page. The task does not go on there: what it has reserved is the
/// address that it was given, and another task may be at work on the folder's.
async fn folder_with_login(http: &SiteClient, site: &SiteUrl, front: &SiteResponse) -> Option<SiteUrl> {
    let linked = core_folder::linked(front, site);
    if let Some(folder) = &linked
        && has_login_of(http, folder, site).await
    {
        return linked;
    }
    let configured =
        core_folder::configured(http, site).await.filter(|folder| Some(folder) != linked.as_ref())?;
    has_login_of(http, &configured, site).await.then_some(configured)
}

/// Whether a folder has the login form of this site. A folder that does not respond has none.
async fn has_login_of(http: &SiteClient, folder: &SiteUrl, site: &SiteUrl) -> bool {
    let Ok(login) = http.send(SiteRequest::get(folder.at(LOGIN_PAGE))).await else { return false };
    login.page(|p| p.has(LOGIN_FORM))
        && matches!(classify(&login, folder), LoginPage::Here)
        && core_folder::has_front_page_at(http, folder, &login, site).await
}

/// Whether a response is a page of a WordPress.
pub(crate) fn is_wordpress(front: &SiteResponse) -> bool {
    const MARKS: &str = "link[rel='https://api.w.org/'], meta[name=generator][content^=WordPress], \
         link[href*='/wp-includes/'], script[src*='/wp-includes/'], link[href*='/wp-content/'], \
         script[src*='/wp-content/'], img[src*='/wp-content/']";
    front.header("link").is_some_and(|l| l.contains("api.w.org")) || front.page(|p| p.has(MARKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_page_at_https_or_www_is_on_the_same_host() {
        let at = |text: &str| Url::parse(text).unwrap();
        for (from, to, same) in [
            ("http://a.example/", "https://a.example/en/", true),
            ("https://a.example/", "https://www.a.example/", true),
            ("http://www.a.example/blog/", "https://a.example/?lang=en#top", true),
            ("https://a.example/", "http://a.example/", false),
            ("https://a.example/", "https://b.example/", false),
            ("https://a.example/", "https://shop.a.example/", false),
            ("https://a.example/", "https://a.example:8443/", false),
        ] {
            assert_eq!(is_same_host(&at(from), &at(to)), same, "{from} {to}");
        }
    }
}
