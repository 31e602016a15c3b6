//! WordPress' REST API as the logged-in user. `?rest_route=` works whatever the site's permalinks are.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wpclone_task::{Code, SiteUrl};

use super::{AdminSession, StepError, StepResult};
use crate::net::{Body, SiteRequest, SiteResponse};

/// The address of a route such as `/wp/v2/users/me`.
pub(super) fn route(site: &SiteUrl, route: &str, query: &[(&str, &str)]) -> Url {
    let mut url = site.at("index.php");
    url.query_pairs_mut().append_pair("rest_route", route).extend_pairs(query);
    url
}

/// The reply of the REST API.
pub(super) enum RestReply {
    /// Success, as JSON.
    Ok(Value),
    /// WordPress rejected the request.
    Error(RestError),
    /// The response is not the REST API's: a plugin or a firewall has closed it.
    NotRest(SiteResponse),
}

/// A `WP_Error` as REST shows it.
pub(super) struct RestError {
    pub(super) status: u16,
    /// Such as `rest_forbidden`.
    pub(super) code: String,
    pub(super) response: SiteResponse,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
}

pub(super) fn read(response: SiteResponse) -> RestReply {
    if response.is_success() {
        return match response.json() {
            Some(value) => RestReply::Ok(value),
            None => RestReply::NotRest(response),
        };
    }
    match response.json::<ErrorBody>() {
        Some(error) => RestReply::Error(RestError { status: response.status, code: error.code, response }),
        None => RestReply::NotRest(response),
    }
}

/// A session that may use REST: with a nonce of wp-admin.
pub(super) struct RestSession<'a> {
    admin: &'a AdminSession<'a>,
    nonce: String,
}

impl<'a> RestSession<'a> {
    /// Gets the nonce, which also proves that the user is logged in.
    pub(super) async fn open(admin: &'a AdminSession<'a>) -> StepResult<Self> {
        let nonce_page = admin.site.at("wp-admin/admin-ajax.php?action=rest-nonce");
        let response = admin.send(SiteRequest::get(nonce_page)).await?;
        let nonce = response.text();
        // wp_create_nonce(): ten hexadecimal digits. Without a session the response is 400 and "0".
        if response.is_success() && nonce.len() == 10 && nonce.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self { admin, nonce });
        }
        let detail = "After the login, wp-admin shows a page of its own.";
        Err(StepError::shown(Code::AuthInterstitial, detail, &response).into())
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> StepResult<RestReply> {
        let url = route(self.admin.site, path, query);
        let body = body.map_or(Body::Empty, Body::Json);
        let request = SiteRequest::post(url, body).method(method).header("X-WP-Nonce", self.nonce.clone());
        Ok(read(self.admin.send(request).await?))
    }
}
