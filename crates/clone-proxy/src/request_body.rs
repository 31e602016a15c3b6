//! Receives the body of a request: how much of it is kept where, and how long it may take.
//!
//! A body is received completely before PHP is asked. Otherwise slow clients would hold the few processes of a clone's
//! php-fpm, which moreover starts one process for several connections that come at once. Small bodies are kept in memory,
//! others in a temporary file without a name.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::io::ReaderStream;
use wpclone_http_server::{Lag, MIN_BYTES_PER_SECOND, RequestBody};

use crate::pages;
use crate::spool_space::{NoSpace, TakenSpace};

/// The most bytes of a request's body. PHP's own limits must not be lower.
pub const MAX_BODY_BYTES: u64 = 128 << 20;
/// The most bytes of a body without Content-Length.
const MAX_UNSIZED_BYTES: u64 = 16 << 20;
/// The most bytes of a body that is kept in memory. How many there are at once is limited by the number of connections.
const MAX_SMALL_BYTES: u64 = 64 << 10;
/// How long a request waits for a permit.
pub(crate) const PERMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How far a client may be behind [`MIN_BYTES_PER_SECOND`]: that long it may be silent at once, whatever it has sent before.
const MAX_LAG: Duration = Duration::from_secs(30);

/// A complete body.
#[derive(Debug)]
pub(crate) struct ReceivedBody {
    pub(crate) length: u64,
    pub(crate) body: Body,
}

/// Why a body was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("it is too large")]
    TooLarge,
    #[error("the client is too slow")]
    Late,
    #[error("the connection broke")]
    Broken,
    #[error("there is no space left for it")]
    NoSpace,
    #[error("the clone has too many uploads, or too large ones")]
    TooManyUploads,
}

impl From<NoSpace> for BodyError {
    fn from(why: NoSpace) -> Self {
        match why {
            NoSpace::OfAll => Self::NoSpace,
            NoSpace::OfClone => Self::TooManyUploads,
        }
    }
}

impl BodyError {
    pub(crate) fn page(self) -> Response {
        match self {
            Self::TooLarge => pages::page(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request's body is larger than a clone accepts.",
            ),
            Self::Late => {
                pages::closing(StatusCode::REQUEST_TIMEOUT, "The request's body did not arrive in time.")
            }
            Self::Broken => pages::closing(StatusCode::BAD_REQUEST, "The request's body is incomplete."),
            Self::NoSpace => pages::busy("Too many uploads are being received at once."),
            Self::TooManyUploads => pages::busy("This clone has too many uploads at once."),
        }
    }
}

/// Receives a body. `uploads` are the permits of the clone for bodies that are not small, `space` is where those are kept.
pub(crate) async fn receive(
    body: RequestBody,
    uploads: &Semaphore,
    space: TakenSpace,
) -> Result<ReceivedBody, BodyError> {
    // The length by which the server reads the body. A header may say something else.
    let declared = hyper::body::Body::size_hint(&body).exact();
    let paced = PacedBody { body, received: 0, lag: Lag::new(MIN_BYTES_PER_SECOND), max_lag: MAX_LAG };
    match declared {
        Some(length) if length > MAX_BODY_BYTES => Err(BodyError::TooLarge),
        Some(length) if length <= MAX_SMALL_BYTES => paced.collect(MAX_SMALL_BYTES).await,
        _ => {
            let permit = timeout(PERMIT_TIMEOUT, uploads.acquire()).await;
            let _permit = permit.ok().and_then(Result::ok).ok_or(BodyError::TooManyUploads)?;
            let max = if declared.is_some() { MAX_BODY_BYTES } else { MAX_UNSIZED_BYTES };
            paced.spool(max, space).await
        }
    }
}

/// A body whose client has to keep a pace. Time that the proxy takes does not count.
struct PacedBody<B> {
    body: B,
    received: u64,
    lag: Lag,
    max_lag: Duration,
}

impl<B: hyper::body::Body<Data = Bytes> + Unpin> PacedBody<B> {
    /// The next bytes; `None` at the end.
    async fn next(&mut self, max: u64) -> Result<Option<Bytes>, BodyError> {
        loop {
            let begun = Instant::now();
            let left = self.max_lag.saturating_sub(self.lag.behind());
            let frame = timeout(left, self.body.frame()).await.map_err(|_| BodyError::Late)?;
            self.lag.add_wait(begun.elapsed());
            let Some(frame) = frame else { return Ok(None) };
            // A frame that is not data is a trailer.
            if let Ok(bytes) = frame.map_err(|_| BodyError::Broken)?.into_data() {
                self.received += bytes.len() as u64;
                self.lag.add_bytes(bytes.len());
                return if self.received > max { Err(BodyError::TooLarge) } else { Ok(Some(bytes)) };
            }
        }
    }

