//! A request to a site, whether plain HTTP or a browser sends it.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;
use url::Url;

/// The query parameter that makes an address unique, by the name that jQuery gives it.
const UNIQUE_PARAMETER: &str = "_";

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

    /// The same request at an address that no cache has an answer for. Only a GET is answered by caches.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn uncached(mut self) -> Result<Self, getrandom::Error> {
        if self.method == Method::GET {
            let unique = getrandom::u64()?;
            self.url.query_pairs_mut().append_pair(UNIQUE_PARAMETER, &format!("{unique:016x}"));
        }
        Ok(self)
    }

    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The request that follows a redirect within the site (RFC 9110, section 15.4): 303 asks for a GET, 301 and 302 turn a
    /// POST into one, as browsers do, and 307 and 308 repeat the request with its body.
    pub(crate) fn redirected(self, status: u16, to: Url) -> Self {
        let method = match status {
            303 if self.method != Method::HEAD => Method::GET,
            301 | 302 if self.method == Method::POST => Method::GET,
            _ => self.method.clone(),
        };
        let body = if method == self.method { self.body } else { Body::Empty };
        Self { method, url: to, headers: self.headers, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_keeps_or_changes_method_and_body_as_rfc_9110_says() {
        let (post, get, head, delete) = (Method::POST, Method::GET, Method::HEAD, Method::DELETE);
        for (status, method, expected, keeps_body) in [
            (301, &post, &get, false),
            (302, &post, &get, false),
            (303, &post, &get, false),
            (307, &post, &post, true),
            (308, &post, &post, true),
            (301, &delete, &delete, true),
            (303, &delete, &get, false),
            (308, &delete, &delete, true),
            (302, &get, &get, true),
            (303, &head, &head, true),
        ] {
            let url: Url = "https://a.example/b".parse().unwrap();
            let body = Body::Form(vec![("a".into(), "b".into())]);
            let request =
                SiteRequest::post(url.clone(), body).method(method.clone()).header("x-wp-nonce", "n");
            let next = request.redirected(status, url.join("c").unwrap());
            assert_eq!((&next.method, next.url.path()), (expected, "/c"), "{status} {method}");
            assert_eq!(matches!(next.body, Body::Form(_)), keeps_body, "{status} {method}");
            assert_eq!(next.headers, [("x-wp-nonce", "n".to_owned())]);
        }
    }
}
