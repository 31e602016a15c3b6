//! The login, in a real browser: one attempt, whatever its outcome. From the moment the form is submitted the browser
//! reaches only the site: it repeats a form of its own accord when the answer is 307 or 308, or when the page reloads.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wpclone_task::{Code, ExposeSecret, Login, SiteText, SiteUrl};

use super::site_discovery::LOGIN_PAGE;
use super::{StepError, StepResult, quoted};
use crate::browser::{Browser, StepReporter, wait};
use crate::net::{CHALLENGE, SiteClient};

/// Reads the state of the current page.
const READ_SCRIPT: &str = include_str!("login.js");

/// Fills in the form and submits it, if page and form belong to the expected origin; returns whether it did. Values are
/// set, not typed: wp-login moves the focus after 200 ms, and typed text would land in the wrong field. `submit` is taken
/// from the prototype, since a field of that name would hide it.
const SUBMIT_SCRIPT: &str = "
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

/// Scripts of wp-admin: nothing here needs them, and loading them takes longer than all else.
const ADMIN_SCRIPTS: [&str; 3] = ["*/wp-admin/js/*", "*/wp-includes/js/*", "*/load-scripts.php*"];

/// The deadline of a firewall that checks the browser before it lets it in.
const CHALLENGE_DEADLINE: Duration = Duration::from_secs(12);

/// The state of a page.
#[derive(Debug, Deserialize)]
struct PageState {
    url: Url,
    /// Whether the browser could not load the page at `url`.
    #[serde(skip)]
    is_not_loaded: bool,
    /// WordPress' version as `6-8-7`, if the page contains it.
    version: Option<String>,
    status: u16,
    form: bool,
    error: Option<SiteText>,
    admin: bool,
    confirm_email: bool,
    second_factor: bool,
    captcha: bool,
    challenge: bool,
    error_page: bool,
    message: Option<SiteText>,
}

/// Logs in and copies the session's cookies to `http`. `landing`: the page of wp-admin to land on. Returns WordPress'
/// version (`6.8.7`), if that page contains it.
pub(crate) async fn log_in(
    browser: &dyn Browser,
    http: &SiteClient,
    site: &SiteUrl,
    login: &Login,
    landing: &str,
    reporter: &StepReporter<'_>,
    deadline: Duration,
) -> StepResult<Option<String>> {
    browser.go(&site.at(LOGIN_PAGE)).await?;
    let mut before = read_page_state(browser, deadline).await?;
    if before.challenge {
        before = pass_challenge(browser).await?;
    }
    check_form(&before, site)?;
    browser.block(&ADMIN_SCRIPTS).await?;
    let landing = site.at(landing);
    let origin = site.url().origin().ascii_serialization();
    let args = [login.username.as_str(), login.password.expose_secret(), landing.as_str(), &origin];
    reporter.login_sent().await?;
    http.restrict_to(site.url());
    // A script that returns nothing may have sent it.
    if browser.run(SUBMIT_SCRIPT, args.map(Value::from).to_vec()).await? == Value::Bool(false) {
        return Err(StepError::new(
            Code::Redirected,
            "The login form submits to another site; nothing was sent.",
        )
        .into());
    }
    let after = read_page_state(browser, deadline).await?;
    if !copy_cookies(browser, http, site).await? && !after.admin {
        return Err(login_error(&after, site));
    }
    reporter.logged_in().await;
    if after.admin && !after.confirm_email {
        return Ok(version(after));
    }
    // The user is logged in; WordPress only asks to confirm the admin's e-mail address.
    browser.go(&landing).await?;
    let landed = read_page_state(browser, deadline).await?;
    if landed.admin || landed.error_page { Ok(version(landed)) } else { Err(login_error(&landed, site)) }
}

fn version(state: PageState) -> Option<String> {
    state.version.map(|version| version.replace('-', "."))
}

async fn read_page_state(browser: &dyn Browser, deadline: Duration) -> StepResult<PageState> {
    let state = wait(browser, READ_SCRIPT, vec![CHALLENGE.into()], deadline).await?;
    let mut state: PageState = serde_json::from_value(state)
        .map_err(|_| StepError::new(Code::UnexpectedAnswer, "The login page cannot be read."))?;
    if state.url.scheme() == "chrome-error" {
        (state.is_not_loaded, state.url) = (true, browser.url().await?);
    }
    Ok(state)
}