    /// The whole body, in memory.
    async fn collect(mut self, max: u64) -> Result<ReceivedBody, BodyError> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next(max).await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(ReceivedBody { length: self.received, body: Body::from(whole) })
    }

    /// The whole body, in a file that takes its space until the body is dropped.
    async fn spool(mut self, max: u64, mut space: TakenSpace) -> Result<ReceivedBody, BodyError> {
        let failed = |error: std::io::Error| {
            tracing::warn!(%error, "the body of a request cannot be kept in a temporary file");
            BodyError::NoSpace
        };
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
        let mut file = File::from_std(file.map_err(std::io::Error::other).flatten().map_err(failed)?);
        while let Some(bytes) = self.next(max).await? {
            space.grow(bytes.len())?;
            file.write_all(&bytes).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.rewind().await.map_err(failed)?;
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(move |chunk| {
            let _taken = &space;
            chunk
        });
        Ok(ReceivedBody { length: self.received, body: Body::from_stream(chunks) })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;
    use crate::spool_space::SpoolSpace;

    /// How long anything may take.
    const LIMIT: Duration = Duration::from_secs(120);

    /// A body of these chunks, one each `pause`; it never ends unless `ends`.
    fn body_with_pauses(
        chunks: Vec<Bytes>,
        pause: Duration,
        ends: bool,
    ) -> PacedBody<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Unpin> {
        let chunks = stream::iter(chunks).then(move |chunk| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(chunk))
        });
        let rest = if ends { stream::empty().boxed() } else { stream::pending().boxed() };
        let body = StreamBody::new(chunks.chain(rest).boxed());
        PacedBody { body, received: 0, lag: Lag::new(1000), max_lag: Duration::from_millis(200) }
    }

    fn body(
        chunks: &[&'static str],
        ends: bool,
    ) -> PacedBody<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Unpin> {
        let chunks = chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect();
        body_with_pauses(chunks, Duration::ZERO, ends)
    }

    fn of_clone(space: &SpoolSpace, n: u32) -> TakenSpace {
        space.begin(&format!("clone-20261130-00000{n}-abcdef").parse().unwrap())
    }

    #[tokio::test]
    async fn a_silent_client_is_late_and_the_space_of_its_body_is_given_back() {
        let space = SpoolSpace::new(100);
        assert_eq!(body(&["abc"], false).collect(10).await.unwrap_err(), BodyError::Late);
        let spooled = body(&["abc"], false).spool(10, of_clone(&space, 1));
        assert_eq!(spooled.await.unwrap_err(), BodyError::Late);
        assert_eq!(space.free(), 100);
    }

    #[tokio::test]
    async fn a_client_that_has_sent_much_may_not_be_silent_for_longer() {
        let much = 1 << 20;
        let space = SpoolSpace::new(4 * much as u64);
        // At the least speed it could have taken a quarter of an hour.
        for (rest, pause) in [(0, Duration::ZERO), (10_000, Duration::from_millis(50))] {
            // Then it is silent, or sends a byte now and then.
            let mut chunks = vec![Bytes::from(vec![0; much])];
            chunks.extend(std::iter::repeat_n(Bytes::from_static(b"x"), rest));
            let spooled = body_with_pauses(chunks, pause, false).spool(u64::MAX, of_clone(&space, 1));
            let spooled = timeout(LIMIT, spooled).await.expect("it is ended");
            assert_eq!(spooled.unwrap_err(), BodyError::Late);
            assert_eq!(space.free(), 4 * much as u64);
        }
    }

    #[tokio::test]
    async fn the_bodies_of_one_clone_leave_space_to_those_of_others() {
        let space = SpoolSpace::new(512);
        let chunk: &str = "x".repeat(64).leak();
        let mut of_one = Vec::new();
        for _ in 0..4 {
            of_one.push(body(&[chunk], true).spool(100, of_clone(&space, 1)).await.unwrap());
        }
        let fifth = body(&[chunk], true).spool(100, of_clone(&space, 1)).await;
        assert_eq!(fifth.unwrap_err(), BodyError::TooManyUploads);
        let other = body(&[chunk, chunk], true).spool(200, of_clone(&space, 2)).await.unwrap();
        assert_eq!((other.length, space.free()), (128, 128));
    }

    #[tokio::test]
    async fn all_bodies_in_files_together_have_a_limit() {
        let space = SpoolSpace::new(10);
        let one = body(&["abcd", "e"], true).spool(100, of_clone(&space, 1)).await.unwrap();
        assert_eq!((one.length, space.free()), (5, 5));
        let two = body(&["ab", "cdef"], true).spool(100, of_clone(&space, 2)).await;
        assert_eq!(two.unwrap_err(), BodyError::NoSpace);
        assert_eq!(space.free(), 5);
        assert_eq!(one.body.collect().await.unwrap().to_bytes(), "abcde");
        assert_eq!(space.free(), 10);
        let large = body(&["abcd", "e"], true).spool(4, of_clone(&space, 1)).await;
        assert_eq!(large.unwrap_err(), BodyError::TooLarge);
        assert_eq!(body(&["abcd", "efg"], true).collect(6).await.unwrap_err(), BodyError::TooLarge);
        assert_eq!(space.free(), 10);
    }
}
