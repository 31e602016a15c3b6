//! Asks a site the questions by which a copy is compared with its source, and describes the answers.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use wpclone_task::{
    AnsweredPage, Code, PageAnswer, PageKind, PageQuestion, Problem, SiteText, SiteUrl, is_interpreted,
};

use super::php_error::php_error_in_content;
use super::wordpress::is_wordpress;
use crate::net::{SiteClient, SiteRequest, SiteResponse};

/// The index of the REST API, at an address that works whatever the permalinks are.
pub(super) const REST_INDEX: &str = "index.php?rest_route=/";
/// A page of wp-admin that changes nothing by being shown; the dashboard adds a draft for its user.
const ADMIN_PAGE: &str = "wp-admin/tools.php";
const LOGIN_PAGE: &str = "wp-login.php";

/// Questions that wait for their answers at the same time. A small host has as many PHP processes.
const CONCURRENT: usize = 3;
/// The deadline of one question with its pictures, and of all.
const QUESTION_DEADLINE: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(45);
/// The most posts whose pages are asked for.
const MAX_POSTS: usize = 12;
/// The pictures of a page that are asked for.
const MAX_PICTURES: usize = 3;
/// The links of a page whose hosts are noted.
const MAX_LINKS: usize = 500;
/// The letters outside of ASCII that are compared.
const MAX_LETTERS: usize = 48;
const MAX_TITLE: usize = 120;
const MAX_PHP_ERROR: usize = 300;

/// What a page without text may still show.
const VISIBLE_ELEMENTS: &str = "img, picture, svg, video, canvas, iframe, script[src], object, embed, form";
/// Elements whose addresses a page loads or leads to.
const ADDRESSES: [(&str, &str); 4] = [
    ("a[href], area[href], link[href]", "href"),
    ("img[src], script[src], iframe[src], source[src], video[src], audio[src], embed[src]", "src"),
    ("form[action]", "action"),
    ("object[data]", "data"),
];

/// Where a site is asked.
pub(super) struct AskedSite<'a> {
    /// Asks as a visitor.
    pub(super) visitor: &'a SiteClient,
    /// Has the session's cookies.
    pub(super) logged_in: &'a SiteClient,
    /// The address of WordPress, with wp-login.php and wp-admin.
    pub(super) site: &'a SiteUrl,
    /// The address of the front page.
    pub(super) home: &'a SiteUrl,
}

/// An answer, and the origins that the page loads from or leads to.
pub(super) struct Asked {
    pub(super) question: PageQuestion,
    pub(super) answer: Result<PageAnswer, Problem>,
    pub(super) origins: BTreeSet<String>,
}

impl Asked {
    /// The answer of a source. None is an answer as well: no more is expected of its copy then than that it works.
    pub(super) fn of_source(self) -> AnsweredPage {
        AnsweredPage { question: self.question, answer: self.answer.unwrap_or_else(|_| PageAnswer::none()) }
    }
}

/// The questions: the front page, the login page, the REST index, wp-admin and the pages of these posts.
pub(super) fn questions(posts: &[u64]) -> Vec<PageQuestion> {
    let question = |page: &str, logged_in| PageQuestion { page: page.to_owned(), logged_in };
    let mut questions = vec![
        question("", false),
        question(REST_INDEX, false),
        question(ADMIN_PAGE, true),
        question("", true),
        question(LOGIN_PAGE, false),
    ];
    let posts = posts.iter().take(MAX_POSTS).map(|id| format!("?p={id}"));
    for (place, page) in posts.enumerate() {
        questions.push(question(&page, false));
        if place == 0 {
            questions.push(question(&page, true));
        }
    }
    questions
}

