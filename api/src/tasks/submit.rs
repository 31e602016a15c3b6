//! Starting tasks: POST /setup, /create-app-password and /clone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use tracing::Span;
use wpclone_http_server::Permit;
use wpclone_queue::{EnqueueOutcome, Idempotency, NewTask, QueueError, TaskLookup};
use wpclone_service::sealed_task::{seal_callback, seal_request};
use wpclone_service::telemetry::traceparent;
use wpclone_task::openapi::{CloneBody, CreateAppPasswordBody, SetupBody};
use wpclone_task::{Code, FieldErrors, Request, TaskId, TaskView};

use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::headers::{IdempotencyKey, Prefer, SubmitHeaders};
use crate::http::responses::LimitErrors;
use crate::state::{App, SharedApp};
use crate::tasks::POLL_AFTER_SECONDS;
use crate::tasks::submit_request::{SubmitRequest, SubmitResponses};
use crate::tasks::view::{Secrets, newly_accepted, view};
use crate::tasks::wait::wait_for_end;
use crate::tokens::Tokens;

/// Install the migrator on a site
///
/// Logs in to wp-admin, uploads and activates the migrator plugin, and reads its key. The task's result is
/// `api_key`, `plugin_status` (installed, updated, activated or unchanged), `plugin_version` and `import_enabled`.
#[utoipa::path(
    post, path = "/setup", tag = "work", request_body = SetupBody,
    params(SubmitHeaders),
    responses(SubmitResponses, LimitErrors),
)]
pub async fn setup(State(app): State<SharedApp>, request: SubmitRequest) -> Result<Response, ApiError> {
    submit_and_respond(&app, request, Request::parse_setup).await
}

/// Create an application password
///
/// Logs in to wp-admin, creates an application password and checks that it works. The task's result is
/// `application_password`, `username`, `uuid` and `app_name`.
#[utoipa::path(
    post, path = "/create-app-password", tag = "work", request_body = CreateAppPasswordBody,
    params(SubmitHeaders),
    responses(SubmitResponses, LimitErrors),
)]
pub async fn create_app_password(
    State(app): State<SharedApp>,
    request: SubmitRequest,
) -> Result<Response, ApiError> {
    submit_and_respond(&app, request, Request::parse_create_app_password).await
}

/// Clone a site
///
/// Creates a clone that expires, with all content of the source. The task's result is `clone` (name, url, username,
/// password, `expires_at`, `effective_isolation`), `source_api_key` (null when the migrator is removed), `migrator` and
/// `fidelity`, a summary of the artifact `fidelity.json`. `migrator` says for each site whether the task `removed` the
/// migrator that it had installed, or `kept` one that was there before; `in_use` means that other clones of the source, which
/// use it as well, remove it. The task waits while no worker creates clones.
///
/// With `target` the content is copied to an empty WordPress of yours. `clone` is then null, and `target` holds its
/// `url`, the `username` to log in with (the source's, with the source's password) and `remove_to_go_live`: the must-use
/// plugin that keeps the copy from sending mail and calling other hosts. The target's previous content is kept until the
/// copy has been verified, and restored when the task ends in any other way.
#[utoipa::path(
    post, path = "/clone", operation_id = "clone_site", tag = "work", request_body = CloneBody,
    params(SubmitHeaders),
    responses(SubmitResponses, LimitErrors),
)]
pub async fn clone_site(State(app): State<SharedApp>, request: SubmitRequest) -> Result<Response, ApiError> {
    submit_and_respond(&app, request, Request::parse_clone).await
}

/// Queues the request that `parse` reads from the body, and responds with its task.
pub(crate) async fn submit_and_respond(
    app: &App,
    request: SubmitRequest,
    parse: impl FnOnce(Value) -> Result<Request, FieldErrors>,
) -> Result<Response, ApiError> {
    let SubmitRequest { caller, prefer, key: IdempotencyKey(key), body } = request;
    let (id, task) = submit(app, &caller, key, body, parse).await?;
    let (prefer, _held) = apply_prefer_wait(app, &caller, prefer);
    match wait_and_respond(app, &caller, id, prefer).await {
        // The task is queued; a 503 would say that it is not.
        Err(error) if id == task.id && error.problem().code == Code::QueueUnavailable => {
            Ok(respond(newly_accepted(task), prefer))
        }
        response => response,
    }
}

