//! Application passwords: by REST, and where REST does not let us, by the page that asks people for one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use wpclone_task::{AppName, AppPasswordResult, Code, ExposeSecret, SecretString, TaskId};

use super::rest::{Refusal, Rest, Said, read, route};
use super::{Admin, Done, Trouble};
use crate::browser::Ledger;
use crate::net::{Answer, Ask, Body};

/// Where a person sees them, and the part of the page.
pub(crate) const PROFILE_PAGE: &str = "wp-admin/profile.php";
pub(crate) const PROFILE_SECTION: &str = "#application-passwords-section";
const ROUTE: &str = "/wp/v2/users/me/application-passwords";
const AUTHORIZE: &str = "wp-admin/authorize-application.php";
/// Where the authorize page would send a person's browser with the password. Never visited: the answer is read instead.
const NOWHERE: &str = "https://wpclone.invalid/";

/// WordPress' have 24 characters in six groups; other makers' some more.
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
struct Made {
    password: SecretString,
    uuid: String,
}

/// Makes an application password for the logged-in user. A repeat for the same task finds its own by `app_id`, deletes
/// it and makes it anew; another's of the same name stays.
pub(crate) async fn create(
    admin: &Admin<'_>,
    task: TaskId,
    name: &AppName,
    ledger: &Ledger<'_>,
) -> Done<AppPasswordResult> {
    check_available(admin).await?;
    let rest = Rest::open(admin).await?;
    let app_id = app_id(task);
    let listed = list(&rest).await?;
    ledger.say(50, "Making the application password");
    ledger.changed();
    delete_own(&rest, &listed, &app_id).await?;
    // WordPress 6.1 compares names without regard to case.
    let taken = listed.iter().any(|l| l.app_id != app_id && l.name.eq_ignore_ascii_case(name.as_str()));
    let name = if taken { format!("{} ({})", name.as_str(), task.short()) } else { name.as_str().to_owned() };
    let made = make(admin, &rest, &name, &app_id).await?;
    ledger.secret(&made.password);
    ledger.say(75, "Trying the application password");
    let username = prove(admin, &made.password).await?;
    ledger.achieved(format!("The application password \u{201c}{name}\u{201d} works."));
    Ok(AppPasswordResult { application_password: made.password, username, uuid: made.uuid, app_name: name })
}

/// Deletes what this task has made: a password that nobody can use is not left behind.
pub(crate) async fn forget(admin: &Admin<'_>, task: TaskId) -> Done<()> {
    let rest = Rest::open(admin).await?;
    delete_own(&rest, &list(&rest).await?, &app_id(task)).await
}

async fn delete_own(rest: &Rest<'_>, listed: &[Listed], app_id: &str) -> Done<()> {
    for own in listed.iter().filter(|l| l.app_id == app_id) {
        delete(rest, &own.uuid).await?;
    }
    Ok(())
}

/// What every attempt of a task knows its own by.
fn app_id(task: TaskId) -> String {
    task.derived("app-password").to_string()
}

/// The API's index says whether application passwords are on (`authentication`: an object, or an empty array).
async fn check_available(admin: &Admin<'_>) -> Done<()> {
    let url = route(admin.site, "/", &[("_fields", "name,url,home,authentication")]);
    let index = match read(admin.ask(Ask::get(url)).await?) {
        Said::Yes(index) if index.get("authentication").is_some() => index,
        Said::Yes(_) => {
            return Err(Trouble::new(Code::RestBlocked, "The REST API's index is not WordPress'.").into());
        }
        Said::No(Refusal { status, answer, .. }) => return Err(closed(status, &answer)),
        Said::Closed(answer) => return Err(closed(answer.status, &answer)),
    };
    if index["authentication"].get("application-passwords").is_some() {
        return Ok(());
    }
    let plain = admin.site.url().scheme() == "http";
    let reason = if plain {
        "The site is served over http, where WordPress has them off."
    } else {
        "A plugin or a setting has them off."
    };
    Err(Trouble::new(Code::AppPwDisabled, format!("Application passwords are not available. {reason}"))
        .into())
}

fn closed(status: u16, answer: &Answer) -> Box<Trouble> {
    Box::new(Trouble::shown(Code::RestBlocked, format!("The REST API answers {status}."), answer))
}

/// WordPress' own refusals.
fn refused(refusal: &Refusal) -> Box<Trouble> {
    let Refusal { status, code, answer } = refusal;
    let code_text: String = code.chars().filter(|c| c.is_ascii_graphic()).take(60).collect();
    Box::new(match code.as_str() {
        "application_passwords_disabled" | "application_passwords_disabled_for_user" => Trouble::shown(
            Code::AppPwDisabled,
            "WordPress says that application passwords are off for this user.",
            answer,
        ),
        _ if code.starts_with("rest_cannot_") || code == "rest_forbidden" => {
            let detail = format!("The user may not make application passwords ({code_text}).");
            Trouble::shown(Code::CapMissing, detail, answer).with("cap", "create_app_password")
        }
        _ => Trouble::shown(
            Code::RestBlocked,
            format!("The REST API refuses ({status}, {code_text})."),
            answer,
        ),
    })
}

