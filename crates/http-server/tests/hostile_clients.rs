//! Clients that take connections and give nothing, and requests that are not what they seem, over real sockets.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wpclone_http_server::{ConnectionLimits, RequestBody, ServerOptions, serve};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
/// A response takes no longer while others attack; the machine may be busy. Half as long as an attack's requests may take.
const PROMPT: Duration = Duration::from_secs(30);

const OPTIONS: ServerOptions = ServerOptions {
    connections: ConnectionLimits {
        total: 32,
        reserved_for_local: 0,
        per_peer: 16,
        max_lag: Duration::from_millis(200),
    },
    head_timeout: Duration::from_secs(60),
    write_timeout: Duration::from_secs(60),
    max_head_bytes: 64 << 10,
    max_headers: 100,
    unready_period: Duration::ZERO,
    drain_timeout: Duration::from_secs(1),
};

struct Server {
    address: SocketAddr,
    /// A permit for each `/held` that may end.
    held: Arc<Semaphore>,
    ending: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

impl Server {
    /// Responds with the method, the target and the body. `/held` waits for a permit.
    async fn start(options: ServerOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, held) = (listener.local_addr().unwrap(), Arc::new(Semaphore::new(0)));
        let (ending, permits) = (CancellationToken::new(), Arc::clone(&held));
        let service = move |_| {
            let permits = Arc::clone(&permits);
            service_fn(move |request| answer(request, Arc::clone(&permits)))
        };
        tokio::spawn(serve(listener, service, options, ending.clone()));
        Self { address, held, ending }
    }

    /// A connection from this address of the loopback network.
    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        timeout(LIMIT, socket.connect(self.address)).await.unwrap().unwrap()
    }

    /// The response to these bytes, and whatever follows until the server closes.
    async fn send(&self, from: &str, bytes: &[u8]) -> String {
        let mut stream = self.connect(from).await;
        // The server may respond and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        read_to_end(&mut stream).await
    }

    async fn assert_prompt(&self, from: &str) {
        let begun = Instant::now();
        // A connection may be given up as idle before its request has arrived; a browser then opens another one.
        let text = loop {
            let text = self.send(from, b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
            if !text.is_empty() || begun.elapsed() >= PROMPT {
                break text;
            }
        };
        assert!(text.contains("200 OK") && text.contains("GET /ok"), "{from}: {text:?}");
        assert!(begun.elapsed() < PROMPT, "{from} waited for {:?}", begun.elapsed());
    }
}

