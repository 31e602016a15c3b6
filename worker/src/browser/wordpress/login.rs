//! The login, in a real browser. One attempt, whatever comes of it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wpclone_task::{Code, ExposeSecret, Login, SiteUrl};

use super::place::LOGIN_PAGE;
use super::{Done, Trouble, quoted};
use crate::browser::{Browser, Ledger, wait};
use crate::net::{CHALLENGE, Http};

/// Reads the page that is open.
const LOOK: &str = include_str!("login.js");

/// Fills the form and sends it, if page and form are of the origin that we mean; tells whether it did. Values are set,
/// not typed: wp-login moves the focus after 200 ms, and typed text lands in the wrong field. `submit` is taken from the
/// prototype, since a field of that name would hide it.
const SEND: &str = "
    const [user, password, landing, origin] = arguments, form = document.querySelector('#loginform');
    const action = new URL(form.getAttribute('action') || location.href, location.href);
    if (location.origin !== origin || action.origin !== origin) return false;
    const set = (name, value) => {
        const field = form.querySelector(`[name=${name}]`);
        if (field) field.value = value;
    };
    set('log', user); set('pwd', password); set('redirect_to', landing);
    window.__wpcloneSent = true;
    HTMLFormElement.prototype.submit.call(form);
    return true;";

/// Scripts of wp-admin: no page of it needs them for what we do, and they take longer than all else.
const ADMIN_SCRIPTS: [&str; 3] = ["*/wp-admin/js/*", "*/wp-includes/js/*", "*/load-scripts.php*"];

/// How long a wall that checks browsers may take to let one in.
const CHALLENGE_LIMIT: Duration = Duration::from_secs(12);

/// What a page shows.
#[derive(Debug, Deserialize)]
struct Seen {
    url: Url,
    /// WordPress' version where the page tells it, as `6-8-7`.
    version: Option<String>,
    status: u16,
    form: bool,
    error: Option<String>,
    admin: bool,
    confirm_email: bool,
    second_factor: bool,
    captcha: bool,
    challenge: bool,
    error_page: bool,
    message: Option<String>,
}

/// Logs in and hands the session's cookies to `http`. `landing`: the page of wp-admin to come out at. Returns WordPress'
/// version (`6.8.7`) where that page tells it.
pub(crate) async fn log_in(
    browser: &dyn Browser,
    http: &Http,
    site: &SiteUrl,
    login: &Login,
    landing: &str,
    ledger: &Ledger<'_>,
    limit: Duration,
) -> Done<Option<String>> {
    browser.go(&site.at(LOGIN_PAGE)).await?;
    let mut before = look(browser, limit).await?;
    if before.challenge {
        before = pass_challenge(browser).await?;
    }
    ready_to_send(&before, site)?;
    browser.block(&ADMIN_SCRIPTS).await?;
    let landing = site.at(landing);
    let origin = site.url().origin().ascii_serialization();
    let args = [login.username.as_str(), login.password.expose_secret(), landing.as_str(), &origin];
    ledger.login_sent();
    if browser.run(SEND, args.map(Value::from).to_vec()).await? != Value::Bool(true) {
        return Err(Trouble::new(
            Code::Redirected,
            "The login form would be sent to another site; nothing was sent.",
        )
        .into());
    }
    let after = look(browser, limit).await?;
    if !take_session(browser, http, site).await? && !after.admin {
        return Err(refused(&after, site));
    }
    ledger.logged_in();
    if after.admin && !after.confirm_email {
        return Ok(version(after));
    }
    // The session stands; WordPress only asks in between whether the admin's address is right.
    browser.go(&landing).await?;
    let landed = look(browser, limit).await?;
    if landed.admin || landed.error_page { Ok(version(landed)) } else { Err(refused(&landed, site)) }
}

fn version(seen: Seen) -> Option<String> {
    seen.version.map(|version| version.replace('-', "."))
}

async fn look(browser: &dyn Browser, limit: Duration) -> Done<Seen> {
    let seen = wait(browser, LOOK, vec![CHALLENGE.into()], limit).await?;
    let seen = serde_json::from_value(seen);
    seen.map_err(|_| Trouble::new(Code::UnexpectedAnswer, "The login page cannot be read.").into())
}

