//! What a statement is about: which of its literals are values, which of its names are tables.

use std::collections::HashMap;

use super::scanner::{Mode, Piece, Seek, Token};
use super::session::Settings;
use super::{DumpOptions, GuidPolicy};
use crate::PrefixMapping;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing that changes.
    Passes,
    /// A value.
    Value,
    /// A value that stays.
    Guid,
    /// The name of an option.
    Option,
    /// A key of the users' metadata.
    UserMeta,
    /// The name of a table.
    Table,
}

/// Tables whose columns are remembered.
const MOST: usize = 4096;

pub(super) struct Reader {
    keep_guids: bool,
    prefix: Option<PrefixMapping>,
    settings: Settings,
    /// Where the column is that matters, by table; of those where it is not where WordPress has it.
    places: HashMap<Vec<u8>, Option<usize>>,
    statement: Statement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// Not begun.
    #[default]
    Fresh,
    /// `CREATE` of something.
    Begun,
    /// Writes rows.
    Rows,
    /// Makes a table.
    Table,
    View,
    /// Changes a table.
    Alter,
    /// Names tables, one after the other.
    Tables,
    Other,
    Set,
}

/// How far a statement was read.
#[derive(Default)]
struct Statement {
    kind: Kind,
    /// Whether the next name is a table's.
    expects: bool,
    /// Whether one is behind the next comma.
    list: bool,
    /// Whether a dot was before.
    dot: bool,
    /// Whether rows follow that have no names.
    values: bool,
    /// Open brackets.
    depth: usize,
    /// The column that matters.
    special: Option<Special>,
    /// The column at hand, and whether its name was read.
    column: usize,
    named: bool,
}

/// The column of a table that is not like the others.
struct Special {
    table: Vec<u8>,
    name: &'static str,
    role: Role,
    /// Where it is.
    place: Option<usize>,
    /// Whether that was read where it is used.
    listed: bool,
}

impl Reader {
    pub(super) fn new(options: &DumpOptions, mode: Mode) -> Self {
        Self {
            keep_guids: options.guid == GuidPolicy::Keep,
            prefix: options.prefix.clone(),
            settings: Settings::new(mode),
            places: HashMap::new(),
            statement: Statement::default(),
        }
    }

    /// What has to be found for it.
    pub(super) fn seek(&self) -> Seek {
        match &self.statement {
            Statement { values: true, special: None, .. } => Seek::Literals,
            Statement { values: true, .. } => Seek::Columns,
            _ => Seek::All,
        }
    }

    /// Whether a statement that writes rows is being read.
    pub(super) fn in_rows(&self) -> bool {
        self.statement.kind == Kind::Rows
    }

    /// Ends a statement. What follows is written so; `None`: in a charset that cannot be read.
    pub(super) fn end(&mut self) -> Option<Mode> {
        let statement = std::mem::take(&mut self.statement);
        if let (Kind::Table, Some(special)) = (statement.kind, statement.special) {
            let Special { table, role, place, .. } = special;
            if place == Some(usual(role)) {
                self.places.remove(&table);
            } else if self.places.len() < MOST || self.places.contains_key(&table) {
                self.places.insert(table, place);
            }
        }
        self.settings.ended()
    }

    /// Reads on. `next` is the byte behind the token.
    pub(super) fn role(&mut self, piece: &Piece, text: &[u8]) -> Role {
        if self.statement.kind == Kind::Set {
            self.settings.token(piece, text);
            return Role::Passes;
        }
        let dot = std::mem::replace(&mut self.statement.dot, piece.token == Token::Sign(b'.'));
        match &piece.token {
            Token::Text { .. } | Token::Hex(_) => self.literal(),
            Token::Name(name) => self.name(&text[name.clone()], text.get(piece.end), dot),
            Token::Word if self.statement.values => Role::Passes,
            Token::Word => self.word(&text[piece.start..piece.end], text.get(piece.end), dot),
            Token::Sign(sign) => {
                self.sign(*sign);
                Role::Passes
            }
            _ => Role::Passes,
        }
    }

