//! Reports what a connection does: its requests, and whether its client sends and reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection_table::{Activity, RequestGuard};

/// A service whose requests count as in progress until their responses' bodies have ended.
pub(crate) struct TrackedService<S> {
    pub(crate) inner: S,
    pub(crate) activity: Activity,
}

impl<S, B> Service<Request<Incoming>> for TrackedService<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<TrackedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let guard = self.activity.request();
        let activity = self.activity.clone();
        let response = self.inner.call(request.map(|body| RequestBody { body, activity, is_blocked: false }));
        Box::pin(async move { Ok(response.await?.map(|body| TrackedBody { body, _guard: guard })) })
    }
}

/// The body of a request, as its client sends it.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    activity: Activity,
    /// Whether the client is waited for.
    is_blocked: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let bytes = match &frame {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if bytes > 0 || self.is_blocked != frame.is_pending() {
            self.is_blocked = frame.is_pending();
            self.activity.received(bytes, self.is_blocked);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.is_blocked {
            self.activity.received(0, false);
        }
    }
}

/// The body of a response that is in progress.
pub(crate) struct TrackedBody<B> {
    body: B,
    _guard: RequestGuard,
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that reports whether writing waits for the client.
pub(crate) struct TrackedStream {
    stream: TcpStream,
    activity: Activity,
    is_blocked: bool,
}

impl TrackedStream {
    pub(crate) fn new(stream: TcpStream, activity: Activity) -> Self {
        Self { stream, activity, is_blocked: false }
    }

    fn written(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let bytes = match &result {
            Poll::Ready(Ok(bytes)) => *bytes,
            _ => 0,
        };
        if bytes > 0 || self.is_blocked != result.is_pending() {
            self.is_blocked = result.is_pending();
            self.activity.wrote(bytes, self.is_blocked);
        }
        result
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
