//! A plain HTTP client for one site, through the egress proxy, with bounded responses.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::header::LOCATION;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, ClientBuilder, Method, Proxy, RequestBuilder, Response, redirect};
use tokio::time::sleep;
use url::Url;
use wpclone_task::{Code, Problem};

use super::{Body, ConnectOutcome, EgressProxy, SiteRequest, SiteResponse, normalize_host};

/// The most bytes of a response that are read. The largest pages of wp-admin have some 500 KB.
const MAX_BODY: usize = 4 << 20;
/// Redirects within the site that are followed.
const MAX_REDIRECTS: usize = 5;
/// Pauses between tries of one request.
const MAX_PAUSES: usize = 2;
/// A site that asks for a longer pause is not waited for.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The status codes that redirect a request (RFC 9110, section 15.4). 300 offers a choice, and 304 is about caches.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
/// Requests that are kept for the network log.
const MAX_LOG: usize = 300;
/// What the name of a session's cookie begins with (wp-includes/default-constants.php); the rest is a hash of the site's
/// address.
pub(crate) const SESSION_COOKIE: &str = "wordpress_logged_in_";
/// Headers that are read later.
const KEPT_HEADERS: [&str; 6] =
    ["content-type", "www-authenticate", "cf-mitigated", "link", "allow", "retry-after"];

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
    user_agent: String,
    limit: Duration,
    longest_pause: Mutex<Duration>,
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
        Ok(Self {
            client,
            without_cookies,
            jar,
            proxy,
            user_agent: user_agent.to_owned(),
            limit,
            longest_pause: Mutex::default(),
            log: Mutex::default(),
        })
    }

    /// A client of nobody: it shares no cookies with this one, no browser, and no restriction to one site, but the addresses
    /// that may be connected to.
    pub(crate) async fn of_visitor(&self) -> io::Result<Self> {
        let proxy = Arc::new(EgressProxy::start(self.proxy.policy()).await?);
        Self::new(proxy, &self.user_agent, self.limit).map_err(io::Error::other)
    }

    /// The client without the session's cookies, for requests that authenticate in another way.
    pub(crate) fn without_cookies(&self) -> &Client {
        &self.without_cookies
    }

    /// The addresses of a URL's host, also those that may not be connected to; none if it does not resolve.
    pub(crate) async fn addresses_of(&self, url: &Url) -> Vec<IpAddr> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Vec::new();
        };
        let all = self.proxy.policy().all_addresses(&normalize_host(host), port).await;
        all.iter().map(SocketAddr::ip).collect()
    }

    /// Adds a cookie of the browser.
    pub(crate) fn add_cookie(&self, cookie: &str, url: &Url) {
        self.jar.add_cookie_str(cookie, url);
    }

    /// Whether there is the cookie of a WordPress session for this address.
    pub(crate) fn has_session(&self, url: &Url) -> bool {
        let cookies = self.jar.cookies(url);
        let mut names = cookies.iter().filter_map(|header| header.to_str().ok()).flat_map(|c| c.split("; "));
        names.any(|cookie| cookie.starts_with(SESSION_COOKIE))
    }

    /// From now on neither this client nor the browser that uses the same proxy reaches another site than this one.
    pub(crate) fn restrict_to(&self, site: &Url) {
        self.proxy.restrict_to(site);
    }

    /// The requests so far, a line each, without queries.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// Sends a request. Redirects to the same origin are followed as [`SiteRequest::redirected`] says; any other one is the
    /// response: neither credentials nor a body go to another origin, and none from https to http.
    pub(crate) async fn send(&self, request: SiteRequest) -> Result<SiteResponse, Problem> {
        self.send_by(&self.client, request).await
    }

    /// Sends a request and follows no redirect.
    pub(crate) async fn send_once_with_cookies(&self, request: SiteRequest) -> Result<SiteResponse, Problem> {
        self.send_once(&self.client, &request).await
    }

    /// The same as [`SiteClient::send`] without the session's cookies.
    pub(crate) async fn send_without_cookies(&self, request: SiteRequest) -> Result<SiteResponse, Problem> {
        self.send_by(&self.without_cookies, request).await
    }

    async fn send_by(&self, client: &Client, mut request: SiteRequest) -> Result<SiteResponse, Problem> {
        for _ in 0..MAX_REDIRECTS {
            let response = self.send_paced(client, &request).await?;
            match &response.location {
                Some(to) if to.origin() == request.url.origin() => {
                    request = request.redirected(response.status, to.clone());
                }
                _ => return Ok(response),
            }
        }
        Err(Problem::new(Code::Redirected, "The site redirects in a circle.")
            .with("to", origin_and_path(&request.url)))
    }

    /// Sends a request, and again after a pause if the site admits no more requests for the moment. Another method than GET
    /// is repeated only if the site says when: it has rejected the request then (RFC 6585, section 4).
    async fn send_paced(&self, client: &Client, request: &SiteRequest) -> Result<SiteResponse, Problem> {
        for _ in 0..MAX_PAUSES {
            let response = self.send_once(client, request).await?;
            let Some(pause) = response.pause() else { return Ok(response) };
            self.record_pause(pause.min(MAX_PAUSE));
            let is_rejected = response.status == 429 && response.header("retry-after").is_some();
            if request.method != Method::GET && !is_rejected || pause > MAX_PAUSE {
                return Ok(response);
            }
            tracing::info!(status = response.status, ?pause, "the site asks for a pause");
            sleep(pause).await;
        }
        self.send_once(client, request).await
    }

    fn record_pause(&self, pause: Duration) {
        let mut longest = self.longest_pause.lock();
        *longest = (*longest).max(pause);
    }

    /// How long the site asked to be left alone, at most; zero if it never did.
    pub(crate) fn longest_pause(&self) -> Duration {
        *self.longest_pause.lock()
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

/// The target of a redirect, without a user and password: the site chooses none for us.
fn redirect_target(from: &Url, to: &str) -> Option<Url> {
    let mut to = from.join(to).ok()?;
    let _ = to.set_username("");
    let _ = to.set_password(None);
    Some(to)
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
    let location = header(LOCATION.as_str()).filter(|_| REDIRECTS.contains(&status));
    let location = location.and_then(|to| redirect_target(&url, &to));
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::AllowedNetworks;

    /// A site that redirects `/301`, `/302`, … with that status to `/end`, and `/away` with 307 to another origin. It records
    /// requests.
    struct RedirectingSite {
        url: Url,
        requests: Arc<Mutex<Vec<String>>>,
        _serving: tokio_util::task::AbortOnDropHandle<()>,
    }

    impl RedirectingSite {
        async fn new(away: &str) -> Self {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
            let requests = Arc::new(Mutex::new(Vec::new()));
            let (seen, away) = (Arc::clone(&requests), away.to_owned());
            let serving = tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = String::new();
                    let mut buffer = [0; 4096];
                    while !is_complete(&request) {
                        match stream.read(&mut buffer).await {
                            Ok(n) if n > 0 => request.push_str(&String::from_utf8_lossy(&buffer[..n])),
                            _ => break,
                        }
                    }
                    let answer = match request.split(' ').nth(1).unwrap_or_default() {
                        "/away" => format!("307 Moved\r\nlocation: {away}"),
                        "/loop" => "308 Moved\r\nlocation: /loop".to_owned(),
                        "/user" => "307 Moved\r\nlocation: //u:p@".to_owned() + &url_host(&request) + "/end",
                        "/end" => "200 OK".to_owned(),
                        status => format!("{} Moved\r\nlocation: /end#x", &status[1..]),
                    };
                    seen.lock().push(request);
                    let answer =
                        format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            Self { url, requests, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
        }

        async fn post(&self, path: &str) -> Result<SiteResponse, Problem> {
            let networks: AllowedNetworks = "127.0.0.0/8".parse().unwrap();
            let proxy = Arc::new(EgressProxy::start(networks).await.unwrap());
            let client = SiteClient::new(proxy, "test", Duration::from_secs(10)).unwrap();
            client.add_cookie("session=canary", &self.url);
            let body = Body::Form(vec![("pwd".into(), "canary-password".into())]);
            let request = SiteRequest::post(self.url.join(path).unwrap(), body);
            client.send(request.header("Authorization", "Basic canary")).await
        }

        /// The first line and the body of every request.
        fn requests(&self) -> Vec<(String, String)> {
            let parts = |request: &String| {
                let (head, body) = request.split_once("\r\n\r\n").unwrap();
                let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
                (line, body.to_owned())
            };
            self.requests.lock().iter().map(parts).collect()
        }
    }

    fn is_complete(request: &str) -> bool {
        let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        length.is_none_or(|length| length.parse().is_ok_and(|length: usize| body.len() >= length))
    }

    fn url_host(request: &str) -> String {
        request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_redirected_post_keeps_its_body_with_307_and_308_and_becomes_a_get_with_the_others() {
        let pair = |line: &str, body: &str| (line.to_owned(), body.to_owned());
        let form = "pwd=canary-password";
        for status in [307, 308] {
            let site = RedirectingSite::new("/").await;
            let response = site.post(&format!("/{status}")).await.unwrap();
            assert_eq!((response.status, response.url.path()), (200, "/end"));
            assert_eq!(site.requests(), [pair(&format!("POST /{status}"), form), pair("POST /end", form)]);
        }
        for status in [301, 302, 303] {
            let site = RedirectingSite::new("/").await;
            assert_eq!(site.post(&format!("/{status}")).await.unwrap().status, 200);
            assert_eq!(site.requests(), [pair(&format!("POST /{status}"), form), pair("GET /end", "")]);
        }
        // 300 and 304 are no redirects.
        let site = RedirectingSite::new("/").await;
        let response = site.post("/300").await.unwrap();
        assert_eq!((response.status, response.location), (300, None));
    }

    #[tokio::test]
    async fn a_redirect_to_another_origin_gets_neither_a_request_nor_credentials() {
        let other = RedirectingSite::new("/").await;
        let site = RedirectingSite::new(other.url.as_str()).await;
        let response = site.post("/away").await.unwrap();
        assert_eq!((response.status, response.location), (307, Some(other.url.clone())));
        assert_eq!((site.requests().len(), other.requests().len()), (1, 0));
    }

    #[tokio::test]
    async fn redirects_in_a_circle_end_and_a_site_chooses_no_user_for_us() {
        let site = RedirectingSite::new("/").await;
        let problem = site.post("/loop").await.map(|response| response.status).unwrap_err();
        assert_eq!(problem.code, Code::Redirected);
        assert_eq!(site.requests().len(), MAX_REDIRECTS);

        let site = RedirectingSite::new("/").await;
        assert_eq!(site.post("/user").await.unwrap().status, 200);
        let last = site.requests.lock().last().unwrap().to_lowercase();
        assert_eq!(last.matches("authorization:").count(), 1);
        assert!(last.contains("authorization: basic canary"), "{last}");
    }
}
