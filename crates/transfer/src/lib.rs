#![doc = include_str!("../README.md")]

mod active;
mod empty;
mod error;
mod fidelity;
mod files;
mod mend;
mod meter;
mod place;
mod plan;
mod room;
mod staged;
mod table;
mod transfer;
mod units;

pub use error::{Obstacle, TransferError};
pub use fidelity::{Fidelity, FileNote, FilesFidelity, LeftOut, Memory, Summary, TableFidelity, Versions};
pub use meter::{Meter, Reading};
pub use transfer::{Receiver, Transfer, settle, take_back};

#[cfg(test)]
mod tests {
    fn is_send<T: Send>(_: T) {}

    /// A worker runs it on any of its threads: it does not compile otherwise.
    #[expect(dead_code, reason = "only compiled")]
    fn a_transfer_can_move_between_threads(transfer: &crate::Transfer<'_>) {
        is_send(transfer.run());
    }
}
