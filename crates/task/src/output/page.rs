//! What a site answers to a question that its copy is asked as well.

use serde::{Deserialize, Serialize};

use crate::SiteText;
use crate::kind::named;

named! {
    /// What an answer is, by its structure.
    PageKind {
        /// A page of WordPress.
        WordPress = "wordpress",
        /// WordPress' login form.
        LoginForm = "login-form",
        /// JSON, as of the REST API.
        Json = "json",
        /// An HTML page without marks of WordPress.
        Html = "html",
        /// Something else that has content.
        Other = "other",
        /// A redirect to another origin.
        Redirect = "redirect",
        /// Redirects within the site that do not end.
        RedirectLoop = "redirect-loop",
        /// WordPress' page for errors (`wp_die()`).
        ErrorPage = "error-page",
        /// Nothing that a visitor could see.
        Empty = "empty",
        /// A fatal error of PHP is shown.
        PhpError = "php-error",
        /// There was no answer.
        NoAnswer = "no-answer",
    }
}

/// What was asked: a page, as a visitor or logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageQuestion {
    /// Path and query below the site's address; empty for the front page.
    pub page: String,
    /// Whether it was asked with a session.
    #[serde(default)]
    pub logged_in: bool,
}

/// What came back. Everything in it is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageAnswer {
    /// The HTTP status; 0 without an answer.
    pub status: u16,
    /// What it is.
    pub kind: PageKind,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<SiteText>,
    /// Letters outside of ASCII in its text: those with the lowest code points, each once.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub letters: String,
    /// Characters of its visible text, without spaces.
    #[serde(default)]
    pub text_chars: u64,
    /// Of its pictures at its own address, how many of the first were asked for, and how many of these loaded.
    #[serde(default)]
    pub pictures: u8,
    /// See [`PageAnswer::pictures`].
    #[serde(default)]
    pub pictures_loaded: u8,
    /// Whether it was another page when it was asked for once more. Title, text and pictures of a source are then what both
    /// had in common, and those of a copy the most that it showed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub varies: bool,
    /// The origin that it redirects to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirects_to: Option<SiteText>,
    /// What PHP says, where it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub php_error: Option<SiteText>,
    /// The address that the index of the REST API reports for the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_address: Option<SiteText>,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredPage {
    /// The question.
    #[serde(flatten)]
    pub question: PageQuestion,
    /// The answer.
    #[serde(flatten)]
    pub answer: PageAnswer,
}

/// A question and the answers of a source and of its copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedPage {
    /// The question.
    #[serde(flatten)]
    pub question: PageQuestion,
    /// The source's answer, before the transfer.
    pub source: PageAnswer,
    /// The copy's.
    pub copy: PageAnswer,
}

impl PageAnswer {
    /// A site that did not answer.
    #[must_use]
    pub fn none() -> Self {
        Self::of(0, PageKind::NoAnswer)
    }

    /// An answer of which no more is known.
    #[must_use]
    pub fn of(status: u16, kind: PageKind) -> Self {
        Self {
            status,
            kind,
            title: None,
            letters: String::new(),
            text_chars: 0,
            pictures: 0,
            pictures_loaded: 0,
            varies: false,
            redirects_to: None,
            php_error: None,
            reported_address: None,
        }
    }

    /// Reduces a source's answer to what another answer to the same question has as well, such as that of a page with
    /// random content. If the two are different kinds of answers the first one counts.
    pub fn keep_common(&mut self, other: &Self) {
        if (self.status, self.kind) != (other.status, other.kind) {
            return;
        }
        self.varies |= self.shows_other_than(other);
        self.letters.retain(|letter| other.letters.contains(letter));
        self.text_chars = self.text_chars.min(other.text_chars);
        self.pictures = self.pictures.min(other.pictures);
        self.pictures_loaded = self.pictures_loaded.min(other.pictures_loaded);
    }

    /// Adds to a copy's answer what another answer to the same question shows. If the two are different kinds of answers
    /// the first one counts.
    pub fn add_shown(&mut self, other: &Self) {
        if (self.status, self.kind) != (other.status, other.kind) {
            return;
        }
        self.varies |= self.shows_other_than(other);
        let more = other.letters.chars().filter(|letter| !self.letters.contains(*letter)).collect::<Vec<_>>();
        self.letters.extend(more);
        self.text_chars = self.text_chars.max(other.text_chars);
        self.pictures = self.pictures.max(other.pictures);
        self.pictures_loaded = self.pictures_loaded.max(other.pictures_loaded);
    }

    fn shows_other_than(&self, other: &Self) -> bool {
        let shown = |answer: &Self| {
            (
                answer.title.clone(),
                answer.letters.clone(),
                answer.text_chars,
                answer.pictures,
                answer.pictures_loaded,
            )
        };
        shown(self) != shown(other)
    }
}
