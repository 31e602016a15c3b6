//! The login, in a real browser: one attempt, whatever its outcome. From the moment the form is submitted the browser
//! reaches only the site: it repeats a form of its own accord when the answer is 307 or 308, or when the page reloads.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;
use url::Url;
use wpclone_task::{Code, ExposeSecret, Login, SiteText, SiteUrl};

use super::cookies::{add_cookies, cookies_of};
use super::site_discovery::LOGIN_PAGE;
use super::{StepError, StepResult, quoted};
use crate::browser::{Browser, Cookie, StepReporter, wait};
use crate::kept_session::LoginSession;
use crate::net::{CHALLENGE, SiteClient};

/// Reads the state of the current page.
const READ_SCRIPT: &str = include_str!("login.js");

/// Fills in the form and presses its button, if page and form belong to the expected origin; returns whether it did, or
/// `incomplete` when the form has other fields that must be filled in. Values are set, not typed: wp-login moves the focus
/// after 200 ms, and typed text would land in the wrong field. The form's scripts see the events of a person's input, click
/// and submission: second factors, captchas and forms that a script sends depend on them. Methods are taken from prototypes,
/// since a field of that name would hide them.
const SUBMIT_SCRIPT: &str = "
    const [user, password, landing, origin] = arguments, form = document.querySelector('#loginform');
    const action = new URL(form.getAttribute('action') || location.href, location.href);
    if (location.origin !== origin || action.origin !== origin) return false;
    const set = (name, value) => {
        const field = form.querySelector(`[name=${name}]`);
        if (!field) return;
        field.value = value;
        for (const type of ['input', 'change']) field.dispatchEvent(new Event(type, { bubbles: true }));
    };
    set('log', user); set('pwd', password); set('redirect_to', landing);
    if (!form.noValidate && !HTMLFormElement.prototype.checkValidity.call(form)) return 'incomplete';
    window.__wpcloneSent = true;
    const button = form.querySelector('#wp-submit') || form.querySelector('[type=submit], button:not([type])');
    if (button && !button.disabled) HTMLElement.prototype.click.call(button);
    else HTMLFormElement.prototype.requestSubmit.call(form, null);
    return true;";

/// Scripts of wp-admin: nothing here needs them, and loading them takes longer than all else.
const ADMIN_SCRIPTS: [&str; 3] = ["*/wp-admin/js/*", "*/wp-includes/js/*", "*/load-scripts.php*"];

/// The deadline of a firewall that checks the browser before it lets it in.
const CHALLENGE_DEADLINE: Duration = Duration::from_secs(12);

/// A page that takes longer than this after the site has accepted the login is not waited for.
const LANDING_DEADLINE: Duration = Duration::from_secs(5);
/// How often the cookies are looked at while that page is awaited.
const LANDING_POLL: Duration = Duration::from_secs(1);

/// How long the login page is left alone after the web server admitted no more requests.
const LOGIN_PAGE_PAUSE: Duration = Duration::from_secs(2);

