//! Follows the `SET` statements of a dump that affect how the rest of it is parsed.

use super::token::{Mode, SpannedToken, Token};

/// The most user variables that are remembered.
const MAX_VARIABLES: usize = 32;

/// The session's SQL mode and charset, as far as the dump sets them.
pub(super) struct SessionSettings {
    /// The mode at the start of the session: `DEFAULT`.
    initial: Mode,
    mode: Mode,
    /// User variables with a mode as their value.
    variables: Vec<(Vec<u8>, Mode)>,
    /// Whether the charset has characters that contain the bytes of quotes or backslashes.
    unsafe_charset: bool,
    set: SetStatement,
}

/// The state within a `SET` statement.
#[derive(Default)]
struct SetStatement {
    /// Number of `@` before the last name.
    at_signs: usize,
    global: bool,
    name: Vec<u8>,
    /// The target of the assignment, once `=` was read.
    target: Option<AssignmentTarget>,
    /// Whether its value has started.
    value_started: bool,
    /// Whether the value is a call of `REPLACE`, which removes modes.
    is_replace_call: bool,
    /// Open parentheses.
    depth: usize,
}

enum AssignmentTarget {
    Mode,
    Charset,
    Variable(Vec<u8>),
    Other,
}

impl SessionSettings {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            initial: mode,
            mode,
            variables: Vec::new(),
            unsafe_charset: false,
            set: SetStatement::default(),
        }
    }

    /// A statement that only SQLite has: literals have no escapes, and double quotes delimit names.
    pub(super) fn set_sqlite(&mut self) {
        self.initial = Mode { escapes: false, ansi: true };
        self.mode = self.initial;
    }

    /// The mode after the end of the statement; `None` if the charset is one whose characters may contain the bytes
    /// of quotes and backslashes: big5, cp932, gbk, gb18030, sjis.
    pub(super) fn end_statement(&mut self) -> Option<Mode> {
        self.set = SetStatement::default();
        (!self.unsafe_charset).then_some(self.mode)
    }

    /// Processes a token of a `SET` statement.
    pub(super) fn token(&mut self, token: &SpannedToken, text: &[u8]) {
        let set = &mut self.set;
        let word = &text[token.start..token.end];
        match &token.token {
            Token::Punctuation(b',') if set.depth == 0 => *set = SetStatement::default(),
            Token::Punctuation(b'(') => set.depth += 1,
            Token::Punctuation(b')') => set.depth = set.depth.saturating_sub(1),
            Token::Punctuation(b'@') => {
                set.at_signs += 1;
                set.name.clear();
            }
            Token::Punctuation(b'=') if set.target.is_none() => {
                set.target = Some(set.target());
                (set.at_signs, set.name) = (0, Vec::new());
            }
            Token::Word if set.target.is_none() => self.word_before_equals(word),
            Token::Name(name) if set.target.is_none() => self.word_before_equals(&text[name.clone()]),
            Token::Word => self.word_after_equals(word),
            Token::Text { content, .. } if set.target.is_some() => {
                self.assign_list(&text[content.clone()]);
            }
            Token::Text { content, .. } if set.expects_charset() => self.charset(&text[content.clone()]),
            _ => {}
        }
    }

    /// A word before `=`.
    fn word_before_equals(&mut self, word: &[u8]) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let set = &mut self.set;
        if set.at_signs != 1 && (is("global") || is("persist") || is("persist_only")) {
            set.global = true;
        }
        if set.expects_charset() {
            self.charset(word);
        } else {
            set.name = word.to_vec();
        }
    }

    /// A word after `=`.
    fn word_after_equals(&mut self, word: &[u8]) {
        let set = &mut self.set;
        let first = !std::mem::replace(&mut set.value_started, true);
        let mode = match set.at_signs {
            0 if word.eq_ignore_ascii_case(b"default") => Some(self.initial),
            0 if word.eq_ignore_ascii_case(b"replace") => {
                set.is_replace_call = true;
                None
            }
            0 if first && !word.eq_ignore_ascii_case(b"concat") && !is_call(word) => {
                self.assign_list(word);
                return;
            }
            1 => {
                self.variables.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, mode)| *mode)
            }
            2 if word.eq_ignore_ascii_case(b"sql_mode") => Some(self.mode),
            2 => {
                // `@@session.sql_mode`
                set.value_started = false;
                return;
            }
            _ => None,
        };
        set.at_signs = 0;
        if let Some(mode) = mode {
            self.assign(mode);
        }
    }

    /// A list of modes, or a charset.
    fn assign_list(&mut self, list: &[u8]) {
        let first = !std::mem::replace(&mut self.set.value_started, true);
        if matches!(self.set.target, Some(AssignmentTarget::Charset)) {
            return self.charset(list);
        }
        let mode = parse_mode(list);
        if first {
            return self.assign(mode);
        }
        // Part of an expression.
        let Mode { escapes, ansi } = self.mode;
        let changed = if self.set.is_replace_call {
            Mode { escapes: escapes || !mode.escapes, ansi: ansi && !mode.ansi }
        } else {
            Mode { escapes: escapes && mode.escapes, ansi: ansi || mode.ansi }
        };
        self.assign(changed);
    }

    fn assign(&mut self, mode: Mode) {
        match &self.set.target {
            Some(AssignmentTarget::Mode) => self.mode = mode,
            Some(AssignmentTarget::Variable(name)) => {
                self.variables.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                if self.variables.len() == MAX_VARIABLES {
                    self.variables.remove(0);
                }
                self.variables.push((name.clone(), mode));
            }
            _ => {}
        }
    }

    fn charset(&mut self, name: &[u8]) {
        const UNSAFE: [&[u8]; 5] = [b"big5", b"cp932", b"gbk", b"gb18030", b"sjis"];
        self.unsafe_charset |= UNSAFE.iter().any(|known| name.eq_ignore_ascii_case(known));
    }
}

impl SetStatement {
    /// `SET NAMES`, `SET CHARACTER SET`: the name of a charset follows.
    fn expects_charset(&self) -> bool {
        let last = |name: &str| self.name.eq_ignore_ascii_case(name.as_bytes());
        self.at_signs == 0 && (last("names") || last("charset") || last("set"))
    }

    fn target(&self) -> AssignmentTarget {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name.as_bytes());
        match self.at_signs {
            1 => AssignmentTarget::Variable(self.name.clone()),
            _ if self.global => AssignmentTarget::Other,
            _ if is("sql_mode") => AssignmentTarget::Mode,
            _ if is("character_set_client") => AssignmentTarget::Charset,
            _ => AssignmentTarget::Other,
        }
    }
}

/// Whether a word at the start of a value is a function or keyword and not a mode.
fn is_call(word: &[u8]) -> bool {
    [&b"select"[..], b"concat_ws", b"if", b"ifnull", b"trim", b"upper"]
        .iter()
        .any(|call| word.eq_ignore_ascii_case(call))
}

fn parse_mode(list: &[u8]) -> Mode {
    let has = |names: &[&str]| {
        let is = |mode: &[u8]| names.iter().any(|name| mode.eq_ignore_ascii_case(name.as_bytes()));
        list.split(|byte| *byte == b',').any(|mode| is(mode.trim_ascii()))
    };
    let ansi = ["ansi_quotes", "ansi", "db2", "maxdb", "mssql", "oracle", "postgresql"];
    Mode { escapes: !has(&["no_backslash_escapes"]), ansi: has(&ansi) }
}
