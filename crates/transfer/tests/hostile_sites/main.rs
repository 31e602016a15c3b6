//! Transfers from and to migrators that lie, as their keys' owners can: each ends with an error, within bounds of memory and
//! time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod fake_site;
mod files;
mod listing;
mod snapshot;
mod source;
mod target;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wpclone_transfer::{Fidelity, TargetKind, Transfer, TransferError, TransferProgress};

use fake_site::{FakeSite, RunningSite};

/// A transfer that has not ended after this has no end.
const DEADLINE: Duration = Duration::from_secs(600);

/// Transfers from one running site to another.
async fn transferred(source: &RunningSite, target: &RunningSite) -> Result<Fidelity, TransferError> {
    let (progress, cancel) = (TransferProgress::default(), CancellationToken::new());
    let transfer = Transfer {
        source: &source.client,
        target: &target.client,
        target_kind: TargetKind::Clone { max_bytes: u64::MAX, hides: |_| false },
        copy_unprefixed_tables: false,
        job_id: "00000000000000000000000000000000",
        progress: &progress,
        cancel: &cancel,
    };
    tokio::time::timeout(DEADLINE, transfer.run()).await.expect("a transfer that ends")
}

/// Transfers between two sites.
async fn transfer(source: FakeSite, target: FakeSite) -> Result<Fidelity, TransferError> {
    let (source, target) = tokio::join!(source.start(), target.start());
    transferred(&source, &target).await
}

#[tokio::test]
async fn a_transfer_between_honest_sites_succeeds() {
    let fidelity = transfer(FakeSite::new(), FakeSite::new()).await.unwrap();
    assert_eq!((fidelity.tables[0].target_rows, fidelity.files.files), (2, 1));
}
