//! Installs the migrator on a site: upload or replacement in one request, then activation.

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use wpclone_migrator::{PLUGIN, VERSION, ZIP, ZIP_STORED};
use wpclone_task::{Code, PluginStatus};

use super::admin_session::{MIN_WORDPRESS, asks_a_person, unexpected_page};
use super::rest::{RestReply, RestSession, read};
use super::{AdminSession, StepError, StepResult, quoted, site_discovery};
use crate::browser::{InstallRecord, StepReporter};
use crate::net::{Body, SiteRequest, SiteResponse};

const UPLOAD_PAGE: &str = "wp-admin/plugin-install.php?tab=upload";
/// With `overwrite` WordPress replaces any installed version, and shows no page to compare the two
/// (wp-admin/update.php).
const UPLOAD: &str = "wp-admin/update.php?action=upload-plugin&overwrite=update-plugin";
/// The list of plugins.
pub(crate) const PLUGINS_PAGE: &str = "wp-admin/plugins.php";
/// The form around that list.
const PLUGINS_FORM: &str = "#bulk-action-form";
/// The oldest PHP that the migrator supports.
const MIN_PHP: &str = "7.4";
/// What the migrator's settings page asks for (WP_REST_Settings_Controller too).
const MANAGE_OPTIONS: &str = "manage_options";
/// What installing and opening the migrator takes.
const CAPABILITIES: [&str; 3] = ["install_plugins", "activate_plugins", MANAGE_OPTIONS];

/// The migrator as the site reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Installed {
    active: bool,
    /// Empty when the site does not report it.
    version: String,
}

impl Installed {
    fn is_current(&self) -> bool {
        self.version == VERSION
    }
}

/// Ensures that this version of the migrator is on the site and active. `record`: of a task that removes what it
/// installed; what an earlier attempt installed counts as installed by this one.
pub(crate) async fn install(
    admin: &AdminSession<'_>,
    record: Option<&InstallRecord<'_>>,
    reporter: &StepReporter<'_>,
) -> StepResult<PluginStatus> {
    let rest = RestSession::open(admin).await?;
    let (before, ()) = tokio::try_join!(installed(admin, &rest), check_settings_allowed(&rest))?;
    let found = match &before {
        Some(i) if i.is_current() && i.active => PluginStatus::Unchanged,
        Some(i) if i.is_current() => PluginStatus::Activated,
        Some(_) => PluginStatus::Updated,
        None => PluginStatus::Installed,
    };
    let by_this_task = record.is_some_and(InstallRecord::was_installed);
    let status = if by_this_task { PluginStatus::Installed } else { found };
    if found == PluginStatus::Unchanged {
        return Ok(status);
    }
    let mut now = before;
    if found != PluginStatus::Activated {
        let record = record.filter(|_| found == PluginStatus::Installed);
        if let Some(record) = record {
            record.set_installing().await?;
        }
        reporter.progress(40, "Uploading the migrator");
        now = Some(upload(admin, &rest, now.as_ref(), record, reporter).await?);
        reporter.achieved(format!("The migrator {VERSION} is on the site."));
    }
    if !now.is_some_and(|i| i.active) {
        reporter.progress(65, "Activating the migrator");
        reporter.site_changed();
        if let Err(error) = activate(admin, &rest).await {
            if error.problem.code == Code::CapMissing && found == PluginStatus::Installed {
                remove_inactive(&rest, record, reporter).await?;
            }
            return Err(error);
        }
    }
    reporter.achieved("The migrator is active.");
    Ok(status)
}

/// Reads it from REST, and where that is closed, from the list of plugins.
async fn installed(admin: &AdminSession<'_>, rest: &RestSession<'_>) -> StepResult<Option<Installed>> {
    match rest.call(Method::GET, &plugin_route(), &[], None).await? {
        RestReply::Ok(plugin) => Ok(Some(Installed {
            active: plugin["status"].as_str().is_some_and(|s| s.ends_with("active") && s != "inactive"),
            version: plugin["version"].as_str().unwrap_or_default().to_owned(),
        })),
        RestReply::Error(error) if error.code == "rest_plugin_not_found" => Ok(None),
        RestReply::Error(_) | RestReply::NotRest(_) => installed_by_page(admin, rest).await,
    }
}