/// The time between the request for the form and its submission. Web servers often admit one request a second to
/// wp-login.php, and plugins reject forms that come back sooner than a person could send them.
const FORM_PAUSE: Duration = Duration::from_millis(1200);

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
    /// Whether the form asks for a password.
    password: bool,
    /// Whether the form shows other fields that are empty.
    question: bool,
    /// Whether WordPress checks with the form that the browser keeps cookies.
    test_cookie: bool,
    error: Option<SiteText>,
    admin: bool,
    confirm_email: bool,
    second_factor: bool,
    captcha: bool,
    challenge: bool,
    /// Whether the page is a web server's own about its status.
    by_server: bool,
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
    let before = open_form(browser, http, site, deadline).await?;
    check_form(&before, site)?;
    check_cookies(browser, site, &before).await?;
    browser.block(&ADMIN_SCRIPTS).await?;
    let landing = site.at(landing);
    let origin = site.url().origin().ascii_serialization();
    let args = [login.username.as_str(), login.password.expose_secret(), landing.as_str(), &origin];
    reporter.login_sent().await?;
    http.restrict_to(site.url());
    // A script that returns nothing may have sent it.
    let submitted = browser.run(SUBMIT_SCRIPT, args.map(Value::from).to_vec()).await?;
    if submitted == Value::Bool(false) {
        let detail = "The login form submits to another site; nothing was sent.";
        return Err(StepError::new(Code::Redirected, detail).into());
    }
    if submitted == "incomplete" {
        let detail = "The login form asks for more than a user and a password; nothing was sent.";
        return Err(StepError::new(Code::AuthInterstitial, detail).into());
    }
    let after = page_after_login(browser, site, reporter, deadline).await?;
    let cookies = cookies_of(browser, site).await?;
    add_cookies(http, site, &cookies);
    let has_session = cookies.iter().any(Cookie::is_session);
    if let Some(after) = after.as_ref().filter(|after| !has_session && !after.admin) {
        return Err(login_error(after, site, login));
    }
    reporter.logged_in(site, &cookies).await;
    match after {
        Some(after) if after.confirm_email => {
            // WordPress only asks to confirm the admin's e-mail address.
            browser.go(&landing).await?;
            Ok(read_page_state(browser, LANDING_DEADLINE).await.ok().and_then(version))
        }
        // What the site shows in place of the page does not matter before that page is needed.
        after => Ok(after.and_then(version)),
    }
}

/// Goes on with the session of an earlier attempt, and copies its cookies to `http`; otherwise like [`log_in`]. A session that
/// the site has ended is an error: a login would send the password again.
pub(crate) async fn resume(
    browser: &dyn Browser,
    http: &SiteClient,
    site: &SiteUrl,
    session: &LoginSession,
    landing: &str,
    reporter: &StepReporter<'_>,
    deadline: Duration,
) -> StepResult<Option<String>> {
    if session.site != *site.url() {
        let detail = "The site has another address than when it accepted the login. Its session is not sent there, and \
            the password is not sent again.";
        return Err(StepError::new(Code::SessionLost, detail).into());
    }
    http.restrict_to(site.url());
    add_cookies(http, site, &session.cookies);
    reporter.logged_in(site, &session.cookies).await;
    browser.block(&ADMIN_SCRIPTS).await?;
    browser.set_cookies(site.url(), &session.cookies).await?;
    browser.go(&site.at(landing)).await?;
    let mut page = page_after_login(browser, site, reporter, deadline).await?;
    if page.as_ref().is_some_and(|page| page.challenge) {
        page = Some(pass_challenge(browser).await?);
    }
    let cookies = cookies_of(browser, site).await?;
    let is_login_form = page.as_ref().is_some_and(|page| page.form && page.password && !page.admin);
    if is_login_form || !cookies.iter().any(Cookie::is_session) {
        let detail = "The site ended the session after it had accepted the login in an earlier attempt. The password is \
            not sent again.";
        return Err(StepError::new(Code::SessionLost, detail).into());
    }
    add_cookies(http, site, &cookies);
    reporter.logged_in(site, &cookies).await;
    Ok(page.and_then(version))
}

fn version(state: PageState) -> Option<String> {
    state.version.map(|version| version.replace('-', "."))
}

/// The page after the login; `None` when the user is logged in, but no page becomes ready soon: it is given up then.
async fn page_after_login(
    browser: &dyn Browser,
    site: &SiteUrl,
    reporter: &StepReporter<'_>,
    deadline: Duration,
) -> StepResult<Option<PageState>> {
    let end = Instant::now() + deadline;
    let mut landing_end = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let error = match read_page_state(browser, left.min(LANDING_POLL)).await {
            Ok(state) => return Ok(Some(state)),
            Err(error) => error,
        };
        // Cookies are told also while a page is awaited.
        let cookies = cookies_of(browser, site).await?;
        let has_session = cookies.iter().any(Cookie::is_session);
        if has_session {
            reporter.logged_in(site, &cookies).await;
            landing_end.get_or_insert_with(|| end.min(Instant::now() + LANDING_DEADLINE));
        }
        let is_over = landing_end.unwrap_or(end) <= Instant::now();
        if is_over || error.problem.code != Code::Deadline {
            browser.stop_loading().await?;
            return if has_session { Ok(None) } else { Err(error) };
        }
    }
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

