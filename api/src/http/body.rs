//! Request bodies, read within bounds.

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

/// A body of `application/json`, or none, which `null` is too.
pub struct OptionalJson(pub Option<Value>);

/// A body of an HTML form: names and values.
pub struct FormBody(pub Vec<(String, Zeroizing<String>)>);

impl FormBody {
    /// The first value of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl FromRequest<SharedApp> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        expect_type(&request, "application/json")?;
        json(&read(request, &app.limits).await?).map(Self)
    }
}

impl FromRequest<SharedApp> for OptionalJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        let typed = expect_type(&request, "application/json");
        let bytes = read(request, &app.limits).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        typed?;
        json(&bytes).map(|body| Self((!body.is_null()).then_some(body)))
    }
}

fn json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Where, but not what: the text may hold a password.
        let place = format!("line {}, column {}", error.line(), error.column());
        ApiError::new(Code::MalformedJson, format!("The body is not JSON: {place}."))
    })
}

impl FromRequest<SharedApp> for FormBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        expect_type(&request, "application/x-www-form-urlencoded")?;
        let bytes = read(request, &app.limits).await?;
        let pairs = url::form_urlencoded::parse(&bytes);
        Ok(Self(pairs.map(|(n, v)| (n.into_owned(), Zeroizing::new(v.into_owned()))).collect()))
    }
}

fn expect_type(request: &Request, wanted: &str) -> Result<(), ApiError> {
    let sent = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = sent.and_then(|s| s.split(';').next()).map(str::trim).unwrap_or_default();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, format!("Content-Type must be {wanted}.")))
}

/// The whole body, in a buffer that is wiped when it is dropped.
async fn read(request: Request, limits: &Limits) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let too_large =
        || ApiError::new(Code::BodyTooLarge, format!("The limit is {} bytes.", limits.body_bytes));
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|n| n > limits.body_bytes) {
        return Err(too_large());
    }
    // As large as it can get, for a buffer that grows leaves copies behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(limits.body_bytes)));
    let mut body: Body = request.into_body();
    let filled = tokio::time::timeout(limits.body_timeout, async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                ApiError::new(Code::MalformedJson, "The body ended before its announced end.")
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if buffer.len() + data.len() > limits.body_bytes {
                return Err(too_large());
            }
            buffer.extend_from_slice(&data);
        }
        Ok(())
    });
    match filled.await {
        Ok(read) => read.map(|()| buffer),
        Err(_) => Err(ApiError::new(
            Code::RequestTimeout,
            format!("The body must arrive within {} ms.", limits.body_timeout.as_millis()),
        )),
    }
}