    fn literal(&self) -> Role {
        let statement = &self.statement;
        if statement.kind != Kind::Rows {
            return Role::Passes;
        }
        match &statement.special {
            Some(special) if statement.depth == 1 && special.place == Some(statement.column) => special.role,
            _ => Role::Value,
        }
    }

    fn sign(&mut self, sign: u8) {
        let statement = &mut self.statement;
        match sign {
            b'(' => {
                statement.depth += 1;
                if statement.depth == 1 {
                    (statement.column, statement.named) = (0, false);
                }
            }
            b')' => statement.depth = statement.depth.saturating_sub(1),
            b',' => {
                statement.expects |= statement.list;
                if statement.depth == 1 {
                    statement.column += 1;
                    statement.named = false;
                }
            }
            _ => {}
        }
    }

    // --- names -------------------------------------------------------------------------------------------------------

    fn name(&mut self, name: &[u8], next: Option<&u8>, dot: bool) -> Role {
        let statement = &mut self.statement;
        if statement.values {
            return Role::Passes;
        }
        let qualifies = next == Some(&b'.');
        if statement.expects {
            if qualifies {
                // A schema.
                return Role::Passes;
            }
            statement.expects = false;
            let is_first = statement.depth == 0 && statement.special.is_none();
            if is_first && matches!(statement.kind, Kind::Rows | Kind::Table) {
                self.statement.special = self.special(name);
            }
            return Role::Table;
        }
        if statement.depth == 1 && !std::mem::replace(&mut statement.named, true) {
            self.column(name);
        }
        let statement = &self.statement;
        if qualifies && !dot && matches!(statement.kind, Kind::View | Kind::Rows) {
            return Role::Table;
        }
        Role::Passes
    }

    /// Notes the column that matters, in a list of columns or a table's definition.
    fn column(&mut self, name: &[u8]) {
        let Statement { special, column, .. } = &mut self.statement;
        let Some(special) = special else { return };
        if !std::mem::replace(&mut special.listed, true) {
            special.place = None;
        }
        if name.eq_ignore_ascii_case(special.name.as_bytes()) {
            special.place = Some(*column);
        }
    }

    /// The column of a table that is not like the others: of the site's posts, options and users' metadata.
    fn special(&self, table: &[u8]) -> Option<Special> {
        let (prefix, name) = split(table)?;
        let own = |network: bool| {
            let Some(known) = &self.prefix else { return prefix.is_empty() || prefix.ends_with(b"_") };
            let Some(site) = prefix.strip_prefix(known.from()) else { return false };
            let digits = site.iter().take_while(|byte| byte.is_ascii_digit()).count();
            site.is_empty() || (network && digits > 0 && &site[digits..] == b"_")
        };
        let (column, role) = match name {
            b"posts" if self.keep_guids && own(true) => ("guid", Role::Guid),
            b"options" if self.prefix.is_some() && own(true) => ("option_name", Role::Option),
            b"usermeta" if self.prefix.is_some() && own(false) => ("meta_key", Role::UserMeta),
            _ => return None,
        };
        let place = self.places.get(table).copied().unwrap_or(Some(usual(role)));
        Some(Special { table: table.to_vec(), name: column, role, place, listed: false })
    }

    // --- words -------------------------------------------------------------------------------------------------------

