//! Stub HTTP servers for responses that no WordPress sends.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, StatusCode};
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Result;

/// A server on a free loopback port. Dropping it ends it.
#[derive(Debug)]
pub struct Stub {
    port: u16,
    task: JoinHandle<()>,
}

impl Stub {
    /// Serves this.
    ///
    /// # Errors
    /// No port.
    pub async fn start(routes: Router) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        // Ends when it is aborted; an error of one connection ends that connection only.
        let task = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(Self { port, task })
    }

    /// Sends the same response to every request.
    ///
    /// # Errors
    /// No port.
    pub async fn answering(
        status: u16,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Self> {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers: Vec<(HeaderName, String)> = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), (*value).to_owned()))
            .collect();
        let body: Bytes = body.into();
        let answer = move || {
            let (headers, body) = (headers.clone(), body.clone());
            async move {
                let mut response = (status, Body::from(body)).into_response();
                for (name, value) in headers {
                    if let Ok(value) = value.parse() {
                        response.headers_mut().insert(name, value);
                    }
                }
                response
            }
        };
        Self::start(Router::new().fallback(answer)).await
    }

    /// Sends an HTML page to every request.
    ///
    /// # Errors
    /// No port.
    pub async fn page(html: &str) -> Result<Self> {
        Self::answering(200, &[("content-type", "text/html; charset=utf-8")], html.to_owned()).await
    }

    /// Redirects every request to another address.
    ///
    /// # Errors
    /// No port.
    pub async fn redirecting(to: &str) -> Result<Self> {
        Self::answering(302, &[("location", to)], "").await
    }

    /// Accepts requests and never responds.
    ///
    /// # Errors
    /// No port.
    pub async fn hanging() -> Result<Self> {
        Self::start(Router::new().fallback(|| async { std::future::pending::<StatusCode>().await })).await
    }

    /// Where it is, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}