/// Waits until the firewall lets the browser in by itself, as it does for people's browsers.
async fn pass_challenge(browser: &dyn Browser) -> StepResult<PageState> {
    let passed = async {
        loop {
            let state = read_page_state(browser, CHALLENGE_DEADLINE).await?;
            if !state.challenge {
                return StepResult::Ok(state);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let blocked =
        || StepError::new(Code::EdgeChallenge, "A firewall in front of the site blocks our browser.");
    tokio::time::timeout(CHALLENGE_DEADLINE, passed).await.map_err(|_| blocked())?
}

/// Checks that this is the site's own login form, before the one attempt is spent on it.
fn check_form(state: &PageState, site: &SiteUrl) -> StepResult<()> {
    if state.captcha {
        return Err(
            StepError::new(Code::AuthCaptcha, "The login form has a captcha; no attempt was made.").into()
        );
    }
    if state.form && state.url.origin() == site.url().origin() {
        return Ok(());
    }
    Err(no_form(state, site))
}

fn no_form(state: &PageState, site: &SiteUrl) -> Box<StepError> {
    let host = site.url().host_str().unwrap_or_default();
    let (status, says) = (state.status, quoted(state.message.clone()));
    Box::new(match status {
        _ if state.url.origin() != site.url().origin() => {
            let to = state.url.origin().ascii_serialization();
            StepError::new(Code::Redirected, format!("The login page redirects to {to}.")).with("to", to)
        }
        _ if state.is_not_loaded => {
            StepError::new(Code::SiteUnreachable, format!("{host} did not respond to the browser."))
        }
        401 => StepError::new(Code::HttpAuthRequired, "The web server asks for a login of its own."),
        403 | 406 | 429 => StepError::new(
            Code::EdgeChallenge,
            format!("The login page blocks us (it returned {status}).{says}"),
        ),
        502..=504 => {
            StepError::new(Code::SiteUnreachable, format!("The login page returned {status}.{says}"))
        }
        500.. => {
            StepError::new(Code::SiteFatal, format!("The login page returned an error ({status}).{says}"))
        }
        _ => StepError::new(
            Code::LoginUrlNotFound,
            format!("wp-login.php shows the browser no login form (it returned {status})."),
        ),
    })
}

/// Why there is no session after the attempt.
fn login_error(state: &PageState, site: &SiteUrl) -> Box<StepError> {
    let says = quoted(state.error.clone().or_else(|| state.message.clone()));
    Box::new(match state.status {
        // A plugin's form for the second factor may call itself #loginform, so this comes first.
        _ if state.second_factor => {
            StepError::new(Code::Auth2faRequired, "After the password the site asks for a second factor.")
        }
        _ if state.captcha && state.error.is_some() => StepError::new(
            Code::AuthCaptcha,
            format!("The site rejected the login and shows a captcha.{says}"),
        ),
        _ if state.challenge => {
            StepError::new(Code::EdgeChallenge, "A firewall stopped the login to check our browser.")
        }
        _ if state.error.is_some() => StepError::new(
            Code::AuthBadCredentials,
            format!("The site rejected the login; one attempt was made.{says}"),
        ),
        403 | 429 | 503 if !state.form => StepError::new(
            Code::AuthLockedOut,
            format!(
                "The site returned {} to the login: it has locked this user or our address out.{says}",
                state.status
            ),
        ),
        502 | 504 => {
            StepError::new(Code::SiteUnreachable, format!("The site returned {} to the login.", state.status))
        }
        500.. => return no_form(state, site),
        _ if state.url.path().ends_with("/upgrade.php") => StepError::new(
            Code::DbUpgradePending,
            "WordPress must upgrade its database before wp-admin can be used.",
        ),
        _ if state.is_not_loaded || state.url.origin() != site.url().origin() => return no_form(state, site),
        _ => StepError::new(
            Code::AuthInterstitial,
            format!("After the login the site shows a page of its own.{says}"),
        ),
    })
}

/// Copies the site's cookies; returns whether they contain a session.
async fn copy_cookies(browser: &dyn Browser, http: &SiteClient, site: &SiteUrl) -> StepResult<bool> {
    let host = site.url().host_str().unwrap_or_default();
    let mut session = false;
    for cookie in browser.cookies().await? {
        let domain = cookie.domain.trim_start_matches('.');
        if host != domain && !host.ends_with(&format!(".{domain}")) {
            continue;
        }
        // From wp-includes/default-constants.php; the rest of the name is a hash of the site's address.
        session |= cookie.name.starts_with("wordpress_logged_in_");
        let secure = if cookie.secure { "; Secure" } else { "" };
        http.add_cookie(
            &format!("{}={}; Path={}{secure}", cookie.name, cookie.value, cookie.path),
            site.url(),
        );
    }
    Ok(session)
}
