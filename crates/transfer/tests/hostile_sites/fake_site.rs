//! A migrator that signs whatever a test lets it answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::task::AbortOnDropHandle;
use wpclone_migrator::{Client, write_row};

pub(crate) const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What a route answers.
pub(crate) enum Reply {
    /// JSON, signed.
    Json(u16, Value),
    /// Frames and the fields of the last one, signed.
    Frames(Vec<(u8, Vec<u8>)>, Value),
    /// A response that is not signed.
    Raw(Response),
    /// The right answer to another request.
    WrongSignature(Value),
    /// Nothing, and the connection stays open.
    Silence,
}

/// A request as a route sees it.
pub(crate) struct Call {
    pub(crate) json: Value,
    /// How often the route was requested before.
    pub(crate) count: usize,
}

type Handler = Box<dyn Fn(&Call) -> Reply + Send + Sync>;

/// A site with one table of two rows and one file, which answers as an honest migrator does, except for the routes that a
/// test replaces.
pub(crate) struct FakeSite {
    routes: BTreeMap<&'static str, Handler>,
}

/// A fake site that is being served.
pub(crate) struct RunningSite {
    pub(crate) client: Client,
    state: Arc<Served>,
    _serving: AbortOnDropHandle<()>,
}

struct Served {
    routes: BTreeMap<&'static str, Handler>,
    counts: Mutex<BTreeMap<String, usize>>,
}

impl RunningSite {
    /// How often a route was requested.
    pub(crate) fn requests(&self, route: &str) -> usize {
        self.state.counts.lock().get(route).copied().unwrap_or_default()
    }
}

impl FakeSite {
    pub(crate) fn new() -> Self {
        let mut site = Self { routes: BTreeMap::new() };
        site.honest_source();
        site.honest_target();
        site
    }

    /// Replaces a route.
    pub(crate) fn with(
        mut self,
        route: &'static str,
        handler: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        self.routes.insert(route, Box::new(handler));
        self
    }

    fn on(&mut self, route: &'static str, handler: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        self.routes.insert(route, Box::new(handler));
    }

    fn honest_source(&mut self) {
        self.on("manifest", |_| Reply::Json(200, manifest()));
        self.on("definitions", |_| {
            Reply::Frames(vec![(b'T', table().to_string().into())], json!({ "cursor": null }))
        });
        self.on("rows", |_| rows_reply(&ROWS));
        self.on("checksum", |_| Reply::Json(200, count_of(&ROWS)));
        self.on("snapshot", |_| {
            let verdict = json!({ "table": "wp_t", "state": "exact" });
            Reply::Frames(vec![(b'V', verdict.to_string().into())], json!({ "cursor": null }))
        });
        self.on("index", |call| match call.json["root"].as_str() {
            Some("uploads") => index_reply(&["a.txt"], Value::Null),
            _ => index_reply(&[], Value::Null),
        });
        self.on("files", |_| {
            let content = b"hello";
            let head = [&0_u32.to_be_bytes()[..], &[0], &numbers([5, 1, 0])].concat();
            let end = [&0_u32.to_be_bytes()[..], &[0]].concat();
            let frames = vec![(b'F', head), (b'D', content.to_vec()), (b'G', end)];
            Reply::Frames(frames, json!({ "file": null, "offset": null }))
        });
    }

    /// A target stores what the source sends, so it has the same rows and files.
    fn honest_target(&mut self) {
        self.on("begin", |_| Reply::Json(200, job(json!([]))));
        self.on("define", |_| Reply::Json(200, json!({ "table_id": 1, "adjustments": [] })));
        self.on("load-rows", |_| Reply::Json(200, json!({ "chunk": 1, "rows": 2 })));
        self.on("store-files", |_| Reply::Json(200, json!({ "stored": 1, "rejected": [] })));
        self.on("staged-index", |call| match call.json["root"].as_str() {
            Some("uploads") => index_reply(&["a.txt"], Value::Null),
            _ => index_reply(&[], Value::Null),
        });
        for route in ["prepare", "rollback", "commit", "abort", "omit"] {
            self.on(route, |_| Reply::Json(200, json!({ "done": true })));
        }
        self.on("swap", |_| Reply::Json(200, json!({ "done": true, "reversible": false, "rejected": [] })));
    }