async fn list(rest: &Rest<'_>) -> Done<Vec<Listed>> {
    match rest.call(Method::GET, ROUTE, &[("context", "edit")], None).await? {
        Said::Yes(list) => serde_json::from_value(list).map_err(|_| {
            Trouble::new(Code::UnexpectedAnswer, "The list of application passwords cannot be read.").into()
        }),
        Said::No(refusal) => Err(refused(&refusal)),
        Said::Closed(answer) => Err(closed(answer.status, &answer)),
    }
}

async fn delete(rest: &Rest<'_>, uuid: &str) -> Done<()> {
    if !is_uuid(uuid) {
        return Err(
            Trouble::new(Code::UnexpectedAnswer, "An application password has an id that is none.").into()
        );
    }
    match rest.call(Method::DELETE, &format!("{ROUTE}/{uuid}"), &[], None).await? {
        Said::Yes(_) => Ok(()),
        Said::No(refusal) if refusal.status == 404 => Ok(()),
        Said::No(refusal) => Err(refused(&refusal)),
        Said::Closed(answer) => Err(closed(answer.status, &answer)),
    }
}

/// From the site, and on its way into an address.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

async fn make(admin: &Admin<'_>, rest: &Rest<'_>, name: &str, app_id: &str) -> Done<Made> {
    let body = json!({ "name": name, "app_id": app_id });
    let answer = match rest.call(Method::POST, ROUTE, &[], Some(body)).await? {
        Said::Yes(made) => return made_by_rest(&made),
        Said::No(refusal) if refusal.code.starts_with("application_passwords_disabled") => {
            return Err(refused(&refusal));
        }
        Said::No(refusal) => refusal.answer,
        Said::Closed(answer) => answer,
    };
    tracing::info!(status = answer.status, "REST makes no application password; the page does");
    let password = make_by_page(admin, name, app_id).await?.ok_or_else(|| closed(answer.status, &answer))?;
    let own = list(rest).await?.into_iter().find(|l| l.app_id == app_id);
    let uuid = own
        .ok_or_else(|| Trouble::new(Code::UnexpectedAnswer, "The new application password is not listed."))?
        .uuid;
    Ok(Made { password, uuid })
}

fn made_by_rest(made: &Value) -> Done<Made> {
    let text = |name: &str| made[name].as_str().filter(|t| t.len() <= MAX_PASSWORD).map(str::to_owned);
    match (text("password"), text("uuid").filter(|u| is_uuid(u))) {
        (Some(password), Some(uuid)) => Ok(Made { password: SecretString::from(password), uuid }),
        _ => Err(Trouble::new(Code::UnexpectedAnswer, "The answer holds no application password.").into()),
    }
}

/// The page's form works without scripts when a `success_url` is given: WordPress then redirects there with the
/// password, and we read the redirect instead of following it.
async fn make_by_page(admin: &Admin<'_>, name: &str, app_id: &str) -> Done<Option<SecretString>> {
    if admin.is_by_browser() {
        // fetch() hides redirects to elsewhere.
        return Ok(None);
    }
    let mut page = admin.site.at(AUTHORIZE);
    page.query_pairs_mut().extend_pairs([("app_name", name), ("app_id", app_id), ("success_url", NOWHERE)]);
    let shown = admin.ask(Ask::get(page)).await?;
    let mut fields = shown.page(|p| p.hidden_fields(&format!("form[action$='{AUTHORIZE}']")));
    if fields.is_empty() {
        return Ok(None);
    }
    fields.extend([("app_name", name), ("approve", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let answer = admin.http.send(Ask::post(admin.site.at(AUTHORIZE), Body::Form(fields))).await?;
    let to = answer.location.filter(|to| to.as_str().starts_with(NOWHERE));
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

/// Uses the password as its owner will: Basic, without cookies. Returns the login name that it belongs to.
async fn prove(admin: &Admin<'_>, password: &SecretString) -> Done<String> {
    // The login may have been an e-mail address: the cookie session knows the login name.
    let rest = Rest::open(admin).await?;
    let username = match rest
        .call(Method::GET, "/wp/v2/users/me", &[("context", "edit"), ("_fields", "username")], None)
        .await?
    {
        Said::Yes(me) => serde_json::from_value::<Me>(me)
            .ok()
            .map(|me| me.username)
            .filter(|name| name.len() <= MAX_USERNAME),
        Said::No(_) | Said::Closed(_) => None,
    };
    let username = username
        .ok_or_else(|| Trouble::new(Code::RestBlocked, "The REST API does not tell who the user is."))?;
    let basic = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    let url = route(admin.site, "/wp/v2/users/me", &[("context", "edit"), ("_fields", "username")]);
    let ask = Ask::get(url).with("Authorization", format!("Basic {basic}"));
    match read(admin.http.send_bare(ask).await?) {
        Said::Yes(me) if me["username"] == username.as_str() => Ok(username),
        Said::Yes(_) => {
            Err(Trouble::new(Code::UnexpectedAnswer, "The application password belongs to somebody else.")
                .into())
        }
        Said::No(refusal) if refusal.status == 401 => {
            let detail = "The site does not see the password that it has just made: the Authorization header does not reach WordPress.";
            Err(Trouble::shown(Code::AuthHeaderStripped, detail, &refusal.answer).into())
        }
        Said::No(refusal) => Err(refused(&refusal)),
        Said::Closed(answer) => Err(closed(answer.status, &answer)),
    }
}
