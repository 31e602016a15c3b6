//! A request to a site, whether plain HTTP or a browser sends it.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;
use url::Url;

/// The body of a request.
#[derive(Clone)]
pub(crate) enum Body {
    Empty,
    Form(Vec<(String, String)>),
    Json(Value),
    /// A multipart form with one file.
    Upload {
        fields: Vec<(String, String)>,
        field: &'static str,
        file_name: &'static str,
        file: Bytes,
    },
}

/// A request.
#[derive(Clone)]
pub(crate) struct SiteRequest {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

impl SiteRequest {
    pub(crate) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: Body::Empty }
    }

    pub(crate) fn post(url: Url, body: Body) -> Self {
        Self { method: Method::POST, url, headers: Vec::new(), body }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }
}
