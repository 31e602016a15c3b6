//! Putting the migrator on a site: upload or replace in one request, then activation.

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use wpclone_migrator::{PLUGIN, VERSION, ZIP, ZIP_STORED};
use wpclone_task::{Code, PluginStatus};

use super::admin::MIN_WORDPRESS;
use super::rest::{Rest, Said};
use super::{Admin, Done, Trouble, place, quoted};
use crate::browser::Ledger;
use crate::net::{Answer, Ask, Body};

const UPLOAD_PAGE: &str = "wp-admin/plugin-install.php?tab=upload";
/// With `overwrite` WordPress replaces what is there, older or newer, and shows no page to compare them
/// (wp-admin/update.php).
const UPLOAD: &str = "wp-admin/update.php?action=upload-plugin&overwrite=update-plugin";
/// Where a person sees which plugins there are.
pub(crate) const PLUGINS_PAGE: &str = "wp-admin/plugins.php";
/// What the plugin's header asks for besides.
const MIN_PHP: &str = "7.4";

/// The migrator as the site knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Installed {
    active: bool,
    /// Empty where the site does not tell it.
    version: String,
}

impl Installed {
    fn is_current(&self) -> bool {
        self.version == VERSION
    }
}

/// Makes sure that this version of the migrator is on the site and active.
pub(crate) async fn install(admin: &Admin<'_>, ledger: &Ledger<'_>) -> Done<PluginStatus> {
    let rest = Rest::open(admin).await?;
    let before = installed(admin, &rest).await?;
    let status = match &before {
        Some(i) if i.is_current() && i.active => return Ok(PluginStatus::Unchanged),
        Some(i) if i.is_current() => PluginStatus::Activated,
        Some(_) => PluginStatus::Updated,
        None => PluginStatus::Installed,
    };
    let mut now = before;
    if status != PluginStatus::Activated {
        ledger.say(40, "Uploading the migrator");
        now = Some(upload(admin, &rest, now.as_ref(), ledger).await?);
        ledger.achieved(format!("The migrator {VERSION} is on the site."));
    }
    if !now.is_some_and(|i| i.active) {
        ledger.say(65, "Activating the migrator");
        ledger.changed();
        activate(admin, &rest).await?;
    }
    ledger.achieved("The migrator is active.");
    Ok(status)
}

/// Asks REST, and where that is closed, the list of plugins.
async fn installed(admin: &Admin<'_>, rest: &Rest<'_>) -> Done<Option<Installed>> {
    match rest.call(Method::GET, &plugin_route(), &[], None).await? {
        Said::Yes(plugin) => Ok(Some(Installed {
            active: plugin["status"].as_str().is_some_and(|s| s.ends_with("active") && s != "inactive"),
            version: plugin["version"].as_str().unwrap_or_default().to_owned(),
        })),
        Said::No(refusal) if refusal.code == "rest_plugin_not_found" => Ok(None),
        Said::No(_) | Said::Closed(_) => installed_by_page(admin).await,
    }
}

fn plugin_route() -> String {
    format!("/wp/v2/plugins/{PLUGIN}")
}

/// The migrator's row on [`PLUGINS_PAGE`]; `class` is empty, `.active` or `.inactive`.
pub(crate) fn plugin_row(class: &str) -> String {
    format!("tr{class}[data-plugin='{PLUGIN}.php']")
}

async fn installed_by_page(admin: &Admin<'_>) -> Done<Option<Installed>> {
    let answer = admin.ask(Ask::get(admin.site.at(PLUGINS_PAGE))).await?;
    if !answer.is_success() {
        return Err(forbidden(admin, &answer).await?);
    }
    Ok(answer.page(|p| {
        p.has(&plugin_row("")).then(|| Installed {
            active: p.has(&plugin_row(".active")),
            version: p
                .evidence(&format!("{} .plugin-version-author-uri", plugin_row("")))
                .map_or(String::new(), |t| first_version(&t)),
        })
    }))
}

async fn upload(
    admin: &Admin<'_>,
    rest: &Rest<'_>,
    before: Option<&Installed>,
    ledger: &Ledger<'_>,
) -> Done<Installed> {
    let mut now = None;
    let page = admin.ask(Ask::get(admin.site.at(UPLOAD_PAGE))).await?;
    let fields = page.page(|p| p.hidden_fields("form.wp-upload-form"));
    if !page.is_success() || !fields.iter().any(|(name, _)| name == "_wpnonce") {
        return Err(forbidden(admin, &page).await?);
    }
    let mut last = None;
    // Some firewalls look into compressed files only, some only into others: one try with each.
    for zip in [ZIP, ZIP_STORED] {
        ledger.changed();
        let answer = send_zip(admin, &fields, zip).await?;
        now = installed(admin, rest).await?;
        if let Some(now) = now.take_if(|i| i.is_current()) {
            return Ok(now);
        }
        let by_wordpress = answer.is_error_page() || answer.page(|p| p.has("body.wp-admin"));
        last = Some(answer);
        if by_wordpress {
            break;
        }
    }
    if now.as_ref() == before {
        ledger.unchanged();
    }
    match last {
        Some(answer) => Err(not_installed(admin, &answer).await?),
        None => Err(Trouble::new(Code::PluginInstallFailed, "Nothing was uploaded.").into()),
    }
}

