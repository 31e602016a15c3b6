//! Who calls, and what they may do.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use wpclone_queue::{OwnerLimits, TaskRecord};
use wpclone_task::Code;

use crate::http::error::ApiError;
use crate::sessions;
use crate::state::{App, SharedApp};
use crate::tokens::{Entry, Scope};

/// The name that owns what is asked for while there are no tokens.
pub(crate) const LOCAL_OWNER: &str = "local";

/// Somebody who may call.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    /// What the token may do.
    pub scope: Scope,
    /// How much they may ask for.
    pub limits: OwnerLimits,
    /// Whether there are no tokens, so that this machine's user owns everything.
    pub single_user: bool,
}

impl Caller {
    /// Whether this task is the caller's own: only then its secrets are shown.
    #[must_use]
    pub fn owns(&self, task: &TaskRecord) -> bool {
        self.is(&task.owner)
    }

    /// Whether what belongs to the token of this name is the caller's own.
    #[must_use]
    pub fn is(&self, owner: &str) -> bool {
        self.single_user || self.name == owner
    }

    /// Whether this task exists for the caller.
    #[must_use]
    pub fn sees(&self, task: &TaskRecord) -> bool {
        self.is_operator() || self.owns(task)
    }

    /// Whether the caller sees everything.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.scope == Scope::Operator
    }

    /// The owner that lists are narrowed to.
    #[must_use]
    pub fn only(&self) -> Option<String> {
        (!self.is_operator()).then(|| self.name.clone())
    }
}

impl From<Entry> for Caller {
    fn from(entry: Entry) -> Self {
        Self { name: entry.name, scope: entry.scope, limits: entry.limits, single_user: false }
    }
}

/// The most cookies of the session's name that are looked at.
const MAX_SESSIONS: usize = 4;

/// Who calls.
///
/// # Errors
/// Neither a token nor a session that is valid.
pub async fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let Some(tokens) = &app.tokens else {
        let limits = OwnerLimits::default();
        return Ok(Caller { name: LOCAL_OWNER.into(), scope: Scope::Operator, limits, single_user: true });
    };
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer);
        return token
            .and_then(|t| tokens.find(t))
            .map(Caller::from)
            .ok_or_else(|| ApiError::new(Code::Unauthenticated, "The token is not known."));
    }
    let sessions = session_cookies(headers);
    for id in &sessions {
        let holder = app.sessions.holder(id).await?;
        if let Some(entry) = holder.and_then(|h| tokens.named(&h.name, &h.mark)) {
            return Ok(entry.into());
        }
    }
    if !sessions.is_empty() {
        return Err(ApiError::new(Code::Unauthenticated, "The session has ended."));
    }
    Err(ApiError::new(Code::Unauthenticated, "There is no Authorization header."))
}

/// The token of `Bearer TOKEN` (RFC 6750; the scheme's case does not matter).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The ids in cookies of the session's name: another site on this host can set one that covers ours.
#[must_use]
pub fn session_cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == sessions::COOKIE)
        .map(|(_, id)| id.to_owned())
        .take(MAX_SESSIONS)
        .collect()
}

fn forbidden(needed: &str) -> ApiError {
    ApiError::new(Code::Forbidden, format!("This needs the scope {needed}."))
}

/// A caller who may work with tasks: `user` or `operator`.
pub struct TaskUser(pub Caller);

impl FromRequestParts<SharedApp> for TaskUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let caller = caller(app, &parts.headers).await?;
        match caller.scope {
            Scope::User | Scope::Operator => Ok(Self(caller)),
            Scope::Metrics => Err(forbidden("user or operator")),
        }
    }
}

/// A caller who may look at the whole system: `metrics` or `operator`.
pub struct MetricsReader;

impl FromRequestParts<SharedApp> for MetricsReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        match caller(app, &parts.headers).await?.scope {
            Scope::Metrics | Scope::Operator => Ok(Self),
            Scope::User => Err(forbidden("metrics or operator")),
        }
    }
}
