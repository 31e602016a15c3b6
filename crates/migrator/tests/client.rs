//! The client against misbehaving sites, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::redirect::Policy;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wpclone_migrator::{AdaptiveBatch, Budget, Client, ClientError, Key, RowPart, Value};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const STATUS: &str = r#"{"plugin_version":"0.1.0","wordpress":"6.1.9","php":"7.4.33","import_enabled":true,
    "open_until":1795000000,"site_url":"https://a.example","home_url":"https://a.example","multisite":false,
    "added_later":[1]}"#;

/// What a site does after reading a request.
#[derive(Clone)]
enum Reply {
    /// Sends these bytes and closes the connection.
    Bytes(String),
    /// Sends these bytes, then zeros without end.
    Endless(String),
    /// Sends these bytes and keeps the connection open.
    Stall(&'static str),
    /// Sends this JSON, signed.
    Signed(&'static str, &'static str),
    /// Sends these bytes as frames; `{mac}` in them is replaced by the HMAC of everything before it.
    Frames(Vec<u8>),
    /// Closes the connection.
    HangUp,
}

/// A site on its own port: `front` answers at the front page, `rest` at REST; every request is recorded.
struct Site {
    url: url::Url,
    requests: mpsc::UnboundedReceiver<String>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    async fn new(front: Reply, rest: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/blog/", listener.local_addr().unwrap()).parse().unwrap();
        let (requests_seen, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, front.clone(), rest.clone(), requests_seen.clone()));
            }
        });
        Self { url, requests, task }
    }

    fn client(&self) -> Client {
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Client::new(http, self.url.clone(), KEY.parse::<Key>().unwrap())
    }

    async fn failure(&self) -> ClientError {
        self.client().status().await.unwrap_err()
    }
}

async fn serve(
    mut stream: TcpStream,
    front: Reply,
    rest: Reply,
    requests_seen: mpsc::UnboundedSender<String>,
) {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    while !request.ends_with('}') {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.push_str(&String::from_utf8_lossy(&buffer[..n])),
            _ => return,
        }
    }
    let reply = if request.contains("rest_route=") { rest } else { front };
    let nonce =
        request.lines().find_map(|l| l.strip_prefix("x-wpclone-nonce: ")).unwrap_or_default().to_owned();
    let reply = match reply {
        Reply::Signed(status, body) => Reply::Bytes(signed(&nonce, status, body)),
        other => other,
    };
    let _ = requests_seen.send(request);
    match reply {
        Reply::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        Reply::Frames(bytes) => drop(stream.write_all(&frames(&nonce, &bytes)).await),
        Reply::Signed(..) => {}
        Reply::Endless(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            while stream.write_all(&[b'0'; 4096]).await.is_ok() {}
        }
        Reply::Stall(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        }
        Reply::HangUp => {}
    }
}

fn reply(status: &str, kind: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn mac(parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&hex::decode(KEY).unwrap()).unwrap();
    parts.iter().for_each(|p| mac.update(p));
    mac.finalize().into_bytes().to_vec()
}

/// The signed response of a migrator to the request with this nonce.
fn signed(nonce: &str, status: &str, body: &str) -> String {
    let (hash, code) = (hex::encode(Sha256::digest(body)), &status[..3]);
    let text = format!("wpclone-migrator-response-v1\nstatus\n{nonce}\n{code}\n{hash}");
    let (signature, length) = (hex::encode(mac(&[text.as_bytes()])), body.len());
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json; charset=UTF-8\r\nx-wpclone-response-signature: v1={signature}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// The same with frames of the route `rows`.
fn frames(nonce: &str, bytes: &[u8]) -> Vec<u8> {
    let mut reply =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nconnection: close\r\n\r\n".to_vec();
    let place = bytes.windows(5).position(|w| w == b"{mac}");
    let begin = format!("wpclone-migrator-frames-v1\nrows\n{nonce}\n");
    reply.extend(&bytes[..place.unwrap_or(bytes.len())]);
    if let Some(place) = place {
        let mut signed = bytes[..8].to_vec();
        let mut rest = &bytes[8..place];
        while let Some((head, later)) = rest.split_at_checked(5) {
            // Some frames declare more bytes than they have.
            let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let (payload, later) = later.split_at(size.min(later.len()));
            signed.extend([head, &Sha256::digest(payload)].concat());
            rest = later;
        }
        reply.extend(mac(&[begin.as_bytes(), &signed]));
        reply.extend(&bytes[place + 5..]);
    }
    reply
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &(payload.len() as u32).to_be_bytes(), payload].concat()
}

