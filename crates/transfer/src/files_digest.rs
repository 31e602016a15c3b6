//! A digest of many files.

use sha2::{Digest as _, Sha256};
use wpclone_migrator::{ContentDigest, Root};

/// A digest over paths and contents of files that does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FilesDigest([u8; 32]);

impl FilesDigest {
    pub(crate) fn add(&mut self, root: Root, path: &[u8], size: u64, digest: ContentDigest) {
        let all = Sha256::new().chain_update([root as u8]).chain_update(path).chain_update([0]);
        let one = all.chain_update(size.to_be_bytes()).chain_update(digest.0).finalize();
        self.0.iter_mut().zip(one).for_each(|(sum, byte)| *sum ^= byte);
    }

    pub(crate) fn combine(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, byte)| *sum ^= byte);
    }

    pub(crate) fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}
