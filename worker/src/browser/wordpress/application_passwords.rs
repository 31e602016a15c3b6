//! Application passwords: created by REST, and where something other than WordPress answers in its place, by WordPress'
//! authorization page. What WordPress denies by REST is not asked of the page, which checks less.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use wpclone_task::{AppName, AppPasswordResult, Code, ExposeSecret, SecretString, SiteUrl, TaskId};

use super::admin_session::uncached;
use super::rest::{RestError, RestReply, RestSession, read, route};
use super::site_discovery::error_text;
use super::{AdminSession, StepError, StepResult, quoted};
use crate::browser::StepReporter;
use crate::net::{Body, SiteRequest, SiteResponse};

/// The page that lists them, and the section of it.
pub(crate) const PROFILE_PAGE: &str = "wp-admin/profile.php";
pub(crate) const PROFILE_SECTION: &str = "#application-passwords-section";
const ROUTE: &str = "/wp/v2/users/me/application-passwords";
const AUTHORIZE: &str = "wp-admin/authorize-application.php";
/// The address to which the authorization page redirects with the password. It is never requested: the redirect is read.
const SUCCESS_URL: &str = "https://wpclone.invalid/";

/// The capability to create one.
const CREATE: &str = "create_app_password";

/// WordPress' have 24 characters in six groups; those of plugins may be longer.
const MAX_PASSWORD: usize = 200;
/// WordPress' login names have at most 60 characters.
const MAX_USERNAME: usize = 100;

/// An application password as REST lists it.
#[derive(Deserialize)]
struct Listed {
    uuid: String,
    #[serde(default)]
    app_id: String,
    name: String,
}

/// A new one.
struct Created {
    password: SecretString,
    uuid: String,
}

/// Creates an application password for the logged-in user. A repeat for the same task finds its own by `app_id`, deletes
/// it and creates a new one; one of another origin with the same name stays.
pub(crate) async fn create(
    admin: &AdminSession<'_>,
    task: TaskId,
    name: &AppName,
    reporter: &StepReporter<'_>,
) -> StepResult<AppPasswordResult> {
    check_available(admin).await?;
    let rest = RestSession::open(admin).await?;
    let app_id = app_id(task);
    let Listing { passwords: listed, may_create } = list(&rest).await?;
    if may_create == Some(false) {
        let detail = "The user may not create application passwords.";
        return Err(StepError::new(Code::CapMissing, detail).with("cap", CREATE).into());
    }
    reporter.progress(50, "Creating the application password");
    reporter.site_changed();
    delete_own(&rest, &listed, &app_id).await?;
    // WordPress 6.1 compares names case-insensitively.
    let taken = listed.iter().any(|l| l.app_id != app_id && l.name.eq_ignore_ascii_case(name.as_str()));
    let name = if taken { format!("{} ({})", name.as_str(), task.short()) } else { name.as_str().to_owned() };
    let may_use_page = may_create == Some(true);
    let created = create_password(admin, &rest, &name, &app_id, may_use_page).await?;
    reporter.add_secret(&created.password);
    reporter.progress(75, "Trying the application password");
    let username = verify(admin, &created.password).await?;
    reporter.achieved(format!("The application password \u{201c}{name}\u{201d} works."));
    Ok(AppPasswordResult {
        application_password: created.password,
        username,
        uuid: created.uuid,
        app_name: name,
    })
}

/// Deletes those that this task has created.
pub(crate) async fn delete_of_task(admin: &AdminSession<'_>, task: TaskId) -> StepResult<()> {
    let rest = RestSession::open(admin).await?;
    delete_own(&rest, &list(&rest).await?.passwords, &app_id(task)).await
}

async fn delete_own(rest: &RestSession<'_>, listed: &[Listed], app_id: &str) -> StepResult<()> {
    for own in listed.iter().filter(|l| l.app_id == app_id) {
        delete(rest, &own.uuid).await?;
    }
    Ok(())
}

