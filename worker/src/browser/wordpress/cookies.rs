//! The cookies of a site: the browser's, and those of the plain HTTP client.

use wpclone_task::SiteUrl;

use super::StepResult;
use crate::browser::{Browser, Cookie};
use crate::net::SiteClient;

/// The browser's cookies for the site.
pub(super) async fn cookies_of(browser: &dyn Browser, site: &SiteUrl) -> StepResult<Vec<Cookie>> {
    let host = site.url().host_str().unwrap_or_default();
    let mut cookies = browser.cookies().await?;
    cookies.retain(|cookie| {
        let domain = cookie.domain.trim_start_matches('.');
        host == domain || host.ends_with(&format!(".{domain}"))
    });
    Ok(cookies)
}

/// Adds a site's cookies to `http`, for this very host.
pub(crate) fn add_cookies(http: &SiteClient, site: &SiteUrl, cookies: &[Cookie]) {
    for cookie in cookies {
        let secure = if cookie.secure { "; Secure" } else { "" };
        http.add_cookie(
            &format!("{}={}; Path={}{secure}", cookie.name, cookie.value, cookie.path),
            site.url(),
        );
    }
}
