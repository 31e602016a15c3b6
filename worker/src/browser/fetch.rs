//! Requests that the page in the browser sends: for sites that answer only a browser.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use wpclone_task::{Code, Problem};

use super::{Browser, BrowserError};
use crate::net::{Body, SiteRequest, SiteResponse};

/// Takes a request as JSON; returns the response, its body truncated at 4 MiB (in base64).
const FETCH_SCRIPT: &str = include_str!("fetch.js");

#[derive(Deserialize)]
struct Fetched {
    url: Url,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Sends a request by `fetch()` in the page. Works only for the origin of the page. Redirects are followed within the site:
/// since the login the browser reaches no other.
pub(crate) async fn fetch(browser: &dyn Browser, request: &SiteRequest) -> Result<SiteResponse, Problem> {
    let script_request = json!({
        "url": request.url,
        "method": request.method.as_str(),
        "headers": request.headers.iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>(),
        "body": body(&request.body),
    });
    let response = browser.run_async(FETCH_SCRIPT, vec![script_request]).await?;
    if response["error"].is_string() {
        let host = request.url.host_str().unwrap_or_default();
        return Err(Problem::new(Code::SiteUnreachable, format!("{host} did not respond to the browser.")));
    }
    let fetched = serde_json::from_value::<Fetched>(response)
        .map_err(|_| BrowserError::Refused("a script without its result".into()))?;
    let body = STANDARD.decode(fetched.body).map_err(|_| BrowserError::Refused("a malformed body".into()))?;
    Ok(SiteResponse::new(
        fetched.url,
        fetched.status,
        fetched.headers.into_iter().collect(),
        Bytes::from(body),
        None,
    ))
}

fn body(body: &Body) -> Value {
    match body {
        Body::Empty => Value::Null,
        Body::Json(value) => json!({ "json": value.to_string() }),
        Body::Form(fields) => json!({ "form": fields }),
        Body::Upload { fields, field, file_name, file } => {
            json!({ "upload": fields, "field": field, "name": file_name, "file": STANDARD.encode(file) })
        }
    }
}
