//! WordPress' REST API as the logged-in user. `?rest_route=` works whatever the site's permalinks are.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wpclone_task::{Code, SiteUrl};

use super::{Admin, Done, Trouble};
use crate::net::{Answer, Ask, Body};

/// The address of a route such as `/wp/v2/users/me`.
pub(super) fn route(site: &SiteUrl, route: &str, query: &[(&str, &str)]) -> Url {
    let mut url = site.at("index.php");
    url.query_pairs_mut().append_pair("rest_route", route).extend_pairs(query);
    url
}

/// What the API said.
pub(super) enum Said {
    /// Success, as JSON.
    Yes(Value),
    /// A refusal of WordPress' own.
    No(Refusal),
    /// Not the REST API at all: closed by a plugin or firewall.
    Closed(Answer),
}

/// A `WP_Error` as REST shows it.
pub(super) struct Refusal {
    pub(super) status: u16,
    /// `rest_forbidden`, for example.
    pub(super) code: String,
    pub(super) answer: Answer,
}

#[derive(Deserialize)]
struct WpError {
    code: String,
}

pub(super) fn read(answer: Answer) -> Said {
    if answer.is_success() {
        return match answer.json() {
            Some(value) => Said::Yes(value),
            None => Said::Closed(answer),
        };
    }
    match answer.json::<WpError>() {
        Some(error) => Said::No(Refusal { status: answer.status, code: error.code, answer }),
        None => Said::Closed(answer),
    }
}

/// A session's right to use REST: the nonce of wp-admin.
pub(super) struct Rest<'a> {
    admin: &'a Admin<'a>,
    nonce: String,
}

impl<'a> Rest<'a> {
    /// Fetches the nonce, which also proves that the session holds.
    pub(super) async fn open(admin: &'a Admin<'a>) -> Done<Self> {
        let answer = admin.ask(Ask::get(admin.site.at("wp-admin/admin-ajax.php?action=rest-nonce"))).await?;
        let nonce = answer.text();
        // wp_create_nonce(): ten characters of a hex digest. Without a session the answer is 400 and "0".
        if answer.is_success() && nonce.len() == 10 && nonce.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self { admin, nonce });
        }
        Err(Trouble::shown(
            Code::AuthInterstitial,
            "After the login, wp-admin shows a page of its own.",
            &answer,
        )
        .into())
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Done<Said> {
        let url = route(self.admin.site, path, query);
        let body = body.map_or(Body::Empty, Body::Json);
        let ask = Ask::post(url, body).method(method).with("X-WP-Nonce", self.nonce.clone());
        Ok(read(self.admin.ask(ask).await?))
    }
}
