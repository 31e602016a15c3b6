//! Transfers the files, root by root, then compares their number and digests with the target.

use tokio_util::sync::CancellationToken;
use wpclone_migrator::{Client, ContentDigest, Import, Root};
use wpclone_rewrite::Rewriter;

use crate::byte_budget::ByteBudget;
use crate::error::TransferError;
use crate::fidelity::FilesFidelity;
use crate::files_digest::FilesDigest;
use crate::progress::TransferProgress;
use crate::root_transfer::RootTransfer;
use crate::staged_files::StagedFiles;

/// The most files of each list that are reported by name.
pub(crate) const MAX_NAMED_FILES: usize = 1000;
/// The most files that are not served and reported by name.
const MAX_HIDDEN_FILES: usize = 200;

/// The transfer of all files.
pub(crate) struct FilesTransfer<'a> {
    pub(crate) source: &'a Client,
    pub(crate) import: &'a Import,
    pub(crate) rewriter: &'a Rewriter,
    /// For all files.
    pub(crate) budget: ByteBudget,
    pub(crate) budget_ms: u32,
    /// Whether the target's web server does not serve a file of this path, because of its name.
    pub(crate) hides: fn(&[u8]) -> bool,
    /// Whether the content's folder `uploads` is left out, because the target has others there.
    pub(crate) omits_usual_uploads: bool,
    pub(crate) progress: &'a TransferProgress,
    pub(crate) cancel: &'a CancellationToken,
}

/// The files of a root that were sent.
#[derive(Default)]
pub(crate) struct SentFiles {
    pub(crate) fidelity: FilesFidelity,
    sum: FilesDigest,
}

impl SentFiles {
    pub(crate) fn count(
        &mut self,
        root: Root,
        path: &[u8],
        size: u64,
        digest: ContentDigest,
        is_hidden: bool,
    ) {
        self.sum.add(root, path, size, digest);
        self.fidelity.files += 1;
        self.fidelity.bytes = self.fidelity.bytes.saturating_add(size);
        if is_hidden {
            self.fidelity.hidden += 1;
            if self.fidelity.hidden_files.len() < MAX_HIDDEN_FILES {
                self.fidelity.hidden_files.push(reported_path(root, path));
            }
        }
    }
}

impl FilesTransfer<'_> {
    /// Transfers the files of these roots.
    pub(crate) async fn run(&self, roots: &[Root]) -> Result<FilesFidelity, TransferError> {
        let mut all = SentFiles::default();
        for root in roots {
            let SentFiles { fidelity, sum } = self.root(*root).await?;
            all.sum.combine(sum);
            all.fidelity.files += fidelity.files;
            all.fidelity.bytes = all.fidelity.bytes.saturating_add(fidelity.bytes);
            all.fidelity.resumed_files += fidelity.resumed_files;
            all.fidelity.hidden += fidelity.hidden;
            let room = MAX_HIDDEN_FILES.saturating_sub(all.fidelity.hidden_files.len());
            all.fidelity.hidden_files.extend(fidelity.hidden_files.into_iter().take(room));
            if *root == Root::Core {
                all.fidelity.core_files = fidelity.files;
            }
            for (why, count) in fidelity.omitted {
                *all.fidelity.omitted.entry(why).or_default() += count;
            }
            append(&mut all.fidelity.omitted_files, fidelity.omitted_files);
            all.fidelity.rewritten += fidelity.rewritten;
            append(&mut all.fidelity.rewritten_files, fidelity.rewritten_files);
            all.fidelity.holding_address += fidelity.holding_address;
            append(&mut all.fidelity.files_holding_address, fidelity.files_holding_address);
            all.fidelity.unsearched += fidelity.unsearched;
            append(&mut all.fidelity.unsearched_files, fidelity.unsearched_files);
        }
        all.fidelity.digest = all.sum.to_hex();
        Ok(all.fidelity)
    }

    /// Transfers a root and verifies that the target has what was sent.
    async fn root(&self, root: Root) -> Result<SentFiles, TransferError> {
        let sent = RootTransfer::new(self, root).run().await?;
        let (files, sum) = self.count_target(root).await?;
        if (files, sum) != (sent.fidelity.files, sent.sum) {
            return Err(TransferError::Verification(format!(
                "The target has {files} files of {root:?} and {} were sent, or their contents differ.",
                sent.fidelity.files
            )));
        }
        Ok(sent)
    }

    /// The number of files that the target has of a root, and their digest.
    async fn count_target(&self, root: Root) -> Result<(u64, FilesDigest), TransferError> {
        let (mut files, mut sum, mut staged) =
            (0, FilesDigest::default(), StagedFiles::all(self.import, root));
        while let Some(entry) = staged.next().await? {
            files += 1;
            sum.add(root, &entry.path, entry.size, entry.digest.unwrap_or(ContentDigest([0; 32])));
        }
        Ok((files, sum))
    }
}

/// A file's root and path as the report has them: invalid UTF-8 is replaced.
pub(crate) fn reported_path(root: Root, path: &[u8]) -> String {
    format!("{root:?}/{}", String::from_utf8_lossy(path))
}

/// Adds the names of another root to a list.
fn append<T>(list: &mut Vec<T>, more: Vec<T>) {
    let room = MAX_NAMED_FILES.saturating_sub(list.len());
    list.extend(more.into_iter().take(room));
}
