//! Requests of ours to a clone's WordPress, over php-fpm's socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wpclone_beneath::Owner;
use wpclone_clone_proxy::fastcgi::{self, Params, PhpSocket, Timeouts};
use wpclone_clone_proxy::server_params;

use crate::blocking::run_blocking;
use crate::clone_paths::{ClonePaths, PHP_LOG};
use crate::logs::untrusted_log_tail;
use crate::users::{Ids, uid_of};

/// How long a request may take; an installation takes a second or two.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of a response.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    head: TIMEOUT,
    chunk: TIMEOUT,
    body_bytes_per_second: 1 << 10,
    response: TIMEOUT,
};

/// The result of a task of `tasks.php`.
#[derive(Debug, Deserialize)]
pub(crate) struct TaskResult {
    done: bool,
    #[serde(default)]
    error: String,
    /// WordPress' version.
    #[serde(default)]
    pub(crate) wordpress: String,
}

/// Runs a task of `tasks.php`. `input` holds the task's name and what it needs.
pub(crate) async fn run_task(
    paths: &ClonePaths,
    user: Option<Ids>,
    clone_runtime: &Path,
    url: &str,
    mut input: Value,
) -> io::Result<TaskResult> {
    input["tree"] = paths.tree().display().to_string().into();
    let body = serde_json::to_vec(&input)?;
    let mut params = base_params(url)?;
    let mut set = |name: &str, value: String| params.push((name.to_owned(), value.into_bytes()));
    set("WPCLONE_TASK", "1".into());
    set("SCRIPT_FILENAME", clone_runtime.join("tasks.php").display().to_string());
    set("REQUEST_METHOD", "POST".into());
    set("CONTENT_TYPE", "application/json".into());
    set("CONTENT_LENGTH", body.len().to_string());
    let (status, response) = request(&paths.php_socket(user), &params, body.into()).await?;
    let result: Option<TaskResult> = serde_json::from_slice(&response).ok();
    match result {
        Some(result) if result.done => Ok(result),
        Some(result) => Err(io::Error::other(format!("WordPress: {}", result.error))),
        None => Err(no_valid_response(paths, user, status).await),
    }
}

/// Checks that WordPress responds with its REST index: its plugins and its database work.
pub(crate) async fn check_rest_index(paths: &ClonePaths, user: Option<Ids>, url: &str) -> io::Result<()> {
    let mut params = base_params(url)?;
    let mut set = |name: &str, value: String| params.push((name.to_owned(), value.into_bytes()));
    set("SCRIPT_FILENAME", paths.tree().join("index.php").display().to_string());
    set("REQUEST_METHOD", "GET".into());
    set("QUERY_STRING", "rest_route=/".into());
    let (status, response) = request(&paths.php_socket(user), &params, Body::empty()).await?;
    let index: Option<Value> = serde_json::from_slice(&response).ok();
    if status == 200 && index.is_some_and(|i| i.get("namespaces").is_some()) {
        Ok(())
    } else {
        Err(no_valid_response(paths, user, status).await)
    }
}

/// The error of a response that is not valid, with PHP's last message: it tells the site's owner what fails.
async fn no_valid_response(paths: &ClonePaths, user: Option<Ids>, status: u16) -> io::Error {
    let (folder, owner) = (paths.log(), Owner::Uid(uid_of(user)));
    let tail = run_blocking(move || untrusted_log_tail(&folder, PHP_LOG, owner)).await;
    let tail = tail.unwrap_or_else(|error| format!("(it cannot be read: {error})"));
    io::Error::other(format!("WordPress responded with status {status}; PHP's log ends with: {tail}"))
}

async fn request(socket: &PhpSocket, params: &Params, body: Body) -> io::Result<(u16, Vec<u8>)> {
    let exchange = async {
        let response = fastcgi::request(socket, params, body, TIMEOUTS).await;
        let response = response.map_err(io::Error::other)?;
        let body = http_body_util::Limited::new(response.body, MAX_RESPONSE_BYTES).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        io::Result::Ok((response.status.as_u16(), body.to_vec()))
    };
    let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "WordPress took too long");
    tokio::time::timeout(TIMEOUT, exchange).await.map_err(too_slow)?
}

/// The parameters of every request of ours.
fn base_params(url: &str) -> io::Result<Params> {
    let url = Url::parse(url).map_err(io::Error::other)?;
    let mut params = server_params(&url);
    let path = url.path().trim_end_matches('/');
    for (name, value) in [
        ("REQUEST_URI", format!("{path}/")),
        ("SCRIPT_NAME", format!("{path}/index.php")),
        ("REMOTE_ADDR", "127.0.0.1".into()),
    ] {
        params.push((name.to_owned(), value.into_bytes()));
    }
    Ok(params)
}
