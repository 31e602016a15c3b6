//! Serving artifacts: GET /tasks/{id}/artifacts/{name}. Their content comes from strangers' sites.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use wpclone_artifacts::{ArtifactLookup, ArtifactMeta};
use wpclone_task::{Code, Problem, TaskId};

use crate::http::auth::TaskUser;
use crate::http::error::ApiError;
use crate::state::SharedApp;
use crate::tasks::find;

/// The content has no origin, and may not run, load anything or be framed.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("sandbox; default-src 'none'; style-src 'none'; frame-ancestors 'none'");

/// Read an artifact
///
/// Browsers show images, text and JSON; everything else is offered as a download.
#[utoipa::path(
    get, path = "/tasks/{id}/artifacts/{name}", operation_id = "read_artifact", tag = "tasks",
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("name" = String, Path, description = "A name from the task's `artifacts`"),
    ),
    responses(
        (status = 200, description = "The artifact, in its own media type", content(
            (Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"), (serde_json::Value = "application/json"),
            (String = "text/plain"), (String = "text/html"), (Vec<u8> = "application/octet-stream"),
        )),
        (status = 404, description = "No such task or artifact", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The artifact is no longer kept", body = Problem, content_type = "application/problem+json"),
        crate::http::responses::AccessErrors,
        crate::http::responses::CommonErrors,
    )
)]
pub async fn read(
    State(app): State<SharedApp>,
    TaskUser(caller): TaskUser,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let task = find(&app, &caller, &id).await?;
    match app.artifacts.get(task.id, &name).await? {
        ArtifactLookup::Found(meta, bytes) => Ok((headers(&meta), bytes).into_response()),
        ArtifactLookup::Gone => {
            Err(ApiError::new(Code::ArtifactGone, "The artifact has expired or was removed to free space."))
        }
        ArtifactLookup::NotFound => {
            Err(ApiError::new(Code::ArtifactNotFound, "The task has no artifact of this name."))
        }
    }
}

fn headers(meta: &ArtifactMeta) -> HeaderMap {
    let essence = meta.kind.split(';').next().unwrap_or_default().trim();
    let (kind, shown) = match essence {
        "image/png" => ("image/png", true),
        "image/jpeg" => ("image/jpeg", true),
        "image/webp" => ("image/webp", true),
        "application/json" => ("application/json", true),
        "text/plain" => ("text/plain; charset=utf-8", true),
        "text/html" => ("text/html; charset=utf-8", false),
        _ => ("application/octet-stream", false),
    };
    let disposition = if shown {
        HeaderValue::from_static("inline")
    } else {
        // The store takes only [a-z0-9.-] in names.
        HeaderValue::from_str(&format!("attachment; filename=\"{}\"", meta.name))
            .unwrap_or(HeaderValue::from_static("attachment"))
    };
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_SECURITY_POLICY, SANDBOX),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_could_run_in_a_browser_is_a_download() {
        for (kind, served, disposition) in [
            ("image/png", "image/png", "inline"),
            ("text/plain", "text/plain; charset=utf-8", "inline"),
            ("text/html; charset=utf-8", "text/html; charset=utf-8", "attachment; filename=\"a.b\""),
            ("image/svg+xml", "application/octet-stream", "attachment; filename=\"a.b\""),
            ("text/javascript", "application/octet-stream", "attachment; filename=\"a.b\""),
        ] {
            let meta = ArtifactMeta { name: "a.b".into(), kind: kind.into(), bytes: 1 };
            let headers = headers(&meta);
            assert_eq!(headers[CONTENT_TYPE], served);
            assert_eq!(headers[CONTENT_DISPOSITION], disposition);
            assert!(headers[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox;"));
        }
    }
}
