//! A copy as its owner will see it: its front page, its REST API, and wp-admin with the login that they get.

use serde_json::{Map, Value, json};
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_task::{Code, Login, SiteUrl};

use super::stage::Tools;
use super::wordpress::{self, Done, Trouble};
use crate::net::{Answer, Ask, Visit, as_visited};

const DASHBOARD: &str = "wp-admin/index.php";
/// Where a site answers that names no port: at one of them as a rule, at the other it leads there.
const USUAL_PORTS: [u16; 2] = [80, 443];

impl Tools<'_> {
    /// Looks at a copy, whose pages must not lead a browser to its source. Tells what was seen, by name.
    pub(super) async fn look(
        &self,
        login: &Login,
        source: &SiteUrl,
        site: &SiteUrl,
    ) -> Done<Map<String, Value>> {
        let front = self.visitor(site, "").await?;
        if !front.is_success() || !wordpress::is_wordpress(&front) {
            let detail =
                format!("The copy's front page is no page of WordPress (it answers {}).", front.status);
            return Err(broken(detail, &front));
        }
        self.ledger.say(40, "The front page answers");
        let rest = self.visitor(site, "index.php?rest_route=/").await?;
        let told = rest.json::<Value>().and_then(|index| Some(index.get("url")?.as_str()?.to_owned()));
        let says = told.as_deref().and_then(|url| SiteUrl::parse(url).ok());
        if !rest.is_success() || says.as_ref() != Some(site) {
            let says =
                told.map_or("does not answer".to_owned(), |url| format!("says that the site is at {url}"));
            return Err(broken(format!("The copy's REST API {says}."), &rest));
        }
        self.enter(site, login, DASHBOARD).await?;
        self.ledger.say(70, "Logged in to the copy");
        for (page, picture) in [(DASHBOARD, "clone-dashboard.png"), ("", FRONT_PAGE_SCREENSHOT)] {
            self.browser.go(&site.at(page)).await?;
            self.ledger.evidence.picture(self.browser, picture, None).await;
        }
        let visits = self.gate.visits();
        let to_source = visits.iter().filter(|visit| leads_to(source, site, visit)).count();
        if to_source > 0 {
            let detail =
                format!("Pages of the copy made a browser connect to its source, {to_source} times.");
            return Err(Trouble::new(Code::CloneBroken, detail).into());
        }
        let seen = [
            ("front_page", json!(front.status)),
            ("rest", json!(rest.status)),
            ("login", json!(true)),
            ("connections_to_source", json!(to_source)),
        ];
        Ok(seen.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// What somebody gets who is not logged in.
    async fn visitor(&self, site: &SiteUrl, path: &str) -> Done<Answer> {
        let ask = Ask::get(site.at(path));
        self.part("A page of the copy", async { Ok(self.http.send_bare(ask).await?) }).await
    }
}

/// Whether a connection led to a copy's source: to its host, with `www.` or without, at its port, or at any usual port
/// where its own is one. A copy at the same host is at home at its own port.
fn leads_to(source: &SiteUrl, copy: &SiteUrl, visit: &Visit) -> bool {
    let place = |site: &SiteUrl| {
        (site.url().host_str().map(as_visited).unwrap_or_default(), site.url().port_or_known_default())
    };
    let ((host, port), own) = (place(source), place(copy));
    if own == (visit.host.clone(), Some(visit.port)) {
        return false;
    }
    let usual = |port: u16| USUAL_PORTS.contains(&port);
    let same_port = port.is_some_and(|port| port == visit.port || usual(port) && usual(visit.port));
    same_port && bare(&host) == bare(&visit.host)
}

/// A host without `www.`, and without the dot that may end it.
fn bare(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix("www.").unwrap_or(host)
}

fn broken(detail: String, answer: &Answer) -> Box<Trouble> {
    Box::new(Trouble::shown(Code::CloneBroken, detail, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Outcome;

    fn leads(source: &str, copy: &str, host: &str, port: u16) -> bool {
        let site = |url| SiteUrl::parse(url).unwrap();
        let visit = Visit { host: host.to_owned(), port, outcome: Outcome::Denied };
        leads_to(&site(source), &site(copy), &visit)
    }

    #[test]
    fn a_visit_leads_to_the_source_by_either_scheme_and_with_www_or_without() {
        let copy = "https://clones.example/clone-1";
        for source in ["https://shop.example", "http://shop.example/blog", "https://www.shop.example"] {
            for host in ["shop.example", "www.shop.example", "shop.example."] {
                for port in [80, 443] {
                    assert!(leads(source, copy, host, port), "{source}: {host}:{port}");
                }
                assert!(!leads(source, copy, host, 8443), "{source}: {host}");
            }
            for host in ["cdn.shop.example", "myshop.example", "www.www.shop.example", "clones.example"] {
                assert!(!leads(source, copy, host, 443), "{source}: {host}");
            }
        }
    }

    #[test]
    fn a_source_at_a_port_of_its_own_is_met_at_that_port_alone() {
        let (source, copy) = ("http://127.0.0.1:8080", "http://127.0.0.1:9000/clone-1");
        assert!(leads(source, copy, "127.0.0.1", 8080));
        for port in [80, 443, 9000] {
            assert!(!leads(source, copy, "127.0.0.1", port), "{port}");
        }
        assert!(leads("http://[::1]:8080", copy, "::1", 8080));
        assert!(leads("https://[2001:DB8::0:1]", copy, "2001:db8::1", 80));
    }

    #[test]
    fn a_copy_at_its_sources_host_is_not_taken_for_it() {
        let (source, copy) = ("https://shop.example", "https://shop.example/copy");
        assert!(!leads(source, copy, "shop.example", 443));
        assert!(leads(source, copy, "shop.example", 80));
        let copy = "https://www.shop.example";
        assert!(!leads(source, copy, "www.shop.example", 443));
        assert!(leads(source, copy, "shop.example", 443));
    }
}
