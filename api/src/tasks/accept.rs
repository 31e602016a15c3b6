//! Accepting work: POST /setup and its siblings.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request as HttpRequest, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tracing::Span;
use utoipa::IntoResponses;
use wpclone_queue::{EnqueueOutcome, Idempotency, NewTask, QueueError, TaskLookup};
use wpclone_service::limiter::Permit;
use wpclone_service::sealed_task::{seal_callback, seal_request};
use wpclone_service::telemetry::traceparent;
use wpclone_task::{Code, FieldErrors, Problem, Request, TaskId, TaskView};

use crate::http::auth::{Caller, TaskUser};
use crate::http::body::JsonBody;
use crate::http::error::ApiError;
use crate::http::headers::{IdempotencyKey, Prefer};
use crate::state::{App, SharedApp};
use crate::tasks::ASK_AGAIN;
use crate::tasks::view::{Secrets, newly_accepted, view};
use crate::tasks::wait::wait_for_end;
use wpclone_task::openapi::{CloneBody, CreateAppPasswordBody, SetupBody};

/// All that a request for work brings.
pub struct WorkRequest {
    caller: Caller,
    prefer: Prefer,
    key: IdempotencyKey,
    body: Value,
}

impl FromRequest<SharedApp> for WorkRequest {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, app: &SharedApp) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let TaskUser(caller) = TaskUser::from_request_parts(&mut parts, app).await?;
        let Ok(prefer) = Prefer::from_request_parts(&mut parts, app).await;
        let key = IdempotencyKey::from_request_parts(&mut parts, app).await?;
        let JsonBody(body) = JsonBody::from_request(HttpRequest::from_parts(parts, body), app).await?;
        Ok(Self { caller, prefer, key, body })
    }
}

impl WorkRequest {
    /// Who asks.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who asks, and how long they would wait.
    pub(crate) fn waiting(self) -> (Caller, Prefer) {
        (self.caller, self.prefer)
    }
}

/// The same of a request without a body; one that comes all the same is not looked at.
pub struct WorkRequestWithoutBody(pub(crate) WorkRequest);

impl FromRequestParts<SharedApp> for WorkRequestWithoutBody {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let TaskUser(caller) = TaskUser::from_request_parts(parts, app).await?;
        let Ok(prefer) = Prefer::from_request_parts(parts, app).await;
        let key = IdempotencyKey::from_request_parts(parts, app).await?;
        Ok(Self(WorkRequest { caller, prefer, key, body: json!({}) }))
    }
}

/// How a request for work is answered. Documentation only: [`respond`] answers.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers")]
pub(crate) enum Answers {
    /// Accepted
    #[response(status = 202, headers(
        ("Location" = String, description = "The task's address"),
        ("Retry-After" = u32, description = "When to ask again, in seconds"),
        ("Preference-Applied" = Option<String>, description = "`wait=N`, the wait that was granted"),
    ))]
    Accepted(TaskView),
    /// Finished within `Prefer: wait=N`, whatever its end
    #[response(status = 200, headers(
        ("Location" = String, description = "The task's address"),
        ("Preference-Applied" = String, description = "`wait=N`, the wait that was granted"),
    ))]
    Finished(TaskView),
    /// Refused
    #[response(status = "4XX", content_type = "application/problem+json")]
    Refused(Problem),
    /// Redis does not answer
    #[response(status = 503, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "When to come back, in seconds"),
    ))]
    Unavailable(Problem),
}

/// Put the migrator on a site
///
/// Logs in to wp-admin, uploads and activates the migrator plugin, and reads its key. The task's result is
/// `api_key`, `plugin_status` (installed, updated, activated or unchanged), `plugin_version` and `import_enabled`.
#[utoipa::path(
    post, path = "/setup", tag = "work", request_body = SetupBody,
    params(crate::openapi::WorkHeaders),
    responses(Answers, crate::openapi::TooMany),
)]
pub async fn setup(State(app): State<SharedApp>, asked: WorkRequest) -> Result<Response, ApiError> {
    accept(&app, asked, Request::parse_setup).await
}

/// Make an application password
///
/// Logs in to wp-admin, makes an application password and proves that it works. The task's result is
/// `application_password`, `username`, `uuid` and `app_name`.
#[utoipa::path(
    post, path = "/create-app-password", tag = "work", request_body = CreateAppPasswordBody,
    params(crate::openapi::WorkHeaders),
    responses(Answers, crate::openapi::TooMany),
)]
pub async fn create_app_password(
    State(app): State<SharedApp>,
    asked: WorkRequest,
) -> Result<Response, ApiError> {
    accept(&app, asked, Request::parse_create_app_password).await
}

/// Copy a site
///
/// Makes a clone that expires, with all that the source has. The task's result is `clone` (name, url, username,
/// password, `expires_at`, `effective_isolation`), `source_api_key` (null where the migrator was removed) and `fidelity`, a summary
/// of the artifact `fidelity.json`. It waits when no worker makes clones at the moment.
///
/// With `target` the copy goes to an empty WordPress of yours. `clone` is null then, and `target` tells its `url`, the
/// `username` that may log in now (the source's, with the source's password) and `remove_to_go_live`: the must-use plugin
/// that keeps the copy from sending mail and calling others. Until the copy has been looked at, what the target had is
/// kept; on any other end it comes back.
#[utoipa::path(
    post, path = "/clone", operation_id = "clone_site", tag = "work", request_body = CloneBody,
    params(crate::openapi::WorkHeaders),
    responses(Answers, crate::openapi::TooMany),
)]
pub async fn clone_site(State(app): State<SharedApp>, asked: WorkRequest) -> Result<Response, ApiError> {
    accept(&app, asked, Request::parse_clone).await
}

