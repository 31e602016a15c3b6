//! Files, root by root: as the source's index has them, in batches, hashed on the way; then what the target has of them
//! is counted.

use std::collections::{HashSet, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use wpclone_migrator::{
    AdaptiveBatch, Client, ContentDigest, ContentHasher, Entry, EntryKind, FileBatch, FileRequest,
    FileStatus, Files, Import, OutgoingPart, PartKind, Root, StoreResult,
};

use crate::error::TransferError;
use crate::fidelity::{FilesFidelity, OmitReason, OmittedFile};
use crate::progress::TransferProgress;
use crate::staged_files::{StagedFiles, in_common};

/// The most bytes of files that are asked for at a time.
const MOST_FILES: u32 = 3 << 20;
/// The most files that are asked for at a time.
const BATCH: usize = 200;
/// How often a file that changes is read.
const READINGS: u32 = 3;
/// The most files that are named.
const NAMED: usize = 1000;

/// One digest over paths and contents of files, whatever their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum([u8; 32]);

impl Sum {
    fn add(&mut self, root: Root, path: &[u8], size: u64, digest: ContentDigest) {
        let all = Sha256::new().chain_update([root as u8]).chain_update(path).chain_update([0]);
        let one = all.chain_update(size.to_be_bytes()).chain_update(digest.0).finalize();
        self.0.iter_mut().zip(one).for_each(|(sum, byte)| *sum ^= byte);
    }

    fn join(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, byte)| *sum ^= byte);
    }
}

async fn store(
    import: &Import,
    parcel: FileBatch,
    pace: &mut AdaptiveBatch,
) -> Result<Option<StoreResult>, TransferError> {
    if parcel.is_empty() {
        return Ok(None);
    }
    import.store(parcel, pace).await.map(Some).map_err(TransferError::Target)
}

/// All files that move.
pub(crate) struct FileMove<'a> {
    pub(crate) source: &'a Client,
    pub(crate) import: &'a Import,
    pub(crate) budget_ms: u32,
    pub(crate) progress: &'a TransferProgress,
    pub(crate) cancel: &'a CancellationToken,
}

/// What was sent of a root.
#[derive(Default)]
struct Sent {
    fidelity: FilesFidelity,
    sum: Sum,
}

impl Sent {
    fn count(&mut self, root: Root, path: &[u8], size: u64, digest: ContentDigest) {
        self.sum.add(root, path, size, digest);
        self.fidelity.files += 1;
        self.fidelity.bytes += size;
    }
}

/// A file that is asked for.
struct Asked {
    entry: Entry,
    /// How often it was read from its beginning.
    readings: u32,
}

/// Files that are asked for, and how far the first of them came.
#[derive(Default)]
struct Line {
    asked: VecDeque<Asked>,
    offset: u64,
    hasher: ContentHasher,
    /// Bytes of all that are asked for.
    bytes: u64,
}

impl Line {
    fn push(&mut self, entry: Entry, readings: u32) {
        self.bytes += entry.size;
        self.asked.push_back(Asked { entry, readings });
    }

    fn pop(&mut self) -> Option<Asked> {
        let first = self.asked.pop_front()?;
        self.bytes -= first.entry.size;
        (self.offset, self.hasher) = (0, ContentHasher::default());
        Some(first)
    }

    fn wanted(&self, root: Root) -> Vec<FileRequest> {
        let wanted = |(n, Asked { entry, .. }): (usize, &Asked)| FileRequest {
            id: entry.id(root),
            offset: if n == 0 { self.offset } else { 0 },
            size: entry.size,
            mtime: entry.mtime,
        };
        self.asked.iter().take(BATCH).enumerate().map(wanted).collect()
    }
}

/// What goes to the target at once.
struct Load {
    parcel: FileBatch,
    /// Files that are whole with it.
    whole: Vec<WholeFile>,
}

impl Load {
    fn new(import: &Import) -> Self {
        Self { parcel: import.file_batch(), whole: Vec::new() }
    }
}

/// Path, size, digest.
type WholeFile = (Vec<u8>, u64, ContentDigest);

/// The files of one root on their way.
struct Moving<'a> {
    files: &'a FileMove<'a>,
    root: Root,
    line: Line,
    /// What goes to the target next.
    load: Load,
    /// Files of which the target did not take a part.
    refused: HashSet<Vec<u8>>,
    sent: Sent,
    /// How much is asked for, and sent, at a time.
    source_pace: AdaptiveBatch,
    target_pace: AdaptiveBatch,
}

