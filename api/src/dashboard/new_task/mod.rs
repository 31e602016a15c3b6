//! The forms that start a task. They send what the API's requests send, and it is read by the same parser.

mod fields;
mod form;
mod request_body;
mod values;

use axum::extract::{Path, RawQuery, State as AppState};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::Value;
use uuid::Uuid;
use wpclone_queue::TaskRecord;
use wpclone_task::{Code, FieldErrors, Kind, Problem, Request};

use crate::dashboard::new_task::form::FormPage;
use crate::dashboard::new_task::request_body::request_body;
use crate::dashboard::new_task::values::Values;
use crate::dashboard::{DashboardUser, html};
use crate::http::auth::Caller;
use crate::http::body::FormBody;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};
use crate::tasks::find;
use crate::tasks::submit::submit;

/// The longest task id in a query.
const MAX_ID: usize = 64;
/// The form field of the idempotency key: a form that is sent twice starts its task once.
const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// A form, named by the kind of task that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Clone,
    Setup,
    AppPassword,
}

impl Form {
    const ALL: [Self; 3] = [Self::Clone, Self::Setup, Self::AppPassword];

    fn of_kind(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Clone => Some(Self::Clone),
            Kind::Setup => Some(Self::Setup),
            Kind::CreateAppPassword => Some(Self::AppPassword),
            _ => None,
        }
    }

    fn find(path: &str) -> Result<Self, ApiError> {
        let form = Self::ALL.into_iter().find(|form| form.path().strip_prefix("/new/") == Some(path));
        form.ok_or_else(|| ApiError::new(Code::NotFound, "There is nothing at this address."))
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Clone => "/new/clone",
            Self::Setup => "/new/setup",
            Self::AppPassword => "/new/app-password",
        }
    }

    /// Reads the request as the API's endpoint does.
    fn read(self, body: Value) -> Result<Request, FieldErrors> {
        match self {
            Self::Clone => Request::parse_clone(body),
            Self::Setup => Request::parse_setup(body),
            Self::AppPassword => Request::parse_create_app_password(body),
        }
    }
}

/// Where the form for a new task with the same request as this one is; `None` for kinds without a form.
pub(super) fn run_again_path(task: &TaskRecord) -> Option<String> {
    Form::of_kind(task.kind).map(|form| format!("{}?from={}", form.path(), task.id))
}

/// A form with the defaults, or with the request of the task `from` in the query, without its passwords.
pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    DashboardUser(caller): DashboardUser,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    empty_form(&app, &caller, &path, query.as_deref()).await.map_err(ApiError::into_response)
}

async fn empty_form(
    app: &App,
    caller: &Caller,
    path: &str,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    let form = Form::find(path)?;
    let mut query = Query::from_form(query);
    let from = query.text("from", MAX_ID);
    query.finish()?;
    let values = match from {
        None => Values::default(),
        Some(id) => {
            let task = find(app, caller, &id).await?;
            if Form::of_kind(task.kind) != Some(form) {
                return Err(ApiError::new(Code::NotFound, "The task is of another kind than this form."));
            }
            Values::of_task(&task)
        }
    };
    html(&FormPage::new(app, caller, form, &values, Uuid::now_v7(), None))
}

/// Starts the task that the form asks for, and redirects to its page. Errors are shown in the form.
pub(crate) async fn start(
    AppState(app): AppState<SharedApp>,
    DashboardUser(caller): DashboardUser,
    Path(path): Path<String>,
    body: FormBody,
) -> Result<Response, ApiError> {
    let form = Form::find(&path)?;
    let sent_key: Option<Uuid> = body.field(IDEMPOTENCY_KEY).and_then(|key| key.parse().ok());
    let key = sent_key.map(|key| format!("dashboard-{key}"));
    let request = request_body(form, &body);
    let error = match submit(&app, &caller, key, request, |body| form.read(body)).await {
        Ok((id, _)) => return Ok(Redirect::to(&format!("/dashboard/tasks/{id}")).into_response()),
        Err(error) => error,
    };
    let mut problem = error.problem().clone();
    let new_key = match (problem.code, sent_key) {
        (Code::IdempotencyMismatch, _) => {
            problem.detail = "This form has already started a task with other values.".into();
            Uuid::now_v7()
        }
        (_, Some(key)) => key,
        (_, None) => Uuid::now_v7(),
    };
    let values = Values::of_form(form, &body);
    with_status_of(error, html(&FormPage::new(&app, &caller, form, &values, new_key, Some(problem)))?)
}

/// The page with the status and the headers of the error that it shows.
fn with_status_of(error: ApiError, page: Response) -> Result<Response, ApiError> {
    let (page, body) = page.into_parts();
    let mut response = error.into_response();
    // Else the error would be rendered as a page of its own.
    response.extensions_mut().remove::<Box<Problem>>();
    response.headers_mut().extend(page.headers);
    *response.body_mut() = body;
    Ok(response)
}
