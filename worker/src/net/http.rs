//! Plain HTTP through the gate, bounded in size and time.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::cookie::Jar;
use reqwest::header::LOCATION;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, ClientBuilder, Proxy, RequestBuilder, Response, redirect};
use url::Url;
use wpclone_task::{Code, Problem};

use super::gate::Outcome;
use super::{Answer, Ask, Body, Gate};
use crate::lock::lock;

/// The most bytes of an answer that we read. The largest pages of wp-admin have some 500 KB.
const MAX_BODY: usize = 4 << 20;
/// Redirects within the site that we follow.
const MAX_HOPS: usize = 5;
/// Requests remembered for the network log.
const MAX_LOG: usize = 300;
/// Headers that somebody reads.
const KEPT_HEADERS: [&str; 4] = ["content-type", "www-authenticate", "cf-mitigated", "link"];

/// Begins a client whose only way out is the gate, and which follows no redirect by itself.
pub(crate) fn client(gate: &Gate, user_agent: &str) -> reqwest::Result<ClientBuilder> {
    let builder = Client::builder().proxy(Proxy::all(format!("socks5h://{}", gate.address()))?);
    Ok(builder.redirect(redirect::Policy::none()).user_agent(user_agent))
}

/// An HTTP client with the cookies of one session.
pub(crate) struct Http {
    client: Client,
    bare: Client,
    jar: Arc<Jar>,
    gate: Arc<Gate>,
    limit: Duration,
    log: Mutex<Vec<String>>,
}

impl Http {
    /// `limit`: how long one request may take, its body included.
    pub(crate) fn new(gate: Arc<Gate>, user_agent: &str, limit: Duration) -> reqwest::Result<Self> {
        let jar = Arc::new(Jar::default());
        let build = |cookies: Option<Arc<Jar>>| {
            let mut builder = client(&gate, user_agent)?.timeout(limit);
            if let Some(jar) = cookies {
                builder = builder.cookie_provider(jar);
            }
            builder.build()
        };
        let client = build(Some(Arc::clone(&jar)))?;
        let bare = build(None)?;
        Ok(Self { client, bare, jar, gate, limit, log: Mutex::default() })
    }

    /// The client without cookies, for requests that bring their own proof.
    pub(crate) fn bare(&self) -> &Client {
        &self.bare
    }

    /// Takes over a cookie from the browser.
    pub(crate) fn add_cookie(&self, cookie: &str, url: &Url) {
        self.jar.add_cookie_str(cookie, url);
    }

    /// What was asked so far, a line each, without queries.
    pub(crate) fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// Asks; redirects to the same origin are followed (as GET, as browsers do after a POST).
    pub(crate) async fn send(&self, ask: Ask) -> Result<Answer, Problem> {
        self.send_by(&self.client, ask).await
    }

    /// The same without the session's cookies.
    pub(crate) async fn send_bare(&self, ask: Ask) -> Result<Answer, Problem> {
        self.send_by(&self.bare, ask).await
    }

    async fn send_by(&self, client: &Client, mut ask: Ask) -> Result<Answer, Problem> {
        for _ in 0..MAX_HOPS {
            let answer = self.once(client, &ask).await?;
            match &answer.location {
                Some(to) if to.origin() == ask.url.origin() => ask = Ask::get(to.clone()),
                _ => return Ok(answer),
            }
        }
        Err(Problem::new(Code::Redirected, "The site redirects in a circle.")
            .with("to", origin_and_path(&ask.url)))
    }

    async fn once(&self, client: &Client, ask: &Ask) -> Result<Answer, Problem> {
        let started = Instant::now();
        let answer = async { read(request(client, ask)?.send().await?).await }.await;
        let told = match &answer {
            Ok(answer) => answer.status.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let line = format!(
            "{} {} {told} {} ms",
            ask.method,
            origin_and_path(&ask.url),
            started.elapsed().as_millis()
        );
        let mut log = lock(&self.log);
        if log.len() < MAX_LOG {
            log.push(line);
        }
        answer.map_err(|error| self.explain(&error, &ask.url))
    }

    /// Why there was no answer. The gate knows better than the client, which sees only that the gate said no.
    fn explain(&self, error: &reqwest::Error, url: &Url) -> Problem {
        let host = url.host_str().unwrap_or_default();
        let visit = url.port_or_known_default().and_then(|port| self.gate.latest(host, port));
        match visit {
            Some(Outcome::Denied) => Problem::new(
                Code::SiteNotAllowed,
                format!("{host} is in a network that sites may not be in."),
            ),
            Some(Outcome::Failed(why)) => {
                Problem::new(Code::SiteUnreachable, format!("{host} cannot be reached: {why}."))
            }
            _ if error.is_timeout() => {
                let seconds = self.limit.as_secs();
                Problem::new(
                    Code::SiteUnreachable,
                    format!("{host} did not answer within {seconds} seconds."),
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

fn request(client: &Client, ask: &Ask) -> reqwest::Result<RequestBuilder> {
    let mut request = client.request(ask.method.clone(), ask.url.clone());
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    Ok(match &ask.body {
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

async fn read(mut response: Response) -> reqwest::Result<Answer> {
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
    Ok(Answer::new(url, status, headers, Bytes::from(body), location))
}

/// What is wrong with the certificate, when that is what stopped the request.
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
