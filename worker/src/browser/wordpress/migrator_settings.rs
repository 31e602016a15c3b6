//! The migrator's settings page: opens the migrator and reads its key.

use std::time::Duration;

use wpclone_migrator::{Client, Key, SETTINGS_PAGE, Status, page};
use wpclone_task::{Code, ExposeSecret, Role, SecretString};

use super::admin_session::unexpected_page;
use super::{AdminSession, StepError, StepResult};
use crate::browser::StepReporter;
use crate::net::{Body, SiteRequest, SiteResponse};

/// Opens the migrator for an hour, with import enabled on a target and disabled on a source, and reads its key.
pub(crate) async fn open(
    admin: &AdminSession<'_>,
    role: Role,
    reporter: &StepReporter<'_>,
) -> StepResult<SecretString> {
    let settings = admin.site.at(&format!("wp-admin/{SETTINGS_PAGE}"));
    let form = format!("form#{}", page::OPEN_FORM_ID);
    let shown = admin.send(SiteRequest::get(settings.clone())).await?;
    let mut fields = shown.page(|p| p.hidden_fields(&form));
    if fields.is_empty() {
        let what = "The migrator's settings page is not what it should be.";
        return Err(unexpected_page(what, SETTINGS_PAGE, &shown));
    }
    if role == Role::Target {
        fields.push((page::IMPORT_FIELD.to_owned(), "1".to_owned()));
    }
    reporter.site_changed();
    let post = SiteRequest::post(admin.site.at("wp-admin/admin-post.php"), Body::Form(fields));
    let posted = admin.send(post).await?;
    // The response redirects to the settings page; where it redirects elsewhere, that page is requested again.
    let opened = match read_key(&posted) {
        Some(_) => posted,
        None => admin.send(SiteRequest::get(settings)).await?,
    };
    let what = "The migrator shows no key after it was opened.";
    read_key(&opened).ok_or_else(|| unexpected_page(what, SETTINGS_PAGE, &opened))
}

fn read_key(response: &SiteResponse) -> Option<SecretString> {
    let key = response.page(|p| p.attr(&format!("input#{}", page::KEY_ID), "value"))?;
    key.parse::<Key>().ok().map(|key| key.to_secret())
}

/// Requests the migrator's status, signed with the key: proves that migrator and key work.
pub(crate) async fn status(
    admin: &AdminSession<'_>,
    key: &SecretString,
    deadline: Duration,
) -> StepResult<Status> {
    let key = key.expose_secret().parse::<Key>();
    let key = key.map_err(|_| StepError::new(Code::UnexpectedAnswer, "The migrator's key is malformed."))?;
    let http = admin.http.without_cookies().clone();
    let client = Client::new(http, admin.site.at(""), key).with_deadline(deadline);
    client.status().await.map_err(|error| {
        let detail = format!("The migrator is active but does not respond as expected: {error}.");
        StepError::new(Code::MigratorUnreachable, detail).into()
    })
}
