//! What a `.htaccess` denies. Plugins protect their folders so, and on Apache it holds; nothing else of it is heard.

use regex::{Regex, RegexBuilder};

/// The largest program that a pattern may become.
const MOST_REGEX: usize = 1 << 18;

/// One decision: for all files of a folder and below, or for some.
#[derive(Debug)]
pub(crate) struct Rule {
    only: Only,
    deny: bool,
}

#[derive(Debug)]
enum Only {
    All,
    Names(Regex),
    /// A pattern that we do not understand: to be on the safe side it fits when it denies.
    Unknown,
}

/// The decisions of a file, in its order. `<IfModule>` and `<RequireAny>` are looked through: whichever module there
/// is, what its author meant is the same.
pub(crate) fn read(text: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut sections: Vec<Only> = Vec::new();
    // A line that ends with a backslash goes on.
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").lines().map(str::trim) {
        let lower = line.to_ascii_lowercase();
        if lower.starts_with("</files") {
            sections.pop();
        } else if let Some(rest) = section(line, &lower, "<filesmatch") {
            sections.push(pattern(rest));
        } else if let Some(rest) = section(line, &lower, "<files") {
            sections.push(match rest.strip_prefix('~') {
                Some(regex) => pattern(unquoted(regex)),
                None => pattern(&glob(rest)),
            });
        } else if let Some(deny) = decision(&lower) {
            // Sections do not nest in practice; the innermost counts.
            let only = match sections.last() {
                None => Only::All,
                Some(Only::Names(regex)) => Only::Names(regex.clone()),
                Some(_) => Only::Unknown,
            };
            rules.push(Rule { only, deny });
        }
    }
    rules
}

/// Whether a file of this name is denied: the last decision that fits.
pub(crate) fn denies(rules: &[Rule], name: &str) -> bool {
    let fits = |rule: &&Rule| match &rule.only {
        Only::All => true,
        Only::Names(regex) => regex.is_match(name),
        Only::Unknown => rule.deny,
    };
    rules.iter().rev().find(fits).is_some_and(|rule| rule.deny)
}

fn decision(line: &str) -> Option<bool> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words[..] {
        ["deny", "from", "all", ..] | ["require", "all", "denied"] => Some(true),
        ["allow", "from", "all", ..] | ["require", "all", "granted"] => Some(false),
        // Without an Allow that follows it, this denies.
        ["order", "allow,deny"] => Some(true),
        _ => None,
    }
}

fn section<'a>(line: &'a str, lower: &str, name: &str) -> Option<&'a str> {
    let rest = lower.strip_prefix(name)?;
    if !rest.starts_with([' ', '\t', '"']) {
        return None;
    }
    Some(unquoted(line[name.len()..].trim_end_matches('>')))
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

fn pattern(regex: &str) -> Only {
    RegexBuilder::new(regex).size_limit(MOST_REGEX).build().map_or(Only::Unknown, Only::Names)
}

/// A shell pattern as a regular expression.
fn glob(text: &str) -> String {
    let mut regex = String::from("^");
    for c in text.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_in_their_usual_forms_hold() {
        let both = "<IfModule mod_authz_core.c>\n Require all denied\n</IfModule>\n\
                    <IfModule !mod_authz_core.c>\n Order deny,allow\n Deny from all\n</IfModule>";
        for (text, name, denied) in [
            ("deny from all", "a.txt", true),
            (both, "a.txt", true),
            ("Order allow,deny", "a.txt", true),
            ("Order allow,deny\nAllow from all", "a.txt", false),
            ("Order Deny,Allow\nDeny from all\nAllow from 127.0.0.1", "a.txt", true),
            ("# BEGIN WordPress\nRewriteEngine On\nRewriteRule . /index.php [L]", "a.txt", false),
            ("<Files *.log>\nRequire all denied\n</Files>", "a.log", true),
            ("<Files *.log>\nRequire all denied\n</Files>", "a.txt", false),
            ("<Files ~ \"\\.(js|css)$\">\nallow from all\n</Files>", "a.js", false),
            ("deny from all\n<FilesMatch \"\\.(jpg|png)$\">\nallow from all\n</FilesMatch>", "a.jpg", false),
            ("deny from all\n<FilesMatch \"\\.(jpg|png)$\">\nallow from all\n</FilesMatch>", "a.zip", true),
            ("<FilesMatch \"(\">\nDeny from all\n</FilesMatch>", "a.zip", true),
            ("<FilesMatch \"(\">\nAllow from all\n</FilesMatch>", "a.zip", false),
            ("deny from all\n<FilesMatch \"(\">\nAllow from all\n</FilesMatch>", "a.zip", true),
            ("Require all \\\n denied", "a.zip", true),
            ("<FilesMatch>\nDeny from all", "a", true),
            ("</Files>\n</Files>", "a", false),
        ] {
            assert_eq!(denies(&read(text), name), denied, "{text:?} {name}");
        }
    }

    #[test]
    fn a_folder_below_may_allow_again() {
        let mut rules = read("Require all denied");
        rules.extend(read("Require all granted"));
        assert!(!denies(&rules, "a.txt"));
    }
}
