//! The client against sites that answer all kinds of things, on real sockets.

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

/// What a site does with a connection once it has read the request.
#[derive(Clone)]
enum Answer {
    /// These bytes, then the end.
    Bytes(String),
    /// These bytes, then zeros for as long as somebody reads.
    Endless(String),
    /// These bytes, and no more, but the connection stays.
    Stall(&'static str),
    /// This JSON, proven.
    Proven(&'static str, &'static str),
    /// These bytes as frames: `{proof}` in them becomes the proof of all before it.
    Frames(Vec<u8>),
    /// The connection ends.
    HangUp,
}

/// A site on a port of its own; it gives `front` at its front page and `rest` to REST, and tells every request.
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
    async fn new(front: Answer, rest: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/blog/", listener.local_addr().unwrap()).parse().unwrap();
        let (tell, requests) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, front.clone(), rest.clone(), tell.clone()));
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

async fn serve(mut stream: TcpStream, front: Answer, rest: Answer, tell: mpsc::UnboundedSender<String>) {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    while !request.ends_with('}') {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.push_str(&String::from_utf8_lossy(&buffer[..n])),
            _ => return,
        }
    }
    let answer = if request.contains("rest_route=") { rest } else { front };
    let nonce =
        request.lines().find_map(|l| l.strip_prefix("x-wpclone-nonce: ")).unwrap_or_default().to_owned();
    let answer = match answer {
        Answer::Proven(status, body) => Answer::Bytes(proven(&nonce, status, body)),
        other => other,
    };
    let _ = tell.send(request);
    match answer {
        Answer::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        Answer::Frames(bytes) => drop(stream.write_all(&frames(&nonce, &bytes)).await),
        Answer::Proven(..) => {}
        Answer::Endless(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            while stream.write_all(&[b'0'; 4096]).await.is_ok() {}
        }
        Answer::Stall(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        }
        Answer::HangUp => {}
    }
}

