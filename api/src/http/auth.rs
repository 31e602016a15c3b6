//! Authentication and authorization of callers.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use wpclone_queue::{OwnerLimits, TaskRecord};
use wpclone_task::Code;

use crate::http::error::ApiError;
use crate::http::session_cookie::{self, SentSession};
use crate::state::{App, SharedApp};
use crate::tokens::{LOCAL_OWNER, Scope, Token};

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    /// What the token may do.
    pub scope: Scope,
    /// The token's limits.
    pub limits: OwnerLimits,
    /// Whether no tokens are configured, so that the caller owns everything.
    pub single_user: bool,
}

impl Caller {
    /// Whether the caller owns this task, and so sees its secrets.
    #[must_use]
    pub fn owns(&self, task: &TaskRecord) -> bool {
        self.is_owner(&task.owner)
    }

    /// Whether the caller owns what belongs to the token of this name.
    #[must_use]
    pub fn is_owner(&self, owner: &str) -> bool {
        self.single_user || self.name == owner
    }

    /// Whether the caller may see this task.
    #[must_use]
    pub fn can_see(&self, task: &TaskRecord) -> bool {
        self.is_operator() || self.owns(task)
    }

    /// Whether the caller may see everything.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.scope == Scope::Operator
    }

    /// The owner that lists are filtered by; `None` for operators.
    #[must_use]
    pub fn owner_filter(&self) -> Option<String> {
        (!self.is_operator()).then(|| self.name.clone())
    }
}

impl From<Token> for Caller {
    fn from(token: Token) -> Self {
        Self { name: token.name, scope: token.scope, limits: token.limits, single_user: false }
    }
}

/// Authenticates a request by its bearer token or session cookie.
///
/// # Errors
/// There is no valid token or session, or Redis does not respond.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let Some(tokens) = &app.tokens else {
        let limits = OwnerLimits::default();
        return Ok(Caller { name: LOCAL_OWNER.into(), scope: Scope::Operator, limits, single_user: true });
    };
    if let Some(value) = headers.get(AUTHORIZATION) {
        let unknown = || ApiError::new(Code::Unauthenticated, "The token is unknown.");
        let token = value.to_str().ok().and_then(bearer_token).ok_or_else(unknown)?;
        return tokens.find(token).await.map(Caller::from).ok_or_else(unknown);
    }
    let unauthenticated = |detail: &str| Err(ApiError::new(Code::Unauthenticated, detail));
    match session_cookie::read(&app.public_url, headers) {
        SentSession::None => unauthenticated("There is no Authorization header."),
        SentSession::Several => unauthenticated(
            "The request has two session cookies: another page of this host name has set one. Both are removed; sign in again.",
        ),
        SentSession::One(id) => match app.sessions.token(&id).await? {
            Some(session) => {
                let token = tokens.find_by_fingerprint(&session.name, &session.fingerprint).await;
                token.map_or_else(|| unauthenticated("The session has ended."), |token| Ok(token.into()))
            }
            None => unauthenticated("The session has ended."),
        },
    }
}

/// The token of `Bearer TOKEN` (RFC 6750; the scheme is case-insensitive).
fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn scope_needed(scopes: &str) -> ApiError {
    ApiError::new(Code::Forbidden, format!("This needs the scope {scopes}."))
}

/// A caller who may use tasks and clones: scope `user` or `operator`.
pub struct TaskUser(pub Caller);

impl FromRequestParts<SharedApp> for TaskUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let caller = authenticate(app, &parts.headers).await?;
        match caller.scope {
            Scope::User | Scope::Operator => Ok(Self(caller)),
            Scope::Metrics => Err(scope_needed("user or operator")),
        }
    }
}

/// A caller who may read the queue and the metrics: scope `metrics` or `operator`.
pub struct MetricsReader(pub Caller);

impl FromRequestParts<SharedApp> for MetricsReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let caller = authenticate(app, &parts.headers).await?;
        match caller.scope {
            Scope::Metrics | Scope::Operator => Ok(Self(caller)),
            Scope::User => Err(scope_needed("metrics or operator")),
        }
    }
}