impl AskedSite<'_> {
    /// Asks the questions, a few at a time, until the deadline. The answers are in the order of the questions.
    pub(super) async fn ask(&self, questions: Vec<PageQuestion>) -> Vec<Asked> {
        let end = Instant::now() + DEADLINE;
        let answers = questions.iter().cloned().map(|question| self.ask_one(question));
        let mut answers = stream::iter(answers).buffered(CONCURRENT);
        let mut all = Vec::new();
        while let Ok(Some(asked)) = timeout_at(end, answers.next()).await {
            all.push(asked);
        }
        let late = questions.iter().skip(all.len()).map(|question| {
            let detail = format!("The pages of the site took longer than {} seconds.", DEADLINE.as_secs());
            let answer = Err(Problem::new(Code::Deadline, detail));
            Asked { question: question.clone(), answer, origins: BTreeSet::new() }
        });
        let late: Vec<Asked> = late.collect();
        all.extend(late);
        all
    }

    async fn ask_one(&self, question: PageQuestion) -> Asked {
        let late = |_: Elapsed| {
            let detail = format!(
                "{} did not respond within {} seconds.",
                self.url(&question),
                QUESTION_DEADLINE.as_secs()
            );
            Problem::new(Code::SiteUnreachable, detail)
        };
        let answer = match timeout(QUESTION_DEADLINE, self.answer(&question)).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(late(elapsed)),
        };
        match answer {
            Ok((answer, origins)) => Asked { question, answer: Ok(answer), origins },
            // A redirect within the site that does not end is an answer.
            Err(problem) if problem.code == Code::Redirected => {
                let answer = PageAnswer::of(0, PageKind::RedirectLoop);
                Asked { question, answer: Ok(answer), origins: BTreeSet::new() }
            }
            Err(problem) => Asked { question, answer: Err(problem), origins: BTreeSet::new() },
        }
    }

    async fn answer(&self, question: &PageQuestion) -> Result<(PageAnswer, BTreeSet<String>), Problem> {
        let request = SiteRequest::get(self.url(question));
        let response = self.send(question, request).await?;
        let mut answer = describe(&response);
        let pictures = if question.logged_in { Vec::new() } else { pictures(&response) };
        let loads = pictures.into_iter().map(|picture| {
            let request = SiteRequest::get(picture).method(Method::HEAD);
            async { self.send(question, request).await.is_ok_and(|response| response.is_success()) }
        });
        for loaded in futures_util::future::join_all(loads).await {
            answer.pictures += 1;
            answer.pictures_loaded += u8::from(loaded);
        }
        Ok((answer, origins(&response)))
    }

    /// Sends a request as the question is asked.
    async fn send(&self, question: &PageQuestion, request: SiteRequest) -> Result<SiteResponse, Problem> {
        if question.logged_in {
            self.logged_in.send(request).await
        } else {
            self.visitor.send_without_cookies(request).await
        }
    }

    /// Asks once more, for the response itself.
    pub(super) async fn response(&self, question: &PageQuestion) -> Option<SiteResponse> {
        self.send(question, SiteRequest::get(self.url(question))).await.ok()
    }

    pub(super) fn url(&self, question: &PageQuestion) -> Url {
        let at_home = question.page.is_empty() || question.page.starts_with('?');
        if at_home { self.home.at(&question.page) } else { self.site.at(&question.page) }
    }
}

/// Describes a response.
fn describe(response: &SiteResponse) -> PageAnswer {
    let mut answer = PageAnswer::of(response.status, PageKind::Other);
    if let Some(to) = &response.location {
        answer.kind = PageKind::Redirect;
        answer.redirects_to = Some(to.origin().ascii_serialization().into());
        return answer;
    }
    if let Some(json) = response.json::<Value>() {
        answer.kind = PageKind::Json;
        answer.reported_address = json.get("url").and_then(Value::as_str).map(SiteText::from);
        return answer;
    }
    let (text_chars, letters, shows_something, title, says) = response.page(|page| {
        let mut letters = BTreeSet::new();
        let mut text_chars = 0_u64;
        let title = page.text("title");
        let title_letters = title.as_deref().unwrap_or_default().chars();
        for c in page.visible_letters().inspect(|_| text_chars += 1).chain(title_letters) {
            if !c.is_ascii() && c.is_alphabetic() && !is_interpreted(c) {
                letters.insert(c);
            }
        }
        let says = page.text("#error-page .wp-die-message, .wp-die-message");
        (text_chars, letters, page.has(VISIBLE_ELEMENTS), title, says)
    });
    answer.text_chars = text_chars;
    answer.letters = letters.into_iter().take(MAX_LETTERS).collect();
    answer.title = title.map(|title| SiteText::with_limit(&title, MAX_TITLE));
    let php_error = php_error_in_content(&response.text());
    answer.php_error = php_error.map(|says| SiteText::with_limit(&says, MAX_PHP_ERROR));
    answer.kind = if answer.php_error.is_some() {
        PageKind::PhpError
    } else if says.is_some() || response.is_error_page() {
        answer.php_error = says.map(|says| SiteText::with_limit(&says, MAX_PHP_ERROR));
        PageKind::ErrorPage
    } else if response.page(|page| page.has("#loginform")) {
        PageKind::LoginForm
    } else if is_html(response) {
        match shows_something || text_chars > 0 {
            false => PageKind::Empty,
            true if is_wordpress(response) => PageKind::WordPress,
            true => PageKind::Html,
        }
    } else if response.body.trim_ascii().is_empty() {
        PageKind::Empty
    } else {
        PageKind::Other
    };
    answer
}

fn is_html(response: &SiteResponse) -> bool {
    let kind = response.header("content-type").unwrap_or("text/html");
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// The first pictures of a page at its own origin.
fn pictures(response: &SiteResponse) -> Vec<Url> {
    let sources = response.page(|page| page.attrs("img[src]", "src", MAX_LINKS));
    let mut pictures: Vec<Url> = Vec::new();
    for picture in sources.iter().filter_map(|source| response.url.join(source).ok()) {
        if picture.origin() == response.url.origin() && !pictures.contains(&picture) {
            pictures.push(picture);
        }
        if pictures.len() == MAX_PICTURES {
            break;
        }
    }
    pictures
}

/// The other origins that a page loads from or leads to.
fn origins(response: &SiteResponse) -> BTreeSet<String> {
    let own = response.url.origin();
    let addresses = response.page(|page| {
        let all = ADDRESSES.iter().flat_map(|(css, name)| page.attrs(css, name, MAX_LINKS));
        all.collect::<Vec<_>>()
    });
    let urls = addresses.iter().filter_map(|address| response.url.join(address).ok());
    let urls = urls.chain(response.location.clone());
    urls.filter(|url| matches!(url.scheme(), "http" | "https") && url.origin() != own)
        .map(|url| url.origin().ascii_serialization())
        .collect()
}