impl FileMove<'_> {
    /// Moves the files of these roots.
    pub(crate) async fn run(&self, roots: &[Root]) -> Result<FilesFidelity, TransferError> {
        let mut all = Sent::default();
        for root in roots {
            let Sent { fidelity, sum } = self.root(*root).await?;
            all.sum.join(sum);
            all.fidelity.files += fidelity.files;
            all.fidelity.bytes += fidelity.bytes;
            all.fidelity.resumed_files += fidelity.resumed_files;
            if *root == Root::Core {
                all.fidelity.core_files = fidelity.files;
            }
            for (why, count) in fidelity.omitted {
                *all.fidelity.omitted.entry(why).or_default() += count;
            }
            let room = NAMED.saturating_sub(all.fidelity.omitted_files.len());
            all.fidelity.omitted_files.extend(fidelity.omitted_files.into_iter().take(room));
        }
        all.fidelity.digest = hex::encode(all.sum.0);
        Ok(all.fidelity)
    }

    /// Moves a root; what the target has of it afterwards is what was sent.
    async fn root(&self, root: Root) -> Result<Sent, TransferError> {
        let mut moving = Moving {
            files: self,
            root,
            line: Line::default(),
            load: Load::new(self.import),
            refused: HashSet::new(),
            sent: Sent::default(),
            source_pace: AdaptiveBatch::new(self.budget_ms).capped_at(MOST_FILES),
            target_pace: self.import.adaptive_batch(),
        };
        moving.all().await?;
        let sent = moving.sent;
        let (files, sum) = self.counted(root).await?;
        if (files, sum) != (sent.fidelity.files, sent.sum) {
            return Err(TransferError::Verification(format!(
                "The target has {files} files of {root:?}, and {} were sent; or they are not the same.",
                sent.fidelity.files
            )));
        }
        Ok(sent)
    }

    /// What the target has of a root.
    async fn counted(&self, root: Root) -> Result<(u64, Sum), TransferError> {
        let (mut files, mut sum, mut staged) = (0, Sum::default(), StagedFiles::all(self.import, root));
        while let Some(entry) = staged.next().await? {
            files += 1;
            sum.add(root, &entry.path, entry.size, entry.digest.unwrap_or(ContentDigest([0; 32])));
        }
        Ok((files, sum))
    }
}