/// Accepts what `read` makes of the body.
pub(crate) async fn accept(
    app: &App,
    asked: WorkRequest,
    read: impl FnOnce(Value) -> Result<Request, FieldErrors>,
) -> Result<Response, ApiError> {
    let WorkRequest { caller, prefer, key: IdempotencyKey(key), body } = asked;
    let (id, task) = submit(app, &caller, key, body, read).await?;
    let (prefer, _held) = apply_prefer_wait(app, &caller, prefer);
    match answer(app, &caller, id, prefer).await {
        // It has been accepted, and a 503 would say that it was not.
        Err(error) if id == task.id && error.problem().code == Code::QueueUnavailable => {
            Ok(respond(newly_accepted(task), prefer))
        }
        answered => answered,
    }
}

/// Puts what `read` makes of the body into the queue. Returns the id of the task that does the work: the new one, or the
/// one that the same idempotency key made before.
///
/// # Errors
/// The body has faults, a limit of the caller is reached, the key came with another body, or Redis does not answer.
pub(crate) async fn submit(
    app: &App,
    caller: &Caller,
    key: Option<String>,
    body: Value,
    read: impl FnOnce(Value) -> Result<Request, FieldErrors>,
) -> Result<(TaskId, NewTask), ApiError> {
    let (request, callback) =
        Request::parse_with_callback(body, app.callbacks_enabled, read).map_err(ApiError::invalid_fields)?;
    let kind = request.kind();
    let idempotency = key.map(|key| {
        let text = request.fingerprint_text(callback.as_ref());
        Idempotency { key, fingerprints: app.sealer.fingerprints(&text) }
    });
    let (id, (request, secrets)) = (TaskId::new(), request.split_secrets());
    let task = NewTask {
        id,
        request,
        sealed_secrets: seal_request(&app.sealer, id, &secrets)?,
        owner: caller.name.clone(),
        traceparent: traceparent(&Span::current()),
        idempotency,
        sealed_callback: callback.map(|url| seal_callback(&app.sealer, id, &url)).transpose()?,
        limits: caller.limits,
    };
    drop(secrets);
    let id = match enqueue(app, &task).await? {
        EnqueueOutcome::Accepted(id) | EnqueueOutcome::Duplicate(id) => id,
        EnqueueOutcome::Limited(limited) => return Err(ApiError::limited(limited)),
        EnqueueOutcome::FingerprintMismatch => {
            return Err(ApiError::new(
                Code::IdempotencyMismatch,
                "This Idempotency-Key came before with another body.",
            ));
        }
    };
    Span::current().record("task.id", tracing::field::display(id));
    tracing::info!(task.id = %id, %kind, "the task is in the queue");
    Ok((id, task))
}

/// Hands a task in. When Redis took it but its answer was lost, the task is there: its id is ours.
async fn enqueue(app: &App, task: &NewTask) -> Result<EnqueueOutcome, QueueError> {
    match app.queue.enqueue(task).await {
        Err(QueueError::Unavailable(error)) => match app.queue.get(task.id).await {
            Ok(TaskLookup::Found(_)) => Ok(EnqueueOutcome::Accepted(task.id)),
            _ => Err(QueueError::Unavailable(error)),
        },
        done => done,
    }
}

/// The wait that the caller is apply_prefer_wait, and their hold on it. A preference may be left unmet (RFC 7240, section 2): who
/// has too many answers held is answered at once.
pub(crate) fn apply_prefer_wait(app: &App, caller: &Caller, prefer: Prefer) -> (Prefer, Option<Permit>) {
    let held = prefer.0.and_then(|_| app.prefer_waits.try_acquire(&caller.name, app.limits.waits_per_token));
    (Prefer(prefer.0.filter(|_| held.is_some())), held)
}

/// The task as it is at its end or at the end of the wait.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    id: TaskId,
    prefer: Prefer,
) -> Result<Response, ApiError> {
    let stored = wait_for_end(app, id, prefer.0.unwrap_or_default()).await?;
    let gone =
        || ApiError::new(Code::TaskGone, "The task that this Idempotency-Key belongs to is no longer kept.");
    let (view, _) = view(app, caller, stored.ok_or_else(gone)?, Secrets::ForOwner).await?;
    Ok(respond(view, prefer))
}

/// 200 only to those who asked to wait; a task that is still on its way is 202.
pub(crate) fn respond(view: TaskView, prefer: Prefer) -> Response {
    let done = prefer.0.is_some() && view.state.is_final();
    let location = HeaderValue::from_str(&view.links.self_);
    let status = if done { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(view)).into_response();
    let headers = response.headers_mut();
    headers.extend(location.ok().map(|value| (LOCATION, value)));
    if !done {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(ASK_AGAIN));
    }
    headers.extend(prefer.applied());
    response
}
