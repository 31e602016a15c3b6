//! Talking to a migrator. Whatever answers is taken for hostile until it has been proven and parsed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::adaptive_batch::Budget;
use crate::buffer_pool::Pool;
use crate::cursor::Cursor;
use crate::definition::Definition;
use crate::error::{ClientError, MigratorError};
use crate::files::{FileRequest, Files, Index, Root};
use crate::frames::Frames;
use crate::manifest::Manifest;
use crate::rows::{ResponseCost, RowCount, Rows};
use crate::signing::{Key, Request};

/// The most bytes of an answer that are read: JSON, and frames.
pub(crate) const MAX_JSON_BYTES: usize = 1024 * 1024;
const MAX_FRAMES_BYTES: usize = 16 * 1024 * 1024;

/// How long one request may take, its answer's body included; and one that moves content.
const DEADLINE: Duration = Duration::from_secs(20);
const LONG_DEADLINE: Duration = Duration::from_secs(60);

/// Speaks to one migrator.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) site: Url,
    key: Key,
    pub(crate) deadline: Duration,
    long_deadline: Duration,
    /// Whether REST was the way that worked last; clones share it.
    prefers_rest: Arc<AtomicBool>,
    /// Of the request that needed most; clones share it.
    memory: Arc<Mutex<Option<PhpMemory>>>,
    /// Room for what is long; clones share it.
    pub(crate) pool: Pool,
}

/// Bytes of memory that PHP had for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhpMemory {
    /// Before the route began.
    pub baseline: u64,
    /// At most.
    pub peak: u64,
}

impl PhpMemory {
    /// What the route itself took.
    #[must_use]
    pub fn above_baseline(self) -> u64 {
        self.peak.saturating_sub(self.baseline)
    }
}

/// What the route `status` tells.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The plugin's version.
    pub plugin_version: String,
    /// WordPress' version.
    pub wordpress: String,
    /// PHP's version.
    pub php: String,
    /// Whether content may be taken in.
    pub import_enabled: bool,
    /// Until when the migrator stays open, in Unix seconds of the site's clock.
    pub open_until: i64,
    /// Where WordPress says that its own files are.
    pub site_url: String,
    /// Where WordPress says that its front page is.
    pub home_url: String,
    /// Whether it is a network of sites.
    pub multisite: bool,
}

/// The two ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    FrontController,
    Rest,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Frames,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Frames => "application/octet-stream",
        }
    }

    fn most(self) -> usize {
        match self {
            Self::Json => MAX_JSON_BYTES,
            Self::Frames => MAX_FRAMES_BYTES,
        }
    }
}

/// A request that wants an answer of a certain form.
pub(crate) struct Call<'a> {
    pub(crate) route: &'a str,
    /// Shared: a request that is tried again, or by the other way, is held once.
    pub(crate) body: Bytes,
    pub(crate) sends: Form,
    pub(crate) wants: Form,
    pub(crate) long: bool,
}

/// A proven answer.
enum Answer {
    Json(Vec<u8>),
    Frames(Frames),
}

/// What the plugin has of a site's database, and where to go on.
#[derive(Debug)]
pub struct Definitions {
    /// In order: tables, views, triggers.
    pub found: Vec<Definition>,
    /// Where to go on; `None` at the end.
    pub cursor: Option<Cursor>,
}

/// The field of a response that says how much memory PHP used.
#[derive(Deserialize)]
struct MemoryField {
    memory: PhpMemory,
}

#[derive(Deserialize)]
struct TablesEnd {
    cursor: Option<Cursor>,
    #[serde(flatten)]
    _cost: ResponseCost,
}

/// An answer that only says whether there is more to do.
#[derive(Deserialize)]
pub(crate) struct StepResponse {
    pub(crate) done: bool,
}

impl Client {
    /// A client for the migrator of this site. `http` must not follow redirects.
    #[must_use]
    pub fn new(http: reqwest::Client, site: Url, key: Key) -> Self {
        Self {
            http,
            site,
            key,
            deadline: DEADLINE,
            long_deadline: LONG_DEADLINE,
            prefers_rest: Arc::default(),
            memory: Arc::default(),
            pool: Pool::default(),
        }
    }

