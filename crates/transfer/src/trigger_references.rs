//! What the statement of a trigger needs and the copy has not. A database creates such a trigger all the same, and then
//! rejects each change of its table.

use std::collections::HashSet;

use wpclone_migrator::{Definition, Manifest, Trigger};

use crate::omitted_objects::OmittedObject;

/// Words before the name of a table.
const BEFORE_TABLE: [&str; 13] = [
    "from",
    "into",
    "join",
    "straight_join",
    "update",
    "insert",
    "replace",
    "table",
    "ignore",
    "low_priority",
    "high_priority",
    "delayed",
    "quick",
];

/// Tables and stored programs of the source that are not in the copy, in lower case.
#[derive(Debug, Default)]
pub(crate) struct MissingObjects {
    tables: HashSet<String>,
    /// What is copied, also where its name begins with another installation's prefix.
    copied: HashSet<String>,
    /// Of other WordPress installations.
    prefixes: Vec<String>,
    functions: HashSet<String>,
    procedures: HashSet<String>,
    /// The name of the source's database, which may stand before the name of a table.
    database: String,
}

/// A part of a statement that matters here.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A name or a keyword; whether it was quoted.
    Word(String, bool),
    /// Any other character but white space.
    Sign(u8),
}

impl MissingObjects {
    /// What is not copied of a source with these definitions, besides the objects that are `omitted`.
    pub(crate) fn of(source: &Manifest, all: &[Definition], omitted: &[OmittedObject]) -> Self {
        let copied: HashSet<&str> =
            all.iter().filter(|one| !matches!(one, Definition::Program(_))).map(Definition::name).collect();
        let names = source.unprefixed_tables.iter().filter(|name| !copied.contains(name.as_str()));
        let omitted =
            omitted.iter().filter(|object| object.is_table_or_sequence()).map(|object| &object.name);
        let tables: HashSet<String> = names.chain(omitted).map(|name| name.to_lowercase()).collect();
        let programs = |kind: &str| {
            let of_kind = all
                .iter()
                .filter(|one| matches!(one, Definition::Program(_)) && one.object() == kind)
                .map(|one| one.name().to_lowercase());
            of_kind.collect()
        };
        Self {
            copied: copied
                .iter()
                .map(|name| name.to_lowercase())
                .filter(|name| !tables.contains(name))
                .collect(),
            tables,
            prefixes: source.other_prefixes.iter().filter(|prefix| !prefix.is_empty()).cloned().collect(),
            functions: programs("function"),
            procedures: programs("procedure"),
            database: source.database.name.to_lowercase(),
        }
    }

    /// What a trigger needs of it; `None` if that is nothing that can be seen in its statement.
    pub(crate) fn needed_by(&self, trigger: &Trigger) -> Option<String> {
        let tokens = tokens(&trigger.body, trigger.sql_mode.split(',').any(|mode| mode == "ANSI_QUOTES"));
        let used = |at: usize| {
            let Token::Word(name, quoted) = &tokens[at] else { return None };
            let first = self.without_database(&tokens, at)?;
            let before = first.checked_sub(1).map(|before| &tokens[before]);
            let follows = |words: &[&str]| matches!(before, Some(Token::Word(word, false)) if words.iter().any(|w| word.eq_ignore_ascii_case(w)));
            let is_called = tokens.get(at + 1) == Some(&Token::Sign(b'('));
            let lower = name.to_lowercase();
            if follows(&["call"]) && self.procedures.contains(&lower) {
                Some(format!("the procedure {name}"))
            } else if is_called && self.functions.contains(&lower) && !follows(&BEFORE_TABLE) {
                Some(format!("the function {name}"))
            } else if follows(&BEFORE_TABLE)
                && (*quoted || !is_keyword(&lower))
                && self.lacks_table(name, &lower)
            {
                Some(format!("the table {name}"))
            } else {
                None
            }
        };
        (0..tokens.len()).find_map(used)
    }

    fn lacks_table(&self, name: &str, lower: &str) -> bool {
        !self.copied.contains(lower)
            && (self.tables.contains(lower)
                || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())))
    }

    /// Where a name begins, with the source's database before it if that is named; `None` if it is a part of something else,
    /// as the column of a row.
    fn without_database(&self, tokens: &[Token], at: usize) -> Option<usize> {
        match at.checked_sub(1).map(|before| &tokens[before]) {
            Some(Token::Sign(b'.')) => {
                let database = at.checked_sub(2)?;
                let is_own =
                    matches!(&tokens[database], Token::Word(word, _) if word.to_lowercase() == self.database);
                is_own.then_some(database)
            }
            Some(Token::Sign(b'@')) => None,
            _ => Some(at),
        }
    }
}

/// Whether a word between a keyword and the name of a table is one of these keywords itself.
fn is_keyword(word: &str) -> bool {
    BEFORE_TABLE.contains(&word)
}