async fn answer(
    request: Request<RequestBody>,
    held: Arc<Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/held" {
        held.acquire().await.unwrap().forget();
    }
    let mut text = format!("{} {} ", request.method(), request.uri()).into_bytes();
    if let Ok(body) = request.into_body().collect().await {
        text.extend_from_slice(&body.to_bytes());
    }
    Ok(Response::new(Full::new(text.into())))
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(LIMIT, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends bodies of a byte now and then from these addresses, as many at once as the server takes, for as long as the result
/// exists. A connection that is closed is opened again at once.
fn drip(server: &Server, from: &[&str], at_once: usize) -> JoinSet<()> {
    let (mut attack, address) = (JoinSet::new(), server.address);
    for from in from {
        for _ in 0..at_once {
            let from: SocketAddr = format!("{from}:0").parse().unwrap();
            attack.spawn(keep_dripping(from, address));
        }
    }
    attack
}

async fn keep_dripping(from: SocketAddr, to: SocketAddr) {
    loop {
        let _ = drip_once(from, to).await;
        // The attack leaves the processors to the server.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn drip_once(from: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from)?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await?;
    loop {
        stream.write_all(b"x").await?;
        // What the server sends is its refusal, or the end.
        let answered = timeout(Duration::from_millis(20), stream.read(&mut [0; 512])).await;
        if answered.is_ok() {
            return Ok(());
        }
    }
}

/// Waits until a connection from this address is refused or left waiting: every place is taken.
async fn until_full(server: &Server, from: &str) {
    let begun = Instant::now();
    loop {
        let mut stream = server.connect(from).await;
        let _ = stream.write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let mut first = [0; 12];
        match timeout(Duration::from_millis(50), stream.read_exact(&mut first)).await {
            Ok(Ok(_)) if first.ends_with(b"200") => {}
            _ => return,
        }
        assert!(begun.elapsed() < LIMIT, "there are places left");
    }
}

/// Waits until the server has accepted everything that was sent before, by a request of its own.
async fn held_request(server: &Server, from: &str) -> TcpStream {
    let mut stream = server.connect(from).await;
    stream.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    stream
}

#[tokio::test]
async fn idle_connections_of_one_address_keep_nobody_out() {
    let server = Server::start(OPTIONS).await;
    let mut idle = Vec::new();
    for n in 0..200 {
        let mut stream = server.connect("127.0.0.2").await;
        // Silent ones, and those that never finish the head of a request.
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nX-").await;
        }
        idle.push(stream);
    }
    server.assert_prompt("127.0.0.3").await;
    server.assert_prompt("127.0.0.2").await;
}

#[tokio::test]
async fn idle_connections_of_many_addresses_keep_nobody_out() {
    let server = Server::start(OPTIONS).await;
    let mut idle = Vec::new();
    for n in 1..=200 {
        idle.push(server.connect(&format!("127.0.1.{n}")).await);
    }
    server.assert_prompt("127.0.0.3").await;
}

#[tokio::test]
async fn an_address_whose_requests_are_all_in_progress_is_refused_and_others_are_served() {
    let server = Server::start(OPTIONS).await;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(held_request(&server, "127.0.0.2").await);
    }
    let begun = Instant::now();
    loop {
        let text =
            server.send("127.0.0.2", b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        // Empty: the refusal was overtaken by the reset of the connection.
        if text.contains("503 Service Unavailable") {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{text:?}");
    }
    server.assert_prompt("127.0.0.3").await;
    // None of the requests in progress was ended.
    server.held.add_permits(16);
    for mut stream in held {
        let text = read_to_end(&mut stream).await;
        assert!(text.contains("GET /held"), "{text:?}");
    }
    server.assert_prompt("127.0.0.2").await;
}

#[tokio::test]
async fn when_all_connections_are_in_use_a_new_one_waits_for_the_first_that_is_not() {
    let connections = ConnectionLimits { total: 4, per_peer: 4, ..OPTIONS.connections };
    let server = Server::start(ServerOptions { connections, ..OPTIONS }).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = server.connect("127.0.0.2").await;
        stream.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        held.push(stream);
    }
    let mut waiting = server.connect("127.0.0.3").await;
    waiting.write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    assert!(timeout(Duration::from_millis(200), waiting.read_exact(&mut first)).await.is_err());
    // One request ends; its connection stays open, but idle.
    server.held.add_permits(1);
    assert!(read_to_end(&mut waiting).await.contains("GET /ok"));
}

#[tokio::test]
async fn clients_that_send_a_byte_now_and_then_make_room_for_others() {
    let server = Server::start(OPTIONS).await;
    // More than have a place or may wait for one.
    let _attack = drip(&server, &["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"], 32);
    until_full(&server, "127.0.0.6").await;
    for _ in 0..5 {
        server.assert_prompt("127.0.0.7").await;
    }
}

#[tokio::test]
async fn clients_that_do_not_read_make_room_for_others() {
    let connections = ConnectionLimits { total: 4, per_peer: 2, ..OPTIONS.connections };
    let server = Server::start(ServerOptions { connections, ..OPTIONS }).await;
    let body = "y".repeat(16_000_000);
    let request = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut silent = Vec::new();
    for from in ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"] {
        let mut stream = server.connect(from).await;
        timeout(LIMIT, stream.write_all(request.as_bytes())).await.unwrap().unwrap();
        silent.push(stream);
    }
    for from in ["127.0.0.4", "127.0.0.2"] {
        server.assert_prompt(from).await;
    }
    drop(silent);
}

#[tokio::test]
async fn strangers_that_use_every_place_they_get_keep_no_program_of_this_machine_out() {
    let connections = ConnectionLimits { reserved_for_local: 8, ..OPTIONS.connections };
    let server = Server::start(ServerOptions { connections, ..OPTIONS }).await;
    // Requests that are in progress for another reason than their clients make no room.
    let mut held = Vec::new();
    for from in ["127.0.0.2", "127.0.0.3"] {
        for _ in 0..16 {
            held.push(held_request(&server, from).await);
        }
    }
    until_full(&server, "127.0.0.4").await;
    for _ in 0..5 {
        server.assert_prompt("127.0.0.1").await;
    }
    server.held.add_permits(held.len());
}

