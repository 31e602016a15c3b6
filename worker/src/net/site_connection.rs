//! Connections of a proxy that can be restricted to one site: while a browser has the site's password, a redirect, a form
//! or a script must not send it anywhere else.

use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use url::Url;

use super::egress_policy::without_final_dot;
use super::normalize_host;

/// The first byte of a TLS connection: a record with a handshake (RFC 8446, section 5.1). No HTTP request begins so.
const TLS_HANDSHAKE: u8 = 22;

/// Where one site is: its host with `www.` and without, its port, and over http also its address with https.
#[derive(Debug, Clone)]
pub(super) struct SiteEndpoints {
    /// Without `www.`.
    host: String,
    /// Ports, and whether TLS is spoken there.
    ports: Vec<(u16, bool)>,
}

impl SiteEndpoints {
    pub(super) fn of(site: &Url) -> Self {
        let host = canonical_host(site.host_str().unwrap_or_default());
        let is_https = site.scheme() == "https";
        let mut ports: Vec<_> =
            site.port_or_known_default().map(|port| (port, is_https)).into_iter().collect();
        if !is_https {
            // The same address with https: a site at another port than http's has the same port there.
            ports.push((site.port().unwrap_or(443), true));
        }
        Self { host, ports }
    }

    /// Whether the site may be at this host and port.
    pub(super) fn are_at(&self, host: &str, port: u16) -> bool {
        self.host == canonical_host(host) && self.ports.iter().any(|(own, _)| *own == port)
    }

    /// The same for a connection on which TLS is spoken, or is not.
    fn include(&self, host: &str, port: u16, is_tls: bool) -> bool {
        self.are_at(host, port) && self.ports.contains(&(port, is_tls))
    }
}

fn canonical_host(host: &str) -> String {
    let host = without_final_dot(&normalize_host(host)).to_ascii_lowercase();
    host.strip_prefix("www.").map(str::to_owned).unwrap_or(host)
}

/// A connection to a site. Before each write it is checked whether a restriction forbids it.
pub(super) struct SiteConnection<'a> {
    stream: TcpStream,
    host: &'a str,
    port: u16,
    only_site: &'a OnceLock<SiteEndpoints>,
    /// Known from the first byte that is sent.
    is_tls: Option<bool>,
}

impl<'a> SiteConnection<'a> {
    pub(super) fn new(
        stream: TcpStream,
        host: &'a str,
        port: u16,
        only_site: &'a OnceLock<SiteEndpoints>,
    ) -> Self {
        Self { stream, host, port, only_site, is_tls: None }
    }
}

