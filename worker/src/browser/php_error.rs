//! The words of PHP about an error, where a site shows them.

/// What they begin with, in English on every site (main/main.c, php_error_cb()): with `html_errors` and without.
const KINDS: [&str; 4] = ["Fatal error: ", "Fatal error</b>: ", "Parse error: ", "Parse error</b>: "];
/// The same in a page that may be about such errors: more of what PHP writes.
const KINDS_IN_CONTENT: [&str; 5] = [
    "<b>Fatal error</b>:",
    "<b>Parse error</b>:",
    "Fatal error: Uncaught ",
    "PHP Fatal error: ",
    "Parse error: syntax error",
];
/// What follows them: the calls that led there.
const STACK_TRACE: &str = "Stack trace:";
/// The most characters that are read, and kept.
const MAX_READ: usize = 4000;
const MAX_WORDS: usize = 400;

/// What PHP says of the error that ended a page which is not what it should be, with file and line; `None` where the site
/// does not show it.
pub(super) fn php_error(html: &str) -> Option<String> {
    let words = words(html, &KINDS)?;
    let (words, _) = words.split_once(STACK_TRACE).unwrap_or((&words, ""));
    Some(words.trim_end().chars().take(MAX_WORDS).collect())
}

/// What PHP says of a fatal error in a page that people write, with the calls that led there.
pub(super) fn php_error_in_content(html: &str) -> Option<String> {
    words(html, &KINDS_IN_CONTENT)
}

fn words(html: &str, kinds: &[&str]) -> Option<String> {
    let begin = kinds.iter().filter_map(|kind| html.find(kind)).min()?;
    let html: String = html[begin..].chars().take(MAX_READ).collect();
    // Each part but the first begins with the rest of a tag.
    let tags = html.split('<').enumerate();
    let texts = tags.filter_map(|(n, part)| if n == 0 { Some(part) } else { Some(part.split_once('>')?.1) });
    let text: String = texts.collect();
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The plugin or theme that the words of PHP are about, such as `plugins/akismet`: what comes last, since a path may have
/// several such folders.
pub(super) fn component(words: &str) -> Option<&str> {
    let (_, path) = words.rsplit_once("/wp-content/")?;
    let mut parts = path.splitn(3, '/');
    let (kind, name) = (parts.next()?, parts.next()?);
    let name = name.split([' ', ':', '(']).next()?;
    matches!(kind, "plugins" | "mu-plugins" | "themes").then(|| &path[..kind.len() + 1 + name.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_php_name_what_is_broken() {
        let text = "Fatal error: Uncaught Error: Call to undefined function f() in /srv/wp-content/plugins/shop/a.php:3 \
            Stack trace: #0 /srv/wp-includes/class-wp-hook.php(308)";
        let found = php_error(text).unwrap();
        assert_eq!(
            found,
            "Fatal error: Uncaught Error: Call to undefined function f() in /srv/wp-content/plugins/shop/a.php:3"
        );
        assert_eq!(component(&found), Some("plugins/shop"));
        let parse = "<p>x<br />\n<b>Parse error</b>:  syntax error in <b>/srv/wp-content/mu-plugins/b.php</b> on line <b>2</b><br />";
        assert_eq!(php_error_in_content(parse), php_error(parse));
        let parse = php_error(parse).unwrap();
        assert_eq!(parse, "Parse error: syntax error in /srv/wp-content/mu-plugins/b.php on line 2");
        assert_eq!(component(&parse), Some("mu-plugins/b.php"));
        assert_eq!(component("Fatal error: x in /srv/wp-includes/load.php on line 2"), None);
        assert_eq!(php_error("There has been a critical error on this website."), None);
        assert_eq!(php_error_in_content("How to mend a Fatal error: Allowed memory size"), None);
    }
}
