//! Addresses of sites.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::TaskId;

/// The longest address of a site, in bytes.
pub(crate) const MAX_LEN: usize = 2048;

/// The address of a site: `http` or `https`, a host, optionally a port and a path. No login, query or fragment.
///
/// A trailing slash, `/wp-admin/…` and `/wp-login.php` are removed, because people paste such addresses.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct SiteUrl(Url);

/// Why a text is not a site's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SiteUrlError {
    /// Not a URL at all.
    #[error("must be an absolute URL such as https://example.com")]
    NotAUrl,
    /// Neither http nor https.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// A user name or password in the URL.
    #[error("must not contain a user name or password; send them in `username` and `password`")]
    Credentials,
    /// A query or a fragment.
    #[error("must not contain a query or a fragment")]
    QueryOrFragment,
    /// Longer than 2,048 characters.
    #[error("must have at most {MAX_LEN} characters")]
    TooLong,
}

/// The key of a site in locks and searches: lower-case host without `www.`, with port and path, without scheme. Two
/// addresses of one WordPress have the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteKey(String);

impl SiteKey {
    /// The key of the clone that a task creates, whatever its name in each replay. It differs from every site's key,
    /// where a port follows the colon.
    #[must_use]
    pub fn of_clone(created_by: TaskId) -> Self {
        Self(format!("clone:{created_by}"))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SiteUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// [`SiteUrlError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, SiteUrlError> {
        if text.len() > MAX_LEN {
            return Err(SiteUrlError::TooLong);
        }
        let mut url = Url::parse(text.trim()).map_err(|_| SiteUrlError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SiteUrlError::Scheme);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(SiteUrlError::NotAUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SiteUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(SiteUrlError::QueryOrFragment);
        }
        let path = site_path(url.path());
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The URL of a path below the site: `at("wp-admin/profile.php")`. A path prefix of the site is kept
    /// (`Url::join` with a leading slash would drop it).
    ///
    /// # Panics
    /// Never: `path` is only ever appended to an absolute URL.
    #[must_use]
    pub fn at(&self, path: &str) -> Url {
        let base = self.as_str();
        #[expect(clippy::expect_used, reason = "an absolute http URL with more text after it is a URL")]
        Url::parse(&format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')))
            .expect("a site's URL with a path")
    }

    /// The address without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The parsed URL; its path has no trailing slash unless it is the root.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The site's key in locks and searches.
    #[must_use]
    pub fn key(&self) -> SiteKey {
        let host = match self.0.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(address) => address.to_string(),
            None => String::new(),
        };
        let host = host.strip_prefix("www.").unwrap_or(&host);
        let port = self.0.port().map(|p| format!(":{p}")).unwrap_or_default();
        SiteKey(format!("{host}{port}{}", self.0.path().trim_end_matches('/')))
    }
}

/// The path of the site itself: without trailing slashes, doubled slashes, and pages of wp-admin.
fn site_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        if matches!(part, "wp-admin" | "wp-login.php" | "index.php") {
            break;
        }
        kept.push(part);
    }
    format!("/{}", kept.join("/"))
}

impl TryFrom<String> for SiteUrl {
    type Error = SiteUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<SiteUrl> for String {
    fn from(site: SiteUrl) -> Self {
        site.as_str().to_owned()
    }
}

impl fmt::Display for SiteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SiteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_people_paste_are_accepted() {
        for (given, site) in [
            ("https://Example.com/", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("https://example.com/wp-admin/plugins.php", "https://example.com"),
            ("https://example.com/blog//wp-login.php", "https://example.com/blog"),
            (" http://127.0.0.1:8080/a/b/ ", "http://127.0.0.1:8080/a/b"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(SiteUrl::parse(given).unwrap().as_str(), site, "{given}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for (given, why) in [
            ("example.com", SiteUrlError::NotAUrl),
            ("", SiteUrlError::NotAUrl),
            ("https://", SiteUrlError::NotAUrl),
            ("ftp://example.com", SiteUrlError::Scheme),
            ("javascript:alert(1)", SiteUrlError::Scheme),
            ("https://me:pw@example.com", SiteUrlError::Credentials),
            ("https://example.com/?p=1", SiteUrlError::QueryOrFragment),
        ] {
            assert_eq!(SiteUrl::parse(given).unwrap_err(), why, "{given}");
        }
        assert_eq!(
            SiteUrl::parse(&format!("https://example.com/{}", "a".repeat(3000))).unwrap_err(),
            SiteUrlError::TooLong
        );
    }

    #[test]
    fn all_spellings_of_an_address_have_one_key() {
        for given in
            ["https://www.Example.com/shop/", "http://example.com/shop", "https://example.com./shop/wp-admin"]
        {
            assert_eq!(SiteUrl::parse(given).unwrap().key().as_str(), "example.com/shop", "{given}");
        }
        assert_eq!(SiteUrl::parse("http://[::1]:81").unwrap().key().as_str(), "[::1]:81");
    }

    #[test]
    fn pages_of_a_site_keep_its_path_prefix() {
        let site = SiteUrl::parse("https://example.com/blog/").unwrap();
        assert_eq!(
            site.at("/wp-admin/profile.php?a=b").as_str(),
            "https://example.com/blog/wp-admin/profile.php?a=b"
        );
        assert_eq!(SiteUrl::parse("https://example.com").unwrap().at("").as_str(), "https://example.com/");
    }
}