impl AsyncWrite for SiteConnection<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let is_tls = *this.is_tls.get_or_insert(bytes.first() == Some(&TLS_HANDSHAKE));
        if this.only_site.get().is_some_and(|site| !site.include(this.host, this.port, is_tls)) {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncRead for SiteConnection<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::{AllowedNetworks, EgressProxy};

    const HTTP: &[u8] = b"POST /steal HTTP/1.1\r\n\r\npwd=canary-password";
    const TLS: &[u8] = &[TLS_HANDSHAKE, 3, 1, 0, 5];

    fn endpoints(site: &str) -> SiteEndpoints {
        SiteEndpoints::of(&site.parse().unwrap())
    }

    #[test]
    fn a_site_is_at_its_own_port_with_www_or_without_and_at_https_but_never_back_at_http() {
        for (site, host, port, is_tls, expected) in [
            ("https://a.example", "a.example", 443, true, true),
            ("https://a.example", "www.A.example.", 443, true, true),
            ("https://www.a.example", "a.example", 443, true, true),
            ("https://a.example", "a.example", 443, false, false),
            ("https://a.example", "a.example", 80, false, false),
            ("https://a.example:8443", "a.example", 8443, true, true),
            ("https://a.example:8443", "a.example", 8443, false, false),
            ("https://a.example:8443", "a.example", 443, true, false),
            ("http://a.example", "a.example", 80, false, true),
            ("http://a.example", "a.example", 443, true, true),
            ("http://a.example", "a.example", 443, false, false),
            ("http://a.example", "a.example", 8080, false, false),
            ("http://a.example:8080", "a.example", 8080, false, true),
            ("http://a.example:8080", "a.example", 8080, true, true),
            ("http://a.example:8080", "a.example", 80, false, false),
            ("http://[::1]:8080", "0:0:0:0:0:0:0:1", 8080, false, true),
            ("http://a.example", "b.a.example", 80, false, false),
            ("http://a.example", "xa.example", 80, false, false),
        ] {
            assert_eq!(
                endpoints(site).include(host, port, is_tls),
                expected,
                "{site} {host}:{port} {is_tls}"
            );
        }
    }

    /// A server that counts the bytes that it receives, and closes connections never by itself.
    struct Recorder {
        port: u16,
        received: std::sync::Arc<parking_lot::Mutex<Vec<u8>>>,
        _serving: tokio_util::task::AbortOnDropHandle<()>,
    }

    impl Recorder {
        async fn start() -> Self {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let received = std::sync::Arc::<parking_lot::Mutex<Vec<u8>>>::default();
            let seen = std::sync::Arc::clone(&received);
            let serving = tokio::spawn(async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((mut stream, _)) = listener.accept().await {
                    let seen = std::sync::Arc::clone(&seen);
                    connections.spawn(async move {
                        let mut buffer = [0; 1024];
                        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                            seen.lock().extend_from_slice(&buffer[..length]);
                            if stream.write_all(b"!").await.is_err() {
                                return;
                            }
                        }
                    });
                }
            });
            Self { port, received, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
        }

        fn received(&self) -> Vec<u8> {
            self.received.lock().clone()
        }
    }

    /// Connects to 127.0.0.1 through the proxy; `None` if it refuses.
    async fn connect(proxy: &EgressProxy, port: u16) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(&[5, 1, 0]).await.unwrap();
        stream.read_exact(&mut [0; 2]).await.unwrap();
        let [high, low] = port.to_be_bytes();
        stream.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).await.unwrap();
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).await.unwrap();
        (reply[1] == 0).then_some(stream)
    }

    /// Sends something; whether it was answered, and the connection not closed instead.
    async fn is_answered(stream: &mut TcpStream, bytes: &[u8]) -> bool {
        stream.write_all(bytes).await.is_ok() && stream.read_exact(&mut [0]).await.is_ok()
    }

    async fn proxy() -> EgressProxy {
        let networks: AllowedNetworks = "127.0.0.0/8".parse().unwrap();
        EgressProxy::start(networks).await.unwrap()
    }

    #[tokio::test]
    async fn a_restricted_proxy_carries_nothing_to_another_site_over_open_connections_neither() {
        let (site, other) = (Recorder::start().await, Recorder::start().await);
        let proxy = proxy().await;
        let mut to_site = connect(&proxy, site.port).await.unwrap();
        let mut to_other = connect(&proxy, other.port).await.unwrap();
        let mut unused = connect(&proxy, other.port).await.unwrap();
        assert!(is_answered(&mut to_site, b"GET").await && is_answered(&mut to_other, b"GET").await);

        proxy.restrict_to(&format!("http://127.0.0.1:{}/blog", site.port).parse().unwrap());
        assert!(!is_answered(&mut to_other, HTTP).await && !is_answered(&mut unused, HTTP).await);
        assert!(connect(&proxy, other.port).await.is_none());
        assert_eq!(other.received(), b"GET");
        assert!(is_answered(&mut to_site, HTTP).await);
        assert!(is_answered(&mut connect(&proxy, site.port).await.unwrap(), HTTP).await);

        // It is not lifted.
        proxy.restrict_to(&format!("http://127.0.0.1:{}/", other.port).parse().unwrap());
        assert!(connect(&proxy, other.port).await.is_none());
    }

    #[tokio::test]
    async fn a_proxy_that_is_restricted_to_a_site_with_https_carries_only_tls() {
        let site = Recorder::start().await;
        let proxy = proxy().await;
        let mut plain = connect(&proxy, site.port).await.unwrap();
        assert!(is_answered(&mut plain, b"GET").await);
        proxy.restrict_to(&format!("https://127.0.0.1:{}/", site.port).parse().unwrap());
        let mut later = connect(&proxy, site.port).await.unwrap();
        assert!(!is_answered(&mut plain, HTTP).await && !is_answered(&mut later, HTTP).await);
        assert_eq!(site.received(), b"GET");
        assert!(is_answered(&mut connect(&proxy, site.port).await.unwrap(), TLS).await);
    }
}
