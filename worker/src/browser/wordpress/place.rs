//! Where a site really is, before anybody logs in: the address that it answers at, pinned, so that no POST meets a
//! redirect and no password goes elsewhere.

use url::Url;
use wpclone_task::{Code, SiteUrl};

use super::{Done, Trouble};
use crate::net::{Answer, Ask, Http};

pub(super) const LOGIN_PAGE: &str = "wp-login.php";
/// http to https, then to or from www.
const MAX_MOVES: usize = 3;

/// Finds the origin that the site's login page is at. Follows it to https and to or from `www.`; anything else is
/// another site.
pub(crate) async fn find(http: &Http, given: &SiteUrl) -> Done<SiteUrl> {
    let mut site = given.clone();
    for _ in 0..=MAX_MOVES {
        let answer = http.send(Ask::get(site.at(LOGIN_PAGE))).await?;
        match judge(&answer, &site) {
            Verdict::Here => return Ok(site),
            Verdict::Moved(to) => site = to,
            Verdict::Elsewhere(to) => return Err(elsewhere(&to, &answer)),
            Verdict::NoLogin => return Err(no_login(http, &site, &answer).await?),
            Verdict::Broken(trouble) => return Err(trouble),
        }
    }
    Err(Trouble::new(Code::Redirected, "The site redirects from one address to the next without end.").into())
}

enum Verdict {
    Here,
    Moved(SiteUrl),
    Elsewhere(Url),
    NoLogin,
    Broken(Box<Trouble>),
}

fn judge(answer: &Answer, site: &SiteUrl) -> Verdict {
    if let Some(to) = &answer.location {
        return follow(to, site);
    }
    let form =
        answer.page(|p| p.has("#loginform").then(|| p.attr("#loginform", "action").unwrap_or_default()));
    if let Some(action) = form {
        // The form is sent to the address that WordPress believes in (its siteurl).
        return match answer.url.join(&action) {
            Ok(to) if to.origin() == answer.url.origin() && to.path() == site.at(LOGIN_PAGE).path() => {
                Verdict::Here
            }
            Ok(to) => follow(&to, site),
            Err(_) => Verdict::NoLogin,
        };
    }
    match answer.status {
        // A wall that may open for a browser: let it try.
        _ if answer.is_challenge() => Verdict::Here,
        401 if answer.header("www-authenticate").is_some() => Verdict::Broken(Box::new(Trouble::shown(
            Code::HttpAuthRequired,
            "The web server asks for a user and password of its own before it shows the login page.",
            answer,
        ))),
        403 | 406 | 429 => Verdict::Here,
        500.. => Verdict::Broken(server_error(answer)),
        _ => Verdict::NoLogin,
    }
}

/// A step to https or between www and not is the same site; never back to http.
fn follow(to: &Url, site: &SiteUrl) -> Verdict {
    let mut base = to.clone();
    base.set_query(None);
    base.set_fragment(None);
    let same = to.path().ends_with(LOGIN_PAGE).then(|| SiteUrl::parse(base.as_str()).ok()).flatten();
    match same {
        Some(moved) if moved.key() == site.key() && moved != *site && !is_downgrade(site, &moved) => {
            Verdict::Moved(moved)
        }
        // A login page that is hidden sends visitors to the front page or to a page that does not exist.
        _ if to.origin() == site.url().origin() && !to.path().ends_with(LOGIN_PAGE) => Verdict::NoLogin,
        _ => Verdict::Elsewhere(to.clone()),
    }
}

fn is_downgrade(from: &SiteUrl, to: &SiteUrl) -> bool {
    from.url().scheme() == "https" && to.url().scheme() == "http"
}

fn elsewhere(to: &Url, answer: &Answer) -> Box<Trouble> {
    let mut base = to.clone();
    base.set_query(None);
    base.set_fragment(None);
    // What SiteUrl takes off (wp-login.php) is no part of the address to use instead.
    let to = SiteUrl::parse(base.as_str()).map_or_else(|_| base.to_string(), |s| s.to_string());
    let detail = format!("The login page of this address is at {to}, which is another site to us.");
    Box::new(Trouble::shown(Code::Redirected, detail, answer).with("to", to))
}

/// What a server's own failure means.
pub(super) fn server_error(answer: &Answer) -> Box<Trouble> {
    let text = answer.page(|p| p.evidence("body#error-page .wp-die-message"));
    let status = answer.status;
    Box::new(match status {
        // 503 is also what WordPress says of itself during an update.
        502..=504 => Trouble::shown(
            Code::SiteUnreachable,
            format!(
                "The site answers with {status}: it is overloaded, or under maintenance.{}",
                super::quoted(text)
            ),
            answer,
        ),
        _ => Trouble::shown(
            Code::SiteFatal,
            format!("The site answers with an error ({status}).{}", super::quoted(text)),
            answer,
        ),
    })
}

/// There is no login form: is it hidden, or is this no WordPress?
async fn no_login(http: &Http, site: &SiteUrl, answer: &Answer) -> Done<Box<Trouble>> {
    let front = http.send(Ask::get(site.at(""))).await?;
    if let Some(to) = front.location.as_ref().filter(|to| to.host_str() != site.url().host_str()) {
        return Ok(elsewhere(to, answer));
    }
    let status = answer.status;
    Ok(Box::new(if is_wordpress(&front) {
        let detail =
            format!("The site is a WordPress, but wp-login.php shows no login form (it answers {status}).");
        Trouble::shown(Code::LoginUrlNotFound, detail, answer)
    } else {
        let detail = format!("Nothing at this address tells of a WordPress (wp-login.php answers {status}).");
        Trouble::shown(Code::NotWordPress, detail, &front)
    }))
}

/// Whether an answer is a page of a WordPress.
pub(crate) fn is_wordpress(front: &Answer) -> bool {
    const MARKS: &str = "link[rel='https://api.w.org/'], meta[name=generator][content^=WordPress], \
         link[href*='/wp-includes/'], script[src*='/wp-includes/'], link[href*='/wp-content/'], \
         script[src*='/wp-content/'], img[src*='/wp-content/']";
    front.header("link").is_some_and(|l| l.contains("api.w.org")) || front.page(|p| p.has(MARKS))
}