    /// Serves the site on a port of its own.
    pub(crate) async fn start(self) -> RunningSite {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let state = Arc::new(Served { routes: self.routes, counts: Mutex::default() });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let client = Client::new(http.build().unwrap(), url, KEY.parse().unwrap());
        RunningSite {
            client: client.with_deadline(Duration::from_secs(60)),
            state,
            _serving: AbortOnDropHandle::new(serving),
        }
    }
}

async fn answer(
    State(site): State<Arc<Served>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let route = query.get("wpclone_migrator").cloned().unwrap_or_default();
    let Some(handler) = site.routes.get(route.as_str()) else {
        return (StatusCode::NOT_FOUND, "<html>").into_response();
    };
    let nonce = headers["x-wpclone-nonce"].to_str().unwrap();
    let count = {
        let mut counts = site.counts.lock();
        let count = counts.entry(route.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let call = Call { json: serde_json::from_slice(&body).unwrap_or_default(), count };
    match handler(&call) {
        Reply::Json(status, value) => json_reply(&route, nonce, status, with_memory(value)),
        Reply::WrongSignature(value) => json_reply(&route, &"0".repeat(32), 200, with_memory(value)),
        Reply::Frames(frames, end) => frames_reply(&route, nonce, frames, with_memory(end)),
        Reply::Raw(response) => response,
        Reply::Silence => std::future::pending().await,
    }
}

fn mac(parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&hex::decode(KEY).unwrap()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn with_memory(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("memory".into(), json!({ "baseline": 1, "peak": 2 }));
        fields.insert("duration_ms".into(), json!(1));
    }
    value
}

fn json_reply(route: &str, nonce: &str, status: u16, value: Value) -> Response {
    let body = value.to_string();
    let hash = hex::encode(Sha256::digest(&body));
    let text = format!("wpclone-migrator-response-v1\n{route}\n{nonce}\n{status}\n{hash}");
    let signature = format!("v1={}", hex::encode(mac(&[text.as_bytes()])));
    let headers =
        [("content-type", "application/json"), ("x-wpclone-response-signature", signature.as_str())];
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}

fn frames_reply(route: &str, nonce: &str, mut frames: Vec<(u8, Vec<u8>)>, end: Value) -> Response {
    frames.push((b'E', end.to_string().into_bytes()));
    let mut body = b"WPCLONE1".to_vec();
    let mut signed = format!("wpclone-migrator-frames-v1\n{route}\n{nonce}\n").into_bytes();
    signed.extend(b"WPCLONE1");
    for (kind, payload) in frames {
        let head = [&[kind][..], &(payload.len() as u32).to_be_bytes()].concat();
        signed.extend(&head);
        signed.extend(Sha256::digest(&payload));
        body.extend(head);
        body.extend(payload);
    }
    body.extend(mac(&[&signed]));
    ([("content-type", "application/octet-stream")], Body::from(body)).into_response()
}

/// A row: each value, or NULL.
pub(crate) type Row<'a> = &'a [Option<&'a [u8]>];

/// The rows of the honest table.
pub(crate) const ROWS: [Row<'static>; 2] = [&[Some(b"1"), Some(b"one")], &[Some(b"2"), Some(b"two")]];

pub(crate) fn encoded(row: Row<'_>) -> Vec<u8> {
    let values: Vec<_> =
        row.iter().map(|v| v.map_or(wpclone_migrator::Value::Null, wpclone_migrator::Value::of)).collect();
    let mut bytes = Vec::new();
    write_row(&mut bytes, &values);
    bytes
}

/// The fields that count rows: their number and digest.
pub(crate) fn count_of(rows: &[Row<'_>]) -> Value {
    let mut digest = [0_u8; 32];
    for row in rows {
        digest.iter_mut().zip(Sha256::digest(encoded(row))).for_each(|(sum, byte)| *sum ^= byte);
    }
    json!({ "rows": rows.len(), "digest": hex::encode(digest), "cursor": null })
}

/// A response with these rows of the honest table.
pub(crate) fn rows_reply(rows: &[Row<'_>]) -> Reply {
    let header = json!({ "table": "wp_t", "columns": ["id", "name"], "key": [0] });
    let payload = rows.iter().flat_map(|row| encoded(row)).collect();
    Reply::Frames(vec![(b'H', header.to_string().into()), (b'R', payload)], count_of(rows))
}

pub(crate) fn numbers(numbers: [u64; 3]) -> Vec<u8> {
    numbers.map(u64::to_be_bytes).concat()
}

/// An entry of an index: a file of five bytes.
pub(crate) fn entry(path: &[u8], size: u64) -> Vec<u8> {
    let digest = Sha256::digest(b"hello");
    let mode_and_size = [&0o644_u16.to_be_bytes()[..], &size.to_be_bytes(), &1_u64.to_be_bytes()].concat();
    [b"f-", &mode_and_size[..], &digest, &[7; 16], &(path.len() as u16).to_be_bytes(), path].concat()
}

pub(crate) fn index_reply(paths: &[&str], cursor: Value) -> Reply {
    let entries: Vec<u8> = paths.iter().flat_map(|path| entry(path.as_bytes(), 5)).collect();
    Reply::Frames(vec![(b'I', entries)], json!({ "cursor": cursor, "entries": paths.len() }))
}

pub(crate) fn table() -> Value {
    let column = |name: &str, kind: &str| {
        json!({
            "name": name, "type": kind, "nullable": false, "default": null, "auto_increment": false, "on_update": null,
            "charset": null, "collation": null, "comment": "", "generated": null, "invisible": false, "srid": null,
        })
    };
    json!({
        "kind": "table", "name": "wp_t", "engine": "InnoDB", "charset": "utf8mb4", "collation": "utf8mb4_general_ci",
        "row_format": "Dynamic", "comment": "", "auto_increment": null, "rows": 2, "data_bytes": 16384,
        "index_bytes": 0, "key": ["id"], "columns": [column("id", "bigint(20)"), column("name", "int(11)")],
        "indexes": [], "foreign_keys": [], "checks": [],
    })
}

/// A response with these definitions.
pub(crate) fn definitions(tables: &[Value]) -> Reply {
    let frames = tables.iter().map(|table| (b'T', table.to_string().into())).collect();
    Reply::Frames(frames, json!({ "cursor": null }))
}

/// The error of a migrator whose database rejects a statement.
pub(crate) fn rejected_by_the_database(errno: u32) -> Reply {
    Reply::Json(500, json!({ "error": "database_error", "errno": errno, "id": "0".repeat(16) }))
}

/// A job in its first phase.
pub(crate) fn job(tables: Value) -> Value {
    json!({
        "job": "0".repeat(32), "resumed": false, "phase": "open",
        "roots": ["content", "plugins", "mu-plugins", "uploads"], "tables": tables,
        "limits": { "budget_ms": 1000, "bytes": 8 << 20, "max_allowed_packet": 1 << 24, "parallel": 4 },
    })
}

pub(crate) fn manifest() -> Value {
    json!({
        "plugin_version": "0.1.0",
        "wordpress": {
            "version": "6.8.3", "requires_php": "7.2", "locale": "en_US", "multisite": false,
            "site_url": "https://a.example", "home_url": "https://a.example", "prefix": "wp_",
            "charset": "utf8mb4", "collation": "", "plugins": [], "template": "a", "stylesheet": "a",
            "drop_ins": [], "environment": "production",
        },
        "php": { "version": "8.2.0", "sapi": "fpm-fcgi", "os": "Linux", "int_bytes": 8, "extensions": [] },
        "database": {
            "server": "mariadb", "version": "10.11.6", "name": "wp", "charset": "utf8mb4",
            "collation": "utf8mb4_general_ci", "max_allowed_packet": 1 << 24, "lower_case_table_names": 0,
            "sql_mode": "", "collations": [],
        },
        "roots": {}, "other_prefixes": [], "abspath": "/srv/a/",
        "limits": {
            "memory_bytes": null, "max_execution_s": 0, "post_max_bytes": null, "budget_ms": 1000, "parallel": 4,
        },
        "content_url": "https://a.example/wp-content", "uploads_url": "https://a.example/wp-content/uploads",
    })
}
