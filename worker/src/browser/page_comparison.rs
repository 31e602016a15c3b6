//! Compares what a copy answers with what its source answered to the same question.

use wpclone_task::{ComparedPage, PageAnswer, PageKind, PageQuestion, SiteUrl};

use super::page_questions::MAX_LETTERS;

/// A page with less text is not compared by its size.
const MIN_TEXT_CHARS: u64 = 200;

/// What was found about a page of a copy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// It is worse than its source: the copy is broken. What is wrong, as the end of a sentence about the page.
    pub(super) broken: Option<String>,
    /// It shows less than its source, which makes it as bad, unless its pages vary by themselves.
    pub(super) poorer: Option<String>,
    /// Differences that do not make it worse: clauses of the same kind.
    pub(super) differences: Vec<String>,
}

/// Compares the answers; `copy_site` is the address of the copy.
pub(super) fn compare(page: &ComparedPage, copy_site: &SiteUrl) -> Findings {
    let (source, copy) = (&page.source, &page.copy);
    let checks = [
        kind(source, copy),
        status(source, copy),
        address(source, copy, copy_site),
        letters(source, copy),
        size(source, copy),
        pictures(source, copy),
    ];
    let mut findings = Findings::default();
    for check in checks.into_iter().flatten() {
        match check {
            Finding::Broken(what) => findings.broken = findings.broken.or(Some(what)),
            Finding::Poorer(what) => findings.poorer = findings.poorer.or(Some(what)),
            Finding::Different(what) => findings.differences.push(what),
        }
    }
    let varies = source.varies || copy.varies;
    if copy.title != source.title && source.kind == copy.kind && !varies {
        let title = |answer: &PageAnswer| answer.title.clone().unwrap_or_default().to_string();
        findings.differences.push(format!(
            "has the title \u{201c}{}\u{201d} instead of \u{201c}{}\u{201d}",
            title(copy),
            title(source)
        ));
    }
    findings
}

/// The name of a page for people.
pub(super) fn name(question: &PageQuestion) -> String {
    let reader = if question.logged_in { ", logged in" } else { "" };
    match question.page.as_str() {
        "" => format!("front page{reader}"),
        page => format!("page {page}{reader}"),
    }
}

enum Finding {
    Broken(String),
    Poorer(String),
    Different(String),
}

/// How bad a kind of answer is. One that is worse than the source's is a fault of the copy.
fn rank(kind: PageKind) -> u8 {
    match kind {
        PageKind::WordPress | PageKind::LoginForm | PageKind::Json => 0,
        PageKind::Html | PageKind::Other => 1,
        // It leads away from the copy.
        PageKind::Redirect => 2,
        PageKind::ErrorPage => 3,
        PageKind::Empty | PageKind::NoAnswer => 4,
        PageKind::RedirectLoop => 5,
        PageKind::PhpError => 6,
    }
}

/// The kinds by which a copy is broken although nothing is known about its source.
fn is_failure(kind: PageKind) -> bool {
    rank(kind) > rank(PageKind::Redirect)
}

fn kind(source: &PageAnswer, copy: &PageAnswer) -> Option<Finding> {
    let is_worse = if source.kind == PageKind::NoAnswer {
        is_failure(copy.kind)
    } else {
        rank(copy.kind) > rank(source.kind)
    };
    if !is_worse {
        return (source.kind != copy.kind && source.kind != PageKind::NoAnswer)
            .then(|| Finding::Different(format!("is {} instead of {}", noun(copy.kind), noun(source.kind))));
    }
    let says = copy.php_error.as_ref().map(|says| format!(": \u{201c}{says}\u{201d}")).unwrap_or_default();
    let to = copy.redirects_to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
    let (copy_is, source_is) = (noun(copy.kind), noun(source.kind));
    Some(Finding::Broken(format!("is {copy_is}{to} ({}){says}; the source's is {source_is}", copy.status)))
}

fn noun(kind: PageKind) -> &'static str {
    match kind {
        PageKind::WordPress => "a page of WordPress",
        PageKind::LoginForm => "the login form",
        PageKind::Json => "JSON",
        PageKind::Html => "a page without marks of WordPress",
        PageKind::Other => "no page",
        PageKind::Redirect => "a redirect",
        PageKind::RedirectLoop => "a redirect without end",
        PageKind::ErrorPage => "an error page of WordPress",
        PageKind::Empty => "empty",
        PageKind::PhpError => "a page with an error of PHP",
        PageKind::NoAnswer => "not known, as it did not answer",
    }
}

/// 200 to 299 is better than a redirect, and an error of the client better than one of the server.
fn status(source: &PageAnswer, copy: &PageAnswer) -> Option<Finding> {
    if source.status == copy.status || source.kind == PageKind::NoAnswer && copy.status < 500 {
        return None;
    }
    let both = format!("returned {}, the source's {}", copy.status, source.status);
    let is_worse = copy.status / 100 > (source.status / 100).max(2);
    Some(if is_worse { Finding::Broken(both) } else { Finding::Different(both) })
}

