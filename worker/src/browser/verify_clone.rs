//! Verifies a copy as its owner will see it: it is asked what its source was asked, and a browser opens it with the login
//! that its owner gets.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use wpclone_artifacts::FRONT_PAGE_SCREENSHOT;
use wpclone_task::{
    AnsweredPage, Code, ComparedPage, Login, PageAnswer, PageKind, PageQuestion, PreparedSite, SiteUrl,
};

use super::artifact_recorder::LOADED;
use super::context::StepContext;
use super::other_origins::OtherOrigins;
use super::page_comparison::{self, Findings, compare};
use super::page_questions::{Asked, AskedSite, NO_PAGE, REST_INDEX, questions};
use super::wordpress::{StepError, StepResult};
use super::{BrowserError, wait};

/// The first page of wp-admin.
const DASHBOARD: &str = "wp-admin/index.php";
/// The pages besides the front page that a browser opens, and the deadlines of one and of all.
const MAX_OPENED: usize = 4;
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
const ALL_OPEN_DEADLINE: Duration = Duration::from_secs(15);
/// How often a page of a copy that shows less than the source's is asked for once more.
const MAX_REPEATS: usize = 3;
/// The most differences that a result lists.
const MAX_DIFFERENCES: usize = 20;
/// The faults that a problem names.
const MAX_FAULTS: usize = 3;
/// The addresses that a page requests from other origins: the first ones, without query.
const REQUESTS_SCRIPT: &str = "
    const others = performance.getEntriesByType('resource').map(entry => new URL(entry.name, location.href));
    return others.filter(url => /^https?:$/.test(url.protocol) && url.origin !== location.origin)
        .slice(0, 40).map(url => (url.origin + url.pathname).slice(0, 200));";

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
        let (mut pages, mut others) = (Vec::new(), OtherOrigins::new(source, site));
        let open = async {
            self.open_page(site, "", FRONT_PAGE_SCREENSHOT, &mut others).await?;
            self.open_other_pages(&asked, &known, &mut others).await
        };
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
        let to_source = self.check_connections(&others)?;
        let status = |page: &str| {
            let found = pages.iter().find(|(compared, _)| compared.question.page == page);
            json!(found.map_or(0, |(compared, _)| compared.copy.status))
        };
        let mut differences: Vec<String> =
            pages.iter().flat_map(|(_, differences)| differences.clone()).collect();
        differences.extend(others.leading_to_source());
        differences.truncate(MAX_DIFFERENCES);
        let checks = [
            ("front_page", status("")),
            ("rest", status(REST_INDEX)),
            ("login", json!(true)),
            ("connections_to_source", json!(to_source)),
            ("differences", json!(differences)),
            ("hosts", others.to_json()),
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
        others: &mut OtherOrigins<'_>,
    ) -> StepResult<()> {
        self.browser.go(&site.at(page)).await?;
        self.reporter.artifacts.screenshot(self.browser, screenshot, None).await;
        self.note_requests(&PageQuestion { page: page.to_owned(), logged_in: false }, others).await
    }

    /// Notes what the open page requested.
    async fn note_requests(&self, question: &PageQuestion, others: &mut OtherOrigins<'_>) -> StepResult<()> {
        let requested = self.browser.run(REQUESTS_SCRIPT, Vec::new()).await?;
        let name = page_comparison::name(question);
        for address in requested.as_array().into_iter().flatten().filter_map(Value::as_str) {
            others.add_request(&name, address);
        }
        Ok(())
    }

    /// Opens the pages of posts as a visitor, and notes what they request, as far as the time goes.
    async fn open_other_pages(
        &self,
        site: &AskedSite<'_>,
        known: &[AnsweredPage],
        others: &mut OtherOrigins<'_>,
    ) -> StepResult<()> {
        let end = Instant::now() + ALL_OPEN_DEADLINE;
        let pages = known.iter().map(|page| &page.question);
        let pages = pages.filter(|question| question.page.starts_with("?p=") && !question.logged_in);
        for question in pages.filter(|question| question.page != NO_PAGE).take(MAX_OPENED) {
            if Instant::now() >= end {
                break;
            }
            self.browser.go(&site.url(question)).await?;
            // One that does not load in time has requested something all the same.
            match wait(self.browser, LOADED, vec![], OPEN_DEADLINE).await {
                Ok(_) | Err(BrowserError::Slow) => {}
                Err(error) => return Err(error.into()),
            }
            self.note_requests(question, others).await?;
        }
        Ok(())
    }

    /// Fails if a page of the copy made the browser try to connect to the source, under any of its names.
    fn check_connections(&self, others: &OtherOrigins<'_>) -> StepResult<usize> {
        let attempts = self.proxy.attempts();
        let to_source =
            attempts.iter().filter(|attempt| others.is_to_source(&attempt.host, attempt.port)).count();
        if to_source == 0 {
            return Ok(0);
        }
        let which = others.requesting_source();
        let which =
            which.map(|(page, address)| format!(" The {page} requests {address}.")).unwrap_or_default();
        let detail =
            format!("Pages of the copy made the browser connect to its source {to_source} times.{which}");
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
    others: &mut OtherOrigins<'_>,
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
        let (compared, findings) = compare_repeatedly(site, compared).await;
        if let Some(fault) = findings.broken.or(findings.poorer) {
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

/// Compares the answers to a question. A page of the copy that shows less than the source's is asked for a few times more: it
/// may be one with random content.
async fn compare_repeatedly(site: &AskedSite<'_>, mut page: ComparedPage) -> (ComparedPage, Findings) {
    let mut findings = compare(&page, site.site);
    for _ in 0..MAX_REPEATS {
        if findings.poorer.is_none() || findings.broken.is_some() {
            break;
        }
        let Some(again) = site.answer_again(&page.question).await else { break };
        page.copy.add_shown(&again);
        findings = compare(&page, site.site);
    }
    (page, findings)
}