fn json(status: &str, body: &str) -> Reply {
    reply(status, "application/json; charset=UTF-8", body)
}

fn html(status: &str) -> Reply {
    reply(status, "text/html", "<!doctype html><title>A blog</title>")
}

#[tokio::test]
async fn a_working_front_controller_gets_one_request_below_the_sites_path() {
    let mut site = Site::new(Reply::Signed("200 OK", STATUS), Reply::HangUp).await;
    let status = site.client().status().await.unwrap();
    assert_eq!(
        (status.wordpress.as_str(), status.import_enabled, status.open_until),
        ("6.1.9", true, 1_795_000_000)
    );
    let request = site.requests.recv().await.unwrap();
    let (line, headers) = request.split_once("\r\n").unwrap();
    let unique = line.strip_prefix("POST /blog/?wpclone_migrator=status&_=").unwrap();
    assert_eq!(unique.find(' '), Some(32), "{line}");
    for name in ["x-wpclone-timestamp: 1", "x-wpclone-nonce: ", "x-wpclone-signature: v1="] {
        assert!(headers.contains(name), "{headers}");
    }
    assert!(!request.contains(KEY), "the request contains the key");
    assert!(site.requests.try_recv().is_err(), "REST was requested without need");
}

#[tokio::test]
async fn rest_is_tried_with_its_own_signature_when_the_front_controller_fails() {
    let refused_by_firewall = json("403 Forbidden", r#"{"code":"blocked"}"#);
    for failing in [html("200 OK"), html("403 Forbidden"), refused_by_firewall] {
        let mut site = Site::new(failing, Reply::Signed("200 OK", STATUS)).await;
        assert_eq!(site.client().status().await.unwrap().php, "7.4.33");
        let [first, second] = [site.requests.recv().await.unwrap(), site.requests.recv().await.unwrap()];
        let place = "POST /blog/index.php?rest_route=%2Fwpclone-migrator%2Fv1%2Fstatus&_=";
        assert!(second.starts_with(place), "{second}");
        let nonce = |r: &str| r.lines().find(|l| l.starts_with("x-wpclone-nonce")).unwrap().to_owned();
        assert_ne!(nonce(&first), nonce(&second), "a nonce was used twice");
    }
}

#[tokio::test]
async fn a_rejection_at_either_endpoint_is_final() {
    let mut site = Site::new(json("403 Forbidden", "{}"), Reply::Signed("200 OK", STATUS)).await;
    assert!(matches!(site.failure().await, ClientError::Forbidden));
    site.requests.recv().await.unwrap();
    assert!(site.requests.try_recv().is_err(), "requested again after a rejection");

    let site = Site::new(html("200 OK"), json("403 Forbidden", "{}")).await;
    assert!(matches!(site.failure().await, ClientError::Forbidden));
}

#[tokio::test]
async fn html_is_never_success_whatever_its_content_type() {
    for page in [html("200 OK"), reply("200 OK", "application/json", "<html>"), reply("200 OK", "", STATUS)] {
        let site = Site::new(page, html("404 Not Found")).await;
        assert!(matches!(site.failure().await, ClientError::UnexpectedContent { status: 200 }));
    }
}

#[tokio::test]
async fn unsigned_json_is_rejected_whatever_it_contains() {
    for body in [STATUS, "{}", "[]", "null", r#"{"plugin_version":1}"#, r#"{"code":"<b>pw</b>"}"#] {
        let site = Site::new(json("200 OK", body), json("200 OK", body)).await;
        let error = site.failure().await;
        assert!(matches!(error, ClientError::Unverified { status: 200, code: None }), "{body}: {error:?}");
    }
    let missing = json("404 Not Found", r#"{"code":"rest_no_route","message":"x"}"#);
    let site = Site::new(missing.clone(), missing).await;
    match site.failure().await {
        ClientError::Unverified { status: 404, code: Some(code) } => assert_eq!(code, "rest_no_route"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_response_to_another_request_is_rejected() {
    let kept = Reply::Bytes(signed(&"0".repeat(32), "200 OK", STATUS));
    let site = Site::new(kept.clone(), kept).await;
    assert!(matches!(site.failure().await, ClientError::Unverified { status: 200, .. }));
}

#[tokio::test]
async fn a_signed_response_that_is_no_status_is_malformed() {
    for body in ["{}", "[]", r#"{"plugin_version":1}"#] {
        let site = Site::new(Reply::Signed("200 OK", body), Reply::HangUp).await;
        assert!(matches!(site.failure().await, ClientError::Malformed(_)), "{body}");
    }
    let busy = Reply::Signed("429 Too Many Requests", r#"{"error":"busy","id":"0011aabb"}"#);
    let site = Site::new(busy, Reply::HangUp).await;
    let error = site.failure().await;
    assert_eq!(error.to_string(), "the migrator reports busy [0011aabb] (HTTP 429)");
    assert!(error.is_transient() && error.code() == Some("busy"));
}

/// One row of the columns `a` and `b`.
fn row() -> Vec<u8> {
    let mut row = Vec::new();
    wpclone_migrator::write_row(&mut row, &[Value::Bytes(b"1"), Value::Null]);
    row
}

fn rows_reply(row: &[u8], end: &str) -> Vec<u8> {
    let head = br#"{"table":"t","columns":["a","b"],"key":[0]}"#;
    [
        b"WPCLONE1".to_vec(),
        frame(b'H', head),
        frame(b'R', row),
        frame(b'E', end.as_bytes()),
        b"{mac}".to_vec(),
    ]
    .concat()
}

fn end_of(row: &[u8]) -> String {
    let digest = hex::encode(Sha256::digest(row));
    format!(
        r#"{{"cursor":null,"rows":1,"digest":"{digest}","duration_ms":1,"memory":{{"baseline":2,"peak":3}}}}"#
    )
}

const BUDGET: Budget = Budget { bytes: 65536, ms: 1000 };

#[tokio::test]
async fn verified_rows_are_returned_and_trailing_bytes_ignored() {
    let mut reply = rows_reply(&row(), &end_of(&row()));
    reply.extend(b"<!-- cached -->");
    let site = Site::new(Reply::Frames(reply), Reply::HangUp).await;
    let rows = site.client().rows("t", None, BUDGET).await.unwrap();
    let parts: Vec<_> = rows.parts().map(Result::unwrap).collect();
    assert_eq!(parts, [RowPart::Row { bytes: &row(), values: vec![Value::Bytes(b"1"), Value::Null] }]);
}

#[tokio::test]
async fn frames_truncated_or_changed_anywhere_are_rejected() {
    let whole = rows_reply(&row(), &end_of(&row()));
    for cut in 0..whole.len() - 5 {
        let site = Site::new(Reply::Frames(whole[..cut].to_vec()), Reply::HangUp).await;
        let error = site.client().rows("t", None, BUDGET).await.unwrap_err();
        assert!(matches!(error, ClientError::Truncated), "cut at {cut}: {error:?}");
    }
    // Parsing stays within bounds even if a site signs garbage.
    for change in 0..whole.len() - 5 {
        let mut changed = whole.clone();
        changed[change] ^= 0x55;
        let kind = Reply::Frames(changed);
        let site = Site::new(kind, Reply::HangUp).await;
        let _ = site.client().rows("t", None, BUDGET).await;
    }
    let mut unsigned = whole[..whole.len() - 5].to_vec();
    unsigned.extend([7; 32]);
    let site = Site::new(Reply::Frames(unsigned), Reply::HangUp).await;
    let error = site.client().rows("t", None, BUDGET).await.unwrap_err();
    assert!(matches!(error, ClientError::Unverified { .. }), "{error:?}");
}

#[tokio::test]
async fn too_many_frames_are_rejected() {
    let (whole, least) = (rows_reply(&row(), &end_of(&row())), frame(b'R', b""));
    // Two frames exist already: the header and a row.
    let end = whole.len() - 5 - frame(b'E', end_of(&row()).as_bytes()).len();
    for (more, is_taken) in [(65_534, true), (65_535, false)] {
        let many = [&whole[..end], &least.repeat(more), &whole[end..]].concat();
        let site = Site::new(Reply::Frames(many), Reply::HangUp).await;
        let rows = site.client().rows("t", None, BUDGET).await;
        assert_eq!(rows.is_ok(), is_taken, "{more}: {rows:?}");
    }
}

#[tokio::test]
async fn inconsistent_signed_frames_are_malformed_and_an_error_in_the_last_frame_is_returned() {
    let other = end_of(b"another row");
    let long_cursor = end_of(&row()).replace("null", &format!(r#"{{"k":"{}"}}"#, "x".repeat(1100)));
    for end in [other.as_str(), "{}", "[]", &end_of(&row()).replace(":1,\"d", ":2,\"d"), &long_cursor] {
        let site = Site::new(Reply::Frames(rows_reply(&row(), end)), Reply::HangUp).await;
        let error = site.client().rows("t", None, BUDGET).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed(_)), "{end}: {error:?}");
    }
    let end = r#"{"error":"gone","id":"00112233","duration_ms":1,"memory":{"baseline":2,"peak":3}}"#;
    let site = Site::new(Reply::Frames(rows_reply(&row(), end)), Reply::HangUp).await;
    assert_eq!(site.client().rows("t", None, BUDGET).await.unwrap_err().code(), Some("gone"));
}

#[tokio::test]
async fn a_stream_shrinks_its_requests_after_failures() {
    let whole = rows_reply(&row(), &end_of(&row()));
    // Truncation does not make the client switch to the other endpoint.
    let mut site = Site::new(Reply::Frames(whole[..20].to_vec()), Reply::HangUp).await;
    let client = site.client();
    let mut stream = client.row_stream("t", None, AdaptiveBatch::new(1000));
    assert!(matches!(stream.next().await.unwrap_err(), ClientError::Truncated));
    let mut asked = Vec::new();
    while let Ok(request) = site.requests.try_recv() {
        let body: serde_json::Value = serde_json::from_str(request.rsplit("\r\n").next().unwrap()).unwrap();
        asked.push(body["bytes"].as_u64().unwrap());
    }
    assert_eq!(asked, [262_144, 65536, 16384, 16384, 16384, 16384]);
}

#[tokio::test]
async fn a_redirect_is_reported_and_not_followed() {
    let moved = "HTTP/1.1 301 Moved\r\nlocation: /elsewhere?token=1#x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let site = Site::new(Reply::Bytes(moved.into()), html("404 Not Found")).await;
    match site.failure().await {
        ClientError::Redirected { status: 301, to: Some(to) } => {
            assert_eq!(to, site.url.join("/elsewhere").unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_endless_response_is_abandoned() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"a\":\"";
    let site = Site::new(Reply::Endless(head.into()), html("404 Not Found")).await;
    assert!(matches!(site.failure().await, ClientError::ResponseTooLarge));
}

#[tokio::test]
async fn a_response_that_never_starts_or_stalls_times_out() {
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"] {
        let site = Site::new(Reply::Stall(bytes), Reply::HangUp).await;
        let client = site.client().with_deadline(Duration::from_millis(200));
        assert!(matches!(client.status().await.unwrap_err(), ClientError::Timeout), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_closed_connection_is_unreachable_and_errors_contain_neither_key_nor_address() {
    let site = Site::new(Reply::HangUp, Reply::HangUp).await;
    let error = site.failure().await;
    assert!(matches!(error, ClientError::Unreachable(_)));
    let printed = format!("{error} {error:?} {:?}", site.client());
    assert!(!printed.contains(KEY) && !printed.contains("_="), "{printed}");
}