/// Waits for a wall to open by itself, as it does for browsers that people use.
async fn pass_challenge(browser: &dyn Browser) -> Done<Seen> {
    let passed = async {
        loop {
            let seen = look(browser, CHALLENGE_LIMIT).await?;
            if !seen.challenge {
                return Done::Ok(seen);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let walled =
        || Trouble::new(Code::EdgeChallenge, "A firewall in front of the site does not let our browser in.");
    tokio::time::timeout(CHALLENGE_LIMIT, passed).await.map_err(|_| walled())?
}

/// Whether this is the site's own login form, which may have our one attempt.
fn ready_to_send(seen: &Seen, site: &SiteUrl) -> Done<()> {
    if seen.captcha {
        return Err(
            Trouble::new(Code::AuthCaptcha, "The login form has a captcha; no attempt was made.").into()
        );
    }
    if seen.form && seen.url.origin() == site.url().origin() {
        return Ok(());
    }
    Err(no_form(seen, site))
}

fn no_form(seen: &Seen, site: &SiteUrl) -> Box<Trouble> {
    let host = site.url().host_str().unwrap_or_default();
    let (status, says) = (seen.status, quoted(seen.message.clone()));
    Box::new(match status {
        _ if seen.url.scheme() == "chrome-error" => {
            Trouble::new(Code::SiteUnreachable, format!("{host} gave the browser no answer."))
        }
        _ if seen.url.origin() != site.url().origin() => {
            let to = seen.url.origin().ascii_serialization();
            Trouble::new(Code::Redirected, format!("The login page leads to {to}.")).with("to", to)
        }
        401 => Trouble::new(Code::HttpAuthRequired, "The web server asks for a login of its own."),
        403 | 406 | 429 => Trouble::new(
            Code::EdgeChallenge,
            format!("The login page is closed to us (it answers {status}).{says}"),
        ),
        502..=504 => Trouble::new(Code::SiteUnreachable, format!("The login page answers {status}.{says}")),
        500.. => {
            Trouble::new(Code::SiteFatal, format!("The login page answers with an error ({status}).{says}"))
        }
        _ => Trouble::new(
            Code::LoginUrlNotFound,
            format!("wp-login.php shows the browser no login form (it answers {status})."),
        ),
    })
}

/// What it means that there is no session after the attempt.
fn refused(seen: &Seen, site: &SiteUrl) -> Box<Trouble> {
    let says = quoted(seen.error.clone().or_else(|| seen.message.clone()));
    Box::new(match seen.status {
        // A plugin's form for the second factor may call itself #loginform, so this comes first.
        _ if seen.second_factor => {
            Trouble::new(Code::Auth2faRequired, "After the password the site asks for a second factor.")
        }
        _ if seen.captcha && seen.error.is_some() => {
            Trouble::new(Code::AuthCaptcha, format!("The site rejected the login and shows a captcha.{says}"))
        }
        _ if seen.challenge => {
            Trouble::new(Code::EdgeChallenge, "A firewall stopped the login to look at our browser.")
        }
        _ if seen.error.is_some() => Trouble::new(
            Code::AuthBadCredentials,
            format!("The site rejected the login; one attempt was made.{says}"),
        ),
        403 | 429 | 503 if !seen.form => Trouble::new(
            Code::AuthLockedOut,
            format!(
                "The site answered the login with {}: it keeps this user or our address out.{says}",
                seen.status
            ),
        ),
        502 | 504 => {
            Trouble::new(Code::SiteUnreachable, format!("The site answered the login with {}.", seen.status))
        }
        500.. => return no_form(seen, site),
        _ if seen.url.path().ends_with("/upgrade.php") => Trouble::new(
            Code::DbUpgradePending,
            "WordPress wants to upgrade its database before anybody may work.",
        ),
        _ if seen.url.origin() != site.url().origin() => return no_form(seen, site),
        _ => Trouble::new(
            Code::AuthInterstitial,
            format!("After the login the site shows a page of its own.{says}"),
        ),
    })
}

/// Takes the session's cookies over; tells whether there are any.
async fn take_session(browser: &dyn Browser, http: &Http, site: &SiteUrl) -> Done<bool> {
    let host = site.url().host_str().unwrap_or_default();
    let mut session = false;
    for cookie in browser.cookies().await? {
        let domain = cookie.domain.trim_start_matches('.');
        if host != domain && !host.ends_with(&format!(".{domain}")) {
            continue;
        }
        // The names are WordPress' own (wp-includes/default-constants.php), the rest of them a hash of the site.
        session |= cookie.name.starts_with("wordpress_logged_in_");
        let secure = if cookie.secure { "; Secure" } else { "" };
        http.add_cookie(
            &format!("{}={}; Path={}{secure}", cookie.name, cookie.value, cookie.path),
            site.url(),
        );
    }
    Ok(session)
}
