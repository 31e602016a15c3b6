//! Verifies a copy as its owner will see it: the front page, the REST API, and wp-admin with the login they get.

use serde_json::{Map, Value, json};
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_task::{Code, Login, SiteUrl};

use super::context::StepContext;
use super::wordpress::{self, StepError, StepResult};
use crate::net::{ConnectAttempt, SiteRequest, SiteResponse, normalize_host};

const DASHBOARD: &str = "wp-admin/index.php";
/// The default ports of http and https: a site at one of them usually redirects from the other.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

impl StepContext<'_> {
    /// Verifies a copy, whose pages must not connect a browser to its source. Returns what was checked, by name.
    pub(super) async fn verify_clone(
        &self,
        login: &Login,
        source: &SiteUrl,
        site: &SiteUrl,
    ) -> StepResult<Map<String, Value>> {
        let front = self.get_as_visitor(site, "").await?;
        if !front.is_success() || !wordpress::is_wordpress(&front) {
            let detail =
                format!("The copy's front page is not a WordPress page (it returned {}).", front.status);
            return Err(broken(detail, &front));
        }
        self.reporter.progress(40, "The front page responds");
        let rest = self.get_as_visitor(site, "index.php?rest_route=/").await?;
        let reported = rest.json::<Value>().and_then(|index| Some(index.get("url")?.as_str()?.to_owned()));
        let site_url = reported.as_deref().and_then(|url| SiteUrl::parse(url).ok());
        if !rest.is_success() || site_url.as_ref() != Some(site) {
            let fault = reported
                .map_or("does not respond".to_owned(), |url| format!("reports that the site is at {url}"));
            return Err(broken(format!("The copy's REST API {fault}."), &rest));
        }
        // As visitors see it, with what it loads from other sites: after the login the browser reaches none.
        self.screenshot(site, "", FRONT_PAGE_SCREENSHOT).await?;
        self.log_in(site, login, DASHBOARD).await?;
        self.reporter.progress(70, "Logged in to the copy");
        self.screenshot(site, DASHBOARD, "clone-dashboard.png").await?;
        let attempts = self.proxy.attempts();
        let to_source = attempts.iter().filter(|attempt| is_to_source(source, site, attempt)).count();
        if to_source > 0 {
            let detail =
                format!("Pages of the copy made the browser connect to its source {to_source} times.");
            return Err(StepError::new(Code::CloneBroken, detail).into());
        }
        let checks = [
            ("front_page", json!(front.status)),
            ("rest", json!(rest.status)),
            ("login", json!(true)),
            ("connections_to_source", json!(to_source)),
        ];
        Ok(checks.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    async fn screenshot(&self, site: &SiteUrl, page: &str, name: &str) -> StepResult<()> {
        self.browser.go(&site.at(page)).await?;
        self.reporter.artifacts.screenshot(self.browser, name, None).await;
        Ok(())
    }

    /// Requests a page without a login.
    async fn get_as_visitor(&self, site: &SiteUrl, path: &str) -> StepResult<SiteResponse> {
        let request = SiteRequest::get(site.at(path));
        self.part("A page of the copy", async { Ok(self.http.send_without_cookies(request).await?) }).await
    }
}

/// Whether a connection went to a copy's source: to its host, with `www.` or without, at its port, or at any default port
/// if its own is one. Of a copy on the same host, its own port is not the source's.
fn is_to_source(source: &SiteUrl, copy: &SiteUrl, attempt: &ConnectAttempt) -> bool {
    let endpoint = |site: &SiteUrl| {
        (site.url().host_str().map(normalize_host).unwrap_or_default(), site.url().port_or_known_default())
    };
    let ((host, port), own) = (endpoint(source), endpoint(copy));
    if own == (attempt.host.clone(), Some(attempt.port)) {
        return false;
    }
    let is_default = |port: u16| DEFAULT_PORTS.contains(&port);
    let same_port =
        port.is_some_and(|port| port == attempt.port || is_default(port) && is_default(attempt.port));
    same_port && without_www(&host) == without_www(&attempt.host)
}

/// A host without `www.` and without a final dot.
fn without_www(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix("www.").unwrap_or(host)
}

fn broken(detail: String, answer: &SiteResponse) -> Box<StepError> {
    Box::new(StepError::shown(Code::CloneBroken, detail, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ConnectOutcome;

    fn connects(source: &str, copy: &str, host: &str, port: u16) -> bool {
        let site = |url| SiteUrl::parse(url).unwrap();
        let attempt = ConnectAttempt { host: host.to_owned(), port, outcome: ConnectOutcome::Denied };
        is_to_source(&site(source), &site(copy), &attempt)
    }

    #[test]
    fn a_connection_to_the_source_is_recognised_by_either_scheme_and_with_www_or_without() {
        let copy = "https://clones.example/clone-1";
        for source in ["https://shop.example", "http://shop.example/blog", "https://www.shop.example"] {
            for host in ["shop.example", "www.shop.example", "shop.example."] {
                for port in [80, 443] {
                    assert!(connects(source, copy, host, port), "{source}: {host}:{port}");
                }
                assert!(!connects(source, copy, host, 8443), "{source}: {host}");
            }
            for host in ["cdn.shop.example", "myshop.example", "www.www.shop.example", "clones.example"] {
                assert!(!connects(source, copy, host, 443), "{source}: {host}");
            }
        }
    }

    #[test]
    fn a_source_on_another_port_is_recognised_on_that_port_alone() {
        let (source, copy) = ("http://127.0.0.1:8080", "http://127.0.0.1:9000/clone-1");
        assert!(connects(source, copy, "127.0.0.1", 8080));
        for port in [80, 443, 9000] {
            assert!(!connects(source, copy, "127.0.0.1", port), "{port}");
        }
        assert!(connects("http://[::1]:8080", copy, "::1", 8080));
        assert!(connects("https://[2001:DB8::0:1]", copy, "2001:db8::1", 80));
    }

    #[test]
    fn a_copy_on_the_host_of_its_source_is_not_taken_for_it() {
        let (source, copy) = ("https://shop.example", "https://shop.example/copy");
        assert!(!connects(source, copy, "shop.example", 443));
        assert!(connects(source, copy, "shop.example", 80));
        let copy = "https://www.shop.example";
        assert!(!connects(source, copy, "www.shop.example", 443));
        assert!(connects(source, copy, "shop.example", 443));
    }
}
