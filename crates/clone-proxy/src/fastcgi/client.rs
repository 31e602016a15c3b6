//! Sends a request to php-fpm and reads the response.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use wpclone_http_server::Lag;

use super::PhpSocket;
use super::record::{self, END_REQUEST, HEADER_BYTES, MAX_CONTENT_BYTES, STDERR, STDIN, STDOUT};

/// The most bytes of a response's head, and the most headers in it.
const MAX_HEAD_BYTES: usize = 128 << 10;
const MAX_HEADERS: usize = 256;

/// When php-fpm is woken, each counted from the one before.
///
/// With `pm = ondemand` it is told once of each connection. It starts no process while there is one that is idle, also when it has
/// just told that one to end: then nobody accepts the connection until another one comes
/// (<https://github.com/php/php-src/pull/1308>).
const WAKE_PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The parameters of a request: name and value.
pub type Params = Vec<(String, Vec<u8>)>;

/// How long the parts of an exchange may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until php-fpm accepts the connection.
    pub connect: Duration,
    /// Until the response's head has arrived, counted from the end of the request's body.
    pub head: Duration,
    /// Between two chunks of either body. That far PHP may be behind `body_bytes_per_second` as well.
    pub chunk: Duration,
    /// The least speed at which PHP has to take the request's body.
    pub body_bytes_per_second: u32,
    /// Until the response has ended, counted from its head.
    pub response: Duration,
}

