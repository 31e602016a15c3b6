//! Asks a site the questions by which a copy is compared with its source, and describes the answers.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use wpclone_task::{
    AnsweredPage, Code, PageAnswer, PageKind, PageQuestion, Problem, SiteText, SiteUrl, is_interpreted,
};

use super::json_page::JsonPage;
use super::page_origins::{Origins, origins};
use super::php_error::php_error_in_content;
use super::wordpress::is_wordpress;
use crate::net::{SiteClient, SiteRequest, SiteResponse};

/// The index of the REST API, at an address that works whatever the permalinks are.
pub(super) const REST_INDEX: &str = "index.php?rest_route=/";
/// A page of wp-admin that changes nothing by being shown; the dashboard adds a draft for its user.
const ADMIN_PAGE: &str = "wp-admin/tools.php";
const LOGIN_PAGE: &str = "wp-login.php";

/// Other kinds of pages, each with code of its own: the posts of a category, a page that does not exist, and the feed.
const OTHER_PAGES: [&str; 3] = ["?cat=1", NO_PAGE, "?feed=rss2"];
/// The page of a post that hardly any site has.
pub(super) const NO_PAGE: &str = "?p=2147483647";

/// Questions that wait for their answers at the same time. A small host has as many PHP processes.
const CONCURRENT: usize = 3;
/// The deadline of one question with its pictures, of all, and of those that are asked once more.
const QUESTION_DEADLINE: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(45);
const REPEAT_DEADLINE: Duration = Duration::from_secs(20);
/// The most posts whose pages are asked for.
const MAX_POSTS: usize = 12;
/// The pictures of a page that are asked for.
const MAX_PICTURES: usize = 3;
/// The pictures of a page among which the first are looked for.
const MAX_SOURCES: usize = 500;
/// The letters outside of ASCII that are compared.
pub(super) const MAX_LETTERS: usize = 48;
const MAX_TITLE: usize = 120;
const MAX_PHP_ERROR: usize = 300;

/// What a page without text may still show.
const VISIBLE_ELEMENTS: &str = "img, picture, svg, video, canvas, iframe, script[src], object, embed, form";
/// Elements with pictures, at once or when a visitor scrolls to them.
const PICTURES: [(&str, &str); 4] = [
    ("img[src]", "src"),
    ("img[data-src]", "data-src"),
    ("img[data-lazy-src]", "data-lazy-src"),
    ("img[srcset], source[srcset]", "srcset"),
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

/// An answer, and the origins in the page.
pub(super) struct Asked {
    pub(super) question: PageQuestion,
    pub(super) answer: Result<PageAnswer, Problem>,
    pub(super) origins: Origins,
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
    questions.extend(OTHER_PAGES.map(|page| question(page, false)));
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
        self.ask_within(questions, DEADLINE).await
    }

    /// Asks the questions, and those about the site's own pages once more: no more is expected of a copy than what a page
    /// shows both times.
    pub(super) async fn ask_twice(&self, questions: Vec<PageQuestion>) -> Vec<Asked> {
        let mut all = self.ask(questions).await;
        let pages =
            all.iter().filter(|asked| is_at_home(&asked.question)).map(|asked| asked.question.clone());
        for again in self.ask_within(pages.collect(), REPEAT_DEADLINE).await {
            let first = all.iter_mut().find(|asked| asked.question == again.question);
            if let (Some(Asked { answer: Ok(first), .. }), Ok(again)) = (first, &again.answer) {
                first.keep_common(again);
            }
        }
        all
    }

    async fn ask_within(&self, questions: Vec<PageQuestion>, deadline: Duration) -> Vec<Asked> {
        let end = Instant::now() + deadline;
        let answers = questions.iter().cloned().map(|question| self.ask_one(question));
        let mut answers = stream::iter(answers).buffered(CONCURRENT);
        let mut all = Vec::new();
        while let Ok(Some(asked)) = timeout_at(end, answers.next()).await {
            all.push(asked);
        }
        let late = questions.iter().skip(all.len()).map(|question| {
            let detail = format!("The pages of the site took longer than {} seconds.", deadline.as_secs());
            let answer = Err(Problem::new(Code::Deadline, detail));
            Asked { question: question.clone(), answer, origins: Origins::default() }
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
                Asked { question, answer: Ok(answer), origins: Origins::default() }
            }
            Err(problem) => Asked { question, answer: Err(problem), origins: Origins::default() },
        }
    }

    /// Asks a question once more; `None` without an answer.
    pub(super) async fn answer_again(&self, question: &PageQuestion) -> Option<PageAnswer> {
        let answer = timeout(QUESTION_DEADLINE, self.answer(question)).await.ok()?;
        answer.ok().map(|(answer, _)| answer)
    }

    async fn answer(&self, question: &PageQuestion) -> Result<(PageAnswer, Origins), Problem> {
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
            return self.logged_in.send(request).await;
        }
        match self.visitor.send_without_cookies(request.clone()).await {
            // A site that asks for a visitor's language or consent leads one who keeps no cookie in circles.
            Err(problem) if problem.code == Code::Redirected => self.visitor.send(request).await,
            response => response,
        }
    }

    /// Asks once more, for the response itself.
    pub(super) async fn response(&self, question: &PageQuestion) -> Option<SiteResponse> {
        self.send(question, SiteRequest::get(self.url(question))).await.ok()
    }

    pub(super) fn url(&self, question: &PageQuestion) -> Url {
        if is_at_home(question) { self.home.at(&question.page) } else { self.site.at(&question.page) }
    }
}

/// Whether a page lies at the address of the front page; others belong to WordPress' own.
fn is_at_home(question: &PageQuestion) -> bool {
    question.page.is_empty() || question.page.starts_with('?')
}

/// Describes a response.
fn describe(response: &SiteResponse) -> PageAnswer {
    let mut answer = PageAnswer::of(response.status, PageKind::Other);
    if let Some(to) = &response.location {
        answer.kind = PageKind::Redirect;
        answer.redirects_to = Some(to.origin().ascii_serialization().into());
        return answer;
    }
    if let Some(json) = response.json::<JsonPage>() {
        answer.kind = PageKind::Json;
        answer.reported_address = json.url().map(SiteText::from);
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
    let sources = response.page(|page| {
        let all = PICTURES.iter().flat_map(|(css, name)| page.attrs(css, name, MAX_SOURCES));
        all.collect::<Vec<_>>()
    });
    // Of several sizes the first.
    let first = |source: &String| {
        source.split_whitespace().next().map(|first| first.trim_end_matches(',').to_owned())
    };
    let mut pictures: Vec<Url> = Vec::new();
    for picture in sources.iter().filter_map(first).filter_map(|source| response.url.join(&source).ok()) {
        if picture.origin() == response.url.origin() && !pictures.contains(&picture) {
            pictures.push(picture);
        }
        if pictures.len() == MAX_PICTURES {
            break;
        }
    }
    pictures
}