async fn send_zip(admin: &Admin<'_>, fields: &[(String, String)], zip: &'static [u8]) -> Done<Answer> {
    let body = Body::Upload {
        fields: fields.to_vec(),
        field: "pluginzip",
        file_name: "wpclone-migrator.zip",
        file: Bytes::from_static(zip),
    };
    // WordPress answers an upload that PHP refused with 500: not what it means elsewhere.
    admin.exchange(Ask::post(admin.site.at(UPLOAD), body)).await
}

/// Why a page for installing plugins is closed: the user may not, or nobody may.
async fn forbidden(admin: &Admin<'_>, answer: &Answer) -> Done<Box<Trouble>> {
    if !answer.is_error_page() {
        let detail =
            format!("A page of wp-admin is not what it should be (the site answers {}).", answer.status);
        return Ok(Box::new(Trouble::shown(Code::UnexpectedAnswer, detail, answer)));
    }
    // An administrator sees the list of plugins also where files may not be changed (DISALLOW_FILE_MODS).
    let list = admin.ask(Ask::get(admin.site.at(PLUGINS_PAGE))).await?;
    Ok(Box::new(if list.is_success() {
        Trouble::shown(
            Code::FileModsDisabled,
            "The user may manage plugins, but nobody may install any here.",
            answer,
        )
    } else {
        Trouble::shown(Code::CapMissing, "The user may not install plugins.", answer)
            .with("cap", "install_plugins")
    }))
}

/// Why the plugin is not there after its upload.
async fn not_installed(admin: &Admin<'_>, answer: &Answer) -> Done<Box<Trouble>> {
    let size = ZIP.len() as u64;
    if answer.status == 413 {
        let detail = format!("The web server takes no upload of {size} bytes.");
        return Ok(Box::new(Trouble::shown(Code::UploadTooLarge, detail, answer)));
    }
    if answer.page(|p| p.has("#request-filesystem-credentials-form")) {
        let detail = "WordPress asks for FTP access, since it cannot write its plugin folder itself.";
        return Ok(Box::new(Trouble::shown(Code::FsMethodNotDirect, detail, answer)));
    }
    if let Some(limit) = upload_limit(admin).await?.filter(|limit| *limit < size) {
        let detail = format!("The site takes uploads of at most {limit} bytes; the migrator has {size}.");
        return Ok(Box::new(Trouble::shown(Code::UploadTooLarge, detail, answer).with("limit", limit)));
    }
    if answer.status >= 500 {
        return Ok(place::server_error(answer));
    }
    let says = answer.page(|p| p.evidence("#wpbody-content .wrap"));
    if answer.page(|p| p.has("body.wp-admin")) {
        let unmet = says.as_deref().is_some_and(tells_requirement);
        let code = if unmet { Code::ReqUnmet } else { Code::PluginInstallFailed };
        let detail = format!("WordPress took the upload and did not install it.{}", quoted(says));
        return Ok(Box::new(Trouble::shown(code, detail, answer)));
    }
    let detail =
        format!("Something other than WordPress answered the upload ({}), also a second one.", answer.status);
    Ok(Box::new(Trouble::shown(Code::WafBlockedUpload, detail, answer)))
}

/// WordPress says which version a plugin needs in figures, whatever the language.
fn tells_requirement(text: &str) -> bool {
    let mut versions = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|v| v.trim_matches('.'));
    versions.any(|v| v == MIN_PHP || v == MIN_WORDPRESS)
}

/// The largest upload that WordPress believes in (`wp_max_upload_size()`), as the media page tells its own script.
async fn upload_limit(admin: &Admin<'_>) -> Done<Option<u64>> {
    let text = admin.ask(Ask::get(admin.site.at("wp-admin/media-new.php"))).await?.text();
    let Some((_, rest)) = text.split_once("\"max_file_size\":\"") else {
        return Ok(None);
    };
    Ok(rest.split_once("b\"").and_then(|(bytes, _)| bytes.parse().ok()))
}

/// By REST, and where that is closed or the plugin fails there, by the link on the list of plugins.
async fn activate(admin: &Admin<'_>, rest: &Rest<'_>) -> Done<()> {
    let said = rest.call(Method::POST, &plugin_route(), &[], Some(json!({ "status": "active" }))).await?;
    if matches!(&said, Said::Yes(plugin) if plugin["status"] != "inactive") {
        return Ok(());
    }
    let list = admin.ask(Ask::get(admin.site.at(PLUGINS_PAGE))).await?;
    let link =
        list.page(|p| p.attr(&format!("{} a[href*='action=activate']", plugin_row(".inactive")), "href"));
    let answer = match link.and_then(|href| list.url.join(&href).ok()) {
        // A page is hostile: its link is followed only to where it should lead.
        Some(to) if to.origin() == list.url.origin() && to.path() == list.url.path() => {
            admin.ask(Ask::get(to)).await?
        }
        _ => list,
    };
    if answer.page(|p| p.has(&plugin_row(".active"))) {
        return Ok(());
    }
    let says = answer.page(|p| p.evidence("#message"));
    let detail = format!("The migrator is on the site, but WordPress did not activate it.{}", quoted(says));
    Err(Trouble::shown(Code::PluginActivationFailed, detail, &answer).into())
}

/// The first version in a text of any language: figures with points between them.
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
        assert!(tells_requirement(
            "Die PHP-Version auf deinem Server ist 5.6.40, das Plugin erfordert jedoch 7.4."
        ));
        assert!(!tells_requirement("Keine gültigen Plugins gefunden 7.45"));
    }
}
