//! Keywords of SQL, by what they mean for names and values.

/// The keywords that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    WriteRows,
    Create,
    Alter,
    TableList,
    Truncate,
    Set,
    Table,
    View,
    Routine,
    Values,
    /// A table name follows.
    Into,
    From,
    Like,
    /// Starts a line of a table definition that is not a column.
    Key,
    /// Ends a list of tables.
    Clause,
    /// May precede a name.
    Modifier,
}

impl Keyword {
    /// The keyword that a word is, in any case.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        let mut buffer = [0; 13];
        let lower = buffer.get_mut(..word.len())?;
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"insert" | b"replace" | b"update" => Self::WriteRows,
            b"create" => Self::Create,
            b"alter" => Self::Alter,
            b"drop" | b"lock" | b"rename" => Self::TableList,
            b"truncate" => Self::Truncate,
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
            | b"temporary" | b"only" | b"or" => Self::Modifier,
            _ => return None,
        })
    }
}
