//! Defines a table on the target, and names everything that its definition lacks there.

use wpclone_migrator::{Adjustment, ClientError, DefaultValue, Definition};

use crate::create_statement::{self, NamedParts};
use crate::error::TransferError;
use crate::table::TableTransfer;
use crate::unsupported::{inherent_adjustments, leave_out};

/// How many parts of a definition are left out at most, because the target does not accept them.
const MAX_LEFT_OUT: usize = 500;

/// A table as the target has defined it.
pub(crate) struct DefinedTable {
    pub(crate) id: u32,
    /// What differs from the source's definition.
    pub(crate) adjustments: Vec<String>,
}

impl TableTransfer<'_> {
    /// Defines the table. What the target does not accept of it is left out, as long as rows do not depend on it.
    pub(crate) async fn define(&self, recreate: bool) -> Result<DefinedTable, TransferError> {
        let mut definition = self.definition.clone();
        let mut left_out = self.adjustments.clone();
        let result = loop {
            let error = match self.import.define(&definition, recreate).await {
                Ok(result) => break result,
                Err(error) => error,
            };
            let part = match (&error, &mut definition) {
                (ClientError::Migrator { error, .. }, Definition::Table(table))
                    if error.code == "rejected" && left_out.len() < MAX_LEFT_OUT =>
                {
                    leave_out(table, &error.field)
                }
                _ => None,
            };
            left_out.push(part.ok_or(TransferError::Target(error))?);
        };
        left_out.extend(result.adjustments);
        let mut adjustments = inherent_adjustments(&self.table);
        let named = self.named_parts(&definition, &left_out);
        adjustments.extend(left_out);
        let mut adjustments: Vec<String> = adjustments.iter().map(shown).collect();
        adjustments.extend(create_statement::differences(
            &self.table.statement,
            &result.statement,
            self.same_server,
            &named,
        ));
        Ok(DefinedTable { id: result.table_id, adjustments })
    }

    /// The columns, indexes and checks that adjustments are about.
    fn named_parts(&self, definition: &Definition, adjustments: &[Adjustment]) -> NamedParts {
        let mut named = NamedParts::new();
        for Adjustment { field, from, .. } in adjustments {
            let mut path = field.split('.');
            let (list, at) =
                (path.next().unwrap_or_default(), path.next().and_then(|at| at.parse::<usize>().ok()));
            let is_column = list == "columns";
            // What is left out as a whole is not at its place any more.
            named.extend(from.as_str().map(|name| (is_column, name.to_owned())));
            let (Some(at), Definition::Table(table)) = (at, definition) else { continue };
            let name = match list {
                "columns" => table.columns.get(at).map(|column| column.name.clone()),
                "indexes" => table.indexes.get(at).map(|index| index.name.clone()),
                _ => None,
            };
            named.extend(name.map(|name| (is_column, name)));
        }
        // These become defaults with the swap, and values.
        let elsewhere = self.table.columns.iter().filter(|column| {
            column.computed.is_some() || matches!(column.default, Some(DefaultValue::Sequence(_)))
        });
        named.extend(elsewhere.map(|column| (true, column.name.clone())));
        named
    }
}

fn shown(adjustment: &Adjustment) -> String {
    format!("{}: {} became {}", adjustment.field, adjustment.from, adjustment.to)
}