    /// The same with another limit on each request than 20 s, and 60 s where content is moved.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self.long_deadline = deadline;
        self
    }

    /// What the site's PHP had for the request that took most above what it had before, of all requests of this client and
    /// its clones; `None` as long as none was answered that tells it.
    #[must_use]
    pub fn php_memory(&self) -> Option<PhpMemory> {
        *self.memory.lock()
    }

    fn note(&self, memory: PhpMemory) {
        let mut most = self.memory.lock();
        if most.is_none_or(|most| memory.above_baseline() > most.above_baseline()) {
            *most = Some(memory);
        }
    }

    /// Asks how the migrator is; that keeps it open for an hour more.
    ///
    /// # Errors
    /// See [`ClientError`]. When both ways in fail it is the first way's error, unless the second was refused.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask("status", &json!({}), false).await
    }

    /// What there is to know of the site before anything is done.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn manifest(&self) -> Result<Manifest, ClientError> {
        self.ask("manifest", &json!({}), true).await
    }

    /// Definitions of tables, views and triggers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn definitions(
        &self,
        cursor: Option<&Cursor>,
        budget: Budget,
    ) -> Result<Definitions, ClientError> {
        let frames = self.frames("definitions", &with(budget, json!({"cursor": cursor}))).await?;
        let mut found = Vec::new();
        for (kind, payload) in frames.iter() {
            let definition = serde_json::from_slice(payload).ok().filter(|_| kind == b'T');
            found.push(definition.ok_or(ClientError::Malformed("a definition"))?);
        }
        let TablesEnd { cursor, .. } = frames.end()?;
        Ok(Definitions { found, cursor })
    }

    /// Rows of a table, from the cursor on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rows(
        &self,
        table: &str,
        cursor: Option<&Cursor>,
        budget: Budget,
    ) -> Result<Rows, ClientError> {
        let body = with(budget, json!({"table": table, "cursor": cursor}));
        Rows::parse(self.frames("rows", &body).await?)
    }

    /// Counts rows of a table, from the cursor on, for at most `ms` milliseconds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn checksum(
        &self,
        table: &str,
        cursor: Option<&Cursor>,
        ms: u32,
    ) -> Result<RowCount, ClientError> {
        self.ask("checksum", &json!({"table": table, "cursor": cursor, "ms": ms}), true).await
    }

    /// The index of a root, from the cursor on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn index(
        &self,
        root: Root,
        digests: bool,
        cursor: Option<&Cursor>,
        budget: Budget,
    ) -> Result<Index, ClientError> {
        let body = with(budget, json!({"root": root, "digests": digests, "cursor": cursor}));
        Index::parse(&self.frames("index", &body).await?)
    }

    /// Files, or parts of them: as many as the budget allows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn files(&self, wanted: &[FileRequest], budget: Budget) -> Result<Files, ClientError> {
        let body = with(budget, json!({"files": wanted}));
        Files::parse(self.frames("files", &body).await?, wanted)
    }

    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        route: &str,
        body: &impl Serialize,
        long: bool,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|_| ClientError::Malformed("a request"))?;
        let call = Call { route, body: body.into(), sends: Form::Json, wants: Form::Json, long };
        self.answered(&call).await
    }

    /// Sends, and takes JSON for an answer.
    pub(crate) async fn answered<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ClientError> {
        match self.call(call).await? {
            Answer::Json(body) => {
                if let Ok(MemoryField { memory }) = serde_json::from_slice(&body) {
                    self.note(memory);
                }
                serde_json::from_slice(&body).map_err(|_| ClientError::Malformed("an answer's members"))
            }
            Answer::Frames(_) => Err(ClientError::Malformed("frames in the place of JSON")),
        }
    }

    pub(crate) async fn frames(&self, route: &str, body: &Value) -> Result<Frames, ClientError> {
        let body = body.to_string().into_bytes();
        let call = Call { route, body: body.into(), sends: Form::Json, wants: Form::Frames, long: true };
        let Answer::Frames(frames) = self.call(&call).await? else {
            return Err(ClientError::Malformed("JSON in the place of frames"));
        };
        if let Ok(MemoryField { memory }) = frames.end() {
            self.note(memory);
        }
        match frames.end::<MigratorError>() {
            Ok(error) => Err(ClientError::Migrator { status: 200, error }),
            Err(_) => Ok(frames),
        }
    }

    async fn call(&self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let both = [Endpoint::FrontController, Endpoint::Rest];
        let [known, other] =
            if self.prefers_rest.load(Ordering::Relaxed) { [both[1], both[0]] } else { both };
        let first = match self.try_endpoint(known, call).await {
            Err(error) if error.may_try_other_endpoint() => error,
            done => return done,
        };
        tracing::debug!(error = %first, route = call.route, "this way does not let us in; trying the other");
        match self.try_endpoint(other, call).await {
            Ok(answer) => {
                self.prefers_rest.store(other == Endpoint::Rest, Ordering::Relaxed);
                Ok(answer)
            }
            Err(second) if matches!(second, ClientError::Forbidden | ClientError::Migrator { .. }) => {
                Err(second)
            }
            Err(_) => Err(first),
        }
    }

    async fn try_endpoint(&self, endpoint: Endpoint, call: &Call<'_>) -> Result<Answer, ClientError> {
        let request = Request::new(call.route, &call.body)?;
        let response = self
            .http
            .post(endpoint.address(&self.site, &request))
            .headers(request.headers(&self.key))
            .header(ACCEPT, call.wants.content_type())
            .header(CONTENT_TYPE, call.sends.content_type())
            .timeout(if call.long { self.long_deadline } else { self.deadline })
            .body(call.body.clone())
            .send()
            .await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(ClientError::Redirected { status: status.as_u16(), to: target(&response) });
        }
        let Some(form) = form(&response) else {
            return Err(ClientError::UnexpectedContent { status: status.as_u16() });
        };
        if form == Form::Frames {
            let mut body = self.pool.take();
            read_into(response, call.wants.most(), &mut body).await?;
            return Frames::proven(body, &request, &self.key, status.as_u16()).map(Answer::Frames);
        }
        let proof = response
            .headers()
            .get("x-wpclone-response-signature")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let body = read(response, MAX_JSON_BYTES).await?;
        proven(status, body, proof.as_deref(), &request, &self.key).map(Answer::Json)
    }
}

