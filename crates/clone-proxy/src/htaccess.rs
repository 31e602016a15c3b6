//! Access rules of `.htaccess` files. Plugins protect their folders with them; other directives are ignored.

use regex::{Regex, RegexBuilder};

/// The most bytes of a compiled pattern.
const MAX_REGEX_BYTES: usize = 1 << 18;

/// Allows or denies all files of a folder and below it, or some of them.
#[derive(Debug)]
pub(crate) struct Rule {
    files: Files,
    deny: bool,
}

#[derive(Debug)]
enum Files {
    All,
    Names(Regex),
    /// A pattern that cannot be parsed. To be safe it matches when the rule denies.
    Unknown,
}

/// The rules of a file, in its order. `<IfModule>` and `<RequireAny>` are ignored: their contents say the same for
/// different versions of Apache.
pub(crate) fn parse(text: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut sections: Vec<Files> = Vec::new();
    // A line that ends with a backslash continues on the next.
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
            // Sections do not nest in practice; the innermost applies.
            let files = match sections.last() {
                None => Files::All,
                Some(Files::Names(regex)) => Files::Names(regex.clone()),
                Some(_) => Files::Unknown,
            };
            rules.push(Rule { files, deny });
        }
    }
    rules
}

/// Whether a file of this name is denied: the last rule that matches decides.
pub(crate) fn denies(rules: &[Rule], name: &str) -> bool {
    let matches = |rule: &&Rule| match &rule.files {
        Files::All => true,
        Files::Names(regex) => regex.is_match(name),
        Files::Unknown => rule.deny,
    };
    rules.iter().rev().find(matches).is_some_and(|rule| rule.deny)
}

fn decision(line: &str) -> Option<bool> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words[..] {
        ["deny", "from", "all", ..] | ["require", "all", "denied"] => Some(true),
        ["allow", "from", "all", ..] | ["require", "all", "granted"] => Some(false),
        // It denies unless an Allow follows.
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

fn pattern(regex: &str) -> Files {
    RegexBuilder::new(regex).size_limit(MAX_REGEX_BYTES).build().map_or(Files::Unknown, Files::Names)
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
    fn usual_forms_of_denials_are_enforced() {
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
            assert_eq!(denies(&parse(text), name), denied, "{text:?} {name}");
        }
    }

    #[test]
    fn a_subfolder_may_allow_again() {
        let mut rules = parse("Require all denied");
        rules.extend(parse("Require all granted"));
        assert!(!denies(&rules, "a.txt"));
    }
}