#[tokio::test]
async fn a_client_of_this_machine_keeps_its_place_whoever_else_wants_it() {
    let connections =
        ConnectionLimits { total: 8, reserved_for_local: 4, per_peer: 8, ..OPTIONS.connections };
    let server = Server::start(ServerOptions { connections, ..OPTIONS }).await;
    let mut own = server.connect("127.0.0.1").await;
    own.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\n12")
        .await
        .unwrap();
    let attack = drip(&server, &["127.0.0.2", "127.0.0.3"], 8);
    until_full(&server, "127.0.0.4").await;
    // It is by far the slowest meanwhile.
    for _ in 0..5 {
        server.assert_prompt("127.0.0.5").await;
    }
    own.write_all(b"34").await.unwrap();
    assert!(read_to_end(&mut own).await.contains("POST /x 1234"));
    drop(attack);
}

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_ends_the_connection() {
    let server = Server::start(ServerOptions { head_timeout: Duration::from_secs(2), ..OPTIONS }).await;
    let mut silent = server.connect("127.0.0.2").await;
    read_to_end(&mut silent).await;
    // A byte now and then does not prolong it.
    let mut slow = server.connect("127.0.0.2").await;
    let begun = Instant::now();
    slow.write_all(b"GET / HTTP/1.1\r\nX-A: ").await.unwrap();
    while slow.write_all(b"a").await.is_ok() {
        assert!(begun.elapsed() < LIMIT, "it is never closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Neither does a connection live on after a response.
    let mut kept = server.connect("127.0.0.2").await;
    kept.write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut kept).await.contains("GET /ok"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let options = ServerOptions { write_timeout: Duration::from_millis(300), ..OPTIONS };
    let server = Server::start(options).await;
    let mut stream = server.connect("127.0.0.2").await;
    let begun = Instant::now();
    let body = "y".repeat(4_000_000);
    let request = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n{body}");
    while timeout(LIMIT, stream.write_all(request.as_bytes())).await.expect("it is closed").is_ok() {
        assert!(begun.elapsed() < LIMIT, "it is never closed");
    }
}

#[tokio::test]
async fn requests_that_two_programs_could_read_differently_are_refused_or_read_in_one_way() {
    let server = Server::start(OPTIONS).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for head in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 5x",
        "Content-Length : 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding\u{b}: chunked",
        " Transfer-Encoding: chunked",
        "X: a\r\n Content-Length: 5",
        "X: a\u{0}b",
    ] {
        let text = format!("POST /first HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}");
        let answer = server.send("127.0.0.2", text.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("200 OK"), "{head:?}: {answer}");
    }
    // HTTP/1.0 has no transfer encodings.
    let old =
        format!("POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}");
    let answer = server.send("127.0.0.2", old.as_bytes()).await;
    assert!(answer.contains(" 400 ") && !answer.contains("/smuggled"), "{answer}");
    // Both lengths: the encoding decides, and nothing that follows is read (RFC 9112, 6.1), in either order.
    for (one, two) in [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
    ] {
        let text = format!(
            "POST /first HTTP/1.1\r\nHost: a\r\n{one}\r\n{two}\r\n\r\n5\r\nwhole\r\n0\r\n\r\n\
             GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let answer = server.send("127.0.0.2", text.as_bytes()).await;
        assert!(answer.contains("POST /first whole") && !answer.contains("/second"), "{answer}");
    }
}

#[tokio::test]
async fn heads_without_end_and_other_protocols_are_refused_at_once() {
    let server = Server::start(OPTIONS).await;
    let many: String = (0..10_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let big = format!("X-Big: {}\r\n", "x".repeat(1 << 20));
    for header in [many, big] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n");
        let answer = server.send("127.0.0.2", text.as_bytes()).await;
        // Empty: the server has closed while the client was still sending.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer:.200}");
    }
    for text in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
    ] {
        let begun = Instant::now();
        let answer = server.send("127.0.0.2", text).await;
        assert!(!answer.contains("200 OK") && begun.elapsed() < PROMPT, "{answer:.200}");
    }
    server.assert_prompt("127.0.0.2").await;
}