    fn word(&mut self, word: &[u8], next: Option<&u8>, dot: bool) -> Role {
        let Some(keyword) = Keyword::of(word).filter(|_| !dot && next != Some(&b'.')) else {
            if self.statement.kind == Kind::Fresh {
                self.statement.kind = Kind::Other;
            }
            return self.name(word, next, dot);
        };
        let statement = &mut self.statement;
        let kind = statement.kind;
        if keyword == Keyword::Between {
            return Role::Passes;
        }
        statement.expects = false;
        statement.list = kind == Kind::Tables;
        match (kind, keyword) {
            (Kind::Fresh, _) => statement.begin(keyword),
            (Kind::Begun | Kind::Tables, Keyword::Routine) => statement.kind = Kind::Other,
            (Kind::Begun, Keyword::Table) => (statement.kind, statement.expects) = (Kind::Table, true),
            (Kind::Begun, Keyword::View) => (statement.kind, statement.expects) = (Kind::View, true),
            (Kind::Rows, Keyword::Values) => (statement.values, statement.depth) = (true, 0),
            (Kind::Begun | Kind::Other, _) => {}
            (_, Keyword::Table | Keyword::View | Keyword::Into) => statement.expects = true,
            (Kind::Table, Keyword::Like) => statement.expects = statement.depth == 0,
            (Kind::View, Keyword::From) => (statement.expects, statement.list) = (true, true),
            (Kind::Rows, Keyword::From) => statement.expects = true,
            (Kind::Table, Keyword::Key) if statement.depth == 1 => statement.named = true,
            _ => {}
        }
        if keyword == Keyword::Into && statement.depth == 1 {
            // `CONSTRAINT`, which begins no column.
            statement.named = true;
        }
        Role::Passes
    }
}

impl Statement {
    fn begin(&mut self, keyword: Keyword) {
        (self.kind, self.expects) = match keyword {
            Keyword::Write => (Kind::Rows, true),
            Keyword::Make => (Kind::Begun, false),
            Keyword::Alter => (Kind::Alter, false),
            Keyword::Name => (Kind::Tables, false),
            Keyword::Empty => (Kind::Tables, true),
            Keyword::Set => (Kind::Set, false),
            _ => (Kind::Other, false),
        };
        self.list = self.kind == Kind::Tables;
    }
}

/// Words that say what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keyword {
    Write,
    Make,
    Alter,
    Name,
    Empty,
    Set,
    Table,
    View,
    Routine,
    Values,
    /// A name comes.
    Into,
    From,
    Like,
    /// It begins a line of a table's definition that is no column.
    Key,
    /// It ends a list of tables.
    Clause,
    /// It may be before a name.
    Between,
}

impl Keyword {
    fn of(word: &[u8]) -> Option<Self> {
        let mut room = [0; 13];
        let small = room.get_mut(..word.len())?;
        small.copy_from_slice(word);
        small.make_ascii_lowercase();
        Some(match &*small {
            b"insert" | b"replace" | b"update" => Self::Write,
            b"create" => Self::Make,
            b"alter" => Self::Alter,
            b"drop" | b"lock" | b"rename" => Self::Name,
            b"truncate" => Self::Empty,
            b"set" => Self::Set,
            b"table" | b"tables" => Self::Table,
            b"view" => Self::View,
            b"trigger" | b"procedure" | b"function" | b"event" | b"package" | b"database" | b"schema"
            | b"user" | b"role" | b"server" | b"index" => Self::Routine,
            b"values" | b"value" => Self::Values,
            b"into" | b"references" | b"constraint" | b"to" => Self::Into,
            b"from" | b"join" => Self::From,
            b"like" => Self::Like,
            b"primary" | b"unique" | b"key" | b"fulltext" | b"spatial" | b"foreign" | b"check"
            | b"period" => Self::Key,
            b"select" | b"where" | b"on" | b"using" | b"group" | b"order" | b"having" | b"union"
            | b"limit" => Self::Clause,
            b"if" | b"not" | b"exists" | b"ignore" | b"low_priority" | b"delayed" | b"high_priority"
            | b"temporary" | b"only" | b"or" => Self::Between,
            _ => return None,
        })
    }
}

/// Where WordPress has these columns.
fn usual(role: Role) -> usize {
    match role {
        Role::Guid => 18,
        Role::UserMeta => 2,
        _ => 1,
    }
}

/// A table's prefix and its name.
fn split(table: &[u8]) -> Option<(&[u8], &'static [u8])> {
    const NAMES: [&[u8]; 3] = [b"posts", b"options", b"usermeta"];
    NAMES.iter().find_map(|name| Some((table.strip_suffix(*name)?, *name)))
}
