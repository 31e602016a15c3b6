//! The client against sites that answer all kinds of things, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use reqwest::redirect::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wpclone_migrator::{Client, ClientError, Key};

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
    while !request.ends_with("\r\n\r\n{}") {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.push_str(&String::from_utf8_lossy(&buffer[..n])),
            _ => return,
        }
    }
    let answer = if request.contains("rest_route=") { rest } else { front };
    let _ = tell.send(request);
    match answer {
        Answer::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
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

fn json(status: &str, body: &str) -> Answer {
    answer(status, "application/json; charset=UTF-8", body)
}

fn html(status: &str) -> Answer {
    answer(status, "text/html", "<!doctype html><title>A blog</title>")
}

#[tokio::test]
async fn a_migrator_behind_the_front_page_is_asked_once_and_below_the_sites_path() {
    let mut site = Site::new(json("200 OK", STATUS), Answer::HangUp).await;
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
        let mut site = Site::new(deaf, json("200 OK", STATUS)).await;
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
    let mut site = Site::new(json("403 Forbidden", "{}"), json("200 OK", STATUS)).await;
    assert!(matches!(site.failure().await, ClientError::Refused));
    site.requests.recv().await.unwrap();
    assert!(site.requests.try_recv().is_err(), "asked again after a refusal");

    let site = Site::new(html("200 OK"), json("403 Forbidden", "{}")).await;
    assert!(matches!(site.failure().await, ClientError::Refused));
}

#[tokio::test]
async fn html_is_never_success_whatever_it_calls_itself() {
    for page in [html("200 OK"), answer("200 OK", "application/json", "<html>"), answer("200 OK", "", STATUS)]
    {
        let site = Site::new(page, html("404 Not Found")).await;
        assert!(matches!(site.failure().await, ClientError::NotJson { status: 200 }));
    }
}

#[tokio::test]
async fn json_that_is_not_a_status_is_not_taken_for_one() {
    for body in ["{}", "[]", "null", r#"{"plugin_version":1}"#, r#"{"code":"<b>pw</b>"}"#] {
        let site = Site::new(json("200 OK", body), json("200 OK", body)).await;
        assert!(
            matches!(site.failure().await, ClientError::Unexpected { status: 200, code: None }),
            "{body}"
        );
    }
    let missing = json("404 Not Found", r#"{"code":"rest_no_route","message":"x"}"#);
    let site = Site::new(missing.clone(), missing).await;
    match site.failure().await {
        ClientError::Unexpected { status: 404, code: Some(code) } => assert_eq!(code, "rest_no_route"),
        other => panic!("{other:?}"),
    }
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
async fn an_endless_answer_is_left_after_64_kib() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"a\":\"";
    let site = Site::new(Answer::Endless(head.into()), html("404 Not Found")).await;
    assert!(matches!(site.failure().await, ClientError::TooLarge));
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
