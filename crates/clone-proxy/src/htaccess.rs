//! Access rules of `.htaccess` files. Plugins protect their folders with them; other directives are ignored.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

/// The most bytes of a compiled pattern, and of a pattern.
const MAX_REGEX_BYTES: usize = 1 << 16;
const MAX_PATTERN_BYTES: usize = 1 << 10;
/// Groups that a pattern may have, beside those that only join: other ones could switch Unicode on.
const GROUPS: [&str; 3] = ["?:", "?i)", "?i:"];
/// The most patterns that are compiled for a request: a clone may write any number into its files.
const MAX_PATTERNS: usize = 32;

/// Allows or denies all files of a folder and below it, or some of them.
#[derive(Debug)]
pub(crate) struct Rule {
    files: Files,
    deny: bool,
}

#[derive(Debug, Clone)]
enum Files {
    All,
    /// Those whose names match a regular expression. It is compiled when it is needed. All rules of a section share it: a file
    /// may have thousands of them. `None` is one that is too long to be kept.
    Names(Option<Arc<str>>),
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
            sections.push(Files::Names(kept(rest, str::to_owned)));
        } else if let Some(rest) = section(line, &lower, "<files") {
            sections.push(Files::Names(match rest.strip_prefix('~') {
                Some(regex) => kept(unquoted(regex), str::to_owned),
                None => kept(rest, glob),
            }));
        } else if let Some(deny) = decision(&lower) {
            // Sections do not nest in practice; the innermost applies.
            rules.push(Rule { files: sections.last().cloned().unwrap_or(Files::All), deny });
        }
    }
    rules
}

/// Whether a file of this name is denied: the last rule that matches decides. A pattern that cannot be compiled, or is one
/// too many, matches when its rule denies, to be safe.
pub(crate) fn denies(rules: &[Rule], name: &str) -> bool {
    let mut patterns = 0;
    let mut matches = |rule: &&Rule| match &rule.files {
        Files::All => true,
        Files::Names(pattern) => {
            patterns += 1;
            let pattern = pattern.as_deref().filter(|_| patterns <= MAX_PATTERNS);
            let regex = pattern.and_then(compiled);
            regex.map_or(rule.deny, |regex| regex.is_match(name.as_bytes()))
        }
    };
    rules.iter().rev().find(|rule| matches(rule)).is_some_and(|rule| rule.deny)
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

/// A pattern as a regular expression, unless it is too long.
fn kept(pattern: &str, to_regex: impl FnOnce(&str) -> String) -> Option<Arc<str>> {
    (pattern.len() <= MAX_PATTERN_BYTES).then(|| to_regex(pattern).into())
}

/// Compiles a pattern as one of bytes: a class of Unicode has more than a million members, and is translated before anything
/// limits the size of the program.
fn compiled(pattern: &str) -> Option<Regex> {
    let is_group = |(at, _)| {
        let group = &pattern[at + 1..];
        !group.starts_with('?') || GROUPS.iter().any(|known| group.starts_with(known))
    };
    if pattern.len() > MAX_PATTERN_BYTES || !pattern.match_indices('(').all(is_group) {
        return None;
    }
    RegexBuilder::new(pattern).unicode(false).size_limit(MAX_REGEX_BYTES).build().ok()
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
    fn few_patterns_are_compiled_and_too_many_deny() {
        let allow = "<FilesMatch \"^b$\">\nAllow from all\n</FilesMatch>\n".repeat(MAX_PATTERNS);
        let deny = "<FilesMatch \"^b$\">\nDeny from all\n</FilesMatch>\n";
        assert!(!denies(&parse(&format!("{deny}{}", "Allow from all")), "a.zip"));
        assert!(!denies(&parse(&allow), "a.zip"));
        assert!(denies(&parse(&format!("{deny}{allow}")), "a.zip"), "the first is the 33rd from the end");
    }

    #[test]
    fn patterns_that_would_take_long_to_compile_are_not_compiled() {
        let classes = "[\\x00-\\xff]".repeat(MAX_PATTERN_BYTES / 12);
        assert!(compiled(&format!("(?i){classes}")).is_some());
        for pattern in
            ["(?u)(?i)[\\x{0}-\\x{10ffff}]", "(?iu:a)", "[\\x{0}-\\x{10ffff}]", "\\p{L}", "(?x)a", "(?=a)"]
        {
            assert!(compiled(pattern).is_none(), "{pattern}");
        }
        assert!(compiled(&"a".repeat(MAX_PATTERN_BYTES + 1)).is_none());
        assert!(compiled("(((a{99}){99}){99})").is_none());
        assert!(compiled("^(?:ü|(?i:Ä)).txt$").is_some_and(|regex| regex.is_match("ü.txt".as_bytes())));
    }

    #[test]
    fn a_pattern_is_kept_once_for_all_rules_of_its_section_and_not_when_it_is_too_long() {
        let rules = |pattern: &str| {
            let rules = parse(&format!("<Files {pattern}>\n{}", "deny from all\n".repeat(2_000)));
            assert_eq!(rules.len(), 2_000);
            let names = |rule: &Rule| match &rule.files {
                Files::Names(pattern) => pattern.clone(),
                Files::All => panic!("it is of some files"),
            };
            rules.iter().map(names).collect::<Vec<_>>()
        };
        let short = rules(&"?".repeat(MAX_PATTERN_BYTES));
        let first = short[0].as_ref().unwrap();
        assert!(short.iter().all(|other| other.as_ref().is_some_and(|other| Arc::ptr_eq(first, other))));
        assert!(rules(&"*".repeat(32_000)).iter().all(Option::is_none));
        let (long, deny) = ("a".repeat(MAX_PATTERN_BYTES + 1), "Deny from all");
        assert!(denies(&parse(&format!("<Files {long}>\n{deny}")), "b"), "it denies, to be safe");
        assert!(denies(&parse(&format!("{deny}\n<Files {long}>\nAllow from all")), &long));
    }

    #[test]
    fn a_subfolder_may_allow_again() {
        let mut rules = parse("Require all denied");
        rules.extend(parse("Require all granted"));
        assert!(!denies(&rules, "a.txt"));
    }
}
