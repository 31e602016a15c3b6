//! What of the source is not in the copy: objects that the source's database cannot read or the target's does not accept.

use wpclone_migrator::{ClientError, Definition, RejectedObject, Unreadable};

use crate::error::TransferError;
use crate::fidelity::{OmittedObject, TableFidelity};
use crate::plan::Plan;

/// What is reported of foreign keys and defaults that the target rejects: so many, with names of so many characters.
const MAX_REJECTED_PARTS: usize = 1000;
const MAX_REJECTED_NAME: usize = 64;

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
    let unreadable = all.iter().filter_map(|definition| match definition {
        Definition::Unreadable(object) => Some(object),
        _ => None,
    });
    let omitted = |object: &Unreadable| {
        OmittedObject::new(&object.object, &object.name, reason(&TransferError::Source(object.error())))
    };
    unreadable.map(omitted).collect()
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