/// The `app_id` of a task's own password: the same for every attempt.
fn app_id(task: TaskId) -> String {
    task.derived("app-password").to_string()
}

/// The API's index says whether application passwords are enabled (`authentication`: an object, or an empty array).
async fn check_available(admin: &AdminSession<'_>) -> StepResult<()> {
    let url = route(admin.site, "/", &[("_fields", "name,url,home,authentication")]);
    let index = match read(admin.send(SiteRequest::get(url)).await?) {
        RestReply::Ok(index) if index.get("authentication").is_some() => index,
        RestReply::Ok(_) => {
            return Err(StepError::new(Code::RestBlocked, "The REST API's index is not WordPress'.").into());
        }
        RestReply::Error(RestError { status, response, .. }) => return Err(rest_closed(status, &response)),
        RestReply::NotRest(response) => return Err(rest_closed(response.status, &response)),
    };
    if index["authentication"].get("application-passwords").is_some() {
        return Ok(());
    }
    let reason = why_unavailable(admin).await;
    Err(StepError::new(Code::AppPwDisabled, format!("Application passwords are not available. {reason}"))
        .into())
}

/// The profile page mentions application passwords where WordPress itself disables them, since 5.9, and not where something
/// else does.
async fn why_unavailable(admin: &AdminSession<'_>) -> &'static str {
    let page = admin.send_unchecked(SiteRequest::get(admin.site.at(PROFILE_PAGE))).await;
    let lacks_https = page.is_ok_and(|response| response.page(|p| p.has(PROFILE_SECTION)));
    unavailable_because(admin.site, lacks_https)
}

/// Why application passwords are not available. `lacks_https`: WordPress says so.
fn unavailable_because(site: &SiteUrl, lacks_https: bool) -> &'static str {
    match (site.url().scheme(), lacks_https) {
        ("http", true) => "The site is served over http, where WordPress disables them.",
        ("http", false) => {
            "A plugin or a setting disables them; WordPress itself does so over http, unless its environment type is `local`."
        }
        (_, true) => {
            "WordPress disables them, because it does not see that the site is served over https, as behind a proxy that ends TLS."
        }
        (_, false) => "A plugin or a setting disables them.",
    }
}

fn rest_closed(status: u16, response: &SiteResponse) -> Box<StepError> {
    let says = quoted(error_text(response));
    Box::new(StepError::shown(Code::RestBlocked, format!("The REST API returned {status}.{says}"), response))
}

/// What an error of WordPress' REST API means.
fn rest_error(error: &RestError) -> Box<StepError> {
    let RestError { status, code, response } = error;
    let code_text = error_code_text(error);
    Box::new(match code.as_str() {
        _ if is_disabled(error) => StepError::shown(
            Code::AppPwDisabled,
            "Application passwords are disabled for this user.",
            response,
        ),
        _ if code.starts_with("rest_cannot_") || code == "rest_forbidden" => {
            let detail = format!("The user may not manage application passwords ({code_text}).");
            StepError::shown(Code::CapMissing, detail, response).with("cap", denied_capability(code))
        }
        _ => StepError::shown(
            Code::RestBlocked,
            format!("The REST API rejects the request ({status}, {code_text})."),
            response,
        ),
    })
}

/// Whether WordPress says that application passwords are disabled.
fn is_disabled(error: &RestError) -> bool {
    matches!(
        error.code.as_str(),
        "application_passwords_disabled" | "application_passwords_disabled_for_user"
    )
}

/// An error's code, for people to read.
fn error_code_text(error: &RestError) -> String {
    error.code.chars().filter(|c| c.is_ascii_graphic()).take(60).collect()
}

