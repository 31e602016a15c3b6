//! Connections to the driver whose answers are bounded: what a page's scripts return comes through them.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

/// The most bytes of one answer. Pictures have some 300 KB, pages that we ask for at most 4 MiB in base64.
const MAX_ANSWER: usize = 8 << 20;
/// The most parts of one answer: a list or an object takes up to a thousand bytes of memory and counts as [`PARTS_OF_LIST`],
/// what follows a comma some dozens. A page can have our scripts return what it likes. Pages of 1 MiB with much code have some ten
/// thousand lists.
const MAX_PARTS: usize = 1 << 20;
const PARTS_OF_LIST: usize = 8;

/// Where a driver listens.
#[derive(Debug, Clone)]
pub(super) enum DriverEndpoint {
    /// At a port of loopback.
    Tcp { port: u16 },
    /// At a port of its own network namespace, behind a socket of this user.
    Unix { socket: PathBuf, port: u16, uid: u32 },
}

impl DriverEndpoint {
    /// The address of its WebDriver server, as the server knows itself.
    pub(super) fn url(&self) -> String {
        let (Self::Tcp { port } | Self::Unix { port, .. }) = self;
        format!("http://127.0.0.1:{port}")
    }

    async fn connect(&self) -> io::Result<Box<dyn DriverStream>> {
        Ok(match self {
            Self::Tcp { port } => Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?),
            Self::Unix { socket, uid, .. } => Box::new(connect_to_user(socket, *uid).await?),
        })
    }
}

/// Connects to a socket in a folder that a browser can write: follows no link, and sends nothing to another user.
async fn connect_to_user(socket: &Path, uid: u32) -> io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, socket, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&file)?;
    let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
    let stream = match is_socket && found.st_uid == uid {
        true => UnixStream::connect(format!("/proc/self/fd/{}", file.as_raw_fd())).await?,
        false => return Err(io::Error::other("the driver's socket is not the browser's")),
    };
    if stream.peer_cred()?.uid() != uid {
        return Err(io::Error::other("the driver's socket belongs to another user's program"));
    }
    Ok(stream)
}

pub(super) trait DriverStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> DriverStream for T {}

/// Connects to one driver, whatever the address of a request is.
#[derive(Clone)]
pub(super) struct LimitedConnector(DriverEndpoint);

impl LimitedConnector {
    pub(super) fn new(driver: DriverEndpoint) -> Self {
        Self(driver)
    }
}

impl Service<http::Uri> for LimitedConnector {
    type Response = TokioIo<Limited>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let driver = self.0.clone();
        Box::pin(async move {
            let stream = driver.connect().await?;
            Ok(TokioIo::new(Limited { stream, bytes_left: MAX_ANSWER, parts_left: MAX_PARTS }))
        })
    }
}

/// A connection that breaks when more than [`MAX_ANSWER`] bytes or [`MAX_PARTS`] come after the last byte that went.
pub(super) struct Limited {
    stream: Box<dyn DriverStream>,
    bytes_left: usize,
    parts_left: usize,
}

impl Limited {
    /// Counts what came; an error when it is too much.
    fn count(&mut self, came: &[u8]) -> io::Result<()> {
        let parts_of = |byte: &u8| match byte {
            b'{' | b'[' => PARTS_OF_LIST,
            b',' => 1,
            _ => 0,
        };
        let parts = came.iter().map(parts_of).sum();
        let left = self.bytes_left.checked_sub(came.len()).zip(self.parts_left.checked_sub(parts));
        (self.bytes_left, self.parts_left) =
            left.ok_or_else(|| io::Error::other("a response of the driver is too large"))?;
        Ok(())
    }
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
        self.count(&buf.filled()[before..])?;
        read
    }
}

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        (self.bytes_left, self.parts_left) = (MAX_ANSWER, MAX_PARTS);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_with_very_many_parts_breaks_its_connection() {
        let most_lists = MAX_PARTS / PARTS_OF_LIST;
        for (byte, parts, is_read) in [
            (b"[", most_lists, true),
            (b"[", most_lists + 1, false),
            (b",", MAX_PARTS, true),
            (b",", MAX_PARTS + 1, false),
        ] {
            let (mut driver, ours) = UnixStream::pair().unwrap();
            let mut ours = Limited { stream: Box::new(ours), bytes_left: MAX_ANSWER, parts_left: MAX_PARTS };
            let answers = tokio::spawn(async move {
                let mut question = [0; 1];
                for _ in 0..2 {
                    driver.read_exact(&mut question).await?;
                    driver.write_all(&byte.repeat(parts)).await?;
                }
                io::Result::Ok(())
            });
            let mut answer = vec![0; parts];
            for _ in 0..2 {
                ours.write_all(b"?").await.unwrap();
                let read = ours.read_exact(&mut answer).await;
                assert_eq!(read.is_ok(), is_read, "{parts}");
                if !is_read {
                    break;
                }
            }
            drop(ours);
            let _ = answers.await.unwrap();
        }
    }
}