/// Asks WordPress whether the user may open the migrator's settings page, before anything is changed. A closed REST API
/// does not say.
async fn check_settings_allowed(rest: &RestSession<'_>) -> StepResult<()> {
    match rest.call(Method::GET, "/wp/v2/settings", &[("_fields", "title")], None).await? {
        RestReply::Error(error) if error.code == "rest_forbidden" => match missing_capability(rest).await? {
            Some(missing) => Err(missing),
            None => Err(capability_missing(MANAGE_OPTIONS, &error.response)),
        },
        RestReply::Ok(_) | RestReply::Error(_) | RestReply::NotRest(_) => Ok(()),
    }
}

fn capability_missing(cap: &str, response: &SiteResponse) -> Box<StepError> {
    let detail = format!("The user lacks the capability {cap}, which setting a site up takes.");
    Box::new(StepError::shown(Code::CapMissing, detail, response).with("cap", cap))
}

/// The first capability that the user's roles lack, as far as REST says which they have.
async fn missing_capability(rest: &RestSession<'_>) -> StepResult<Option<Box<StepError>>> {
    let query = [("context", "edit"), ("_fields", "capabilities")];
    let response = rest.send(Method::GET, "/wp/v2/users/me", &query, None).await?;
    let RestReply::Ok(me) = read(response.clone()) else { return Ok(None) };
    let Some(granted) = me["capabilities"].as_object() else { return Ok(None) };
    let missing = CAPABILITIES.into_iter().find(|cap| granted.get(*cap) != Some(&true.into()));
    Ok(missing.map(|cap| capability_missing(cap, &response)))
}

/// Deletes the migrator that this attempt installed, which was never active.
async fn remove_inactive(
    rest: &RestSession<'_>,
    record: Option<&InstallRecord<'_>>,
    reporter: &StepReporter<'_>,
) -> StepResult<()> {
    if let RestReply::Ok(_) = rest.call(Method::DELETE, &plugin_route(), &[], None).await? {
        reporter.site_restored();
        if let Some(record) = record {
            record.set_removed().await;
        }
    } else {
        tracing::warn!("the migrator may be left on the site");
    }
    Ok(())
}

fn plugin_route() -> String {
    format!("/wp/v2/plugins/{PLUGIN}")
}

/// The migrator's row on [`PLUGINS_PAGE`]; `class` is empty, `.active` or `.inactive`.
pub(crate) fn plugin_row(class: &str) -> String {
    format!("tr{class}[data-plugin='{PLUGIN}.php']")
}

async fn installed_by_page(
    admin: &AdminSession<'_>,
    rest: &RestSession<'_>,
) -> StepResult<Option<Installed>> {
    let response = admin.send(SiteRequest::get(admin.site.at(PLUGINS_PAGE))).await?;
    if !response.is_success() || !response.page(|p| p.has(PLUGINS_FORM)) {
        return Err(forbidden(admin, rest, PLUGINS_PAGE, &response).await?);
    }
    Ok(response.page(|p| {
        p.has(&plugin_row("")).then(|| Installed {
            active: p.has(&plugin_row(".active")),
            version: p
                .text(&format!("{} .plugin-version-author-uri", plugin_row("")))
                .map_or(String::new(), |t| first_version(&t)),
        })
    }))
}

