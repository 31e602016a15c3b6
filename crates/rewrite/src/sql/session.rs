//! What a dump's `SET` statements change in how the rest of it is written.

use super::scanner::{Mode, Piece, Token};

/// Variables that are remembered.
const MOST: usize = 32;

/// The session's settings that matter, as far as a dump sets them.
pub(super) struct Settings {
    /// What the session began with: `DEFAULT`.
    first: Mode,
    mode: Mode,
    /// User variables that hold a mode.
    kept: Vec<(Vec<u8>, Mode)>,
    /// Whether letters may hold quotes and backslashes.
    foreign: bool,
    reading: Reading,
}

/// How far a `SET` statement was read.
#[derive(Default)]
struct Reading {
    /// `@` before the last name.
    ats: usize,
    global: bool,
    name: Vec<u8>,
    /// What is assigned to, once the sign was there.
    target: Option<Target>,
    /// Whether its value has begun.
    begun: bool,
    /// Whether that is made by a function that takes away.
    replaces: bool,
    /// Open brackets.
    depth: usize,
}

enum Target {
    Mode,
    Charset,
    Variable(Vec<u8>),
    Other,
}

impl Settings {
    pub(super) fn new(mode: Mode) -> Self {
        Self { first: mode, mode, kept: Vec::new(), foreign: false, reading: Reading::default() }
    }

    /// The mode from the end of the statement on; `None` where the charset is one whose letters may hold quotes and
    /// backslashes: big5, cp932, gbk, gb18030, sjis.
    pub(super) fn ended(&mut self) -> Option<Mode> {
        self.reading = Reading::default();
        (!self.foreign).then_some(self.mode)
    }

    /// Reads on in a `SET` statement.
    pub(super) fn token(&mut self, piece: &Piece, text: &[u8]) {
        let reading = &mut self.reading;
        let word = &text[piece.start..piece.end];
        match &piece.token {
            Token::Sign(b',') if reading.depth == 0 => *reading = Reading::default(),
            Token::Sign(b'(') => reading.depth += 1,
            Token::Sign(b')') => reading.depth = reading.depth.saturating_sub(1),
            Token::Sign(b'@') => {
                reading.ats += 1;
                reading.name.clear();
            }
            Token::Sign(b'=') if reading.target.is_none() => {
                reading.target = Some(reading.target());
                (reading.ats, reading.name) = (0, Vec::new());
            }
            Token::Word if reading.target.is_none() => self.word(word),
            Token::Name(name) if reading.target.is_none() => self.word(&text[name.clone()]),
            Token::Word => self.value(word),
            Token::Text { content, .. } if reading.target.is_some() => {
                self.listed(&text[content.clone()]);
            }
            Token::Text { content, .. } if reading.names_charset() => self.charset(&text[content.clone()]),
            _ => {}
        }
    }

    /// A word before the sign.
    fn word(&mut self, word: &[u8]) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let reading = &mut self.reading;
        if reading.ats != 1 && (is("global") || is("persist") || is("persist_only")) {
            reading.global = true;
        }
        if reading.names_charset() {
            self.charset(word);
        } else {
            reading.name = word.to_vec();
        }
    }

    /// A word behind it.
    fn value(&mut self, word: &[u8]) {
        let reading = &mut self.reading;
        let first = !std::mem::replace(&mut reading.begun, true);
        let mode = match reading.ats {
            0 if word.eq_ignore_ascii_case(b"default") => Some(self.first),
            0 if word.eq_ignore_ascii_case(b"replace") => {
                reading.replaces = true;
                None
            }
            0 if first && !word.eq_ignore_ascii_case(b"concat") && !is_call(word) => {
                self.listed(word);
                return;
            }
            1 => self.kept.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, mode)| *mode),
            2 if word.eq_ignore_ascii_case(b"sql_mode") => Some(self.mode),
            2 => {
                // `@@session.sql_mode`
                reading.begun = false;
                return;
            }
            _ => None,
        };
        reading.ats = 0;
        if let Some(mode) = mode {
            self.assign(mode);
        }
    }

    /// A list of modes, or a charset.
    fn listed(&mut self, list: &[u8]) {
        let first = !std::mem::replace(&mut self.reading.begun, true);
        if matches!(self.reading.target, Some(Target::Charset)) {
            return self.charset(list);
        }
        let mode = parse(list);
        if first {
            return self.assign(mode);
        }
        // Part of an expression.
        let Mode { escapes, ansi } = self.mode;
        let changed = if self.reading.replaces {
            Mode { escapes: escapes || !mode.escapes, ansi: ansi && !mode.ansi }
        } else {
            Mode { escapes: escapes && mode.escapes, ansi: ansi || mode.ansi }
        };
        self.assign(changed);
    }

    fn assign(&mut self, mode: Mode) {
        match &self.reading.target {
            Some(Target::Mode) => self.mode = mode,
            Some(Target::Variable(name)) => {
                self.kept.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                if self.kept.len() == MOST {
                    self.kept.remove(0);
                }
                self.kept.push((name.clone(), mode));
            }
            _ => {}
        }
    }

    fn charset(&mut self, name: &[u8]) {
        const FOREIGN: [&[u8]; 5] = [b"big5", b"cp932", b"gbk", b"gb18030", b"sjis"];
        self.foreign |= FOREIGN.iter().any(|foreign| name.eq_ignore_ascii_case(foreign));
    }
}

impl Reading {
    /// `SET NAMES`, `SET CHARACTER SET`: a charset's name comes.
    fn names_charset(&self) -> bool {
        let last = |name: &str| self.name.eq_ignore_ascii_case(name.as_bytes());
        self.ats == 0 && (last("names") || last("charset") || last("set"))
    }

    fn target(&self) -> Target {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name.as_bytes());
        match self.ats {
            1 => Target::Variable(self.name.clone()),
            _ if self.global => Target::Other,
            _ if is("sql_mode") => Target::Mode,
            _ if is("character_set_client") => Target::Charset,
            _ => Target::Other,
        }
    }
}

/// Whether a word that begins a value is not itself one.
fn is_call(word: &[u8]) -> bool {
    [&b"select"[..], b"concat_ws", b"if", b"ifnull", b"trim", b"upper"]
        .iter()
        .any(|call| word.eq_ignore_ascii_case(call))
}

fn parse(list: &[u8]) -> Mode {
    let has = |names: &[&str]| {
        let is = |mode: &[u8]| names.iter().any(|name| mode.eq_ignore_ascii_case(name.as_bytes()));
        list.split(|byte| *byte == b',').any(|mode| is(mode.trim_ascii()))
    };
    let ansi = ["ansi_quotes", "ansi", "db2", "maxdb", "mssql", "oracle", "postgresql"];
    Mode { escapes: !has(&["no_backslash_escapes"]), ansi: has(&ansi) }
}
