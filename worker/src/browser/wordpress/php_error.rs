//! The words of PHP about an error, where a site shows them.

use crate::net::SiteResponse;

/// What PHP begins them with, in English on every site (main/main.c, php_error_cb()), as text or as HTML.
const KINDS: [&str; 4] = ["Fatal error: ", "Fatal error</b>: ", "Parse error: ", "Parse error</b>: "];
/// What follows them: the calls that led there.
const STACK_TRACE: &str = "Stack trace:";
/// The most characters that are read, and kept.
const MAX_READ: usize = 4000;
const MAX_WORDS: usize = 400;

/// What PHP says of the error that ended a page, with file and line; `None` where the site does not show it.
pub(super) fn php_error(response: &SiteResponse) -> Option<String> {
    words(&response.text())
}

fn words(html: &str) -> Option<String> {
    let begin = KINDS.iter().filter_map(|kind| html.find(kind)).min()?;
    let html: String = html[begin..].chars().take(MAX_READ).collect();
    // Each part but the first begins with the rest of a tag.
    let tags = html.split('<').enumerate();
    let texts = tags.filter_map(|(n, part)| if n == 0 { Some(part) } else { Some(part.split_once('>')?.1) });
    let text: String = texts.collect();
    let words: Vec<&str> = text.split(STACK_TRACE).next().unwrap_or_default().split_whitespace().collect();
    Some(words.join(" ").chars().take(MAX_WORDS).collect())
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
        let found = words(text).unwrap();
        assert_eq!(
            found,
            "Fatal error: Uncaught Error: Call to undefined function f() in /srv/wp-content/plugins/shop/a.php:3"
        );
        assert_eq!(component(&found), Some("plugins/shop"));
        let parse = "<p>x<br />\n<b>Parse error</b>:  syntax error in <b>/srv/wp-content/mu-plugins/b.php</b> on line <b>2</b><br />";
        let parse = words(parse).unwrap();
        assert_eq!(parse, "Parse error: syntax error in /srv/wp-content/mu-plugins/b.php on line 2");
        assert_eq!(component(&parse), Some("mu-plugins/b.php"));
        assert_eq!(component("Fatal error: x in /srv/wp-includes/load.php on line 2"), None);
        assert_eq!(words("There has been a critical error on this website."), None);
    }
}
