//! The migrator's settings page: opening it, reading its key, and proving both by use.

use std::time::Duration;

use wpclone_migrator::{Client, Key, SETTINGS_PAGE, Status, page};
use wpclone_task::{Code, ExposeSecret, Role, SecretString};

use super::{Admin, Done, Trouble};
use crate::browser::Ledger;
use crate::net::{Answer, Ask, Body};

/// Opens the migrator for an hour, with import switched on for a target and off for a source, and reads its key.
pub(crate) async fn open(admin: &Admin<'_>, role: Role, ledger: &Ledger<'_>) -> Done<SecretString> {
    let settings = admin.site.at(&format!("wp-admin/{SETTINGS_PAGE}"));
    let form = format!("form#{}", page::OPEN_FORM_ID);
    let shown = admin.ask(Ask::get(settings.clone())).await?;
    let mut fields = shown.page(|p| p.hidden_fields(&form));
    if fields.is_empty() {
        return Err(unexpected("The migrator's settings page is not what it should be.", &shown));
    }
    if role == Role::Target {
        fields.push((page::IMPORT_FIELD.to_owned(), "1".to_owned()));
    }
    ledger.changed();
    let posted = admin.ask(Ask::post(admin.site.at("wp-admin/admin-post.php"), Body::Form(fields))).await?;
    // The redirect leads back to the settings page; a site that redirects elsewhere is asked for it again.
    let opened = if read_key(&posted).is_some() { posted } else { admin.ask(Ask::get(settings)).await? };
    read_key(&opened).ok_or_else(|| unexpected("The migrator shows no key after it was opened.", &opened))
}

fn read_key(answer: &Answer) -> Option<SecretString> {
    let key = answer.page(|p| p.attr(&format!("input#{}", page::KEY_ID), "value"))?;
    key.parse::<Key>().ok().map(|key| key.to_secret())
}

fn unexpected(what: &str, answer: &Answer) -> Box<Trouble> {
    Box::new(Trouble::shown(
        Code::UnexpectedAnswer,
        format!("{what} (The site answers {}.)", answer.status),
        answer,
    ))
}

/// Asks the migrator for its status with the key: what the site itself says, signed for.
pub(crate) async fn prove(admin: &Admin<'_>, key: &SecretString, limit: Duration) -> Done<Status> {
    let parsed = key.expose_secret().parse::<Key>();
    let key = parsed.map_err(|_| Trouble::new(Code::UnexpectedAnswer, "The migrator's key is none."))?;
    let client = Client::new(admin.http.bare().clone(), admin.site.at(""), key).with_deadline(limit);
    client.status().await.map_err(|error| {
        let detail = format!("The migrator is active but does not answer as it should: {error}.");
        Trouble::new(Code::MigratorUnreachable, detail).into()
    })
}
