//! Receives the body of a request: how much of it is kept where, and how long it may take.
//!
//! A body is received completely before PHP is asked. Otherwise slow clients would hold the few processes of a clone's
//! php-fpm, which moreover starts one process for several connections that come at once. Small bodies are kept in memory,
//! others in a temporary file without a name.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::io::ReaderStream;

use crate::pages;

/// The most bytes of a request's body. PHP's own limits must not be lower.
pub const MAX_BODY_BYTES: u64 = 128 << 20;
/// The most bytes of a body without Content-Length.
const MAX_UNSIZED_BYTES: u64 = 16 << 20;
/// The most bytes of a body that is kept in memory. How many there are at once is limited by the number of connections.
const MAX_SMALL_BYTES: u64 = 64 << 10;
/// The most bytes of all bodies in files.
const MAX_SPOOLED_BYTES: usize = 512 << 20;
/// How long a request waits for a permit.
pub(crate) const PERMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How fast a client has to send.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How long it may be silent in all.
    silence: Duration,
    /// What it has to send besides.
    bytes_per_second: u32,
}

const PACE: Pace = Pace { silence: Duration::from_secs(30), bytes_per_second: 32 << 10 };

/// The space that is left for bodies in files: a permit is a byte. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SpoolSpace(Arc<Semaphore>);

impl Default for SpoolSpace {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_SPOOLED_BYTES)))
    }
}

impl SpoolSpace {
    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::TooLarge)?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| BodyError::NoSpace)
    }
}

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
    #[error("the clone has too many uploads")]
    TooManyUploads,
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

/// Receives a body. `uploads` are the permits of the clone for bodies that are not small.
pub(crate) async fn receive(
    body: Incoming,
    uploads: &Semaphore,
    space: &SpoolSpace,
) -> Result<ReceivedBody, BodyError> {
    // The length by which the server reads the body. A header may say something else.
    let declared = hyper::body::Body::size_hint(&body).exact();
    let paced = PacedBody { body, received: 0, waited: Duration::ZERO, pace: PACE };
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
    waited: Duration,
    pace: Pace,
}

impl<B: hyper::body::Body<Data = Bytes> + Unpin> PacedBody<B> {
    /// The next bytes; `None` at the end.
    async fn next(&mut self, max: u64) -> Result<Option<Bytes>, BodyError> {
        loop {
            let begun = Instant::now();
            let left = self.pace.allowed(self.received).saturating_sub(self.waited);
            let frame = timeout(left, self.body.frame()).await.map_err(|_| BodyError::Late)?;
            self.waited += begun.elapsed();
            let Some(frame) = frame else { return Ok(None) };
            // A frame that is not data is a trailer.
            if let Ok(bytes) = frame.map_err(|_| BodyError::Broken)?.into_data() {
                self.received += bytes.len() as u64;
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
    async fn spool(mut self, max: u64, space: &SpoolSpace) -> Result<ReceivedBody, BodyError> {
        let failed = |error: std::io::Error| {
            tracing::warn!(%error, "the body of a request cannot be kept in a temporary file");
            BodyError::NoSpace
        };
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
        let mut file = File::from_std(file.map_err(std::io::Error::other).flatten().map_err(failed)?);
        let mut taken = space.take(0)?;
        while let Some(bytes) = self.next(max).await? {
            taken.merge(space.take(bytes.len())?);
            file.write_all(&bytes).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.rewind().await.map_err(failed)?;
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(move |chunk| {
            let _space = &taken;
            chunk
        });
        Ok(ReceivedBody { length: self.received, body: Body::from_stream(chunks) })
    }
}

impl Pace {
    /// How long a client that has sent so much may have taken.
    fn allowed(self, received: u64) -> Duration {
        self.silence + Duration::from_millis(received * 1000 / u64::from(self.bytes_per_second))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    const QUICK: Pace = Pace { silence: Duration::from_millis(200), bytes_per_second: 1000 };

    /// A body of these chunks; it never ends unless `ends`.
    fn body(
        chunks: &[&'static str],
        ends: bool,
    ) -> PacedBody<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Unpin> {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))).collect();
        let rest = if ends { stream::empty().boxed() } else { stream::pending().boxed() };
        let body = StreamBody::new(stream::iter(chunks).chain(rest));
        PacedBody { body, received: 0, waited: Duration::ZERO, pace: QUICK }
    }

    fn space(bytes: usize) -> SpoolSpace {
        SpoolSpace(Arc::new(Semaphore::new(bytes)))
    }

    #[test]
    fn a_client_may_be_silent_for_half_a_minute_and_has_to_send_32_kib_a_second() {
        assert_eq!(PACE.allowed(0), Duration::from_secs(30));
        assert_eq!(PACE.allowed(MAX_SMALL_BYTES), Duration::from_secs(32));
        assert_eq!(PACE.allowed(MAX_UNSIZED_BYTES), Duration::from_secs(30 + 512));
    }

    #[tokio::test]
    async fn a_silent_client_is_late_and_the_space_of_its_body_is_given_back() {
        let space = space(100);
        assert_eq!(body(&["abc"], false).collect(10).await.unwrap_err(), BodyError::Late);
        assert_eq!(body(&["abc"], false).spool(10, &space).await.unwrap_err(), BodyError::Late);
        assert_eq!(space.0.available_permits(), 100);
    }

    #[tokio::test]
    async fn all_bodies_in_files_together_have_a_limit() {
        let space = space(10);
        let one = body(&["abcd", "efg"], true).spool(100, &space).await.unwrap();
        assert_eq!((one.length, space.0.available_permits()), (7, 3));
        assert_eq!(body(&["ab", "cd"], true).spool(100, &space).await.unwrap_err(), BodyError::NoSpace);
        assert_eq!(space.0.available_permits(), 3);
        assert_eq!(one.body.collect().await.unwrap().to_bytes(), "abcdefg");
        assert_eq!(space.0.available_permits(), 10);
        assert_eq!(body(&["abcd", "efg"], true).spool(6, &space).await.unwrap_err(), BodyError::TooLarge);
        assert_eq!(body(&["abcd", "efg"], true).collect(6).await.unwrap_err(), BodyError::TooLarge);
        assert_eq!(space.0.available_permits(), 10);
    }
}
