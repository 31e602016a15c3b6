//! Tracks the current statement: which of its literals are values, and which of its names are tables.

use std::collections::HashMap;

use super::binary_columns::BinaryColumns;
use super::keyword::Keyword;
use super::session::SessionSettings;
use super::token::{Mode, SpannedToken, Token, TokenFilter};
use super::{DumpOptions, GuidPolicy};
use crate::PrefixMapping;

/// The role of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Not changed.
    Unchanged,
    /// A value.
    Value,
    /// A post's guid, which is kept.
    Guid,
    /// The name of an option.
    Option,
    /// A key of user metadata.
    UserMeta,
    /// The name of a table.
    Table,
}

/// The most tables whose column positions are remembered.
const MAX_REMEMBERED_TABLES: usize = 4096;

pub(super) struct StatementReader {
    keep_guids: bool,
    prefix: Option<PrefixMapping>,
    settings: SessionSettings,
    /// The position of the special column by table, for tables where it differs from WordPress' own.
    column_positions: HashMap<Vec<u8>, Option<usize>>,
    binary_columns: BinaryColumns,
    statement: Statement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum StatementKind {
    /// Before its first keyword.
    #[default]
    Start,
    /// After `CREATE`.
    Create,
    /// `INSERT`, `REPLACE` or `UPDATE`.
    Rows,
    /// `CREATE TABLE`.
    CreateTable,
    CreateView,
    /// `ALTER`.
    Alter,
    /// A list of tables, as in `DROP` or `LOCK`.
    TableList,
    Other,
    Set,
}

/// The state within a statement.
#[derive(Default)]
struct Statement {
    kind: StatementKind,
    /// Whether the next name is a table.
    expects_table: bool,
    /// Whether a table follows the next comma.
    expects_table_after_comma: bool,
    /// Whether the last token was a dot.
    after_dot: bool,
    /// Whether the rows after `VALUES` were reached, which contain no names.
    in_values: bool,
    /// Open parentheses.
    depth: usize,
    /// The special column of the table.
    special: Option<SpecialColumn>,
    /// The current column, and whether its name was read.
    column: usize,
    column_named: bool,
}

/// A column whose values are not plain values.
struct SpecialColumn {
    table: Vec<u8>,
    name: &'static str,
    role: Role,
    /// Its position.
    position: Option<usize>,
    /// Whether the statement itself lists the columns.
    has_column_list: bool,
}

impl StatementReader {
    pub(super) fn new(options: &DumpOptions, mode: Mode) -> Self {
        Self {
            keep_guids: options.guid == GuidPolicy::Keep,
            prefix: options.prefix.clone(),
            settings: SessionSettings::new(mode),
            column_positions: HashMap::new(),
            binary_columns: BinaryColumns::default(),
            statement: Statement::default(),
        }
    }

    /// The tokens that the rest of the statement needs.
    pub(super) fn token_filter(&self) -> TokenFilter {
        match &self.statement {
            Statement { in_values: true, special: None, .. } if !self.binary_columns.any() => {
                TokenFilter::Literals
            }
            Statement { in_values: true, .. } => TokenFilter::Columns,
            _ => TokenFilter::All,
        }
    }

    /// Whether the current statement writes rows.
    pub(super) fn in_rows(&self) -> bool {
        self.statement.kind == StatementKind::Rows
    }

    /// Ends a statement and returns the mode of what follows; `None` if its charset cannot be parsed.
    pub(super) fn end_statement(&mut self) -> Option<Mode> {
        let statement = std::mem::take(&mut self.statement);
        self.binary_columns.end_statement();
        if let (StatementKind::CreateTable, Some(special)) = (statement.kind, statement.special) {
            let SpecialColumn { table, role, position, .. } = special;
            if position == Some(default_position(role)) {
                self.column_positions.remove(&table);
            } else if self.column_positions.len() < MAX_REMEMBERED_TABLES
                || self.column_positions.contains_key(&table)
            {
                self.column_positions.insert(table, position);
            }
        }
        self.settings.end_statement()
    }

    /// Whether the current literal belongs to a binary column; `None` if that is not known.
    pub(super) fn is_binary_column(&self) -> Option<bool> {
        let Statement { in_values, depth, column, .. } = self.statement;
        let is_known = in_values && (depth == 1 || !self.binary_columns.any());
        if is_known { self.binary_columns.is_binary(column) } else { None }
    }

    /// Processes a token and returns its role.
    pub(super) fn role(&mut self, token: &SpannedToken, text: &[u8]) -> Role {
        if self.statement.kind == StatementKind::Set {
            self.settings.token(token, text);
            return Role::Unchanged;
        }
        let after_dot =
            std::mem::replace(&mut self.statement.after_dot, token.token == Token::Punctuation(b'.'));
        match &token.token {
            Token::Text { .. } | Token::Hex(_) => self.literal(),
            Token::Name(name) => self.name(&text[name.clone()], text.get(token.end), after_dot),
            Token::Word if self.statement.in_values => Role::Unchanged,
            Token::Word => self.word(&text[token.start..token.end], text.get(token.end), after_dot),
            Token::Punctuation(byte) => {
                self.punctuation(*byte);
                Role::Unchanged
            }
            _ => Role::Unchanged,
        }
    }

    fn literal(&self) -> Role {
        let statement = &self.statement;
        if statement.kind != StatementKind::Rows {
            return Role::Unchanged;
        }
        match &statement.special {
            Some(special) if statement.depth == 1 && special.position == Some(statement.column) => {
                special.role
            }
            _ => Role::Value,
        }
    }

