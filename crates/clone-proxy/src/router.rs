//! From a request to the clone, and to the file or script in it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{COOKIE, LOCATION};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wpclone_http_server::{RequestBody, request_authority};
use wpclone_provision::{RouteError, Routed};

use crate::directory::{Backend, BackendState, CloneDirectory, NoBackend};
use crate::request_body::PERMIT_TIMEOUT;
use crate::resource::{self, Resource};
use crate::spool_space::SpoolSpace;
use crate::{headers, pages, php_handler, request_path, static_file};

/// Methods that WordPress and its REST API know.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The most bytes of a request's headers without cookies, which are cut, and of its target. PHP accepts parameters of up to
/// 64 KiB each.
const MAX_HEADER_BYTES: usize = 60 << 10;
const MAX_TARGET_BYTES: usize = 32 << 10;

/// The most requests of all clones whose files are looked for at once. Each takes a thread.
const MAX_LOOKUPS: usize = 128;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct SharedLimits {
    space: SpoolSpace,
    /// Permits for looking for files.
    lookups: Arc<Semaphore>,
}

impl Default for SharedLimits {
    fn default() -> Self {
        Self { space: SpoolSpace::default(), lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

/// Handles a request.
pub(crate) async fn handle(
    clones: &dyn CloneDirectory,
    limits: &SharedLimits,
    request: Request<RequestBody>,
    peer: SocketAddr,
) -> Response {
    let mut response = route(clones, limits, request, peer).await.unwrap_or_else(|page| page);
    headers::add_defaults(response.headers_mut());
    response
}

/// `Err` is a page of ours instead of the clone's response.
async fn route(
    clones: &dyn CloneDirectory,
    limits: &SharedLimits,
    mut request: Request<RequestBody>,
    peer: SocketAddr,
) -> Result<Response, Response> {
    if let Some(page) = rejection(&request) {
        return Err(page);
    }
    let uri = request.uri().clone();
    if let Some(php) = clones.readiness(uri.path()) {
        // Connecting is enough: PHP's few processes may all work on the clone's requests.
        return Err(pages::readiness(php.connect().await.is_ok()));
    }
    let host = addressed_to(&request).map_err(|why| bad_host(&why))?;
    let routed = clones.addresses().route(host.host(), uri.path());
    let Routed { name, routing, path } = routed.map_err(|error| match error {
        RouteError::OtherHost => pages::other_host(),
        RouteError::NoClone => pages::no_such_clone(),
    })?;
    let backend = clones.backend(&name).map_err(|why| match why {
        NoBackend::Gone => pages::without_storage(pages::gone(), request.headers()),
        NoBackend::Unreadable => pages::unreadable(),
        NoBackend::Unknown => pages::without_storage(pages::no_such_clone(), request.headers()),
    })?;
    if routing != backend.routing || path.is_empty() {
        return Err(to_canonical(backend.url.as_str(), path, &uri));
    }
    match backend.state {
        BackendState::Serving => {}
        BackendState::Starting => return Err(pages::starting()),
        BackendState::Stopped => return Err(pages::stopped()),
        BackendState::Deleting => return Err(pages::without_storage(pages::gone(), request.headers())),
    }
    headers::clean_request(request.headers_mut());
    match find_resource(&backend, limits, path).await? {
        Resource::Script { script, path_info } => {
            let run = php_handler::run(&backend, &limits.space, peer, request, &script, &path_info);
            let mut response = run.await?;
            headers::clean_response(response.headers_mut(), backend.url.path());
            Ok(response)
        }
        Resource::File { file, name } => Ok(static_file::serve(&request, file, &name).await),
        Resource::Folder => {
            // Only the path, so that it holds behind any proxy in front of us; it must not begin with two slashes.
            let to = format!("/{}/{}", uri.path().trim_start_matches('/'), query(&uri));
            Err(redirect(StatusCode::MOVED_PERMANENTLY, &to))
        }
        Resource::Denied => Err(pages::page(StatusCode::FORBIDDEN, "This file is not served.")),
        Resource::Hidden => Err(pages::page(StatusCode::NOT_FOUND, "There is nothing here.")),
    }
}

/// What a request is addressed to; else why that is not known.
pub(crate) fn addressed_to<B>(request: &Request<B>) -> Result<Authority, String> {
    let host = request_authority(request.uri(), request.headers()).map_err(|error| error.to_string())?;
    host.ok_or_else(|| "there is no Host header".to_owned())
}

pub(crate) fn bad_host(why: &str) -> Response {
    pages::closing(StatusCode::BAD_REQUEST, &format!("The request's host is not valid: {why}."))
}

/// The page for a request whose method or size is not accepted.
pub(crate) fn rejection<B>(request: &Request<B>) -> Option<Response> {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let headers = request.headers().iter().filter(|(name, _)| *name != COOKIE).map(bytes).sum::<usize>();
    let target = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    let (status, text) = if !METHODS.contains(request.method()) {
        (StatusCode::METHOD_NOT_ALLOWED, "Clones do not know this method.")
    } else if headers > MAX_HEADER_BYTES {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        (status, "The request's headers are larger than a clone accepts.")
    } else if target > MAX_TARGET_BYTES {
        (StatusCode::URI_TOO_LONG, "This address is too long for a clone.")
    } else {
        return None;
    };
    Some(pages::page(status, text))
}

async fn find_resource(backend: &Backend, limits: &SharedLimits, path: &str) -> Result<Resource, Response> {
    let names = request_path::parse(path)
        .map_err(|error| pages::page(StatusCode::BAD_REQUEST, &format!("The path is not valid: {error}.")))?;
    let (tree, owner) = (backend.tree.clone(), backend.owner);
    // A clone waits for its own permits before it takes one of all clones'.
    let permits = async {
        let own = Arc::clone(&backend.permits.lookups).acquire_owned().await?;
        Ok::<_, tokio::sync::AcquireError>((own, Arc::clone(&limits.lookups).acquire_owned().await?))
    };
    let permits = timeout(PERMIT_TIMEOUT, permits).await.ok().and_then(Result::ok);
    let permits = permits.ok_or_else(|| pages::busy("This clone has too many requests at once."))?;
    let find = move || {
        // They are held as long as the thread works, also when the client is gone.
        let _permits = permits;
        resource::find(&tree, &names, owner)
    };
    let found = tokio::task::spawn_blocking(find).await;
    found.map_err(std::io::Error::other).flatten().map_err(|error| {
        tracing::warn!(clone = %backend.name, %error, "a file of a clone cannot be read");
        pages::internal_error()
    })
}

/// Redirects to a clone's canonical address: `path` is the one below the clone.
pub(crate) fn to_canonical(clone: &str, path: &str, uri: &Uri) -> Response {
    let path = if path.is_empty() { "/" } else { path };
    let to = format!("{}{path}{}", clone.trim_end_matches('/'), query(uri));
    redirect(StatusCode::PERMANENT_REDIRECT, &to)
}

fn query(uri: &Uri) -> String {
    uri.query().map(|query| format!("?{query}")).unwrap_or_default()
}

fn redirect(status: StatusCode, to: &str) -> Response {
    let Ok(to) = HeaderValue::from_str(to) else { return pages::internal_error() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, to);
    response
}