/// The address that the REST API reports is the copy's own, where the source reports one.
fn address(source: &PageAnswer, copy: &PageAnswer, copy_site: &SiteUrl) -> Option<Finding> {
    match (&source.reported_address, &copy.reported_address) {
        (_, Some(url)) if SiteUrl::parse(url).ok().as_ref() != Some(copy_site) => {
            Some(Finding::Broken(format!("reports that the site is at {url}")))
        }
        (Some(_), None) if copy.kind == PageKind::Json && copy.status == source.status => {
            Some(Finding::Broken("does not report the site's address, as the source's does".to_owned()))
        }
        _ => None,
    }
}

/// Letters outside of ASCII: garbled ones become others.
fn letters(source: &PageAnswer, copy: &PageAnswer) -> Option<Finding> {
    // Of very many letters only the first are known.
    let is_known = |letter: char| {
        copy.letters.chars().count() < MAX_LETTERS || copy.letters.chars().any(|known| known > letter)
    };
    let lost = source.letters.chars().filter(|letter| !copy.letters.contains(*letter) && is_known(*letter));
    let lost: Vec<char> = lost.collect();
    if rank(copy.kind) > 0 || rank(source.kind) > 0 || lost.is_empty() {
        return None;
    }
    let (all, which) = (source.letters.chars().count(), lost.iter().take(10).collect::<String>());
    let text = format!("lacks {} of {all} letters of the source's ({which})", lost.len());
    Some(if 2 * lost.len() > all { Finding::Poorer(text) } else { Finding::Different(text) })
}

fn size(source: &PageAnswer, copy: &PageAnswer) -> Option<Finding> {
    let (from, to) = (source.text_chars, copy.text_chars);
    if source.kind != copy.kind || from.max(to) < MIN_TEXT_CHARS {
        return None;
    }
    let text = format!("has {to} characters of text, the source's {from}");
    if to < from / 4 {
        Some(Finding::Poorer(text))
    } else {
        let varies = source.varies || copy.varies;
        (!varies && (to < from / 2 || to / 2 > from)).then_some(Finding::Different(text))
    }
}

