//! Request bodies: content type, size limit and timeout.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde_json::Value;
use wpclone_task::Code;
use zeroize::Zeroizing;

use crate::http::error::ApiError;
use crate::state::{Limits, SharedApp};

/// A body of `application/json`.
pub struct JsonBody(pub Value);

/// A body of `application/json`, or none; `null` counts as none.
pub struct OptionalJsonBody(pub Option<Value>);

/// The fields of an HTML form.
pub struct FormBody(pub Vec<(String, Zeroizing<String>)>);

impl FormBody {
    #[cfg(test)]
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        Self(fields.iter().map(|(n, v)| ((*n).to_owned(), Zeroizing::new((*v).to_owned()))).collect())
    }

    /// The first value of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl FromRequest<SharedApp> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        require_content_type(&request, "application/json")?;
        parse_json(&read(request, &app.limits).await?).map(Self)
    }
}

impl FromRequest<SharedApp> for OptionalJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        let typed = require_content_type(&request, "application/json");
        let bytes = read(request, &app.limits).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        typed?;
        parse_json(&bytes).map(|body| Self((!body.is_null()).then_some(body)))
    }
}

fn parse_json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // The position only: the text may hold a password.
        let position = format!("line {}, column {}", error.line(), error.column());
        ApiError::new(Code::MalformedJson, format!("The body is not JSON: {position}."))
    })
}

impl FromRequest<SharedApp> for FormBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        require_content_type(&request, "application/x-www-form-urlencoded")?;
        let bytes = read(request, &app.limits).await?;
        let pairs = url::form_urlencoded::parse(&bytes);
        Ok(Self(pairs.map(|(n, v)| (n.into_owned(), Zeroizing::new(v.into_owned()))).collect()))
    }
}

fn require_content_type(request: &Request, required: &str) -> Result<(), ApiError> {
    let sent = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = sent.and_then(|s| s.split(';').next()).map(str::trim).unwrap_or_default();
    if essence.eq_ignore_ascii_case(required) {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, format!("Content-Type must be {required}.")))
}

/// The whole body, in a buffer that is zeroed when it is dropped.
async fn read(request: Request, limits: &Limits) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let too_large =
        || ApiError::new(Code::BodyTooLarge, format!("The limit is {} bytes.", limits.body_bytes));
    let content_length = request.headers().get(CONTENT_LENGTH);
    let content_length = content_length.and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if content_length.is_some_and(|n| n > limits.body_bytes) {
        return Err(too_large());
    }
    // Allocated in full: a buffer that grows leaves copies behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(content_length.unwrap_or(limits.body_bytes)));
    let mut body: Body = request.into_body();
    let read = tokio::time::timeout(limits.body_timeout, async {
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|_| ApiError::new(Code::MalformedJson, "The body is shorter than announced."))?;
            let Ok(data) = frame.into_data() else { continue };
            if buffer.len() + data.len() > limits.body_bytes {
                return Err(too_large());
            }
            buffer.extend_from_slice(&data);
        }
        Ok(())
    });
    match read.await {
        Ok(result) => result.map(|()| buffer),
        Err(_) => Err(ApiError::new(
            Code::RequestTimeout,
            format!("The body must arrive within {} ms.", limits.body_timeout.as_millis()),
        )),
    }
}