impl Moving<'_> {
    async fn all(&mut self) -> Result<(), TransferError> {
        let (source, import) = (self.files.source, self.files.import);
        // What an attempt before has sent need not be sent again where both sides have the same.
        let resumed = import.info().resumed;
        let mut staged =
            if resumed { StagedFiles::all(import, self.root) } else { StagedFiles::none(import, self.root) };
        let mut index = source.index_stream(self.root, resumed, None, self.source_pace.clone());
        while let Some(page) = index.next().await.map_err(TransferError::Source)? {
            for entry in page.entries {
                while let Some(gone) = staged.before(&entry.path).await? {
                    self.add_small(&gone, PartKind::Deleted).await?;
                }
                let before = staged.take(&entry.path);
                if entry.kind == EntryKind::File && staged.is_in(&entry.path) {
                    let path = String::from_utf8_lossy(&entry.path);
                    return Err(TransferError::Verification(format!(
                        "{path} was a folder when it was sent, and is a file."
                    )));
                }
                if let Some(gone) = before.as_ref().filter(|_| entry.kind != EntryKind::File) {
                    self.add_small(gone, PartKind::Deleted).await?;
                }
                match entry.kind {
                    EntryKind::File => match before.and_then(|before| in_common(&before, &entry)) {
                        Some(digest) => self.keep(&entry, digest),
                        None => self.line.push(entry, 1),
                    },
                    EntryKind::Folder => self.add_small(&entry, PartKind::Folder).await?,
                    EntryKind::Excluded(reason) => {
                        self.note(&entry.path, OmitReason::NotExported, char::from(reason).to_string());
                    }
                }
                let full = self.line.bytes >= u64::from(self.source_pace.budget().bytes);
                if full || self.line.asked.len() >= BATCH {
                    self.step().await?;
                }
            }
        }
        // Before the last ones are sent, which it would else tell of.
        while let Some(gone) = staged.next().await? {
            self.add_small(&gone, PartKind::Deleted).await?;
        }
        while !self.line.asked.is_empty() {
            self.step().await?;
        }
        self.send().await
    }

    /// Counts a file that was sent by an attempt before.
    fn keep(&mut self, entry: &Entry, digest: ContentDigest) {
        self.sent.count(self.root, &entry.path, entry.size, digest);
        self.sent.fidelity.resumed_files += 1;
        self.files.progress.skip_file(entry.size);
    }

    /// Adds what has no bytes to what goes next, which goes when it is large.
    async fn add_small(&mut self, entry: &Entry, kind: PartKind) -> Result<(), TransferError> {
        self.add(entry, kind);
        if self.load.parcel.len() >= self.target_pace.budget().bytes as usize {
            self.send().await?;
        }
        Ok(())
    }

    fn next_load(&mut self) -> Load {
        std::mem::replace(&mut self.load, Load::new(self.files.import))
    }

    /// Sends what is ready.
    async fn send(&mut self) -> Result<(), TransferError> {
        let Load { parcel, whole } = self.next_load();
        let stored = store(self.files.import, parcel, &mut self.target_pace).await?;
        self.stored(whole, stored);
        Ok(())
    }

    /// Asks for the first files in line while what came before goes to the target.
    async fn step(&mut self) -> Result<(), TransferError> {
        if self.files.cancel.is_cancelled() {
            return Err(TransferError::Cancelled);
        }
        let (wanted, Load { parcel, whole }) = (self.line.wanted(self.root), self.next_load());
        let sending = store(self.files.import, parcel, &mut self.target_pace);
        let asking = self.files.source.fetch_files(&wanted, &mut self.source_pace);
        let (stored, files) = tokio::join!(sending, asking);
        self.stored(whole, stored?);
        self.take(&files.map_err(TransferError::Source)?)
    }

    /// Takes what came of the first files in line.
    fn take(&mut self, files: &Files) -> Result<(), TransferError> {
        for part in files.parts().map_err(TransferError::Source)? {
            let Some(Asked { entry, readings }) = self.line.asked.front() else { break };
            let (path, readings) = (entry.path.clone(), *readings);
            match part.state {
                FileStatus::Ok => {
                    let came: u64 = part.bytes.iter().map(|bytes| bytes.len() as u64).sum();
                    let last = part.offset + came == entry.size;
                    part.bytes.iter().for_each(|bytes| self.line.hasher.update(bytes));
                    let stored = OutgoingPart {
                        root: self.root,
                        path: &path,
                        kind: if last { PartKind::Final } else { PartKind::Data },
                        mode: entry.mode,
                        size: entry.size,
                        mtime: entry.mtime,
                        offset: part.offset,
                    };
                    self.load.parcel.part(&stored, &part.bytes);
                    self.files.progress.add_files(u64::from(last), came);
                    self.line.offset += came;
                    if last {
                        self.whole();
                    }
                }
                FileStatus::Changed if readings < READINGS => {
                    if let Some(Asked { mut entry, .. }) = self.line.pop() {
                        (entry.size, entry.mtime) = (part.size, part.mtime);
                        self.line.push(entry, readings + 1);
                    }
                }
                FileStatus::Changed | FileStatus::Missing => self.gone(&path, OmitReason::ChangedDuringRead),
                FileStatus::Unreadable | FileStatus::Rejected => self.gone(&path, OmitReason::NotExported),
            }
        }
        Ok(())
    }

    /// All of the first file in line has come.
    fn whole(&mut self) {
        let hasher = std::mem::take(&mut self.line.hasher);
        if let Some(Asked { entry, .. }) = self.line.pop() {
            self.load.whole.push((entry.path, entry.size, hasher.finish()));
        }
    }

    /// The first file in line will not come, or no more of it.
    fn gone(&mut self, path: &[u8], why: OmitReason) {
        // Also what an attempt before has sent of it.
        let begun = self.line.offset > 0 || self.files.import.info().resumed;
        let asked = self.line.pop();
        if let Some(asked) = asked.filter(|asked| begun || asked.readings > 1) {
            self.add(&asked.entry, PartKind::Deleted);
        }
        self.note(path, why, String::new());
    }

    /// Adds what has no bytes to what goes next.
    fn add(&mut self, entry: &Entry, kind: PartKind) {
        let part = OutgoingPart {
            root: self.root,
            path: &entry.path,
            kind,
            mode: entry.mode,
            size: 0,
            mtime: entry.mtime,
            offset: 0,
        };
        self.load.parcel.part(&part, &[]);
    }

    /// What became of what was sent.
    fn stored(&mut self, whole: Vec<WholeFile>, stored: Option<StoreResult>) {
        for file in stored.into_iter().flat_map(|stored| stored.rejected) {
            let path = BASE64.decode(&file.path).unwrap_or_default();
            if self.refused.insert(path.clone()) {
                self.note(&path, OmitReason::RefusedByTarget, file.field);
            }
        }
        for (path, size, digest) in whole {
            if !self.refused.contains(&path) {
                self.sent.count(self.root, &path, size, digest);
            }
        }
    }

    fn note(&mut self, path: &[u8], why: OmitReason, note: String) {
        let fidelity = &mut self.sent.fidelity;
        *fidelity.omitted.entry(why).or_default() += 1;
        if fidelity.omitted_files.len() < NAMED {
            let path = format!("{:?}/{}", self.root, String::from_utf8_lossy(path));
            fidelity.omitted_files.push(OmittedFile {
                path,
                reason: why,
                detail: note.chars().take(100).collect(),
            });
        }
    }
}
