//! The curl commands that the dashboard shows where there is nothing yet.

use crate::http::auth::Caller;
use crate::state::App;

/// The command that sets up a site.
pub(super) fn setup(app: &App, caller: &Caller) -> String {
    command(app, caller, r#"{"url": "https://example.com", "username": "admin", "password": "…"}"#, "/setup")
}

/// The command that clones a site.
pub(super) fn clone(app: &App, caller: &Caller) -> String {
    let body = r#"{"source": {"url": "https://example.com", "username": "admin", "password": "…"}}"#;
    command(app, caller, body, "/clone")
}

fn command(app: &App, caller: &Caller, body: &str, path: &str) -> String {
    let token = if caller.single_user { "" } else { "-H \"Authorization: Bearer $WPCLONE_TOKEN\" " };
    format!("curl {token}--json '{body}' {}{path}", app.public_url.origin())
}