async fn upload(
    admin: &AdminSession<'_>,
    rest: &RestSession<'_>,
    before: Option<&Installed>,
    record: Option<&InstallRecord<'_>>,
    reporter: &StepReporter<'_>,
) -> StepResult<Installed> {
    let mut now = None;
    let page = admin.send(SiteRequest::get(admin.site.at(UPLOAD_PAGE))).await?;
    let fields = page.page(|p| p.hidden_fields("form.wp-upload-form"));
    if !page.is_success() || !fields.iter().any(|(name, _)| name == "_wpnonce") {
        return Err(forbidden(admin, rest, UPLOAD_PAGE, &page).await?);
    }
    let mut last = None;
    // Some firewalls inspect only compressed files, some only others: one attempt with each.
    for zip in [ZIP, ZIP_STORED] {
        reporter.site_changed();
        let response = send_zip(admin, &fields, zip).await?;
        now = installed(admin, rest).await?;
        if let Some(now) = now.take_if(|i| i.is_current()) {
            return Ok(now);
        }
        let by_wordpress = response.is_error_page() || response.page(|p| p.has("body.wp-admin"));
        last = Some(response);
        if by_wordpress {
            break;
        }
    }
    if now.as_ref() == before {
        reporter.site_restored();
        if let Some(record) = record {
            record.set_removed().await;
        }
    }
    match last {
        Some(response) => Err(not_installed(admin, &response).await?),
        None => Err(StepError::new(Code::PluginInstallFailed, "Nothing was uploaded.").into()),
    }
}

async fn send_zip(
    admin: &AdminSession<'_>,
    fields: &[(String, String)],
    zip: &'static [u8],
) -> StepResult<SiteResponse> {
    let body = Body::Upload {
        fields: fields.to_vec(),
        field: "pluginzip",
        file_name: "wpclone-migrator.zip",
        file: Bytes::from_static(zip),
    };
    // WordPress answers an upload that PHP rejected with 500, which is no server error here.
    admin.send_unchecked(SiteRequest::post(admin.site.at(UPLOAD), body)).await
}

/// Why a page for installing plugins is closed: to this user, or to everybody.
async fn forbidden(
    admin: &AdminSession<'_>,
    rest: &RestSession<'_>,
    asked: &str,
    response: &SiteResponse,
) -> StepResult<Box<StepError>> {
    // Users without a capability may also be led away from wp-admin.
    if let Some(missing) = missing_capability(rest).await? {
        return Ok(missing);
    }
    if !response.is_error_page() {
        return Ok(unexpected_page("A page of wp-admin is not what it should be.", asked, response));
    }
    // An administrator sees the list of plugins even where files must not be changed (DISALLOW_FILE_MODS).
    let list = admin.send(SiteRequest::get(admin.site.at(PLUGINS_PAGE))).await?;
    Ok(Box::new(if list.is_success() {
        StepError::shown(
            Code::FileModsDisabled,
            "The user may manage plugins, but the site forbids installing any.",
            response,
        )
    } else {
        *capability_missing("install_plugins", response)
    }))
}

/// Why the plugin is missing after its upload.
async fn not_installed(admin: &AdminSession<'_>, response: &SiteResponse) -> StepResult<Box<StepError>> {
    let size = ZIP.len() as u64;
    if response.status == 413 {
        let detail = format!("The web server rejects an upload of {size} bytes.");
        return Ok(Box::new(StepError::shown(Code::UploadTooLarge, detail, response)));
    }
    if response.page(|p| p.has("#request-filesystem-credentials-form")) {
        let detail = "WordPress asks for FTP access, since it cannot write its plugin folder itself.";
        return Ok(Box::new(StepError::shown(Code::FsMethodNotDirect, detail, response)));
    }
    if let Some(limit) = upload_limit(admin).await?.filter(|limit| *limit < size) {
        let detail = format!("The site accepts uploads of at most {limit} bytes; the migrator has {size}.");
        return Ok(Box::new(StepError::shown(Code::UploadTooLarge, detail, response).with("limit", limit)));
    }
    if response.status >= 500 {
        return Ok(site_discovery::server_error(response));
    }
    let says = response.page(|p| p.text("#wpbody-content .wrap"));
    if response.page(|p| p.has("body.wp-admin")) {
        let unmet = says.as_deref().is_some_and(names_requirement);
        let code = if unmet { Code::ReqUnmet } else { Code::PluginInstallFailed };
        let detail = format!("WordPress accepted the upload and did not install it.{}", quoted(says));
        return Ok(Box::new(StepError::shown(code, detail, response)));
    }
    let detail = format!(
        "Something other than WordPress responded to the upload ({}), and to a second one too.",
        response.status
    );
    Ok(Box::new(StepError::shown(Code::WafBlockedUpload, detail, response)))
}

