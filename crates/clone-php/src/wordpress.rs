//! Our own requests to a clone's WordPress, over php-fpm's socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wpclone_clone_proxy::fastcgi::{self, Params, PhpSocket, Timeouts};
use wpclone_clone_proxy::server_params;

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
pub struct TaskResult {
    done: bool,
    #[serde(default)]
    error: String,
    /// Whether the error is that of a database that refuses the clone or does not answer.
    #[serde(default)]
    no_database: bool,
    /// WordPress' version.
    #[serde(default)]
    pub wordpress: String,
    /// Of the task `inspect`: whether the database has a WordPress.
    #[serde(default)]
    pub is_installed: bool,
}

/// Why WordPress did not do what was requested.
#[derive(Debug, thiserror::Error)]
pub enum WordPressError {
    /// Its own words.
    #[error("WordPress: {0}")]
    Failed(String),
    /// The words of the database or of its client.
    #[error("the database refuses the clone, or does not answer: {0}")]
    NoDatabase(String),
    /// PHP's log says why.
    #[error("WordPress responded with status {0}")]
    NoValidResponse(u16),
    /// There is no response.
    #[error(transparent)]
    NoResponse(#[from] io::Error),
}

/// The WordPress of a clone, behind its php-fpm.
#[derive(Debug, Clone)]
pub struct CloneWordPress {
    /// The socket of php-fpm.
    pub socket: PhpSocket,
    /// The clone's address.
    pub url: String,
    /// WordPress' folder.
    pub tree: PathBuf,
    /// The folder with the PHP of `wpclone_provision::clone_runtime`.
    pub clone_runtime: PathBuf,
}

impl CloneWordPress {
    /// Runs a task of `tasks.php`. `input` holds the task's name and what it needs.
    ///
    /// # Errors
    /// The task fails, or there is no valid response within a minute.
    pub async fn run_task(&self, mut input: Value) -> Result<TaskResult, WordPressError> {
        input["tree"] = self.tree.display().to_string().into();
        let body = serde_json::to_vec(&input).map_err(io::Error::from)?;
        let mut params = self.base_params()?;
        let mut set = |name: &str, value: String| params.push((name.to_owned(), value.into_bytes()));
        set("WPCLONE_TASK", "1".into());
        set("SCRIPT_FILENAME", self.clone_runtime.join("tasks.php").display().to_string());
        set("REQUEST_METHOD", "POST".into());
        set("CONTENT_TYPE", "application/json".into());
        set("CONTENT_LENGTH", body.len().to_string());
        let (status, response) = self.request(&params, body.into()).await?;
        let result: Option<TaskResult> = serde_json::from_slice(&response).ok();
        match result {
            Some(result) if result.done => Ok(result),
            Some(result) if result.no_database => Err(WordPressError::NoDatabase(result.error)),
            Some(result) => Err(WordPressError::Failed(result.error)),
            None => Err(WordPressError::NoValidResponse(status)),
        }
    }

    /// Checks that WordPress responds with its REST index: its plugins and its database work.
    ///
    /// # Errors
    /// It does not, within a minute.
    pub async fn check_rest_index(&self) -> Result<(), WordPressError> {
        let mut params = self.base_params()?;
        let mut set = |name: &str, value: String| params.push((name.to_owned(), value.into_bytes()));
        set("SCRIPT_FILENAME", self.tree.join("index.php").display().to_string());
        set("REQUEST_METHOD", "GET".into());
        set("QUERY_STRING", "rest_route=/".into());
        let (status, response) = self.request(&params, Body::empty()).await?;
        let index: Option<Value> = serde_json::from_slice(&response).ok();
        if status == 200 && index.is_some_and(|i| i.get("namespaces").is_some()) {
            Ok(())
        } else {
            Err(WordPressError::NoValidResponse(status))
        }
    }

    async fn request(&self, params: &Params, body: Body) -> io::Result<(u16, Vec<u8>)> {
        let exchange = async {
            let response = fastcgi::request(&self.socket, params, body, TIMEOUTS).await;
            let response = response.map_err(io::Error::other)?;
            let body = http_body_util::Limited::new(response.body, MAX_RESPONSE_BYTES).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            io::Result::Ok((response.status.as_u16(), body.to_vec()))
        };
        let too_slow = |_| io::Error::new(io::ErrorKind::TimedOut, "WordPress took too long");
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(too_slow)?
    }

    /// The parameters of every request of ours.
    fn base_params(&self) -> io::Result<Params> {
        let url = Url::parse(&self.url).map_err(io::Error::other)?;
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
}
