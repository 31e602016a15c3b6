#![doc = include_str!("../README.md")]

mod active_plugins;
mod address_hashes;
mod address_search;
mod byte_budget;
mod checkpoint;
mod chunk_writer;
mod column_rule;
mod configuration;
mod constrained_columns;
mod core_comparison;
mod create_statement;
mod error;
mod existing_content;
mod fetch_queue;
mod fidelity;
mod files;
mod files_digest;
mod free_space;
mod generated_files;
mod held_rows;
mod last_pass;
mod mappings;
mod missing_code;
mod name_list;
mod number_offset;
mod omitted_objects;
mod other_content;
mod own_options;
mod plan;
mod progress;
mod root_transfer;
mod row_stream;
mod row_transformer;
mod staged_files;
mod table;
mod table_definition;
mod transfer;
mod trigger_references;
mod unsupported;
mod uploads;
mod versions;
mod wide_charset;

pub use error::{PreflightFailure, TransferError};
pub use fidelity::{
    Fidelity, FilesFidelity, Memory, OmitReason, OmittedFile, SnapshotFidelity, Summary, TableFidelity,
    Versions,
};
pub use omitted_objects::OmittedObject;
pub use progress::{ProgressSnapshot, TransferProgress};
pub use transfer::{TargetKind, Transfer, commit, rollback};

#[cfg(test)]
mod tests {
    fn is_send<T: Send>(_: T) {}

    /// Workers run transfers on a multi-threaded runtime, which needs a `Send` future.
    #[expect(dead_code, reason = "only compiled")]
    fn a_transfer_can_move_between_threads(transfer: &crate::Transfer<'_>) {
        is_send(transfer.run());
    }
}
