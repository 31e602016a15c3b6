//! The same requests as over plain HTTP, made by the page itself: for sites that answer nothing but a browser.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use wpclone_task::{Code, Problem};

use super::{Browser, BrowserError};
use crate::net::{Answer, Ask, Body};

/// Takes a request as JSON; answers with what came back, the body cut at 4 MiB (in base64).
const FETCH: &str = include_str!("fetch.js");

#[derive(Deserialize)]
struct Fetched {
    url: Url,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Asks by `fetch()` in the page. Works for the origin of the page alone; its redirects are followed.
pub(crate) async fn fetch(browser: &dyn Browser, ask: &Ask) -> Result<Answer, Problem> {
    let request = json!({
        "url": ask.url,
        "method": ask.method.as_str(),
        "headers": ask.headers.iter().map(|(k, v)| json!([k, v])).collect::<Vec<_>>(),
        "body": body(&ask.body),
    });
    let answer = browser.run_async(FETCH, vec![request]).await?;
    let Ok(fetched) = serde_json::from_value::<Fetched>(answer) else {
        let host = ask.url.host_str().unwrap_or_default();
        return Err(Problem::new(Code::SiteUnreachable, format!("{host} gave the browser no answer.")));
    };
    let body =
        STANDARD.decode(fetched.body).map_err(|_| BrowserError::Refused("a body that is none".into()))?;
    Ok(Answer::new(
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
