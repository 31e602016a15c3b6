//! The parameters of a request to PHP: RFC 3875, and what nginx and Apache add to it.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use url::Url;
use wpclone_provision::Routing;

use crate::directory::Backend;
use crate::fastcgi::Params;

/// The parameters that describe the server, by the clone's canonical address: WordPress sees this one whatever host the
/// request was sent to.
#[must_use]
pub fn server_params(url: &Url) -> Params {
    let port = url.port_or_known_default().unwrap_or(80);
    let mut params: Params = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", "wpclone"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REDIRECT_STATUS", "200"),
        ("REQUEST_SCHEME", url.scheme()),
        ("SERVER_NAME", url.host_str().unwrap_or_default()),
        ("SERVER_PORT", &port.to_string()),
        ("HTTP_HOST", &authority(url)),
        ("QUERY_STRING", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .to_vec();
    if url.scheme() == "https" {
        params.push(("HTTPS".to_owned(), b"on".to_vec()));
    }
    params
}

/// The parameters of a client's request. `path_info` is what follows the script in the path.
pub(crate) fn request_params(
    backend: &Backend,
    peer: SocketAddr,
    head: &Parts,
    length: u64,
    script: &Path,
    path_info: &[u8],
) -> Params {
    // Document root and prefix together are the folder of WordPress, in both forms.
    let (root, prefix) = match backend.routing {
        Routing::Path => (&backend.www, format!("/{}", backend.name)),
        Routing::Host => (&backend.tree, String::new()),
    };
    let above = backend.url.path().trim_end_matches('/').strip_suffix(&prefix).unwrap_or_default();
    let name = [above.as_bytes(), prefix.as_bytes(), b"/", script.as_os_str().as_bytes()].concat();
    let request_uri = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut params = server_params(&backend.url);
    params.retain(|(name, _)| name != "QUERY_STRING");
    let mut set = |name: &str, value: &[u8]| params.push((name.to_owned(), value.to_vec()));
    set("DOCUMENT_ROOT", root.as_os_str().as_bytes());
    set("SCRIPT_FILENAME", backend.tree.join(script).as_os_str().as_bytes());
    set("SCRIPT_NAME", &name);
    set("DOCUMENT_URI", &[&name, path_info].concat());
    if !path_info.is_empty() {
        set("PATH_INFO", path_info);
    }
    set("REQUEST_METHOD", head.method.as_str().as_bytes());
    set("REQUEST_URI", request_uri.as_bytes());
    set("QUERY_STRING", head.uri.query().unwrap_or_default().as_bytes());
    set("CONTENT_LENGTH", if length > 0 { length.to_string() } else { String::new() }.as_bytes());
    set("CONTENT_TYPE", head.headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes));
    set("REMOTE_ADDR", peer.ip().to_canonical().to_string().as_bytes());
    set("REMOTE_PORT", peer.port().to_string().as_bytes());
    for header in head.headers.keys() {
        if [CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING].contains(header) {
            continue;
        }
        let values: Vec<&[u8]> =
            head.headers.get_all(header).iter().map(http::HeaderValue::as_bytes).collect();
        let variable = format!("HTTP_{}", header.as_str().to_ascii_uppercase().replace('-', "_"));
        set(&variable, &values.join(&b", "[..]));
    }
    params
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}
