//! What of the source is not in the copy: objects that the source's database cannot read or the target's does not accept.

use serde::Serialize;
use wpclone_migrator::{ClientError, Definition, RejectedObject};

use crate::error::TransferError;
use crate::fidelity::{OmitReason, TableFidelity};
use crate::plan::Plan;

/// Why an object is not copied that the source lists only at the end. Databases do not list a table while it is altered.
const LISTED_LATE: &str =
    "the source did not list it before the end of the transfer; it was created or altered meanwhile";
/// What is reported of foreign keys and defaults that the target rejects: so many, with names of so many characters.
const MAX_REJECTED_PARTS: usize = 1000;
const MAX_REJECTED_NAME: usize = 64;

/// A table, sequence, view or trigger that is not in the copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OmittedObject {
    /// `table`, `sequence`, `view` or `trigger`.
    pub kind: String,
    /// Its name on the source.
    pub name: String,
    /// Which side does not accept it, and what its database says.
    pub reason: String,
    /// Whether the source listed it only at the end of the transfer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub listed_late: bool,
}

impl OmittedObject {
    pub(crate) fn new(kind: &str, name: &str, reason: impl std::fmt::Display) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned(), reason: reason.to_string(), listed_late: false }
    }

    /// One that the source listed only at the end of the transfer.
    pub(crate) fn listed_late(definition: &Definition) -> Self {
        let object = Self::new(definition.object(), definition.name(), LISTED_LATE);
        Self { listed_late: true, ..object }
    }

    /// Why it is not in the copy, in one word.
    pub(crate) fn omit_reason(&self) -> OmitReason {
        match self {
            Self { listed_late: true, .. } => OmitReason::ListedLate,
            _ if self.is_table_or_sequence() => OmitReason::TableOrSequence,
            _ => OmitReason::ViewOrTrigger,
        }
    }

    pub(crate) fn is_table_or_sequence(&self) -> bool {
        matches!(self.kind.as_str(), "table" | "sequence")
    }

    /// A sentence about it.
    pub(crate) fn warning(&self) -> String {
        format!("The {} {} is not in the copy: {}.", self.kind, self.name, self.reason)
    }
}

/// Why an object is not in the copy: the side, and what it reports.
pub(crate) fn reason(error: &TransferError) -> String {
    let (side, request) = match error.cause() {
        TransferError::Source(request) => ("source", request),
        TransferError::Target(request) => ("target", request),
        other => return other.to_string(),
    };
    match request {
        ClientError::Migrator { error, .. } => format!("the {side} reports {error}"),
        other => format!("the {side}: {other}"),
    }
}

/// Fails if the source cannot read one of WordPress' own tables.
pub(crate) fn check_core_tables(plan: &Plan, all: &[Definition]) -> Result<(), TransferError> {
    let core = all.iter().find_map(|definition| match definition {
        Definition::Unreadable(table) if table.object == "table" && plan.is_core_table(&table.name) => {
            Some(table)
        }
        _ => None,
    });
    core.map_or(Ok(()), |table| Err(TransferError::Source(table.error()).of_table(&table.name)))
}

/// What the source cannot read.
pub(crate) fn unreadable_objects(all: &[Definition]) -> Vec<OmittedObject> {
    let omitted = |definition: &Definition| {
        let Definition::Unreadable(object) = definition else { return None };
        let why = reason(&TransferError::Source(object.error()));
        Some(OmittedObject::new(&object.object, &object.name, why))
    };
    all.iter().filter_map(omitted).collect()
}

/// The procedures, functions and events of the source: kind and name.
pub(crate) fn stored_programs(all: &[Definition]) -> Vec<String> {
    let programs = all.iter().filter(|definition| matches!(definition, Definition::Program(_)));
    programs.map(|program| format!("{} {}", program.object(), program.name())).collect()
}

/// The views and triggers that the target's database rejected. A target cannot reject what was not sent to it.
pub(crate) fn rejected_objects(all: &[Definition], rejected: &[RejectedObject]) -> Vec<OmittedObject> {
    let sent =
        all.iter().filter(|definition| matches!(definition, Definition::View(_) | Definition::Trigger(_)));
    let omitted = |definition: &Definition| {
        let rejection = rejected
            .iter()
            .find(|object| object.kind == definition.object() && object.name == definition.name())?;
        let error = TransferError::Target(rejection.error());
        Some(OmittedObject::new(definition.object(), definition.name(), reason(&error)))
    };
    sent.filter_map(omitted).collect()
}

/// Adds foreign keys and defaults that the target's database rejected to the adjustments of their tables.
pub(crate) fn add_rejected_parts(tables: &mut [TableFidelity], rejected: &[RejectedObject]) {
    for table in tables {
        let prefix = format!("{}.", table.target_name.as_deref().unwrap_or(&table.name));
        let parts = rejected.iter().filter(|part| matches!(part.kind.as_str(), "foreign_key" | "default"));
        for part in parts.take(MAX_REJECTED_PARTS) {
            if let Some(name) = part.name.strip_prefix(&prefix) {
                let name: String = name.chars().take(MAX_REJECTED_NAME).collect();
                table.adjustments.push(format!(
                    "{} {name}: {}",
                    part.kind,
                    reason(&TransferError::Target(part.error()))
                ));
            }
        }
    }
}