/// PHP's response. The body is streamed.
pub struct FastCgiResponse {
    /// From `Status`, or by RFC 3875, 6.2.
    pub status: StatusCode,
    /// All headers but `Status`.
    pub headers: HeaderMap,
    /// The body. A connection that breaks is an error in it, so that nobody takes half a page for a whole one.
    pub body: Body,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum FastCgiError {
    /// php-fpm does not accept connections.
    #[error("php-fpm does not accept connections: {0}")]
    Connect(io::Error),
    /// A timeout.
    #[error("PHP did not respond in time")]
    Timeout,
    /// The response is not valid.
    #[error("PHP's response is not valid: {0}")]
    Protocol(&'static str),
    /// The connection broke.
    #[error("the connection to php-fpm broke: {0}")]
    Io(#[from] io::Error),
}

/// Sends a request and waits for the head of the response. `body` must be as long as `CONTENT_LENGTH` says.
///
/// # Errors
/// php-fpm cannot be reached, PHP is too slow, or its response is not valid.
pub async fn request(
    socket: &PhpSocket,
    params: &[(String, Vec<u8>)],
    body: Body,
    timeouts: Timeouts,
) -> Result<FastCgiResponse, FastCgiError> {
    let connected = timeout(timeouts.connect, socket.connect()).await;
    let stream = connected.map_err(|_| FastCgiError::Timeout)?.map_err(FastCgiError::Connect)?;
    let (reading, writing) = stream.into_split();
    let begin = record::begin_request(params).freeze();
    // Concurrently, because PHP may respond before it has read everything.
    let (is_sending, was_sent) = oneshot::channel::<()>();
    let sending = AbortOnDropHandle::new(tokio::spawn(async move {
        let _is_sending = is_sending;
        send(writing, begin, body, timeouts).await;
    }));
    let mut records = Records { from: reading, buffer: BytesMut::with_capacity(16 << 10), ended: false };
    let mut head = BytesMut::new();
    // Of the whole head, from when the request was sent: it may come in any number of parts.
    let deadline = async {
        let _ = was_sent.await;
        sleep(timeouts.head).await;
    };
    let waking = wake(socket);
    tokio::pin!(deadline, waking);
    let rest = loop {
        let part = tokio::select! {
            part = records.next() => part?.ok_or(FastCgiError::Protocol("it has no head"))?,
            () = &mut deadline => return Err(FastCgiError::Timeout),
            never = &mut waking => match never {},
        };
        let before = head.len();
        head.extend_from_slice(&part);
        if let Some((end, body)) = end_of_head(&head, before) {
            let rest = head.split_off(body).freeze();
            head.truncate(end);
            break rest;
        }
        if head.len() > MAX_HEAD_BYTES {
            return Err(FastCgiError::Protocol("its head is too long"));
        }
    };
    let (status, headers) = parse_head(&head)?;
    let chunks = chunks(records, rest, timeouts, sending);
    Ok(FastCgiResponse { status, headers, body: Body::from_stream(chunks) })
}

/// Opens connections and closes them again, so that php-fpm looks for one that nobody has accepted. See [`WAKE_PAUSES`].
async fn wake(socket: &PhpSocket) -> Infallible {
    for pause in WAKE_PAUSES {
        sleep(pause).await;
        let _ = timeout(pause, socket.connect()).await;
    }
    pending().await
}

/// Writes a request. PHP may close before it has read everything; the response tells more, so that is only logged.
async fn send(mut to: OwnedWriteHalf, begin: Bytes, body: Body, timeouts: Timeouts) {
    let (limit, mut lag) = (timeouts.chunk, Lag::new(timeouts.body_bytes_per_second));
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let sent: io::Result<()> = async {
        timeout(limit, to.write_all(&begin)).await.map_err(late)??;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = timeout(limit, chunks.next()).await.map_err(late)? {
            let chunk = chunk.map_err(io::Error::other)?;
            for piece in chunk.chunks(MAX_CONTENT_BYTES) {
                let record = async {
                    to.write_all(&record::header(STDIN, piece.len())).await?;
                    to.write_all(piece).await
                };
                let begun = Instant::now();
                timeout(limit.saturating_sub(lag.behind()), record).await.map_err(late)??;
                lag.add_wait(begun.elapsed());
                lag.add_bytes(piece.len());
            }
        }
        // Only a complete body is ended: a broken one must not look complete to PHP.
        to.write_all(&record::header(STDIN, 0)).await?;
        Ok(())
    }
    .await;
    match sent {
        // Dropping this half would close the connection for writing, which php-fpm takes for an abort.
        Ok(()) => to.forget(),
        Err(error) => tracing::debug!(%error, "a request to PHP was not sent completely"),
    }
}

/// The body's chunks, until PHP ends it.
fn chunks(
    records: Records,
    rest: Bytes,
    timeouts: Timeouts,
    sending: AbortOnDropHandle<()>,
) -> impl Stream<Item = Result<Bytes, FastCgiError>> {
    let end = Instant::now() + timeouts.response;
    let first = futures_util::stream::iter((!rest.is_empty()).then_some(Ok(rest)));
    let others = futures_util::stream::unfold(Some((records, sending)), move |state| async move {
        let (mut records, sending) = state?;
        if Instant::now() >= end {
            return Some((Err(FastCgiError::Timeout), None));
        }
        match timeout_at(end.min(Instant::now() + timeouts.chunk), records.next()).await {
            Err(_) => Some((Err(FastCgiError::Timeout), None)),
            Ok(Err(error)) => Some((Err(error), None)),
            Ok(Ok(None)) => None,
            Ok(Ok(Some(part))) => Some((Ok(part), Some((records, sending)))),
        }
    });
    first.chain(others)
}

/// The records that php-fpm sends.
struct Records {
    from: OwnedReadHalf,
    buffer: BytesMut,
    ended: bool,
}

impl Records {
    /// The next chunk of PHP's output; `None` at its end. Cancel safe.
    async fn next(&mut self) -> Result<Option<Bytes>, FastCgiError> {
        loop {
            // Records that have arrived are read without waiting, and others have to run meanwhile.
            tokio::task::coop::consume_budget().await;
            if self.ended {
                return Ok(None);
            }
            let Some((kind, content)) = self.decode()? else {
                if self.from.read_buf(&mut self.buffer).await? == 0 {
                    return Err(FastCgiError::Protocol("it breaks off"));
                }
                continue;
            };
            match kind {
                STDOUT if !content.is_empty() => return Ok(Some(content)),
                STDERR if !content.is_empty() => {
                    let text = String::from_utf8_lossy(&content[..content.len().min(1000)]).into_owned();
                    tracing::debug!(text, "PHP wrote to standard error");
                }
                END_REQUEST => self.ended = true,
                _ => {}
            }
        }
    }

    /// A complete record from the buffer.
    fn decode(&mut self) -> Result<Option<(u8, Bytes)>, FastCgiError> {
        let Some(head) = self.buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        if head[0] != record::VERSION {
            return Err(FastCgiError::Protocol("it has another version"));
        }
        let kind = head[1];
        let content = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let padding = usize::from(head[6]);
        if self.buffer.len() < HEADER_BYTES + content + padding {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let bytes = self.buffer.split_to(content).freeze();
        self.buffer.advance(padding);
        Ok(Some((kind, bytes)))
    }
}

/// Where the head ends, and where the body begins. The first `before` bytes have been searched already: PHP may send each
/// byte in a record of its own.
fn end_of_head(bytes: &[u8], before: usize) -> Option<(usize, usize)> {
    let from = before.saturating_sub(3);
    let new = &bytes[from..];
    let crlf = new.windows(4).position(|w| w == b"\r\n\r\n").map(|at| (from + at, from + at + 4));
    let lf = new.windows(2).position(|w| w == b"\n\n").map(|at| (from + at, from + at + 2));
    [crlf, lf].into_iter().flatten().min()
}

/// Parses a CGI head: headers, perhaps with `Status` among them. Lines that are not headers are skipped.
fn parse_head(head: &[u8]) -> Result<(StatusCode, HeaderMap), FastCgiError> {
    let (mut status, mut headers) = (None, HeaderMap::new());
    for line in head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"status") {
            let code = value.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let code = StatusCode::from_bytes(code).ok().filter(|s| !s.is_informational());
            status = Some(code.ok_or(FastCgiError::Protocol("its status is not a status code"))?);
        } else if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            if headers.len() >= MAX_HEADERS {
                return Err(FastCgiError::Protocol("it has too many headers"));
            }
            headers.append(name, value);
        }
    }
    // RFC 3875, 6.2.3: a Location without a status is a redirect.
    let redirect = headers.contains_key(http::header::LOCATION);
    let status = status.unwrap_or(if redirect { StatusCode::FOUND } else { StatusCode::OK });
    Ok((status, headers))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::net::{UnixListener, UnixStream};
    use tokio::time::sleep;

    use super::*;

    /// How long anything may take.
    const LIMIT: Duration = Duration::from_secs(120);
    const QUICK: Timeouts = Timeouts {
        connect: LIMIT,
        head: LIMIT,
        chunk: Duration::from_millis(300),
        body_bytes_per_second: 4 << 20,
        response: Duration::from_millis(500),
    };

    /// What a clone's program can do that listens in place of php-fpm: `serve` has the only connection, until the handle is
    /// dropped.
    async fn ask<F: Future<Output = ()> + Send + 'static>(
        body: Body,
        timeouts: Timeouts,
        serve: impl FnOnce(UnixStream) -> F,
    ) -> (Result<FastCgiResponse, FastCgiError>, AbortOnDropHandle<()>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("php.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = PhpSocket { path, uid: rustix::process::geteuid().as_raw() };
        let params = Params::new();
        let asked = request(&socket, &params, body, timeouts);
        tokio::pin!(asked);
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = &mut asked => panic!("it was not asked"),
        };
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(accepted)));
        (timeout(LIMIT, asked).await.expect("a response, or an error"), serving)
    }

    /// Reads 64 KiB, and waits for less than a chunk may take.
    async fn read_slowly(mut stream: UnixStream) {
        let mut record = vec![0; 64 << 10];
        while stream.read_exact(&mut record).await.is_ok() {
            sleep(QUICK.chunk / 3).await;
        }
    }

    /// Sends a head without an end, a byte now and then.
    async fn drip_head(mut stream: UnixStream) {
        let byte = [&record::header(STDOUT, 1)[..], b"x"].concat();
        while stream.write_all(&byte).await.is_ok() {
            sleep(QUICK.chunk / 10).await;
        }
    }

    /// Sends a response's head, and a byte now and then.
    async fn drip(mut stream: UnixStream) {
        let head = b"Status: 200\r\n\r\n";
        let begin = [&record::header(STDOUT, head.len())[..], head].concat();
        let byte = [&record::header(STDOUT, 1)[..], b"x"].concat();
        let mut sent = stream.write_all(&begin).await;
        while sent.is_ok() {
            sleep(QUICK.chunk / 10).await;
            sent = stream.write_all(&byte).await;
        }
    }

    #[tokio::test]
    async fn a_program_that_reads_a_body_slowly_does_not_keep_it() {
        // 16 MiB that tell when they are dropped.
        let (kept, dropped) = tokio::sync::oneshot::channel::<()>();
        let chunks = futures_util::stream::iter(std::iter::repeat_n(Bytes::from(vec![0; 64 << 10]), 256));
        let chunks = chunks.map(move |chunk| {
            let _kept = &kept;
            Ok::<_, io::Error>(chunk)
        });
        let (asked, _serving) = ask(Body::from_stream(chunks), QUICK, read_slowly).await;
        assert!(asked.is_err());
        assert!(timeout(LIMIT, dropped).await.expect("the body is dropped").is_err());
    }

    /// Plays php-fpm that was not told of the first connection.
    #[tokio::test]
    async fn a_connection_that_nobody_accepts_until_another_one_comes_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("php.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = PhpSocket { path, uid: rustix::process::geteuid().as_raw() };
        let params = Params::new();
        let serve = async {
            let first = listener.accept().await.unwrap().0;
            let (mut another, _) = listener.accept().await.unwrap();
            assert_eq!(another.read(&mut [0]).await.unwrap(), 0, "nothing is asked on it");
            drip(first).await;
        };
        let asked = timeout(LIMIT, request(&socket, &params, Body::empty(), QUICK));
        let response = tokio::select! {
            response = asked => response.expect("a response").unwrap(),
            () = serve => unreachable!("the response never ends"),
        };
        assert_eq!(response.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_response_that_never_ends_is_ended() {
        let (response, _serving) = ask(Body::empty(), QUICK, drip).await;
        let body = timeout(LIMIT, response.unwrap().body.collect()).await.expect("it is ended");
        assert!(
            body.unwrap_err().to_string().contains("in time"),
            "nobody takes half a page for a whole one"
        );
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_and_never_ends_is_given_up() {
        let timeouts = Timeouts { head: QUICK.chunk, ..QUICK };
        let (asked, _serving) = ask(Body::empty(), timeouts, drip_head).await;
        assert!(matches!(asked, Err(FastCgiError::Timeout)));
    }

    #[test]
    fn a_head_is_parsed_with_either_line_ending() {
        for text in ["Status: 404 Not Found\r\nX-A: b\r\n\r\nbody", "X-A:b\nStatus: 404\n\nbody"] {
            let (end, body) = end_of_head(text.as_bytes(), 0).unwrap();
            assert_eq!(
                end_of_head(text.as_bytes(), body - 1),
                Some((end, body)),
                "its last byte comes later"
            );
            assert_eq!(&text[body..], "body");
            let (status, headers) = parse_head(&text.as_bytes()[..end]).unwrap();
            assert_eq!((status.as_u16(), &headers["x-a"]), (404, &HeaderValue::from_static("b")));
        }
        assert_eq!(parse_head(b"Location: /x").unwrap().0, 302);
        assert_eq!(parse_head(b"not a header\r\nX-A: b").unwrap().1.len(), 1);
        for wrong in ["Status: 99", "Status: x", "Status: 100 Continue"] {
            assert!(parse_head(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