/// WordPress writes the version that a plugin requires in digits, whatever the language.
fn names_requirement(text: &str) -> bool {
    let mut versions = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|v| v.trim_matches('.'));
    versions.any(|v| v == MIN_PHP || v == MIN_WORDPRESS)
}

/// The largest upload that WordPress allows (`wp_max_upload_size()`), from a script of the media page.
async fn upload_limit(admin: &AdminSession<'_>) -> StepResult<Option<u64>> {
    let text = admin.send(SiteRequest::get(admin.site.at("wp-admin/media-new.php"))).await?.text();
    let Some((_, rest)) = text.split_once("\"max_file_size\":\"") else {
        return Ok(None);
    };
    Ok(rest.split_once("b\"").and_then(|(bytes, _)| bytes.parse().ok()))
}

/// Activates it by REST, and where that is closed or fails, by the link on the list of plugins.
async fn activate(admin: &AdminSession<'_>, rest: &RestSession<'_>) -> StepResult<()> {
    let reply = rest.call(Method::POST, &plugin_route(), &[], Some(json!({ "status": "active" }))).await?;
    match &reply {
        RestReply::Ok(plugin) if plugin["status"] != "inactive" => return Ok(()),
        // WP_REST_Plugins_Controller: the user may not.
        RestReply::Error(error) if error.code.starts_with("rest_cannot_") => {
            return Err(capability_missing("activate_plugins", &error.response));
        }
        _ => {}
    }
    let list = admin.send(SiteRequest::get(admin.site.at(PLUGINS_PAGE))).await?;
    let link =
        list.page(|p| p.attr(&format!("{} a[href*='action=activate']", plugin_row(".inactive")), "href"));
    let response = match link.and_then(|href| list.url.join(&href).ok()) {
        // A page may be hostile: its link is followed only to the expected address.
        Some(to) if to.origin() == list.url.origin() && to.path() == list.url.path() => {
            admin.send(SiteRequest::get(to)).await?
        }
        _ => list,
    };
    if response.page(|p| p.has(&plugin_row(".active"))) {
        return Ok(());
    }
    if asks_a_person(&response) {
        return Err(unexpected_page("WordPress did not activate the migrator.", PLUGINS_PAGE, &response));
    }
    let says = response.page(|p| p.text("#message"));
    let detail = format!("The migrator is on the site, but WordPress did not activate it.{}", quoted(says));
    Err(StepError::shown(Code::PluginActivationFailed, detail, &response).into())
}

/// The first version in a text of any language: digits with dots between them.
fn first_version(text: &str) -> String {
    let mut words = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|w| w.trim_matches('.'));
    words.find(|w| w.contains('.')).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_in_any_language() {
        assert_eq!(first_version("Version 0.1.0 | By The wpclone authors 2.0"), "0.1.0");
        assert_eq!(first_version("نسخة 6.8 | بواسطة"), "6.8");
        assert_eq!(first_version("none"), "");
    }

    #[test]
    fn a_requirement_is_read_in_any_language() {
        assert!(names_requirement(
            "Die PHP-Version auf deinem Server ist 5.6.40, das Plugin erfordert jedoch 7.4."
        ));
        assert!(!names_requirement("Keine gültigen Plugins gefunden 7.45"));
    }
}
