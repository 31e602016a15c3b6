//! Plain HTTP, bounded in size and time: through the gate, but for a transfer's megabytes.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use reqwest::cookie::Jar;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::LOCATION;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, ClientBuilder, Proxy, RequestBuilder, Response, redirect};
use url::Url;
use wpclone_task::{Code, Problem};

use super::gate::{CONNECT_LIMIT, Outcome};
use super::{Answer, Ask, Body, Gate, Ways};

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

/// The same for a transfer's megabytes: to these sites it connects by itself, each time at addresses that a gate would
/// take. Anywhere else, and where it could not keep to those addresses, its way is the gate.
pub(crate) async fn direct_client(
    gate: &Gate,
    ways: &Ways,
    user_agent: &str,
    sites: &[Url],
) -> reqwest::Result<ClientBuilder> {
    let mut direct = Vec::<(String, u16)>::new();
    for site in sites {
        let (Some(host), Some(port)) = (site.host_str(), site.port_or_known_default()) else {
            continue;
        };
        let bare = host.trim_matches(['[', ']']);
        let Ok(addresses) = ways.addresses(bare, port).await else {
            continue;
        };
        // An address in the place of a name is connected to as it stands, and a port is always the URL's.
        let literal = bare.parse::<IpAddr>().ok();
        let kept = |a: &SocketAddr| a.port() == port && literal.is_none_or(|ip| ip == a.ip());
        if !addresses.iter().all(kept) || direct.iter().any(|(known, _)| known == host && literal.is_none()) {
            continue;
        }
        direct.push((host.to_owned(), port));
    }
    let names = Names { ways: ways.clone(), direct: direct.clone() };
    let proxy = format!("socks5h://{}", gate.address());
    let proxy = Proxy::custom(move |url| {
        let to = url.host_str().zip(url.port_or_known_default());
        let is_direct = direct.iter().any(|(host, port)| to == Some((host.as_str(), *port)));
        (!is_direct).then(|| proxy.clone())
    });
    // Finding the addresses, the way through a gate, and the handshake of TLS.
    let builder = Client::builder().connect_timeout(CONNECT_LIMIT * 3).dns_resolver(Arc::new(names));
    Ok(builder.proxy(proxy).redirect(redirect::Policy::none()).user_agent(user_agent))
}

/// The addresses of sites that are connected to without a gate.
struct Names {
    ways: Ways,
    /// Hosts and their ports.
    direct: Vec<(String, u16)>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let port = self.direct.iter().find(|(host, _)| host == name.as_str()).map(|(_, port)| *port);
        let ways = self.ways.clone();
        Box::pin(async move {
            let port = port.ok_or("the gate is the way to this host")?;
            let found = ways.addresses(name.as_str(), port).await;
            let addresses = found.map_err(|outcome| format!("{}: {outcome:?}", name.as_str()))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
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
        self.log.lock().clone()
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
        let mut log = self.log.lock();
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::AllowedNetworks;

    use crate::net::OwnClones;

    /// A site that says `hello` to everybody.
    async fn site() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut visitor, _)) = listener.accept().await {
                let _ = visitor.read(&mut [0; 4096]).await;
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
                let _ = visitor.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    /// What a transfer between `sites` is told at `url`, and what its gate saw of that.
    async fn told(ways: &Ways, sites: &[&str], url: &str) -> (Option<String>, Vec<Outcome>) {
        let gate = Gate::open(ways.clone()).await.unwrap();
        let sites: Vec<Url> = sites.iter().map(|site| site.parse().unwrap()).collect();
        let client = direct_client(&gate, ways, "test", &sites).await.unwrap().build().unwrap();
        let text = match client.get(url).send().await {
            Ok(answer) => answer.text().await.ok(),
            Err(_) => None,
        };
        (text, gate.visits().into_iter().map(|visit| visit.outcome).collect())
    }

    #[tokio::test]
    async fn only_the_sites_of_a_transfer_are_reached_without_the_gate_and_only_where_it_would_go() {
        let (site, other) = (site().await, site().await);
        let url = format!("http://{site}/");
        let name = format!("http://localhost:{}/", site.port());
        let hello = Some("hello".to_owned());
        let open = Ways::from("127.0.0.0/8".parse::<AllowedNetworks>().unwrap());
        assert_eq!(told(&open, &[&url], &url).await, (hello.clone(), Vec::new()));
        assert_eq!(told(&open, &[&name], &name).await, (hello.clone(), Vec::new()));
        let elsewhere = format!("http://{other}/");
        assert_eq!(told(&open, &[&url], &elsewhere).await, (hello.clone(), vec![Outcome::Open]));
        assert_eq!(told(&Ways::default(), &[&url], &url).await, (None, vec![Outcome::Denied]));
        assert_eq!(told(&Ways::default(), &[&name], &name).await, (None, vec![Outcome::Denied]));

        // Clones whose names only the gate knows, at a port that is not the listener's.
        let own = |port| OwnClones { host: "clones.invalid".into(), port, listener: Some(site) };
        let at = |port: u16| format!("http://a.clones.invalid:{port}/");
        let ways = |port| Ways { clones: Some(own(port)), ..Ways::default() };
        assert_eq!(told(&ways(8090), &[&at(8090)], &at(8090)).await, (hello.clone(), vec![Outcome::Open]));
        let same = site.port();
        assert_eq!(told(&ways(same), &[&at(same)], &at(same)).await, (hello, Vec::new()));
    }
}