/// The same members, and the budget's.
fn with(budget: Budget, mut body: Value) -> Value {
    body["bytes"] = budget.bytes.into();
    body["ms"] = budget.ms.into();
    body
}

/// What the body says it is.
fn form(response: &Response) -> Option<Form> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [Form::Json, Form::Frames].into_iter().find(|form| kind.eq_ignore_ascii_case(form.content_type()))
}

/// A body of at most so many bytes.
pub(crate) async fn read(response: Response, most: usize) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    read_into(response, most, &mut body).await?;
    Ok(body)
}

async fn read_into(mut response: Response, most: usize, body: &mut Vec<u8>) -> Result<(), ClientError> {
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(ClientError::ResponseTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(())
}

/// The JSON of an answer, if it is the migrator's to this request and says that it went well.
fn proven(
    status: StatusCode,
    body: Vec<u8>,
    proof: Option<&str>,
    request: &Request<'_>,
    key: &Key,
) -> Result<Vec<u8>, ClientError> {
    let Ok(value) = serde_json::from_slice::<Value>(&body) else {
        return Err(ClientError::UnexpectedContent { status: status.as_u16() });
    };
    // A refusal has no proof: who refuses may have no key.
    if status == StatusCode::FORBIDDEN && value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Err(ClientError::Forbidden);
    }
    if !proof.is_some_and(|proof| request.verifies_json(key, status.as_u16(), &body, proof)) {
        return Err(ClientError::unverified(status, &body));
    }
    if status == StatusCode::OK {
        return Ok(body);
    }
    match serde_json::from_value(value) {
        Ok(error) => Err(ClientError::Migrator { status: status.as_u16(), error }),
        Err(_) => Err(ClientError::Malformed("a route that this version does not have")),
    }
}

impl Endpoint {
    /// The request's address here. A path prefix of the site is kept.
    fn address(self, site: &Url, request: &Request<'_>) -> Url {
        let mut url = site.clone();
        url.set_fragment(None);
        url.set_query(None);
        let root = site.path().trim_end_matches('/');
        let (path, name, value) = match self {
            Self::FrontController => (format!("{root}/"), "wpclone_migrator", request.route.to_owned()),
            // Works without permalinks, unlike /wp-json/.
            Self::Rest => {
                (format!("{root}/index.php"), "rest_route", format!("/wpclone-migrator/v1/{}", request.route))
            }
        };
        url.set_path(&path);
        url.query_pairs_mut().append_pair(name, &value).append_pair("_", &request.unique);
        url
    }
}

fn target(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut to = response.url().join(location).ok()?;
    to.set_query(None);
    to.set_fragment(None);
    Some(to)
}
