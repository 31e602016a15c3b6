//! Compares the SHOW CREATE TABLE of both sides, so that no property of a definition is lost without being named: also one
//! that nothing here knows.

use std::collections::{BTreeMap, HashSet};

/// Words that a statement has for a property, for servers that do not write statements alike.
const PROPERTIES: [&str; 14] = [
    "INVISIBLE",
    "VERSIONING",
    "PERIOD",
    "OVERLAPS",
    "COMPRESSED",
    "CHECK",
    "IGNORED",
    "ENCRYPTED",
    "ENCRYPTION",
    "PAGE_COMPRESSED",
    "STORED",
    "PERSISTENT",
    "VIRTUAL",
    "NEXTVAL",
];

/// Options that a definition has as fields of their own, or that say nothing about the table.
const KNOWN_OPTIONS: [&str; 6] = ["ENGINE", "CHARSET", "COLLATE", "AUTO_INCREMENT", "ROW_FORMAT", "COMMENT"];

/// The parts of a definition that are known by name: whether it is a column, because an index may have the name of one, and the
/// name.
pub(crate) type NamedParts = HashSet<(bool, String)>;

/// A statement in parts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Statement {
    /// Columns, indexes and constraints: each its name, or its first word, and its tokens.
    elements: Vec<(String, Vec<String>)>,
    /// Options of the table, such as `CHECKSUM=1`.
    options: Vec<String>,
}

/// What the source's statement has and the target's has not. `named` are columns, indexes and constraints whose differences
/// are known already.
pub(crate) fn differences(source: &str, target: &str, same_server: bool, named: &NamedParts) -> Vec<String> {
    if source.is_empty() || target.is_empty() {
        return Vec::new();
    }
    if !same_server {
        return lost_properties(source, target);
    }
    let (source, target) = (Statement::parse(source), Statement::parse(target));
    let mut lost = Vec::new();
    for (name, tokens) in &source.elements {
        if named.contains(&(is_column(tokens), name.clone()))
            || target.elements.iter().any(|(_, other)| other == tokens)
        {
            continue;
        }
        let same_part = |(other, others): &&(String, Vec<String>)| {
            other == name && is_column(others) == is_column(tokens)
        };
        let became = target.elements.iter().find(same_part);
        let became = became.map_or("nothing".to_owned(), |(_, tokens)| tokens.join(" "));
        lost.push(format!("{} became {became}", tokens.join(" ")));
    }
    let options = source.options.iter().filter(|option| !target.options.contains(option));
    lost.extend(options.map(|option| format!("{option} became nothing")));
    lost
}

/// The properties that the source's statement has more often than the target's.
fn lost_properties(source: &str, target: &str) -> Vec<String> {
    let count = |statement: &str| {
        let mut words = BTreeMap::<String, usize>::new();
        for word in tokens(statement).into_iter().filter(|token| PROPERTIES.contains(&token.as_str())) {
            *words.entry(word).or_default() += 1;
        }
        words
    };
    let (source, target) = (count(source), count(target));
    let lost =
        source.into_iter().filter(|(word, times)| *times > target.get(word).copied().unwrap_or_default());
    lost.map(|(word, _)| format!("{word} became nothing")).collect()
}

impl Statement {
    fn parse(text: &str) -> Self {
        let tokens = tokens(text);
        let Some(open) = tokens.iter().position(|token| token == "(") else { return Self::default() };
        let (mut parsed, mut depth, mut element) = (Self::default(), 1_usize, Vec::new());
        let mut rest = tokens.into_iter().skip(open + 1);
        for token in rest.by_ref() {
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && token == ",") {
                parsed.add_element(std::mem::take(&mut element));
            } else {
                element.push(token);
            }
            if depth == 0 {
                break;
            }
        }
        parsed.add_options(rest);
        parsed
    }

    fn add_element(&mut self, tokens: Vec<String>) {
        let is_name = |token: &&String| token.starts_with('`');
        // Foreign keys are added later, and reported by themselves.
        if tokens.iter().any(|token| token == "FOREIGN") {
            return;
        }
        let name = match tokens.first() {
            Some(first) if first == "PRIMARY" => Some(first),
            first => tokens.iter().find(is_name).or(first),
        };
        let name = name.cloned().unwrap_or_default();
        let name = name.trim_matches('`').replace("``", "`");
        // Names of constraints may contain the name of the table.
        let tokens = match tokens.first().map(String::as_str) {
            Some("CONSTRAINT") => tokens.get(2..).unwrap_or_default().to_vec(),
            _ => tokens,
        };
        self.elements.push((name, plain(tokens)));
    }

    fn add_options(&mut self, tokens: impl Iterator<Item = String>) {
        let mut tokens = tokens.take_while(|token| token != "PARTITION").peekable();
        while let Some(name) = tokens.next() {
            if tokens.next_if(|token| token == "=").is_none() {
                if name != "DEFAULT" && name != "," {
                    self.options.push(name);
                }
                continue;
            }
            let mut value = tokens.next().unwrap_or_default();
            if value == "(" {
                let inside: Vec<_> = tokens.by_ref().take_while(|token| token != ")").collect();
                value = format!("({})", inside.join(" "));
            }
            if !KNOWN_OPTIONS.contains(&name.as_str()) {
                self.options.push(format!("{name}={value}"));
            }
        }
    }
}