/// What an error means that the REST API returns to a request with a new application password. It says nothing of what the
/// user may do: the session may do the same, so that the request was taken for a visitor's.
fn password_error(error: &RestError) -> Box<StepError> {
    if is_disabled(error) {
        return rest_error(error);
    }
    if error.code == "rest_not_logged_in" {
        let detail = "The site does not see the password that it has just created: the Authorization header does not reach WordPress.";
        return Box::new(StepError::shown(Code::AuthHeaderStripped, detail, &error.response));
    }
    let code = if error.status == 401 { Code::AuthHeaderStripped } else { Code::RestBlocked };
    let detail = format!(
        "The site rejects the application password that it has just created ({}, {}): the Authorization header does not \
         reach WordPress, or a plugin ends requests with an application password.{}",
        error.status,
        error_code_text(error),
        quoted(error.message())
    );
    Box::new(StepError::shown(code, detail, &error.response))
}

/// The capability that an error of WP_REST_Application_Passwords_Controller is about.
fn denied_capability(code: &str) -> &'static str {
    match code {
        _ if code.starts_with("rest_cannot_list") => "list_app_passwords",
        _ if code.starts_with("rest_cannot_delete") => "delete_app_password",
        _ => CREATE,
    }
}

/// A user's application passwords.
struct Listing {
    passwords: Vec<Listed>,
    /// `None` when WordPress' word on it did not arrive.
    may_create: Option<bool>,
}

async fn list(rest: &RestSession<'_>) -> StepResult<Listing> {
    let response = rest.send(Method::GET, ROUTE, &[("context", "edit")], None).await?;
    // rest_send_allow_header(): the methods of the route that this user may use.
    let may_create =
        response.header("allow").map(|allow| allow.split(',').any(|method| method.trim() == "POST"));
    match read(response) {
        RestReply::Ok(list) => match serde_json::from_value(list) {
            Ok(passwords) => Ok(Listing { passwords, may_create }),
            Err(_) => {
                let detail = "The list of application passwords cannot be read.";
                Err(StepError::new(Code::UnexpectedAnswer, detail).into())
            }
        },
        RestReply::Error(error) => Err(rest_error(&error)),
        RestReply::NotRest(response) => Err(rest_closed(response.status, &response)),
    }
}

async fn delete(rest: &RestSession<'_>, uuid: &str) -> StepResult<()> {
    if !is_uuid(uuid) {
        return Err(StepError::new(
            Code::UnexpectedAnswer,
            "The id of an application password is malformed.",
        )
        .into());
    }
    match rest.call(Method::DELETE, &format!("{ROUTE}/{uuid}"), &[], None).await? {
        RestReply::Ok(_) => Ok(()),
        RestReply::Error(error) if error.status == 404 => Ok(()),
        RestReply::Error(error) => Err(rest_error(&error)),
        RestReply::NotRest(response) => Err(rest_closed(response.status, &response)),
    }
}

/// Checked because the site's id becomes part of an address.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

async fn create_password(
    admin: &AdminSession<'_>,
    rest: &RestSession<'_>,
    name: &str,
    app_id: &str,
    may_use_page: bool,
) -> StepResult<Created> {
    let body = json!({ "name": name, "app_id": app_id });
    let response = match rest.call(Method::POST, ROUTE, &[], Some(body)).await? {
        RestReply::Ok(created) => return created_by_rest(&created),
        RestReply::Error(error) => return Err(rest_error(&error)),
        RestReply::NotRest(response) if !may_use_page => return Err(rest_closed(response.status, &response)),
        RestReply::NotRest(response) => response,
    };
    tracing::info!(
        status = response.status,
        "REST creates no application password; using the authorization page"
    );
    let password =
        create_by_page(admin, name, app_id).await?.ok_or_else(|| rest_closed(response.status, &response))?;
    let own = list(rest).await?.passwords.into_iter().find(|l| l.app_id == app_id);
    let uuid = own
        .ok_or_else(|| StepError::new(Code::UnexpectedAnswer, "The new application password is not listed."))?
        .uuid;
    Ok(Created { password, uuid })
}

