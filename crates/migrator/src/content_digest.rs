//! Digests of content: SHA-256, or a chain over blocks if the content is long.

use sha2::{Digest as _, Sha256};

/// Content longer than this has a chained digest over blocks of this size.
const BLOCK: usize = 1024 * 1024;

/// The digest of content: of a file, or of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 32]);

/// Computes a digest incrementally.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    block: Sha256,
    in_block: usize,
    blocks: u64,
    chain: Option<[u8; 32]>,
}

impl ContentHasher {
    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A block is closed only when more bytes follow: content of exactly one block has no chain.
            if self.in_block == BLOCK {
                self.close();
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.in_block));
            self.block.update(now);
            self.in_block += now.len();
            bytes = later;
        }
    }

    fn close(&mut self) {
        let block = std::mem::take(&mut self.block).finalize();
        let mut link = Sha256::new();
        link.update(self.chain.as_ref().map_or(&[][..], |c| &c[..]));
        link.update(block);
        self.chain = Some(link.finalize().into());
        self.in_block = 0;
        self.blocks += 1;
    }

    /// The digest of all bytes.
    #[must_use]
    pub fn finish(mut self) -> ContentDigest {
        if self.blocks == 0 {
            return ContentDigest(self.block.finalize().into());
        }
        self.close();
        ContentDigest(self.chain.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_independent_of_the_chunking() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 7] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let mut whole = ContentHasher::default();
            whole.update(&bytes);
            let mut pieces = ContentHasher::default();
            bytes.chunks(1_000_003).for_each(|c| pieces.update(c));
            let whole = whole.finish();
            assert_eq!(whole, pieces.finish(), "{size}");
            let plain: [u8; 32] = Sha256::digest(&bytes).into();
            assert_eq!(whole.0 == plain, size <= BLOCK, "{size}");
        }
    }
}
