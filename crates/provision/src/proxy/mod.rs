//! The proxy that clones are reached by.

mod file;
mod find;
mod headers;
mod htaccess;
mod pages;
mod path;
mod php;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use url::Url;

pub(crate) use php::server_params;
pub(crate) use serve::serve;

use self::find::Target;
use crate::address::Found;
use crate::local::{Entry, Owner};
use crate::{Phase, ProvisionError, Routing};

/// Methods that WordPress and its REST API know.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The most bytes of all headers of a request, and of its target. PHP takes each as a parameter of up to 64 KiB.
const MOST_HEADERS: usize = 60 << 10;
const MOST_TARGET: usize = 32 << 10;

/// Answers a request.
pub(crate) async fn answer(owner: Arc<Owner>, request: Request<Incoming>, peer: SocketAddr) -> Response {
    let mut response = route(&owner, request, peer).await.unwrap_or_else(|page| page);
    headers::clean_answer(response.headers_mut());
    response
}

/// `Err` is an answer of ours instead of the clone's.
async fn route(
    owner: &Owner,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Response> {
    if !METHODS.contains(request.method()) {
        return Err(pages::page(StatusCode::METHOD_NOT_ALLOWED, "Clones do not know this method."));
    }
    // The server's own limit is on its buffer, which may take more at once.
    let bytes = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let uri = request.uri().clone();
    if request.headers().iter().map(bytes).sum::<usize>() > MOST_HEADERS {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(pages::page(status, "These are more headers than a clone takes."));
    }
    if uri.path_and_query().map_or(0, |p| p.as_str().len()) > MOST_TARGET {
        return Err(pages::page(StatusCode::URI_TOO_LONG, "This address is too long for a clone."));
    }
    // A target in absolute form (RFC 9112, 3.2.2) has the host in it.
    let host = uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| request.headers().get(HOST)?.to_str().ok()).map(str::to_owned);
    let Some(Found { name, by, path }) = owner.addresses().find(host.as_deref(), uri.path()) else {
        return Err(pages::page(StatusCode::NOT_FOUND, "There is no clone at this address."));
    };
    let entry = owner.wanted(&name).map_err(|why| match why {
        ProvisionError::Gone(_) => pages::page(StatusCode::GONE, "This clone is gone: its time was over."),
        _ => pages::page(StatusCode::NOT_FOUND, "There is no clone at this address."),
    })?;
    let record = entry.record();
    if by != record.routing || path.is_empty() {
        let path = if path.is_empty() { "/" } else { path };
        let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
        return Err(redirect(StatusCode::PERMANENT_REDIRECT, &format!("{}{path}{query}", record.info.url)));
    }
    match record.info.phase {
        Phase::Deleting => {
            return Err(pages::page(StatusCode::GONE, "This clone is gone: its time was over."));
        }
        Phase::Making => return Err(pages::not_yet()),
        Phase::Ready | Phase::Published if !entry.is_up() => return Err(pages::not_yet()),
        Phase::Ready | Phase::Published => {}
    }
    headers::clean_request(request.headers_mut());
    let url = Url::parse(&record.info.url).map_err(|_| pages::broken())?;
    let own_user = owner.users.of_slot(record.slot).map(|ids| ids.uid);
    let names = path::names(path)
        .map_err(|why| pages::page(StatusCode::BAD_REQUEST, &format!("This is no path: {why}.")))?;
    let tree = entry.seat.tree();
    let found = crate::local::blocking(move || find::find(&tree, &names, own_user)).await;
    let found = found.map_err(|error| {
        tracing::warn!(clone = %name, %error, "a clone's file cannot be read");
        pages::broken()
    })?;
    let to = Called { entry: &entry, url: &url, by: record.routing, peer };
    match found {
        Target::Script { script, info } => php::run(&to, request, &script, &info).await,
        Target::File { file, name } => Ok(file::serve(&request, file, &name).await),
        Target::Folder => {
            let (folder, query) = (uri.path(), uri.query().map(|q| format!("?{q}")).unwrap_or_default());
            // The path alone, so that it holds behind whatever is in front of us; it cannot begin with two slashes.
            let folder = folder.trim_start_matches('/');
            Err(redirect(StatusCode::MOVED_PERMANENTLY, &format!("/{folder}/{query}")))
        }
        Target::Denied => Err(pages::page(StatusCode::FORBIDDEN, "This is not for the web.")),
        Target::Hidden => Err(pages::page(StatusCode::NOT_FOUND, "There is nothing here.")),
    }
}

/// Which clone is asked, and by whom.
pub(crate) struct Called<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) url: &'a Url,
    pub(crate) by: Routing,
    pub(crate) peer: SocketAddr,
}

fn redirect(status: StatusCode, to: &str) -> Response {
    let Ok(to) = HeaderValue::from_str(to) else { return pages::broken() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, to);
    response
}
