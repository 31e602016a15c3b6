//! WordPress' REST API as the logged-in user. `?rest_route=` works whatever the site's permalinks are.

use parking_lot::Mutex;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wpclone_task::{Code, SiteText, SiteUrl};

use super::admin_session::{asks_a_person, unexpected_page};
use super::{AdminSession, PROFILE_PAGE, StepError, StepResult};
use crate::net::{Body, HtmlPage, SiteRequest, SiteResponse};

/// The code of an error: the nonce is not one of this session.
const INVALID_NONCE: &str = "rest_cookie_invalid_nonce";

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

impl RestError {
    /// What it says to people.
    pub(super) fn message(&self) -> Option<SiteText> {
        #[derive(Deserialize)]
        struct Body {
            message: String,
        }
        HtmlPage::text_of(&self.response.json::<Body>()?.message)
    }
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
    match error_code(&response) {
        Some(code) => RestReply::Error(RestError { status: response.status, code, response }),
        None => RestReply::NotRest(response),
    }
}

/// The code of the error that a response is.
fn error_code(response: &SiteResponse) -> Option<String> {
    let body = if response.is_success() { None } else { response.json::<ErrorBody>() };
    body.map(|body| body.code)
}

/// A session that may use REST: with a nonce of wp-admin.
pub(super) struct RestSession<'a> {
    admin: &'a AdminSession<'a>,
    nonce: Mutex<Nonce>,
}

/// What WordPress accepts a session's cookies with.
#[derive(Clone)]
struct Nonce {
    value: String,
    /// Where another one may be had, should this one be refused.
    other_sources: &'static [NonceSource],
}

/// Where a nonce is read. Caches and firewalls answer some of them in WordPress' place, with another session's nonce or none.
#[derive(Clone, Copy)]
enum NonceSource {
    /// admin-ajax.php, by POST: caches do not answer it.
    AjaxPost,
    AjaxGet,
    /// The user's profile, a page that uses REST itself.
    ProfilePage,
}

impl NonceSource {
    const ALL: [Self; 3] = [Self::AjaxPost, Self::AjaxGet, Self::ProfilePage];

    fn request(self, site: &SiteUrl) -> SiteRequest {
        let ajax = site.at("wp-admin/admin-ajax.php?action=rest-nonce");
        match self {
            Self::AjaxPost => SiteRequest::post(ajax, Body::Empty),
            Self::AjaxGet => SiteRequest::get(ajax),
            Self::ProfilePage => SiteRequest::get(site.at(PROFILE_PAGE)),
        }
    }

    fn read(self, response: &SiteResponse) -> Option<String> {
        let nonce = match self {
            Self::AjaxPost | Self::AjaxGet => response.last_word(),
            // wp-includes/script-loader.php: `var wpApiSettings = {"root":"…","nonce":"0123456789",…};`
            Self::ProfilePage => {
                let text = response.text();
                let (_, settings) = text.split_once("wpApiSettings")?;
                let (_, nonce) = settings.split_once("\"nonce\":\"")?;
                nonce.split_once('"')?.0.to_owned()
            }
        };
        // wp_create_nonce(): ten hexadecimal digits. Without a session the response is 400 and "0".
        let is_nonce = nonce.len() == 10 && nonce.bytes().all(|b| b.is_ascii_hexdigit());
        (response.is_success() && is_nonce).then_some(nonce)
    }
}

impl<'a> RestSession<'a> {
    /// Gets the nonce, which also proves that the user is logged in.
    pub(super) async fn open(admin: &'a AdminSession<'a>) -> StepResult<Self> {
        match nonce(admin, &NonceSource::ALL).await? {
            Ok(nonce) => Ok(Self { admin, nonce: Mutex::new(nonce) }),
            Err(responses) => {
                let detail = "wp-admin gives the session no nonce for the REST API.";
                let shown = responses.iter().find(|response| asks_a_person(response));
                Err(match shown.or(responses.first()) {
                    Some(response) => unexpected_page(detail, "", response),
                    None => StepError::new(Code::RestBlocked, detail).into(),
                })
            }
        }
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> StepResult<RestReply> {
        Ok(read(self.send(method, path, query, body).await?))
    }

    /// Sends a request; if its nonce is refused, again with one from elsewhere.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> StepResult<SiteResponse> {
        let url = route(self.admin.site, path, query);
        let body = body.map_or(Body::Empty, Body::Json);
        let request = SiteRequest::post(url, body).method(method);
        loop {
            let Nonce { value, other_sources } = self.nonce.lock().clone();
            let response = self.admin.send(request.clone().header("X-WP-Nonce", value)).await?;
            if error_code(&response).as_deref() != Some(INVALID_NONCE) {
                return Ok(response);
            }
            tracing::info!("the nonce is refused; reading one elsewhere");
            match nonce(self.admin, other_sources).await? {
                Ok(other) => *self.nonce.lock() = other,
                Err(_) => return Ok(response),
            }
        }
    }
}

/// A nonce from the first of these sources that has one, or what the sources returned.
async fn nonce(
    admin: &AdminSession<'_>,
    sources: &'static [NonceSource],
) -> StepResult<Result<Nonce, Vec<SiteResponse>>> {
    let (mut rest, mut responses) = (sources, Vec::new());
    while let [source, other_sources @ ..] = rest {
        let response = admin.send(source.request(admin.site)).await?;
        if let Some(value) = source.read(&response) {
            return Ok(Ok(Nonce { value, other_sources }));
        }
        rest = other_sources;
        responses.push(response);
    }
    Ok(Err(responses))
}