/// Queues the request that `parse` reads from the body. Returns the task's id, which is an earlier task's when the same
/// idempotency key created that one, and the new task.
///
/// # Errors
/// The body has faults, a limit of the caller is reached, the key came with another body, or Redis does not respond.
pub(crate) async fn submit(
    app: &App,
    caller: &Caller,
    key: Option<String>,
    body: Value,
    parse: impl FnOnce(Value) -> Result<Request, FieldErrors>,
) -> Result<(TaskId, NewTask), ApiError> {
    let (request, callback) =
        Request::parse_with_callback(body, app.callbacks_enabled, parse).map_err(ApiError::invalid_fields)?;
    let kind = request.kind();
    let idempotency = key.map(|key| {
        let text = request.fingerprint_text(callback.as_ref());
        Idempotency { key, fingerprints: app.sealer.fingerprints(&text) }
    });
    let share_key =
        request.share_text(&caller.name).and_then(|text| app.sealer.fingerprints(&text).into_iter().next());
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
        shares_slots: app.tokens.as_ref().is_some_and(Tokens::has_several_owners),
        share_key,
    };
    drop(secrets);
    let id = match enqueue(app, &task).await? {
        EnqueueOutcome::Accepted(id) | EnqueueOutcome::Duplicate(id) => id,
        EnqueueOutcome::Limited(limited) => return Err(ApiError::limited(limited)),
        EnqueueOutcome::FingerprintMismatch => {
            return Err(ApiError::new(
                Code::IdempotencyMismatch,
                "This Idempotency-Key was used before with another body.",
            ));
        }
    };
    Span::current().record("task.id", tracing::field::display(id));
    tracing::info!(task.id = %id, %kind, "the task is queued");
    Ok((id, task))
}

/// Enqueues a task. When Redis stored it but the reply was lost, it is found by its id.
async fn enqueue(app: &App, task: &NewTask) -> Result<EnqueueOutcome, QueueError> {
    match app.queue.enqueue(task).await {
        Err(QueueError::Unavailable(error)) => match app.queue.get(task.id).await {
            Ok(TaskLookup::Found(_)) => Ok(EnqueueOutcome::Accepted(task.id)),
            _ => Err(QueueError::Unavailable(error)),
        },
        outcome => outcome,
    }
}

/// The granted wait and its permit. The server may ignore a preference (RFC 7240, section 2): a caller who has too many
/// responses held is answered at once.
pub(crate) fn apply_prefer_wait(app: &App, caller: &Caller, prefer: Prefer) -> (Prefer, Option<Permit>) {
    let held = prefer.0.and_then(|_| app.prefer_waits.try_acquire(&caller.name, app.limits.waits_per_token));
    (Prefer(prefer.0.filter(|_| held.is_some())), held)
}

/// Waits for the task's end, but not longer than granted, and responds with the task.
pub(crate) async fn wait_and_respond(
    app: &App,
    caller: &Caller,
    id: TaskId,
    prefer: Prefer,
) -> Result<Response, ApiError> {
    let task = wait_for_end(app, id, prefer.0.unwrap_or_default()).await?;
    let gone =
        || ApiError::new(Code::TaskGone, "The task that this Idempotency-Key belongs to is no longer kept.");
    let (view, _) = view(app, caller, task.ok_or_else(gone)?, Secrets::ForOwner).await?;
    Ok(respond(view, prefer))
}

/// The response with a task: 200 when it has finished and the caller waited for it, otherwise 202.
pub(crate) fn respond(view: TaskView, prefer: Prefer) -> Response {
    let finished = prefer.0.is_some() && view.state.is_final();
    let location = HeaderValue::from_str(&view.links.self_);
    let status = if finished { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(view)).into_response();
    let headers = response.headers_mut();
    headers.extend(location.ok().map(|value| (LOCATION, value)));
    if !finished {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(POLL_AFTER_SECONDS));
    }
    headers.extend(prefer.applied());
    response
}