/// Whether an element is a column. An index may have the name of one.
fn is_column(tokens: &[String]) -> bool {
    tokens.first().is_some_and(|first| first.starts_with('`'))
}

/// An element without what servers write differently for the same: charsets and collations, which are mapped and reported by
/// themselves, widths of integers, `DEFAULT NULL`, quotes around numbers, the kind of an index (also when it is the engine's
/// own).
fn plain(tokens: Vec<String>) -> Vec<String> {
    let mut plain: Vec<String> = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token.as_str() {
            "COLLATE" | "CHARSET" => drop(tokens.next()),
            "CHARACTER" if tokens.next_if(|next| next == "SET").is_some() => drop(tokens.next()),
            "NULL" if plain.last().is_some_and(|last| last == "DEFAULT") => drop(plain.pop()),
            "NULL" if plain.last().is_none_or(|last| last != "NOT") => {}
            "USING" if tokens.next_if(|next| next == "BTREE" || next == "HASH").is_some() => {}
            "(" if plain.last().is_some_and(|last| last.ends_with("INT")) => {
                tokens.by_ref().take_while(|next| next != ")").for_each(drop);
            }
            "(" if plain.last().is_some_and(|last| last == "CURRENT_TIMESTAMP")
                && tokens.next_if(|next| next == ")").is_some() => {}
            quoted if quoted.len() > 2 && quoted.trim_matches('\'').parse::<f64>().is_ok() => {
                plain.push(quoted.trim_matches('\'').to_owned());
            }
            _ => plain.push(token),
        }
    }
    plain
}

/// The tokens of a statement: quoted names and texts as they are, words in upper case. Comments that only some servers
/// execute are read as if all did.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '`' | '\'' => quoted_length(rest, first),
            '/' if rest.starts_with("/*") => {
                let mark = rest.trim_start_matches(|c: char| "/*!M".contains(c) || c.is_ascii_digit());
                rest = mark;
                continue;
            }
            '*' if rest.starts_with("*/") => {
                rest = &rest[2..];
                continue;
            }
            c if c.is_alphanumeric() || c == '_' || c == '$' => {
                rest.find(|c: char| !(c.is_alphanumeric() || "_$.".contains(c))).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            c if c.is_whitespace() => {}
            '`' | '\'' => tokens.push(token.to_owned()),
            _ => tokens.push(token.to_uppercase()),
        }
    }
    tokens
}

