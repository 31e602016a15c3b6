//! Asking php-fpm.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::record::{self, END_REQUEST, HEAD, MOST, STDERR, STDIN, STDOUT};

/// The most bytes of an answer's head, and the most headers in it.
const MOST_HEAD: usize = 128 << 10;
const MOST_HEADERS: usize = 256;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until php-fpm takes the connection.
    pub(crate) connect: Duration,
    /// Until the answer's head is there. The request's body counts as long as it moves.
    pub(crate) head: Duration,
    /// Between two parts of a body, either way.
    pub(crate) part: Duration,
}

/// What PHP answered. The body comes as PHP makes it.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("php-fpm does not take connections: {0}")]
    Connect(io::Error),
    #[error("PHP did not answer in time")]
    Late,
    #[error("the answer is no FastCGI: {0}")]
    Broken(&'static str),
    #[error("php-fpm broke the connection off: {0}")]
    Io(#[from] io::Error),
}

/// Sends a request and waits for the head of its answer. `body` must be as long as `CONTENT_LENGTH` says.
pub(crate) async fn ask(
    socket: &Path,
    params: &[(String, Vec<u8>)],
    body: Body,
    limits: Limits,
) -> Result<Answer, Fault> {
    let connected = timeout(limits.connect, UnixStream::connect(socket)).await;
    let stream = connected.map_err(|_| Fault::Late)?.map_err(Fault::Connect)?;
    let (reading, writing) = stream.into_split();
    let begin = record::begin(params).freeze();
    // Aside, since PHP may answer before it has read everything, or instead.
    let sending = AbortOnDropHandle::new(tokio::spawn(send(writing, begin, body, limits.part)));
    let mut records = Records { from: reading, buffer: BytesMut::with_capacity(16 << 10), ended: false };
    let mut head = BytesMut::new();
    let rest = loop {
        let part = match timeout(limits.head, records.next()).await {
            Err(_) if !sending.is_finished() => continue,
            Err(_) => return Err(Fault::Late),
            Ok(part) => part?.ok_or(Fault::Broken("it has no head"))?,
        };
        head.extend_from_slice(&part);
        if let Some((end, body)) = end_of_head(&head) {
            let rest = head.split_off(body).freeze();
            head.truncate(end);
            break rest;
        }
        if head.len() > MOST_HEAD {
            return Err(Fault::Broken("its head is too long"));
        }
    };
    let (status, headers) = read_head(&head)?;
    let parts = parts(records, rest, limits.part, sending);
    Ok(Answer { status, headers, body: Body::from_stream(parts) })
}

/// Writes a request. That PHP closes before it took everything is no fault: the answer tells more.
async fn send(mut to: OwnedWriteHalf, begin: Bytes, body: Body, limit: Duration) {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let sent: io::Result<()> = async {
        timeout(limit, to.write_all(&begin)).await.map_err(late)??;
        let mut parts = body.into_data_stream();
        while let Some(part) = timeout(limit, parts.next()).await.map_err(late)? {
            let part = part.map_err(io::Error::other)?;
            for piece in part.chunks(MOST) {
                let record = async {
                    to.write_all(&record::head(STDIN, piece.len())).await?;
                    to.write_all(piece).await
                };
                timeout(limit, record).await.map_err(late)??;
            }
        }
        // Only a whole body is ended: one that broke off must not look whole to PHP.
        to.write_all(&record::head(STDIN, 0)).await?;
        Ok(())
    }
    .await;
    match sent {
        // Dropping this half would close the connection for writing, which php-fpm takes for an abort.
        Ok(()) => to.forget(),
        Err(error) => tracing::debug!(%error, "a request was not sent whole"),
    }
}

/// The body's parts, until PHP ends it. A connection that breaks before is an error, so that nobody takes half a page
/// for a whole one.
fn parts(
    records: Records,
    rest: Bytes,
    limit: Duration,
    sending: AbortOnDropHandle<()>,
) -> impl Stream<Item = Result<Bytes, Fault>> {
    let first = futures_util::stream::iter((!rest.is_empty()).then_some(Ok(rest)));
    let others = futures_util::stream::unfold(Some((records, sending)), move |state| async move {
        let (mut records, sending) = state?;
        match timeout(limit, records.next()).await {
            Err(_) => Some((Err(Fault::Late), None)),
            Ok(Err(fault)) => Some((Err(fault), None)),
            Ok(Ok(None)) => None,
            Ok(Ok(Some(part))) => Some((Ok(part), Some((records, sending)))),
        }
    });
    first.chain(others)
}

/// What comes from php-fpm.
struct Records {
    from: OwnedReadHalf,
    buffer: BytesMut,
    ended: bool,
}

impl Records {
    /// The next part of PHP's output; `None` at its end. May be dropped while it waits.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some((kind, content)) = self.take()? else {
                if self.from.read_buf(&mut self.buffer).await? == 0 {
                    return Err(Fault::Broken("it breaks off"));
                }
                continue;
            };
            match kind {
                STDOUT if !content.is_empty() => return Ok(Some(content)),
                STDERR if !content.is_empty() => {
                    let text = String::from_utf8_lossy(&content[..content.len().min(1000)]).into_owned();
                    tracing::debug!(text, "PHP complains");
                }
                END_REQUEST => self.ended = true,
                _ => {}
            }
        }
    }

    /// A whole record from the buffer.
    fn take(&mut self) -> Result<Option<(u8, Bytes)>, Fault> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        if head[0] != record::VERSION {
            return Err(Fault::Broken("it has another version"));
        }
        let kind = head[1];
        let content = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let padding = usize::from(head[6]);
        if self.buffer.len() < HEAD + content + padding {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let bytes = self.buffer.split_to(content).freeze();
        self.buffer.advance(padding);
        Ok(Some((kind, bytes)))
    }
}

/// Where a head ends, and where its body begins.
fn end_of_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let crlf = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| (at, at + 4));
    let lf = bytes.windows(2).position(|w| w == b"\n\n").map(|at| (at, at + 2));
    [crlf, lf].into_iter().flatten().min()
}

/// A CGI head: headers, among them perhaps `Status`. Lines that are no headers are left out.
fn read_head(head: &[u8]) -> Result<(StatusCode, HeaderMap), Fault> {
    let (mut status, mut headers) = (None, HeaderMap::new());
    for line in head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"status") {
            let code = value.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let code = StatusCode::from_bytes(code).ok().filter(|s| !s.is_informational());
            status = Some(code.ok_or(Fault::Broken("it has a status that is none"))?);
        } else if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            if headers.len() >= MOST_HEADERS {
                return Err(Fault::Broken("it has too many headers"));
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
    use super::*;

    #[test]
    fn a_head_is_read_with_either_line_end() {
        for text in ["Status: 404 Not Found\r\nX-A: b\r\n\r\nbody", "X-A:b\nStatus: 404\n\nbody"] {
            let (end, body) = end_of_head(text.as_bytes()).unwrap();
            assert_eq!(&text[body..], "body");
            let (status, headers) = read_head(&text.as_bytes()[..end]).unwrap();
            assert_eq!((status.as_u16(), &headers["x-a"]), (404, &HeaderValue::from_static("b")));
        }
        assert_eq!(read_head(b"Location: /x").unwrap().0, 302);
        assert_eq!(read_head(b"not a header\r\nX-A: b").unwrap().1.len(), 1);
        for wrong in ["Status: 99", "Status: x", "Status: 100 Continue"] {
            assert!(read_head(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
