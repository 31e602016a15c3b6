//! Connections to the driver whose answers are bounded: what a page's scripts return comes through them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

/// The most bytes of one answer. Pictures have some 300 KB, pages that we ask for at most 4 MiB in base64.
const MAX_ANSWER: usize = 16 << 20;

/// Connects as `HttpConnector` does.
#[derive(Clone)]
pub(super) struct LimitedConnector(HttpConnector);

impl LimitedConnector {
    pub(super) fn new() -> Self {
        Self(HttpConnector::new())
    }
}

impl Service<http::Uri> for LimitedConnector {
    type Response = TokioIo<Limited>;
    type Error = <HttpConnector as Service<http::Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: http::Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async {
            Ok(TokioIo::new(Limited { stream: connecting.await?.into_inner(), left: MAX_ANSWER }))
        })
    }
}

/// A connection that breaks when more than [`MAX_ANSWER`] bytes come after the last that went.
pub(super) struct Limited {
    stream: TcpStream,
    left: usize,
}

impl Connection for Limited {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match self.left.checked_sub(buf.filled().len() - before) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("a response of the driver is too large"))),
        }
        read
    }
}

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.left = MAX_ANSWER;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