fn created_by_rest(created: &Value) -> StepResult<Created> {
    let text = |name: &str| created[name].as_str().filter(|t| t.len() <= MAX_PASSWORD).map(str::to_owned);
    match (text("password"), text("uuid").filter(|u| is_uuid(u))) {
        (Some(password), Some(uuid)) => Ok(Created { password: SecretString::from(password), uuid }),
        _ => {
            Err(StepError::new(Code::UnexpectedAnswer, "The response contains no application password.")
                .into())
        }
    }
}

/// The page's form works without scripts when a `success_url` is given: WordPress then redirects there with the
/// password, and the redirect is read instead of followed.
async fn create_by_page(
    admin: &AdminSession<'_>,
    name: &str,
    app_id: &str,
) -> StepResult<Option<SecretString>> {
    if admin.uses_browser() {
        // fetch() hides redirects to other sites.
        return Ok(None);
    }
    let mut page = admin.site.at(AUTHORIZE);
    page.query_pairs_mut().extend_pairs([
        ("app_name", name),
        ("app_id", app_id),
        ("success_url", SUCCESS_URL),
    ]);
    let shown = admin.send(SiteRequest::get(page)).await?;
    let mut fields = shown.page(|p| p.hidden_fields(&format!("form[action$='{AUTHORIZE}']")));
    if fields.is_empty() {
        return Ok(None);
    }
    fields.extend([("app_name", name), ("approve", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let response = admin.http.send(SiteRequest::post(admin.site.at(AUTHORIZE), Body::Form(fields))).await?;
    let to = response.location.filter(|to| to.as_str().starts_with(SUCCESS_URL));
    Ok(to.and_then(|to| {
        to.query_pairs()
            .find(|(k, _)| k == "password")
            .filter(|(_, v)| v.len() <= MAX_PASSWORD)
            .map(|(_, v)| SecretString::from(v.into_owned()))
    }))
}

#[derive(Deserialize)]
struct Me {
    username: String,
}

/// Uses the password as its owner will: HTTP Basic, without cookies. Returns its user's login name.
async fn verify(admin: &AdminSession<'_>, password: &SecretString) -> StepResult<String> {
    // The login may have been an e-mail address: the session knows the login name.
    let rest = RestSession::open(admin).await?;
    let username = match rest
        .call(Method::GET, "/wp/v2/users/me", &[("context", "edit"), ("_fields", "username")], None)
        .await?
    {
        RestReply::Ok(me) => serde_json::from_value::<Me>(me)
            .ok()
            .map(|me| me.username)
            .filter(|name| name.len() <= MAX_USERNAME),
        RestReply::Error(_) | RestReply::NotRest(_) => None,
    };
    let username = username
        .ok_or_else(|| StepError::new(Code::RestBlocked, "The REST API does not report who the user is."))?;
    let basic = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    let url = route(admin.site, "/wp/v2/users/me", &[("context", "edit"), ("_fields", "username")]);
    let request = SiteRequest::get(url).header("Authorization", format!("Basic {basic}"));
    match read(admin.http.send_without_cookies(uncached(request)?).await?) {
        RestReply::Ok(me) if me["username"] == username.as_str() => Ok(username),
        RestReply::Ok(_) => {
            Err(StepError::new(Code::UnexpectedAnswer, "The application password belongs to somebody else.")
                .into())
        }
        RestReply::Error(error) => Err(password_error(&error)),
        RestReply::NotRest(response) => {
            let says = quoted(error_text(&response));
            let detail = format!(
                "The site rejects the application password that it has just created: the REST API returned {} to it.{says}",
                response.status
            );
            Err(StepError::shown(Code::RestBlocked, detail, &response).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_ends_tls_is_not_mistaken_for_a_plugin() {
        let why = |url: &str, lacks_https| unavailable_because(&SiteUrl::parse(url).unwrap(), lacks_https);
        assert!(why("https://a.example", true).contains("does not see that the site is served over https"));
        assert!(why("https://a.example", false).starts_with("A plugin or a setting"));
        assert!(why("http://a.example", true).contains("served over http,"));
        assert!(why("http://a.example", false).starts_with("A plugin or a setting"));
    }
}