fn answer(status: &str, kind: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Bytes(format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

fn mac(parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&hex::decode(KEY).unwrap()).unwrap();
    parts.iter().for_each(|p| mac.update(p));
    mac.finalize().into_bytes().to_vec()
}

/// What a migrator makes of JSON for the request with this nonce.
fn proven(nonce: &str, status: &str, body: &str) -> String {
    let (hash, code) = (hex::encode(Sha256::digest(body)), &status[..3]);
    let text = format!("wpclone-migrator-response-v1\nstatus\n{nonce}\n{code}\n{hash}");
    let (proof, length) = (hex::encode(mac(&[text.as_bytes()])), body.len());
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json; charset=UTF-8\r\nx-wpclone-response-signature: v1={proof}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// The same for frames of the route `rows`.
fn frames(nonce: &str, bytes: &[u8]) -> Vec<u8> {
    let mut answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nconnection: close\r\n\r\n".to_vec();
    let place = bytes.windows(7).position(|w| w == b"{proof}");
    let begin = format!("wpclone-migrator-frames-v1\nrows\n{nonce}\n");
    answer.extend(&bytes[..place.unwrap_or(bytes.len())]);
    if let Some(place) = place {
        let mut proven = bytes[..8].to_vec();
        let mut rest = &bytes[8..place];
        while let Some((head, later)) = rest.split_at_checked(5) {
            // Some say that they are longer than they are.
            let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let (payload, later) = later.split_at(size.min(later.len()));
            proven.extend([head, &Sha256::digest(payload)].concat());
            rest = later;
        }
        answer.extend(mac(&[begin.as_bytes(), &proven]));
        answer.extend(&bytes[place + 7..]);
    }
    answer
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &(payload.len() as u32).to_be_bytes(), payload].concat()
}

fn json(status: &str, body: &str) -> Answer {
    answer(status, "application/json; charset=UTF-8", body)
}

fn html(status: &str) -> Answer {
    answer(status, "text/html", "<!doctype html><title>A blog</title>")
}

#[tokio::test]
async fn a_migrator_behind_the_front_page_is_asked_once_and_below_the_sites_path() {
    let mut site = Site::new(Answer::Proven("200 OK", STATUS), Answer::HangUp).await;
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
    assert!(!request.contains(KEY), "the key travels");
    assert!(site.requests.try_recv().is_err(), "REST was asked without need");
}

#[tokio::test]
async fn where_the_front_page_is_deaf_rest_is_asked_with_a_signature_of_its_own() {
    let refused_by_firewall = json("403 Forbidden", r#"{"code":"blocked"}"#);
    for deaf in [html("200 OK"), html("403 Forbidden"), refused_by_firewall] {
        let mut site = Site::new(deaf, Answer::Proven("200 OK", STATUS)).await;
        assert_eq!(site.client().status().await.unwrap().php, "7.4.33");
        let [first, second] = [site.requests.recv().await.unwrap(), site.requests.recv().await.unwrap()];
        let place = "POST /blog/index.php?rest_route=%2Fwpclone-migrator%2Fv1%2Fstatus&_=";
        assert!(second.starts_with(place), "{second}");
        let nonce = |r: &str| r.lines().find(|l| l.starts_with("x-wpclone-nonce")).unwrap().to_owned();
        assert_ne!(nonce(&first), nonce(&second), "a nonce was used twice");
    }
}

#[tokio::test]
async fn a_refusal_is_final_at_either_door() {
    let mut site = Site::new(json("403 Forbidden", "{}"), Answer::Proven("200 OK", STATUS)).await;
    assert!(matches!(site.failure().await, ClientError::Forbidden));
    site.requests.recv().await.unwrap();
    assert!(site.requests.try_recv().is_err(), "asked again after a refusal");

    let site = Site::new(html("200 OK"), json("403 Forbidden", "{}")).await;
    assert!(matches!(site.failure().await, ClientError::Forbidden));
}

#[tokio::test]
async fn html_is_never_success_whatever_it_calls_itself() {
    for page in [html("200 OK"), answer("200 OK", "application/json", "<html>"), answer("200 OK", "", STATUS)]
    {
        let site = Site::new(page, html("404 Not Found")).await;
        assert!(matches!(site.failure().await, ClientError::UnexpectedContent { status: 200 }));
    }
}

#[tokio::test]
async fn json_without_a_proof_is_not_believed_whatever_it_says() {
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
async fn an_answer_to_another_request_is_not_believed() {
    let kept = Answer::Bytes(proven(&"0".repeat(32), "200 OK", STATUS));
    let site = Site::new(kept.clone(), kept).await;
    assert!(matches!(site.failure().await, ClientError::Unverified { status: 200, .. }));
}

#[tokio::test]
async fn what_is_proven_but_no_status_is_said_to_be_so() {
    for body in ["{}", "[]", r#"{"plugin_version":1}"#] {
        let site = Site::new(Answer::Proven("200 OK", body), Answer::HangUp).await;
        assert!(matches!(site.failure().await, ClientError::Malformed(_)), "{body}");
    }
    let busy = Answer::Proven("429 Too Many Requests", r#"{"error":"busy","id":"0011aabb"}"#);
    let site = Site::new(busy, Answer::HangUp).await;
    let error = site.failure().await;
    assert_eq!(error.to_string(), "the migrator says busy [0011aabb] (HTTP 429)");
    assert!(error.is_transient() && error.code() == Some("busy"));
}

/// One row of the columns `a` and `b`.
fn row() -> Vec<u8> {
    let mut row = Vec::new();
    wpclone_migrator::write_row(&mut row, &[Value::Bytes(b"1"), Value::Null]);
    row
}

fn rows_answer(row: &[u8], end: &str) -> Vec<u8> {
    let head = br#"{"table":"t","columns":["a","b"],"key":[0]}"#;
    [
        b"WPCLONE1".to_vec(),
        frame(b'H', head),
        frame(b'R', row),
        frame(b'E', end.as_bytes()),
        b"{proof}".to_vec(),
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
async fn rows_that_are_proven_are_given_and_what_comes_after_is_not_looked_at() {
    let mut answer = rows_answer(&row(), &end_of(&row()));
    answer.extend(b"<!-- cached -->");
    let site = Site::new(Answer::Frames(answer), Answer::HangUp).await;
    let rows = site.client().rows("t", None, BUDGET).await.unwrap();
    let parts: Vec<_> = rows.parts().map(Result::unwrap).collect();
    assert_eq!(parts, [RowPart::Row { bytes: &row(), values: vec![Value::Bytes(b"1"), Value::Null] }]);
}

#[tokio::test]
async fn frames_that_are_cut_off_anywhere_or_changed_anywhere_are_not_believed() {
    let whole = rows_answer(&row(), &end_of(&row()));
    for cut in 0..whole.len() - 7 {
        let site = Site::new(Answer::Frames(whole[..cut].to_vec()), Answer::HangUp).await;
        let error = site.client().rows("t", None, BUDGET).await.unwrap_err();
        assert!(matches!(error, ClientError::Truncated), "cut at {cut}: {error:?}");
    }
    // A site that signs what it likes is still parsed within bounds.
    for change in 0..whole.len() - 7 {
        let mut changed = whole.clone();
        changed[change] ^= 0x55;
        let kind = Answer::Frames(changed);
        let site = Site::new(kind, Answer::HangUp).await;
        let _ = site.client().rows("t", None, BUDGET).await;
    }
    let mut unproven = whole[..whole.len() - 7].to_vec();
    unproven.extend([7; 32]);
    let site = Site::new(Answer::Frames(unproven), Answer::HangUp).await;
    let error = site.client().rows("t", None, BUDGET).await.unwrap_err();
    assert!(matches!(error, ClientError::Unverified { .. }), "{error:?}");
}

#[tokio::test]
async fn more_frames_than_an_answer_may_have_are_not_held() {
    let (whole, least) = (rows_answer(&row(), &end_of(&row())), frame(b'R', b""));
    // Two frames are there already: the head and a row.
    let end = whole.len() - 7 - frame(b'E', end_of(&row()).as_bytes()).len();
    for (more, is_taken) in [(65_534, true), (65_535, false)] {
        let many = [&whole[..end], &least.repeat(more), &whole[end..]].concat();
        let site = Site::new(Answer::Frames(many), Answer::HangUp).await;
        let rows = site.client().rows("t", None, BUDGET).await;
        assert_eq!(rows.is_ok(), is_taken, "{more}: {rows:?}");
    }
}

#[tokio::test]
async fn proven_frames_that_do_not_add_up_are_malformed_and_trouble_in_the_end_is_told() {
    let other = end_of(b"another row");
    let long_cursor = end_of(&row()).replace("null", &format!(r#"{{"k":"{}"}}"#, "x".repeat(1100)));
    for end in [other.as_str(), "{}", "[]", &end_of(&row()).replace(":1,\"d", ":2,\"d"), &long_cursor] {
        let site = Site::new(Answer::Frames(rows_answer(&row(), end)), Answer::HangUp).await;
        let error = site.client().rows("t", None, BUDGET).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed(_)), "{end}: {error:?}");
    }
    let end = r#"{"error":"gone","id":"00112233","duration_ms":1,"memory":{"baseline":2,"peak":3}}"#;
    let site = Site::new(Answer::Frames(rows_answer(&row(), end)), Answer::HangUp).await;
    assert_eq!(site.client().rows("t", None, BUDGET).await.unwrap_err().code(), Some("gone"));
}

#[tokio::test]
async fn a_stream_asks_for_less_after_a_break_and_goes_on_where_it_was() {
    let whole = rows_answer(&row(), &end_of(&row()));
    // The front page cuts off; a stream does not take that for a closed endpoint, so that it comes back to it.
    let mut site = Site::new(Answer::Frames(whole[..20].to_vec()), Answer::HangUp).await;
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
async fn a_redirect_is_told_and_not_followed() {
    let moved = "HTTP/1.1 301 Moved\r\nlocation: /elsewhere?token=1#x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let site = Site::new(Answer::Bytes(moved.into()), html("404 Not Found")).await;
    match site.failure().await {
        ClientError::Redirected { status: 301, to: Some(to) } => {
            assert_eq!(to, site.url.join("/elsewhere").unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_endless_answer_is_left() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"a\":\"";
    let site = Site::new(Answer::Endless(head.into()), html("404 Not Found")).await;
    assert!(matches!(site.failure().await, ClientError::ResponseTooLarge));
}

#[tokio::test]
async fn a_silent_site_and_one_that_stops_in_the_middle_run_into_the_deadline() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"] {
        let site = Site::new(Answer::Stall(begun), Answer::HangUp).await;
        let client = site.client().with_deadline(Duration::from_millis(200));
        assert!(matches!(client.status().await.unwrap_err(), ClientError::Timeout), "{begun:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_no_error_tells_key_or_address() {
    let site = Site::new(Answer::HangUp, Answer::HangUp).await;
    let error = site.failure().await;
    assert!(matches!(error, ClientError::Unreachable(_)));
    let printed = format!("{error} {error:?} {:?}", site.client());
    assert!(!printed.contains(KEY) && !printed.contains("_="), "{printed}");
}
