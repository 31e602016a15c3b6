//! Leads requests to clones that are Services of a cluster. What is taken out of requests and responses is the same as for
//! clones of this machine. The proxy in a clone's pod takes it out as well, but the clone's PHP runs as the user of that
//! proxy and could replace it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Request, StatusCode, Uri};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};
use url::Url;
use wpclone_http_server::{KeyedLimiter, Permit, RequestBody};
use wpclone_provision::{Addresses, CloneName, RouteError};

use crate::name_service::{LookupError, NameService};
use crate::router::{addressed_to, bad_host, rejection, to_canonical};
use crate::{headers, pages};

/// The deadline of connecting to a clone. Its Service refuses connections for a moment after its pod has become ready, until
/// the node knows of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// The deadline of a request with its response: a clone's own proxy ends a response within eight minutes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);
/// The most bytes of a response that wait for its reader; a head has to fit, and a clone's own proxy sends none that is longer.
const MAX_RESPONSE_BUFFER: usize = 128 << 10;
/// The most requests of one clone at once, so that no clone takes all connections.
const MAX_REQUESTS: usize = 128;
/// What answers that the router itself runs.
const HEALTH_PATH: &str = "/healthz";

/// The clones of a cluster, of which each has a Service.
pub struct ClusterClones {
    addresses: Addresses,
    services: NameService,
    /// The requests of each clone that are in progress.
    requests: KeyedLimiter,
}

impl ClusterClones {
    /// Clones that are reached at these addresses. `find` gives the addresses of a clone's Service, none when there is no such
    /// Service; it may block ([`look_up`](crate::look_up)).
    pub fn new(
        addresses: Addresses,
        find: impl Fn(&CloneName) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { addresses, services: NameService::new(find), requests: KeyedLimiter::default() }
    }

    /// Handles a request.
    pub(crate) async fn handle(&self, request: Request<RequestBody>) -> Response {
        let mut response = self.route(request).await.unwrap_or_else(|page| page);
        headers::add_defaults(response.headers_mut());
        response
    }

    /// `Err` is a page of ours instead of the clone's response.
    async fn route(&self, request: Request<RequestBody>) -> Result<Response, Response> {
        if let Some(page) = rejection(&request) {
            return Err(page);
        }
        let uri = request.uri();
        let host = addressed_to(&request).map_err(|why| bad_host(&why))?;
        let name = match self.addresses.route(host.host(), uri.path()) {
            // Not left to the clone: one that is served under the others' host would share their origin.
            Ok(routed) if routed.routing != self.addresses.routing() || routed.path.is_empty() => {
                return Err(to_canonical(&self.addresses.url(&routed.name), routed.path, uri));
            }
            Ok(routed) => routed.name,
            Err(RouteError::OtherHost) => return Err(pages::other_host()),
            Err(RouteError::NoClone) if uri.path() == HEALTH_PATH => {
                return Err(pages::page(StatusCode::OK, "alive"));
            }
            Err(RouteError::NoClone) => return Err(pages::no_such_clone()),
        };
        let permit = self.requests.try_acquire(name.as_str(), MAX_REQUESTS);
        let permit = permit.ok_or_else(|| pages::busy("This clone has too many requests at once."))?;
        let stream = self.connect(&name, request.headers()).await?;
        self.forward(request, &name, host.as_str(), stream, permit).await
    }

    async fn connect(&self, name: &CloneName, request: &HeaderMap) -> Result<TcpStream, Response> {
        let found = self.services.find(name).await.map_err(|error| match error {
            LookupError::Late => pages::busy("This clone's address is not found in time."),
            LookupError::Failed(error) => no_answer(name, &error),
        })?;
        if found.is_empty() {
            return Err(pages::without_storage(pages::no_such_clone(), request));
        }
        let connected = async {
            loop {
                match TcpStream::connect(&found[..]).await {
                    Err(error) if is_of_service(&error) => sleep(CONNECT_PAUSE).await,
                    ended => return ended,
                }
            }
        };
        // After that, its pod starts or is being replaced.
        let connected = timeout(CONNECT_TIMEOUT, connected).await.map_err(|_| pages::starting())?;
        connected.map_err(|error| no_answer(name, &error))
    }

    /// One connection for each request: none is left open to a pod that has been replaced.
    async fn forward(
        &self,
        request: Request<RequestBody>,
        name: &CloneName,
        host: &str,
        stream: TcpStream,
        permit: Permit,
    ) -> Result<Response, Response> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_RESPONSE_BUFFER);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| no_answer(name, &error))?;
        tokio::spawn(timeout_at(deadline, connection));
        let request = prepared(request, host).map_err(|error| no_answer(name, &error))?;
        let response = timeout_at(deadline, sender.send_request(request)).await;
        let response = response.map_err(|error| no_answer(name, &error))?;
        let mut response = response.map_err(|error| no_answer(name, &error))?;
        if response.status().is_informational() {
            // 101: nobody has asked for another protocol, and a load balancer in front may take what follows for a tunnel.
            return Err(no_answer(name, &response.status()));
        }
        let path = Url::parse(&self.addresses.url(name)).map(|url| url.path().to_owned());
        headers::clean_response(response.headers_mut(), path.as_deref().unwrap_or("/"));
        let limited = |body| LimitedBody { body, end: Box::pin(sleep_until(deadline)), _permit: permit };
        Ok(response.map(|body| Body::new(limited(body))))
    }
}

/// The request as the clone gets it.
fn prepared(mut request: Request<RequestBody>, host: &str) -> Result<Request<RequestBody>, http::Error> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = Uri::try_from(target)?;
    *request.version_mut() = http::Version::HTTP_11;
    let headers = request.headers_mut();
    headers::clean_request(headers);
    headers.remove(EXPECT);
    // Of a request that names it in its target.
    headers.insert(http::header::HOST, host.try_into()?);
    Ok(request)
}

/// The body of a clone's response, up to the deadline.
struct LimitedBody {
    body: Incoming,
    end: Pin<Box<Sleep>>,
    _permit: Permit,
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the response takes too long".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn no_answer(name: &CloneName, error: &dyn std::fmt::Display) -> Response {
    tracing::info!(clone = %name, %error, "a clone does not answer");
    pages::page(StatusCode::BAD_GATEWAY, "This clone does not answer.")
}

/// Whether connecting failed because a Service leads to no pod, or not yet.
fn is_of_service(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}