    fn punctuation(&mut self, byte: u8) {
        let statement = &mut self.statement;
        match byte {
            b'(' => {
                statement.depth += 1;
                if statement.depth == 1 {
                    (statement.column, statement.column_named) = (0, false);
                }
            }
            b')' => statement.depth = statement.depth.saturating_sub(1),
            b',' => {
                statement.expects_table |= statement.expects_table_after_comma;
                if statement.depth == 1 {
                    statement.column += 1;
                    statement.column_named = false;
                }
            }
            _ => {}
        }
    }

    // --- names ------------------------------------------------------------------------------------------------------

    fn name(&mut self, name: &[u8], next: Option<&u8>, after_dot: bool) -> Role {
        let statement = &mut self.statement;
        if statement.in_values {
            return Role::Unchanged;
        }
        let qualifies = next == Some(&b'.');
        if statement.expects_table {
            if qualifies {
                // The name of a schema.
                return Role::Unchanged;
            }
            statement.expects_table = false;
            let is_first = statement.depth == 0 && statement.special.is_none();
            if is_first && matches!(statement.kind, StatementKind::Rows | StatementKind::CreateTable) {
                self.statement.special = self.special(name);
                match self.statement.kind {
                    StatementKind::CreateTable => self.binary_columns.begin_definition(name),
                    _ => self.binary_columns.begin_rows(name),
                }
            }
            return Role::Table;
        }
        if statement.depth == 1 && !std::mem::replace(&mut statement.column_named, true) {
            self.column(name);
        }
        let statement = &self.statement;
        if qualifies
            && !after_dot
            && matches!(statement.kind, StatementKind::CreateView | StatementKind::Rows)
        {
            return Role::Table;
        }
        Role::Unchanged
    }

    /// Checks a column name in a list of columns or a table definition.
    fn column(&mut self, name: &[u8]) {
        self.binary_columns.column_named(name, self.statement.column);
        let Statement { special, column, .. } = &mut self.statement;
        let Some(special) = special else { return };
        if !std::mem::replace(&mut special.has_column_list, true) {
            special.position = None;
        }
        if name.eq_ignore_ascii_case(special.name.as_bytes()) {
            special.position = Some(*column);
        }
    }

    /// The special column of a table, if it is one of the site's posts, options or user metadata.
    fn special(&self, table: &[u8]) -> Option<SpecialColumn> {
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
        let position = self.column_positions.get(table).copied().unwrap_or(Some(default_position(role)));
        Some(SpecialColumn { table: table.to_vec(), name: column, role, position, has_column_list: false })
    }

    // --- words ------------------------------------------------------------------------------------------------------

    fn word(&mut self, word: &[u8], next: Option<&u8>, after_dot: bool) -> Role {
        self.binary_columns.word(word);
        let Some(keyword) = Keyword::of(word).filter(|_| !after_dot && next != Some(&b'.')) else {
            if self.statement.kind == StatementKind::Start {
                self.statement.kind = StatementKind::Other;
                if word.eq_ignore_ascii_case(b"pragma") {
                    self.settings.set_sqlite();
                }
            }
            return self.name(word, next, after_dot);
        };
        let statement = &mut self.statement;
        let kind = statement.kind;
        if keyword == Keyword::Modifier {
            return Role::Unchanged;
        }
        statement.expects_table = false;
        statement.expects_table_after_comma = kind == StatementKind::TableList;
        match (kind, keyword) {
            (StatementKind::Start, _) => statement.begin(keyword),
            (StatementKind::Create | StatementKind::TableList, Keyword::Routine) => {
                statement.kind = StatementKind::Other
            }
            (StatementKind::Create, Keyword::Table) => {
                (statement.kind, statement.expects_table) = (StatementKind::CreateTable, true)
            }
            (StatementKind::Create, Keyword::View) => {
                (statement.kind, statement.expects_table) = (StatementKind::CreateView, true)
            }
            (StatementKind::Rows, Keyword::Values) => (statement.in_values, statement.depth) = (true, 0),
            (StatementKind::Create | StatementKind::Other, _) => {}
            (_, Keyword::Table | Keyword::View | Keyword::Into) => statement.expects_table = true,
            (StatementKind::CreateTable, Keyword::Like) => statement.expects_table = statement.depth == 0,
            (StatementKind::CreateView, Keyword::From) => {
                (statement.expects_table, statement.expects_table_after_comma) = (true, true)
            }
            (StatementKind::Rows, Keyword::From) => statement.expects_table = true,
            (StatementKind::CreateTable, Keyword::Key) if statement.depth == 1 => {
                statement.column_named = true
            }
            _ => {}
        }
        if keyword == Keyword::Into && statement.depth == 1 {
            // `CONSTRAINT` does not start a column.
            statement.column_named = true;
        }
        Role::Unchanged
    }
}

impl Statement {
    fn begin(&mut self, keyword: Keyword) {
        (self.kind, self.expects_table) = match keyword {
            Keyword::WriteRows => (StatementKind::Rows, true),
            Keyword::Create => (StatementKind::Create, false),
            Keyword::Alter => (StatementKind::Alter, false),
            Keyword::TableList => (StatementKind::TableList, false),
            Keyword::Truncate => (StatementKind::TableList, true),
            Keyword::Set => (StatementKind::Set, false),
            _ => (StatementKind::Other, false),
        };
        self.expects_table_after_comma = self.kind == StatementKind::TableList;
    }
}

/// The position of these columns in WordPress' own tables.
fn default_position(role: Role) -> usize {
    match role {
        Role::Guid => 18,
        Role::UserMeta => 2,
        _ => 1,
    }
}

/// Splits a table name into prefix and name.
fn split(table: &[u8]) -> Option<(&[u8], &'static [u8])> {
    const NAMES: [&[u8]; 3] = [b"posts", b"options", b"usermeta"];
    NAMES.iter().find_map(|name| Some((table.strip_suffix(*name)?, *name)))
}
