//! Clones as the API shows them.

use wpclone_clones::CloneEntry;
use wpclone_service::sealed_clone::{CloneSecrets, open_clone};
use wpclone_task::{CloneLinks, ClonePhase, CloneView, ExposeSecret as _};

use crate::http::auth::Caller;
use crate::state::App;
use crate::tasks::view::Secrets;

/// A clone as the API shows it.
#[must_use]
pub fn view(app: &App, caller: &Caller, entry: CloneEntry, secrets: Secrets) -> CloneView {
    let opened = match secrets {
        Secrets::ForOwner => open_secrets(app, caller, &entry),
        Secrets::Hidden => None,
    };
    let path = format!("/clones/{}", entry.name);
    let login =
        entry.phase == ClonePhase::Published && entry.sealed.is_some() && caller.is_owner(&entry.owner);
    CloneView {
        links: CloneLinks {
            login: login.then(|| format!("{path}/login")),
            task: format!("/tasks/{}", entry.task),
            self_: path,
        },
        name: entry.name,
        url: entry.url,
        state: entry.phase,
        problem: entry.problem,
        source: entry.source,
        task: entry.task,
        owner: caller.is_operator().then_some(entry.owner),
        created_at: entry.created_at,
        expires_at: entry.expires_at,
        isolation: entry.isolation,
        effective_isolation: entry.effective_isolation,
        location: entry.location.filter(|_| caller.is_operator()),
        username: entry.username,
        password: opened.map(|secrets| secrets.password.expose_secret().to_owned()),
    }
}

/// The secrets of a clone, when the caller owns it and they can be decrypted.
pub fn open_secrets(app: &App, caller: &Caller, entry: &CloneEntry) -> Option<CloneSecrets> {
    let sealed = entry.sealed.as_deref().filter(|_| caller.is_owner(&entry.owner))?;
    // The rest of the clone is shown without them.
    open_clone(&app.sealer, &entry.name, sealed)
        .inspect_err(|error| {
            tracing::error!(%error, clone = %entry.name, "the secrets of a clone cannot be decrypted");
        })
        .ok()
}
