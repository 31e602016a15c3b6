//! Verifies a copy as its owner will see it: it is asked what its source was asked, and a browser opens it with the login
//! that its owner gets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_task::{
    AnsweredPage, Code, ComparedPage, Login, PageAnswer, PageKind, PageQuestion, PreparedSite, SiteText,
    SiteUrl,
};

use super::context::StepContext;
use super::page_comparison::{self, compare};
use super::page_questions::{Asked, AskedSite, REST_INDEX, questions};
use super::wordpress::{StepError, StepResult};
use crate::net::{ConnectAttempt, normalize_host};

/// The first page of wp-admin.
const DASHBOARD: &str = "wp-admin/index.php";
/// The default ports of http and https: a site at one of them usually redirects from the other.
const DEFAULT_PORTS: [u16; 2] = [80, 443];
/// What a result lists at most.
const MAX_DIFFERENCES: usize = 20;
const MAX_HOSTS: usize = 40;
/// The faults that a problem names.
const MAX_FAULTS: usize = 3;
/// The addresses that a page requests from other origins: the first ones, without query.
const REQUESTS_SCRIPT: &str = "
    const others = performance.getEntriesByType('resource').map(entry => new URL(entry.name, location.href));
    return others.filter(url => /^https?:$/.test(url.protocol) && url.origin !== location.origin)
        .slice(0, 40).map(url => (url.origin + url.pathname).slice(0, 200));";

/// What the pages of a copy request from other origins, or lead to.
#[derive(Default)]
struct OtherOrigins(BTreeMap<String, OtherOrigin>);

#[derive(Default)]
struct OtherOrigin {
    /// The first page where it was seen.
    page: String,
    /// The first address that a browser requested of it.
    requested: Option<String>,
}

