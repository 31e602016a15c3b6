//! A clone as the API shows it.

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
        Secrets::ForOwner => opened(app, caller, &entry),
        Secrets::Hidden => None,
    };
    let here = format!("/clones/{}", entry.name);
    let login = entry.phase == ClonePhase::Published && entry.sealed.is_some() && caller.is(&entry.owner);
    CloneView {
        links: CloneLinks {
            login: login.then(|| format!("{here}/login")),
            task: format!("/tasks/{}", entry.task),
            self_: here,
        },
        name: entry.name,
        url: entry.url,
        state: entry.phase,
        source: entry.source,
        task: entry.task,
        owner: caller.is_operator().then_some(entry.owner),
        created_at: entry.created_at,
        expires_at: entry.expires_at,
        isolation: entry.isolation,
        effective_isolation: entry.effective_isolation,
        username: entry.username,
        password: opened.map(|secrets| secrets.password.expose_secret().to_owned()),
    }
}

/// The secrets of a clone, when it has some that the caller may see and that can be opened.
pub fn opened(app: &App, caller: &Caller, entry: &CloneEntry) -> Option<CloneSecrets> {
    let sealed = entry.sealed.as_deref().filter(|_| caller.is(&entry.owner))?;
    // The rest of the clone is worth showing without them.
    open_clone(&app.sealer, &entry.name, sealed)
        .inspect_err(|error| {
            tracing::error!(%error, clone = %entry.name, "the secrets of a clone cannot be opened");
        })
        .ok()
}
