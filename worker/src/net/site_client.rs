//! A plain HTTP client for one site, through the egress proxy, with bounded responses.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use reqwest::cookie::Jar;
use reqwest::header::LOCATION;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, ClientBuilder, Proxy, RequestBuilder, Response, redirect};
use url::Url;
use wpclone_task::{Code, Problem};

use super::{Body, ConnectOutcome, EgressProxy, SiteRequest, SiteResponse};

/// The most bytes of a response that are read. The largest pages of wp-admin have some 500 KB.
const MAX_BODY: usize = 4 << 20;
/// Redirects within the site that are followed.
const MAX_REDIRECTS: usize = 5;
/// Requests that are kept for the network log.
const MAX_LOG: usize = 300;
/// Headers that are read later.
const KEPT_HEADERS: [&str; 4] = ["content-type", "www-authenticate", "cf-mitigated", "link"];

/// A client that connects through the proxy only, and follows no redirect.
pub(crate) fn proxied_client(proxy: &EgressProxy, user_agent: &str) -> reqwest::Result<ClientBuilder> {
    let builder = Client::builder().proxy(Proxy::all(format!("socks5h://{}", proxy.address()))?);
    Ok(builder.redirect(redirect::Policy::none()).user_agent(user_agent))
}

/// An HTTP client with the cookies of one session.
pub(crate) struct SiteClient {
    client: Client,
    without_cookies: Client,
    jar: Arc<Jar>,
    proxy: Arc<EgressProxy>,
    limit: Duration,
    log: Mutex<Vec<String>>,
}

impl SiteClient {
    /// `limit`: the deadline of one request, its response's body included.
    pub(crate) fn new(proxy: Arc<EgressProxy>, user_agent: &str, limit: Duration) -> reqwest::Result<Self> {
        let jar = Arc::new(Jar::default());
        let build = |cookies: Option<Arc<Jar>>| {
            let mut builder = proxied_client(&proxy, user_agent)?.timeout(limit);
            if let Some(jar) = cookies {
                builder = builder.cookie_provider(jar);
            }
            builder.build()
        };
        let client = build(Some(Arc::clone(&jar)))?;
        let without_cookies = build(None)?;
        Ok(Self { client, without_cookies, jar, proxy, limit, log: Mutex::default() })
    }

    /// The client without the session's cookies, for requests that authenticate in another way.
    pub(crate) fn without_cookies(&self) -> &Client {
        &self.without_cookies
    }

    /// Adds a cookie of the browser.
    pub(crate) fn add_cookie(&self, cookie: &str, url: &Url) {
        self.jar.add_cookie_str(cookie, url);
    }

    /// The requests so far, a line each, without queries.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// Sends a request. Redirects to the same origin are followed (as GET, as browsers do after a POST).
    pub(crate) async fn send(&self, request: SiteRequest) -> Result<SiteResponse, Problem> {
        self.send_by(&self.client, request).await
    }

    /// The same without the session's cookies.
    pub(crate) async fn send_without_cookies(&self, request: SiteRequest) -> Result<SiteResponse, Problem> {
        self.send_by(&self.without_cookies, request).await
    }

    async fn send_by(&self, client: &Client, mut request: SiteRequest) -> Result<SiteResponse, Problem> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.send_once(client, &request).await?;
            match &response.location {
                Some(to) if to.origin() == request.url.origin() => request = SiteRequest::get(to.clone()),
                _ => return Ok(response),
            }
        }
        Err(Problem::new(Code::Redirected, "The site redirects in a circle.")
            .with("to", origin_and_path(&request.url)))
    }

    async fn send_once(&self, client: &Client, request: &SiteRequest) -> Result<SiteResponse, Problem> {
        let started = Instant::now();
        let response = async { read(build(client, request)?.send().await?).await }.await;
        let status = match &response {
            Ok(response) => response.status.to_string(),
            Err(_) => "no response".to_owned(),
        };
        let line = format!(
            "{} {} {status} {} ms",
            request.method,
            origin_and_path(&request.url),
            started.elapsed().as_millis()
        );
        let mut log = self.log.lock();
        if log.len() < MAX_LOG {
            log.push(line);
        }
        response.map_err(|error| self.explain(&error, &request.url))
    }

    /// Why there was no response. The proxy knows the cause; the client sees only that the proxy rejected the connection.
    fn explain(&self, error: &reqwest::Error, url: &Url) -> Problem {
        let host = url.host_str().unwrap_or_default();
        let outcome = url.port_or_known_default().and_then(|port| self.proxy.last_outcome(host, port));
        match outcome {
            Some(ConnectOutcome::Denied) => Problem::new(
                Code::SiteNotAllowed,
                format!("{host} is in a network that sites may not be in."),
            ),
            Some(ConnectOutcome::Failed(why)) => {
                Problem::new(Code::SiteUnreachable, format!("{host} cannot be reached: {why}."))
            }
            _ if error.is_timeout() => {
                let seconds = self.limit.as_secs();
                Problem::new(
                    Code::SiteUnreachable,
                    format!("{host} did not respond within {seconds} seconds."),
                )
            }
            _ => match certificate_fault(error) {
                Some(why) => {
                    Problem::new(Code::TlsInvalid, format!("The certificate of {host} is not valid: {why}."))
                }
                None => Problem::new(Code::SiteUnreachable, format!("{host} broke the connection off.")),
            },
        }
    }
}

fn origin_and_path(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn build(client: &Client, site_request: &SiteRequest) -> reqwest::Result<RequestBuilder> {
    let mut request = client.request(site_request.method.clone(), site_request.url.clone());
    for (name, value) in &site_request.headers {
        request = request.header(*name, value);
    }
    Ok(match &site_request.body {
        Body::Empty => request,
        Body::Form(fields) => request.form(fields),
        Body::Json(value) => request.json(value),
        Body::Upload { fields, field, file_name, file } => {
            let part = Part::bytes(file.to_vec()).file_name(*file_name).mime_str("application/zip")?;
            let form = fields.iter().fold(Form::new(), |form, (k, v)| form.text(k.clone(), v.clone()));
            request.multipart(form.part(*field, part))
        }
    })
}

async fn read(mut response: Response) -> reqwest::Result<SiteResponse> {
    let (url, status) = (response.url().clone(), response.status().as_u16());
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let headers = KEPT_HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), header(name)?))).collect();
    let is_redirect = response.status().is_redirection();
    let location = header(LOCATION.as_str()).filter(|_| is_redirect).and_then(|to| url.join(&to).ok());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_BODY {
            break;
        }
    }
    Ok(SiteResponse::new(url, status, headers, Bytes::from(body), location))
}

/// What is wrong with the certificate, when the request failed for that.
pub(crate) fn certificate_fault(error: &reqwest::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        let tls = cause
            .downcast_ref::<rustls::Error>()
            .or_else(|| cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(why)) => return Some(why.to_string()),
            Some(other) => return Some(other.to_string()),
            None => source = cause.source(),
        }
    }
    None
}