/// The words and signs of a statement, without strings and comments.
fn tokens(sql: &str, has_ansi_quotes: bool) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end_after = |end: &[u8]| {
            let until = rest.windows(end.len()).skip(1).position(|window| window == end);
            until.map_or(bytes.len(), |until| at + 1 + until + end.len())
        };
        at = match rest[0] {
            quote @ (b'`' | b'\'' | b'"') => {
                let is_name = quote == b'`' || quote == b'"' && has_ansi_quotes;
                let (text, end) = quoted(bytes, at, !is_name);
                if is_name {
                    found.push(Token::Word(text, true));
                }
                end
            }
            b'#' => end_after(b"\n"),
            b'-' if rest.starts_with(b"--") && rest.get(2).is_none_or(u8::is_ascii_whitespace) => {
                end_after(b"\n")
            }
            // What follows is executed, depending on the version.
            b'/' if rest.starts_with(b"/*!") || rest.starts_with(b"/*M!") => at + 3,
            b'/' if rest.starts_with(b"/*") => end_after(b"*/"),
            byte if is_word(byte) => {
                let end = rest.iter().position(|byte| !is_word(*byte)).map_or(bytes.len(), |len| at + len);
                found.push(Token::Word(String::from_utf8_lossy(&bytes[at..end]).into_owned(), false));
                end
            }
            byte => {
                if !byte.is_ascii_whitespace() {
                    found.push(Token::Sign(byte));
                }
                at + 1
            }
        };
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// The text of a quoted part that begins at `at`, and where it ends.
fn quoted(bytes: &[u8], at: usize, has_escapes: bool) -> (String, usize) {
    let (quote, mut text, mut next) = (bytes[at], Vec::new(), at + 1);
    while let Some(&byte) = bytes.get(next) {
        let is_doubled = byte == quote && bytes.get(next + 1) == Some(&quote);
        if byte == quote && !is_doubled {
            next += 1;
            break;
        }
        let is_pair = is_doubled || has_escapes && byte == b'\\';
        next += if is_pair { 2 } else { 1 };
        text.push(byte);
    }
    (String::from_utf8_lossy(&text).into_owned(), next.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::tests::side;

    fn missing() -> MissingObjects {
        let mut source = side("a.example", "8.2.1", "7.2");
        source["unprefixed_tables"] = json!(["audit_log", "copied", "status"]);
        source["other_prefixes"] = json!(["old_"]);
        source["database"]["name"] = json!("Shop");
        let program = |kind, name| json!({"kind": "program", "object": kind, "name": name});
        let all = json!([
            {"kind": "sequence", "name": "copied", "next": "1", "min": "1", "max": "9", "start": "1", "increment": "1",
                "cache": "1", "round": "0", "cycle": false},
            {"kind": "sequence", "name": "old_but_own", "next": "1", "min": "1", "max": "9", "start": "1", "increment": "1",
                "cache": "1", "round": "0", "cycle": false},
            program("function", "next_number"),
            program("procedure", "note"),
        ]);
        let omitted =
            [OmittedObject::new("table", "wp_damaged", ""), OmittedObject::new("view", "wp_view", "")];
        MissingObjects::of(
            &serde_json::from_value(source).unwrap(),
            &serde_json::from_value::<Vec<Definition>>(all).unwrap(),
            &omitted,
        )
    }

    fn needed(body: &str, sql_mode: &str) -> Option<String> {
        let trigger = json!({"name": "t", "table": "wp_posts", "timing": "AFTER", "event": "INSERT", "body": body,
            "sql_mode": sql_mode, "definer": "x"});
        missing().needed_by(&serde_json::from_value(trigger).unwrap())
    }

    #[test]
    fn what_a_trigger_needs_and_the_copy_has_not_is_named() {
        for (body, what) in [
            ("INSERT INTO audit_log VALUES (NEW.ID)", "the table audit_log"),
            ("insert low_priority ignore into `audit_log` (a) select 1", "the table audit_log"),
            ("INSERT audit_log SET a = 1", "the table audit_log"),
            ("BEGIN IF NEW.ID > 5 THEN UPDATE Shop.audit_log SET a = 1; END IF; END", "the table audit_log"),
            ("INSERT INTO `shop` . `audit_log` VALUES (1)", "the table audit_log"),
            ("SET @n = (SELECT COUNT(*) FROM wp_posts JOIN AUDIT_LOG ON 1)", "the table AUDIT_LOG"),
            ("DELETE FROM wp_damaged WHERE id = OLD.ID", "the table wp_damaged"),
            ("REPLACE INTO old_posts VALUES (1)", "the table old_posts"),
            ("SET NEW.number = next_number('orders')", "the function next_number"),
            ("SET NEW.number = shop.Next_Number(1)", "the function Next_Number"),
            ("CALL note(NEW.ID)", "the procedure note"),
            ("CALL `shop`.`note`", "the procedure note"),
            ("/*!50001 CALL note(1) */", "the procedure note"),
            ("SET @x = 'it''s \\' --'; CALL note(1)", "the procedure note"),
        ] {
            assert_eq!(needed(body, "").as_deref(), Some(what), "{body}");
        }
        let quoted = "INSERT INTO \"audit_log\" VALUES (1)";
        assert_eq!(needed(quoted, "PIPES_AS_CONCAT,ANSI_QUOTES").as_deref(), Some("the table audit_log"));
        assert_eq!(needed(quoted, ""), None, "a string");
    }

    #[test]
    fn a_trigger_that_needs_nothing_else_is_copied() {
        for body in [
            "SET NEW.status = UPPER(NEW.status)",
            "SET NEW.post_status = status",
            "INSERT INTO copied VALUES (1)",
            "INSERT INTO old_but_own VALUES (1)",
            "INSERT INTO wp_view VALUES (1)",
            "INSERT INTO wp_log (what) VALUES ('insert into audit_log')",
            "INSERT INTO wp_log (what) VALUES (\"call note()\") -- from audit_log",
            "# from audit_log\nSET @a = 1 /* call note() */",
            "SET @next_number = 1, @note = EXTRACT(YEAR FROM NOW())",
            "INSERT INTO elsewhere.audit_log VALUES (1)",
            "INSERT INTO wp_log (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = 1",
            "'never ends",
            "`",
            "/*",
            "--",
            "",
        ] {
            assert_eq!(needed(body, ""), None, "{body}");
        }
    }
}