fn pictures(source: &PageAnswer, copy: &PageAnswer) -> Option<Finding> {
    let (from, to) = (source.pictures_loaded, copy.pictures_loaded);
    if to >= from {
        return None;
    }
    let text = format!("loads {to} of its first {} pictures, the source's {from}", copy.pictures);
    Some(if to == 0 && copy.pictures > 0 { Finding::Poorer(text) } else { Finding::Different(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(letters: &str, text_chars: u64) -> PageAnswer {
        PageAnswer {
            title: Some("A site".into()),
            letters: letters.to_owned(),
            text_chars,
            ..PageAnswer::of(200, PageKind::WordPress)
        }
    }

    fn found(source: &PageAnswer, copy: &PageAnswer) -> Findings {
        let question = PageQuestion { page: String::new(), logged_in: false };
        let page = ComparedPage { question, source: source.clone(), copy: copy.clone() };
        compare(&page, &SiteUrl::parse("https://copy.example").unwrap())
    }

    #[test]
    fn a_copy_that_answers_as_its_source_is_right_whatever_the_answer_is() {
        for (status, kind) in [
            (200, PageKind::WordPress),
            (503, PageKind::Html),
            (401, PageKind::Json),
            (200, PageKind::Json),
            (404, PageKind::WordPress),
            (500, PageKind::ErrorPage),
            (200, PageKind::Empty),
            (302, PageKind::Redirect),
        ] {
            let answer = PageAnswer::of(status, kind);
            assert_eq!(found(&answer, &answer), Findings::default(), "{status} {kind}");
        }
        // Nothing is known of the source, and the copy works.
        assert_eq!(found(&PageAnswer::none(), &page("", 900)).broken, None);
        // A firewall shows visitors of the source less.
        assert_eq!(found(&PageAnswer::of(403, PageKind::Html), &page("", 900)).broken, None);
    }

    #[test]
    fn a_copy_that_is_worse_than_its_source_is_broken_whatever_its_status() {
        let good = page("", 900);
        for (status, kind) in [
            (200, PageKind::Empty),
            (200, PageKind::PhpError),
            (200, PageKind::ErrorPage),
            (200, PageKind::Html),
            (404, PageKind::WordPress),
            (500, PageKind::ErrorPage),
            (302, PageKind::Redirect),
            (0, PageKind::RedirectLoop),
        ] {
            let copy =
                PageAnswer { title: good.title.clone(), text_chars: 900, ..PageAnswer::of(status, kind) };
            assert!(found(&good, &copy).broken.is_some(), "{status} {kind}");
        }
        let maintenance = PageAnswer::of(503, PageKind::Html);
        for kind in [PageKind::ErrorPage, PageKind::Empty, PageKind::PhpError] {
            assert!(found(&maintenance, &PageAnswer::of(503, kind)).broken.is_some(), "{kind}");
            assert!(found(&PageAnswer::none(), &PageAnswer::of(200, kind)).broken.is_some(), "{kind}");
        }
        let closed = PageAnswer::of(401, PageKind::Json);
        assert!(found(&closed, &PageAnswer::of(500, PageKind::Json)).broken.is_some());
    }

    #[test]
    fn what_php_says_and_the_status_are_quoted() {
        let copy = PageAnswer {
            php_error: Some("PHP: Undefined constant \"KEY\" (wp-content/plugins/a/a.php:3)".into()),
            ..PageAnswer::of(500, PageKind::ErrorPage)
        };
        let broken = found(&page("", 900), &copy).broken.unwrap();
        for part in ["Undefined constant \"KEY\"", "plugins/a/a.php", "500"] {
            assert!(broken.contains(part), "{broken}");
        }
    }

    #[test]
    fn letters_that_became_others_are_a_fault_and_a_few_missing_ones_a_difference() {
        let source = page("\u{e4}\u{f6}\u{fc}\u{df}", 900);
        assert!(found(&source, &page("\u{c3}", 900)).poorer.unwrap().contains('\u{fc}'));
        assert!(found(&source, &page("", 900)).poorer.is_some());
        let few = found(&source, &page("\u{e4}\u{f6}\u{fc}", 900));
        assert_eq!((few.poorer, few.differences.len()), (None, 1));
        assert_eq!(found(&source, &page("\u{e4}\u{e9}\u{f6}\u{fc}\u{df}", 900)), Findings::default());
        // So many letters that those of the source are not among the first of them.
        let many: String =
            ('\u{c0}'..='\u{17f}').filter(|letter| letter.is_alphabetic()).take(MAX_LETTERS).collect();
        assert_eq!(found(&page("\u{65e5}\u{672c}", 900), &page(&many, 900)), Findings::default());
        let other = many.replace(['\u{c3}', '\u{e4}'], "\u{180}");
        assert!(found(&page("\u{c3}\u{e4}", 900), &page(&other, 900)).poorer.is_some());
    }

    #[test]
    fn much_less_text_or_no_picture_is_a_fault_and_a_little_less_a_difference() {
        let source = PageAnswer { pictures: 3, pictures_loaded: 3, ..page("", 4000) };
        let with = |text_chars, pictures_loaded| PageAnswer { pictures_loaded, text_chars, ..source.clone() };
        for (copy, is_broken, differences) in [
            (with(900, 3), true, 0),
            (with(1900, 3), false, 1),
            (with(9000, 3), false, 1),
            (with(3000, 3), false, 0),
            (with(4000, 0), true, 0),
            (with(4000, 2), false, 1),
        ] {
            let findings = found(&source, &copy);
            assert_eq!(
                (findings.poorer.is_some(), findings.differences.len()),
                (is_broken, differences),
                "{copy:?}"
            );
        }
        assert_eq!(found(&page("", 100), &page("", 10)), Findings::default());
    }

    #[test]
    fn what_varies_at_the_source_is_not_expected_of_its_copy() {
        let answer = |title: &str, letters: &str, text_chars| PageAnswer {
            title: Some(title.into()),
            ..page(letters, text_chars)
        };
        let (first, second) = (
            answer("1", "\u{e4}\u{3b1}\u{3b2}\u{3b3}", 4000),
            answer("2", "\u{e4}\u{430}\u{431}\u{432}", 900),
        );
        let mut source = first.clone();
        source.keep_common(&second);
        let copy = answer("3", "\u{e4}\u{5d0}\u{5d1}\u{5d2}", 2500);
        assert_eq!(found(&source, &copy), Findings::default());
        // What both had in common is expected.
        assert!(found(&source, &answer("3", "", 2500)).poorer.is_some());
        assert!(found(&source, &answer("3", "\u{e4}", 100)).poorer.is_some());
        // If the source happened to be the same twice, what the copy shows at any time counts.
        let mut copy = answer("4", "\u{e4}\u{5d0}", 500);
        assert!(found(&first, &copy).poorer.is_some());
        copy.add_shown(&answer("5", "\u{3b1}\u{3b2}\u{3b3}", 4200));
        assert_eq!(found(&first, &copy), Findings::default());
        // An answer of another kind says nothing about what a page shows.
        let mut same = first.clone();
        same.keep_common(&PageAnswer::of(503, PageKind::Html));
        same.add_shown(&PageAnswer::of(503, PageKind::Html));
        assert_eq!(same, first);
    }

    #[test]
    fn the_rest_api_reports_the_address_of_the_copy_where_the_source_reports_its_own() {
        let index = |url: Option<&str>| PageAnswer {
            reported_address: url.map(Into::into),
            ..PageAnswer::of(200, PageKind::Json)
        };
        let source = index(Some("https://source.example"));
        assert_eq!(found(&source, &index(Some("https://copy.example"))), Findings::default());
        assert_eq!(found(&index(None), &index(None)), Findings::default());
        assert!(found(&source, &index(None)).broken.is_some());
        for elsewhere in ["https://source.example", "http://old.example"] {
            for source in [&source, &index(None)] {
                let broken = found(source, &index(Some(elsewhere))).broken.unwrap();
                assert!(broken.contains(elsewhere), "{broken}");
            }
        }
    }
}