/// The length of a quoted name or text, with its quotes. A quote is doubled inside, or escaped in a text.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && quote == '\'' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lost(source: &str, target: &str) -> Vec<String> {
        differences(source, target, true, &NamedParts::new())
    }

    const TABLE: &str = "CREATE TABLE `wp_a` (\n  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,\n  \
        `t` longtext /*M!100301 COMPRESSED*/ CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL COMMENT 'a, (b) `c`',\n  \
        `k` varchar(20) INVISIBLE DEFAULT 'it''s, \\' x',\n  PRIMARY KEY (`id`),\n  KEY `k` (`k`(3)) IGNORED,\n  \
        PERIOD FOR `valid` (`a`, `b`),\n  CONSTRAINT `fk` FOREIGN KEY (`id`) REFERENCES `wp_b` (`id`),\n  \
        CONSTRAINT `wp_a_chk_1` CHECK (`id` > 0)\n) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 \
        COLLATE=utf8mb4_general_ci CHECKSUM=1 `PAGE_COMPRESSED`='ON' COMMENT='x' WITH SYSTEM VERSIONING\n \
        PARTITION BY RANGE (`id`)\n(PARTITION `p0` VALUES LESS THAN (3) ENGINE = InnoDB)";

    #[test]
    fn the_same_definition_in_other_words_is_no_difference() {
        let other = "CREATE TABLE `wp_wpclone_new_5` (\n  `id` bigint unsigned NOT NULL AUTO_INCREMENT,\n  \
            `t` longtext /*!100301 COMPRESSED*/ NULL COMMENT 'a, (b) `c`',\n  \
            `k` varchar(20) INVISIBLE DEFAULT 'it''s, \\' x',\n  PRIMARY KEY (`id`) USING BTREE,\n  KEY `k` (`k`(3)) IGNORED,\n  \
            PERIOD FOR `valid` (`a`, `b`),\n  CONSTRAINT `other` CHECK (`id` > '0')\n) ENGINE=Aria DEFAULT CHARSET=latin1 \
            CHECKSUM=1 `PAGE_COMPRESSED`='ON' WITH SYSTEM VERSIONING";
        assert_eq!(lost(TABLE, other), [""; 0]);
        assert_eq!(lost(TABLE, TABLE), [""; 0]);
        let memory =
            "CREATE TABLE `a` (`k` int, `l` int, PRIMARY KEY (`k`,`l`), KEY `l` (`l`)) ENGINE=MEMORY";
        assert_eq!(lost(memory, &memory.replace("`)", "`) USING HASH")), [""; 0]);
        let time = "CREATE TABLE `a` (`t` timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(3))";
        assert_eq!(lost(time, &time.replace("current_timestamp()", "CURRENT_TIMESTAMP")), [""; 0]);
    }

    #[test]
    fn every_property_that_is_missing_is_named() {
        for (with, without, named) in [
            (" INVISIBLE", "", "`k` VARCHAR ( 20 ) INVISIBLE DEFAULT 'it''s, \\' x' became `k`"),
            (" /*M!100301 COMPRESSED*/", "", "`t` LONGTEXT COMPRESSED COMMENT"),
            (" IGNORED", "", "KEY `k` ( `k` ( 3 ) ) IGNORED became"),
            ("  PERIOD FOR `valid` (`a`, `b`),\n", "", "PERIOD FOR `valid` ( `a` , `b` ) became nothing"),
            (",\n  CONSTRAINT `wp_a_chk_1` CHECK (`id` > 0)", "", "CHECK ( `id` > 0 ) became nothing"),
            (" WITH SYSTEM VERSIONING", "", "WITH became nothing"),
            ("CHECKSUM=1 ", "", "CHECKSUM=1 became nothing"),
            ("`PAGE_COMPRESSED`='ON' ", "", "`PAGE_COMPRESSED`='ON' became nothing"),
            ("AUTO_INCREMENT,", "NEW_PROPERTY,", "`id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT became"),
        ] {
            assert!(TABLE.contains(with), "{with}");
            let found = lost(TABLE, &TABLE.replacen(with, without, 1));
            assert!(found.first().is_some_and(|text| text.starts_with(named)), "{with}: {found:?}");
        }
    }

    #[test]
    fn an_index_is_compared_with_the_index_of_its_name_and_not_with_a_column() {
        let source = "CREATE TABLE `a` (`k` int, `l` int, PRIMARY KEY (`k`,`l`), KEY `l` (`l`))";
        let found = lost(source, "CREATE TABLE `b` (`k` int, `l` int, PRIMARY KEY (`k`), KEY `l` (`k`))");
        let named = [
            "PRIMARY KEY ( `k` , `l` ) became PRIMARY KEY ( `k` )",
            "KEY `l` ( `l` ) became KEY `l` ( `k` )",
        ];
        assert_eq!(found, named);
        let found = lost(source, "CREATE TABLE `b` (`k` int, `l` int)");
        assert_eq!(found, ["PRIMARY KEY ( `k` , `l` ) became nothing", "KEY `l` ( `l` ) became nothing"]);
    }

    #[test]
    fn what_is_named_already_is_not_named_twice() {
        let target = TABLE.replacen(" INVISIBLE", "", 1).replacen(" IGNORED", "", 1);
        assert_eq!(lost(TABLE, &target).len(), 2);
        let (column, index) = ((true, "k".to_owned()), (false, "k".to_owned()));
        let lost = |named: &[(bool, String)]| {
            differences(TABLE, &target, true, &named.iter().cloned().collect::<NamedParts>())
        };
        let [other] = &lost(std::slice::from_ref(&column))[..] else { panic!("the index is named as well") };
        assert!(other.starts_with("KEY `k`"), "{other}");
        let [other] = &lost(std::slice::from_ref(&index))[..] else { panic!("the column is named as well") };
        assert!(other.starts_with("`k` VARCHAR"), "{other}");
        assert_eq!(lost(&[column, index]), [""; 0]);
    }

    #[test]
    fn another_server_is_asked_for_properties_only() {
        let target = "CREATE TABLE `x` (`id` bigint, `t` longtext, `k` varchar(20) /*!80023 INVISIBLE */, CHECK (1)) ENGINE=InnoDB";
        let found = differences(TABLE, target, false, &NamedParts::new());
        assert_eq!(
            found,
            [
                "COMPRESSED became nothing",
                "IGNORED became nothing",
                "PERIOD became nothing",
                "VERSIONING became nothing"
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(source in ".{0,200}", target in "[`'(),/*! A-Z=]{0,100}") {
            differences(&source, &target, true, &NamedParts::new());
            differences(&target, &source, false, &NamedParts::new());
            prop_assert!(lost(&target, &target).is_empty());
        }
    }
}