impl StepContext<'_> {
    /// Verifies a copy at `site`, whose front page is at `home`. Returns what was checked, by name.
    pub(super) async fn verify_clone(
        &self,
        login: &Login,
        source: &PreparedSite,
        site: &SiteUrl,
        home: &SiteUrl,
    ) -> StepResult<Map<String, Value>> {
        let asked = AskedSite { visitor: self.http, logged_in: self.http, site, home };
        let known = answers_of(source);
        let as_reader = |logged_in: bool| {
            let pages = known.iter().filter(move |page| page.question.logged_in == logged_in);
            pages.map(|page| page.question.clone()).collect::<Vec<PageQuestion>>()
        };
        let (mut pages, mut others) = (Vec::new(), OtherOrigins::default());
        let open = self.open_page(site, "", FRONT_PAGE_SCREENSHOT, &mut others);
        let (as_visitor, opened) = tokio::join!(asked.ask(as_reader(false)), open);
        compare_pages(&asked, &known, as_visitor, &mut pages, &mut others).await?;
        opened?;
        self.reporter.progress(40, "The pages answer visitors as the source's do");
        self.log_in(site, login, DASHBOARD).await?;
        self.reporter.progress(70, "Logged in to the copy");
        let open = self.open_page(site, DASHBOARD, "clone-dashboard.png", &mut others);
        let (logged_in, opened) = tokio::join!(asked.ask(as_reader(true)), open);
        compare_pages(&asked, &known, logged_in, &mut pages, &mut others).await?;
        opened?;
        let to_source = self.check_connections(source, site, &others)?;
        let status = |page: &str| {
            let found = pages.iter().find(|(compared, _)| compared.question.page == page);
            json!(found.map_or(0, |(compared, _)| compared.copy.status))
        };
        let mut differences: Vec<String> =
            pages.iter().flat_map(|(_, differences)| differences.clone()).collect();
        differences.extend(others.leading_to(source, site));
        differences.truncate(MAX_DIFFERENCES);
        let checks = [
            ("front_page", status("")),
            ("rest", status(REST_INDEX)),
            ("login", json!(true)),
            ("connections_to_source", json!(to_source)),
            ("differences", json!(differences)),
            ("hosts", others.to_json(source, site)),
            ("pages", json!(pages.iter().map(|(compared, _)| compared).collect::<Vec<_>>())),
        ];
        Ok(checks.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Opens a page in the browser, and notes what it requests.
    async fn open_page(
        &self,
        site: &SiteUrl,
        page: &str,
        screenshot: &str,
        others: &mut OtherOrigins,
    ) -> StepResult<()> {
        self.browser.go(&site.at(page)).await?;
        self.reporter.artifacts.screenshot(self.browser, screenshot, None).await;
        let requested = self.browser.run(REQUESTS_SCRIPT, Vec::new()).await?;
        let name = page_comparison::name(&PageQuestion { page: page.to_owned(), logged_in: false });
        for address in requested.as_array().into_iter().flatten().filter_map(Value::as_str) {
            others.add_request(&name, address);
        }
        Ok(())
    }

    /// Fails if a page of the copy made the browser try to connect to the source, under any of its names.
    fn check_connections(
        &self,
        source: &PreparedSite,
        site: &SiteUrl,
        others: &OtherOrigins,
    ) -> StepResult<usize> {
        let attempts = self.proxy.attempts();
        let to_source = attempts.iter().filter(|attempt| is_to_any(source, site, attempt)).count();
        if to_source == 0 {
            return Ok(0);
        }
        let which = others
            .0
            .iter()
            .find(|(origin, other)| other.requested.is_some() && is_of_source(source, site, origin));
        let which = which.map(|(_, other)| {
            format!(" The {} requests {}.", other.page, other.requested.as_deref().unwrap_or_default())
        });
        let detail = format!(
            "Pages of the copy made the browser connect to its source {to_source} times.{}",
            which.unwrap_or_default()
        );
        Err(StepError::new(Code::CloneBroken, detail).into())
    }
}

/// What a source has answered. One of which nothing is known has no answers: its copy has to work all the same.
fn answers_of(source: &PreparedSite) -> Vec<AnsweredPage> {
    if !source.pages.is_empty() {
        return source.pages.clone();
    }
    let unknown = |question| AnsweredPage { question, answer: PageAnswer::none() };
    questions(&[]).into_iter().map(unknown).collect()
}

/// Compares the answers of a copy with the source's, and adds them to `pages` with their differences. A page that is worse
/// than the source's is an error.
async fn compare_pages(
    site: &AskedSite<'_>,
    known: &[AnsweredPage],
    asked: Vec<Asked>,
    pages: &mut Vec<(ComparedPage, Vec<String>)>,
    others: &mut OtherOrigins,
) -> StepResult<()> {
    let (mut faults, mut unanswered) = (Vec::new(), None);
    for Asked { question, answer, origins } in asked {
        let name = page_comparison::name(&question);
        others.add(&name, origins);
        let known = known.iter().find(|page| page.question == question);
        let Some(source) = known.map(|page| page.answer.clone()) else { continue };
        let copy = match answer {
            Ok(copy) => copy,
            Err(_) if source.kind == PageKind::NoAnswer => PageAnswer::none(),
            Err(problem) => {
                unanswered.get_or_insert(problem);
                continue;
            }
        };
        let compared = ComparedPage { question, source, copy };
        let findings = compare(&compared, site.site);
        if let Some(fault) = findings.broken {
            faults.push((compared.question.clone(), format!("The copy's {name} {fault}.")));
        }
        let differences = findings.differences.into_iter();
        pages.push((compared, differences.map(|what| format!("The copy's {name} {what}.")).collect()));
    }
    let Some((first, _)) = faults.first() else {
        return unanswered.map_or(Ok(()), |problem| Err(problem.into()));
    };
    let detail: Vec<&str> = faults.iter().take(MAX_FAULTS).map(|(_, fault)| fault.as_str()).collect();
    let detail = detail.join(" ");
    // Once more, for the artifacts.
    let error = match site.response(first).await {
        Some(response) => StepError::shown(Code::CloneBroken, detail, &response),
        None => StepError::new(Code::CloneBroken, detail),
    };
    Err(error.with("page", site.url(first).as_str()).into())
}

impl OtherOrigins {
    fn entry(&mut self, origin: &str, page: &str) -> Option<&mut OtherOrigin> {
        if self.0.len() >= MAX_HOSTS && !self.0.contains_key(origin) {
            return None;
        }
        let new = || OtherOrigin { page: page.to_owned(), requested: None };
        Some(self.0.entry(origin.to_owned()).or_insert_with(new))
    }

    fn add(&mut self, page: &str, origins: BTreeSet<String>) {
        for origin in origins {
            self.entry(&origin, page);
        }
    }

    fn add_request(&mut self, page: &str, address: &str) {
        let Ok(url) = url::Url::parse(address) else { return };
        if let Some(other) = self.entry(&url.origin().ascii_serialization(), page)
            && other.requested.is_none()
        {
            page.clone_into(&mut other.page);
            other.requested = Some(address.to_owned());
        }
    }

    /// Sentences about pages that lead to the source.
    fn leading_to(&self, source: &PreparedSite, site: &SiteUrl) -> Vec<String> {
        let leading = self.0.iter().filter(|(origin, _)| is_of_source(source, site, origin));
        leading
            .map(|(origin, other)| {
                format!("The copy's {} leads to {origin}, which is the source.", other.page)
            })
            .collect()
    }

    fn to_json(&self, source: &PreparedSite, site: &SiteUrl) -> Value {
        let all = self.0.iter().map(|(origin, other)| {
            let mut host = json!({
                "origin": SiteText::new(origin),
                "page": SiteText::new(&other.page),
                "is_source": is_of_source(source, site, origin),
            });
            if let Some(address) = &other.requested {
                host["requested"] = json!(SiteText::new(address));
            }
            host
        });
        all.collect()
    }
}

/// All addresses of a source.
fn names(source: &PreparedSite) -> impl Iterator<Item = SiteUrl> {
    let aliases = source.aliases.iter().filter_map(|alias| SiteUrl::parse(alias).ok());
    [Some(source.site.clone()), source.home.clone()].into_iter().flatten().chain(aliases)
}

/// Whether an origin is the source under any of its names.
fn is_of_source(source: &PreparedSite, copy: &SiteUrl, origin: &str) -> bool {
    let Ok(origin) = SiteUrl::parse(origin) else { return false };
    let (host, port) = (origin.url().host_str(), origin.url().port_or_known_default());
    let (Some(host), Some(port)) = (host, port) else { return false };
    names(source).any(|name| is_to_source(&name, copy, (&normalize_host(host), port)))
}

fn is_to_any(source: &PreparedSite, copy: &SiteUrl, attempt: &ConnectAttempt) -> bool {
    names(source).any(|name| is_to_source(&name, copy, (&attempt.host, attempt.port)))
}

/// Whether a connection went to a copy's source: to its host, with `www.` or without, at its port, or at any default port
/// if its own is one. Of a copy on the same host, its own port is not the source's.
fn is_to_source(source: &SiteUrl, copy: &SiteUrl, (to, to_port): (&str, u16)) -> bool {
    let endpoint = |site: &SiteUrl| {
        (site.url().host_str().map(normalize_host).unwrap_or_default(), site.url().port_or_known_default())
    };
    let ((host, port), own) = (endpoint(source), endpoint(copy));
    if own == (to.to_owned(), Some(to_port)) {
        return false;
    }
    let is_default = |port: u16| DEFAULT_PORTS.contains(&port);
    let same_port = port.is_some_and(|port| port == to_port || is_default(port) && is_default(to_port));
    same_port && without_www(&host) == without_www(to)
}

/// A host without `www.` and without a final dot.
fn without_www(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix("www.").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connects(source: &str, copy: &str, host: &str, port: u16) -> bool {
        let site = |url| SiteUrl::parse(url).unwrap();
        is_to_source(&site(source), &site(copy), (host, port))
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