/// Opens the login page, as slowly as the site wants to be asked for it.
async fn open_form(
    browser: &dyn Browser,
    http: &SiteClient,
    site: &SiteUrl,
    deadline: Duration,
) -> StepResult<PageState> {
    let mut pause = http.longest_pause();
    for last in [false, false, true] {
        sleep(pause).await;
        let asked = Instant::now();
        browser.go(&site.at(LOGIN_PAGE)).await?;
        let mut state = read_page_state(browser, deadline).await?;
        if state.challenge {
            state = pass_challenge(browser).await?;
        }
        // The browser shows a page of its own in place of an error without a body.
        let is_busy = state.is_not_loaded || matches!(state.status, 429 | 503) && state.by_server;
        if last || !is_busy {
            // The form is sent no sooner than the site lets the page be opened again.
            sleep(pause.max(FORM_PAUSE).saturating_sub(asked.elapsed())).await;
            return Ok(state);
        }
        pause = pause.max(LOGIN_PAGE_PAUSE);
    }
    Err(StepError::new(Code::SiteUnreachable, "The login page does not respond.").into())
}

/// Checks that the browser got any cookie with the form: without one, WordPress rejects every login.
async fn check_cookies(browser: &dyn Browser, site: &SiteUrl, form: &PageState) -> StepResult<()> {
    if !form.test_cookie || !cookies_of(browser, site).await?.is_empty() {
        return Ok(());
    }
    let detail = "The login page sets no cookie, so WordPress would reject every login (usually because a plugin or the theme \
        prints something before the page). Nothing was sent.";
    Err(StepError::new(Code::UnexpectedAnswer, detail).into())
}

/// Waits until the firewall lets the browser in by itself, as it does for people's browsers.
async fn pass_challenge(browser: &dyn Browser) -> StepResult<PageState> {
    let passed = async {
        loop {
            let state = read_page_state(browser, CHALLENGE_DEADLINE).await?;
            if !state.challenge {
                return StepResult::Ok(state);
            }
            sleep(Duration::from_millis(250)).await;
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
    if !state.form || state.url.origin() != site.url().origin() {
        return Err(no_form(state, site));
    }
    if !state.password {
        let detail =
            "The login form asks for no password (a login in several steps, or by a link); nothing was sent.";
        return Err(StepError::new(Code::AuthInterstitial, detail).into());
    }
    Ok(())
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
        429 | 502..=504 if state.by_server => StepError::new(
            Code::SiteUnreachable,
            format!("The web server returned {status} in place of the login page."),
        ),
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
fn login_error(state: &PageState, site: &SiteUrl, login: &Login) -> Box<StepError> {
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
        _ if state.error.is_some() && state.question => StepError::new(
            Code::AuthInterstitial,
            format!(
                "The site rejected the login, and its form asks for more than a user and a password, which was left empty.{says}"
            ),
        ),
        // WordPress shows the form again.
        _ if state.error.is_some() && state.form => {
            let hint = if is_application_password(login.password.expose_secret()) {
                " The password looks like an application password, which the login form does not accept."
            } else {
                ""
            };
            let detail = format!("The site rejected the login; one attempt was made.{hint}{says}");
            StepError::new(Code::AuthBadCredentials, detail)
        }
        429 | 502..=504 if state.by_server => StepError::new(
            Code::SiteUnreachable,
            format!("The web server returned {} to the login: it is overloaded.", state.status),
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

/// Whether a password has the form of an application password: 24 letters and digits in six groups
/// (WP_Application_Passwords::chunk_password()).
fn is_application_password(password: &str) -> bool {
    let groups: Vec<&str> = password.trim().split(' ').collect();
    groups.len() == 6 && groups.iter().all(|g| g.len() == 4 && g.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_password_is_recognised_by_its_form() {
        assert!(is_application_password("abcd EFGH 1234 ijkl MNOP 5678"));
        for other in
            ["abcd EFGH 1234 ijkl MNOP", "abcd EFGH 1234 ijkl MNOP 567!", "correct horse battery staple", ""]
        {
            assert!(!is_application_password(other), "{other}");
        }
    }
}
