//! Transfers the files of one root: fetches them in batches in the order of the source's index, hashes and stores them.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use wpclone_migrator::{
    AdaptiveBatch, ClientError, ContentDigest, ContentHasher, Entry, EntryKind, FileBatch, FileStatus, Files,
    Import, OutgoingPart, PartKind, Root, StoreResult,
};

use crate::address_search::{InflateBudget, SearchResult};
use crate::error::TransferError;
use crate::fetch_queue::{FetchQueue, MAX_FETCH_FILES, QueuedFile};
use crate::fidelity::{OmitReason, OmittedFile};
use crate::files::{FilesTransfer, MAX_NAMED_FILES, SentFiles, reported_path};
use crate::generated_files::{self, FileRule};
use crate::staged_files::{StagedFiles, same_digest};

/// The largest response with files.
const MAX_FETCH_BYTES: u32 = 3 << 20;
/// The largest part of a rewritten file, and the length of its frames.
const PART_BYTES: usize = 1 << 20;
const FRAME_BYTES: usize = 256 << 10;
/// How often a file is read if it changes.
const MAX_READS: u32 = 3;

/// The most files of a root that a target may reject: their paths are kept.
const MAX_REJECTED: usize = 100_000;

/// Parts of files for one request to the target.
struct Batch {
    files: FileBatch,
    /// The files that they are of.
    paths: HashSet<Vec<u8>>,
    /// Files whose last part is in this batch.
    complete: Vec<CompleteFile>,
}

impl Batch {
    fn new(import: &Import) -> Self {
        Self { files: import.file_batch(), paths: HashSet::new(), complete: Vec::new() }
    }

    fn part(&mut self, part: &OutgoingPart<'_>, bytes: &[&[u8]]) {
        if !self.paths.contains(part.path) {
            self.paths.insert(part.path.to_vec());
        }
        self.files.part(part, bytes);
    }
}

/// Path, size, digest.
type CompleteFile = (Vec<u8>, u64, ContentDigest);

/// The transfer of one root.
pub(crate) struct RootTransfer<'a> {
    files: &'a FilesTransfer<'a>,
    root: Root,
    queue: FetchQueue,
    /// The next batch for the target.
    batch: Batch,
    /// Files that the target rejected.
    refused: HashSet<Vec<u8>>,
    sent: SentFiles,
    inflate_budget: InflateBudget,
    /// Sizes of responses and requests.
    source_batch_size: AdaptiveBatch,
    target_batch_size: AdaptiveBatch,
}

impl<'a> RootTransfer<'a> {
    pub(crate) fn new(files: &'a FilesTransfer<'a>, root: Root) -> Self {
        Self {
            files,
            root,
            queue: FetchQueue::default(),
            batch: Batch::new(files.import),
            refused: HashSet::new(),
            sent: SentFiles::default(),
            inflate_budget: InflateBudget::default(),
            source_batch_size: AdaptiveBatch::new(files.budget_ms).capped_at(MAX_FETCH_BYTES),
            target_batch_size: files.import.adaptive_batch(),
        }
    }

    /// Transfers the files, and returns what was sent.
    pub(crate) async fn run(mut self) -> Result<SentFiles, TransferError> {
        let (source, import) = (self.files.source, self.files.import);
        // Files that an earlier attempt sent are skipped if both sides have the same content.
        let resumed = import.info().resumed;
        let mut staged = if resumed { StagedFiles::all(import, self.root) } else { StagedFiles::none() };
        let mut index = source.index_stream(self.root, resumed, None, self.source_batch_size.clone());
        while let Some(page) = index.next().await.map_err(TransferError::Source)? {
            for entry in page.entries {
                while let Some(gone) = staged.before(&entry.path).await? {
                    self.add_small(&gone, PartKind::Deleted).await?;
                }
                if self.is_taken(&entry.path) {
                    self.omit(&entry.path, OmitReason::RefusedByTarget, "uploads".to_owned());
                    continue;
                }
                let before = staged.take(&entry.path);
                if entry.kind == EntryKind::File && staged.is_in(&entry.path) {
                    let path = String::from_utf8_lossy(&entry.path);
                    return Err(TransferError::Verification(format!(
                        "{path} was a directory in an earlier attempt and is a file now."
                    )));
                }
                if let Some(gone) = before.as_ref().filter(|_| entry.kind != EntryKind::File) {
                    self.add_small(gone, PartKind::Deleted).await?;
                }
                match entry.kind {
                    EntryKind::File => match before.and_then(|before| same_digest(&before, &entry)) {
                        Some(digest) => self.resume_file(&entry, digest),
                        None => {
                            self.files.budget.take(entry.size)?;
                            self.queue.push(entry, 1);
                        }
                    },
                    EntryKind::Folder => self.add_small(&entry, PartKind::Folder).await?,
                    EntryKind::Excluded(reason) => {
                        self.omit(&entry.path, OmitReason::NotExported, char::from(reason).to_string());
                    }
                }
                let full = self.queue.bytes >= u64::from(self.source_batch_size.budget().bytes);
                if full || self.queue.files.len() >= MAX_FETCH_FILES {
                    self.exchange().await?;
                }
            }
        }
        // Listed before the last files are sent: the list would contain them otherwise.
        while let Some(gone) = staged.next().await? {
            self.add_small(&gone, PartKind::Deleted).await?;
        }
        while !self.queue.files.is_empty() {
            self.exchange().await?;
        }
        self.send().await?;
        Ok(self.sent)
    }

    /// Whether the target has other files in this place.
    fn is_taken(&self, path: &[u8]) -> bool {
        let is_below =
            || path.strip_prefix(b"uploads").is_some_and(|rest| matches!(rest.first(), None | Some(b'/')));
        self.files.omits_usual_uploads && self.root == Root::Content && is_below()
    }

    /// Counts a file that an earlier attempt sent.
    fn resume_file(&mut self, entry: &Entry, digest: ContentDigest) {
        let is_hidden = (self.files.hides)(&entry.path);
        self.sent.count(self.root, &entry.path, entry.size, digest, is_hidden);
        self.sent.fidelity.resumed_files += 1;
        if FileRule::of(self.root, &entry.path, entry.size) != FileRule::Copy {
            self.record_search(&entry.path, SearchResult::Incomplete);
        }
        self.files.progress.skip_file(entry.size);
    }

    /// Adds an entry without content to the next batch, and sends the batch if it is large.
    async fn add_small(&mut self, entry: &Entry, kind: PartKind) -> Result<(), TransferError> {
        self.add(entry, kind);
        self.send_if_full().await
    }

    /// Sends the next batch if it is large.
    async fn send_if_full(&mut self) -> Result<(), TransferError> {
        if self.batch.files.len() >= self.target_batch_size.budget().bytes as usize {
            self.send().await?;
        }
        Ok(())
    }

    fn take_batch(&mut self) -> Batch {
        std::mem::replace(&mut self.batch, Batch::new(self.files.import))
    }

    /// Sends the next batch.
    async fn send(&mut self) -> Result<(), TransferError> {
        let Batch { files, paths, complete } = self.take_batch();
        let stored = store(self.files.import, files, &mut self.target_batch_size).await?;
        self.record(&paths, complete, stored)
    }

    /// Fetches the first files of the queue while the last batch is sent to the target.
    async fn exchange(&mut self) -> Result<(), TransferError> {
        if self.files.cancel.is_cancelled() {
            return Err(TransferError::Cancelled);
        }
        let (requests, Batch { files, paths, complete }) =
            (self.queue.requests(self.root), self.take_batch());
        let sending = store(self.files.import, files, &mut self.target_batch_size);
        let asking = self.files.source.fetch_files(&requests, &mut self.source_batch_size);
        let (stored, files) = tokio::join!(sending, asking);
        self.record(&paths, complete, stored?)?;
        self.receive(&files.map_err(TransferError::Source)?).await
    }

    /// Adds the received parts of the first files of the queue to the next batch.
    async fn receive(&mut self, files: &Files) -> Result<(), TransferError> {
        for part in files.parts().map_err(TransferError::Source)? {
            let Some(QueuedFile { entry, reads }) = self.queue.files.front() else { break };
            let (path, reads) = (entry.path.clone(), *reads);
            match part.state {
                FileStatus::Ok => {
                    let received: u64 = part.bytes.iter().map(|bytes| bytes.len() as u64).sum();
                    let last = part.offset + received == entry.size;
                    let rule = FileRule::of(self.root, &path, entry.size);
                    if rule == FileRule::Rewrite {
                        part.bytes.iter().for_each(|bytes| self.queue.text.extend_from_slice(bytes));
                        self.files.progress.add_files(u64::from(last), received);
                        self.queue.offset += received;
                        if last {
                            self.finish_generated_file().await?;
                        }
                        continue;
                    }
                    for bytes in &part.bytes {
                        self.queue.hasher.update(bytes);
                        if rule == FileRule::Search {
                            self.queue.search.push(self.files.rewriter, bytes, &mut self.inflate_budget);
                        }
                    }
                    if rule == FileRule::Search {
                        // A compressed part may have taken long.
                        tokio::task::yield_now().await;
                    }
                    let stored = OutgoingPart {
                        root: self.root,
                        path: &path,
                        kind: if last { PartKind::Final } else { PartKind::Data },
                        mode: entry.mode,
                        size: entry.size,
                        mtime: entry.mtime,
                        offset: part.offset,
                    };
                    self.batch.part(&stored, &part.bytes);
                    self.files.progress.add_files(u64::from(last), received);
                    self.queue.offset += received;
                    if last {
                        self.finish_file();
                    }
                }
                FileStatus::Changed if reads < MAX_READS => {
                    if let Some(QueuedFile { mut entry, .. }) = self.queue.pop() {
                        self.files.budget.take(part.size.saturating_sub(entry.size))?;
                        (entry.size, entry.mtime) = (part.size, part.mtime);
                        self.queue.push(entry, reads + 1);
                    }
                }
                FileStatus::Changed | FileStatus::Missing => {
                    self.drop_file(&path, OmitReason::ChangedDuringRead)
                }
                FileStatus::Unreadable | FileStatus::Rejected => {
                    self.drop_file(&path, OmitReason::NotExported)
                }
            }
        }
        Ok(())
    }

    /// Called when the first file of the queue was received completely and is to be rewritten: adds it to the next batches.
    async fn finish_generated_file(&mut self) -> Result<(), TransferError> {
        let text = std::mem::take(&mut self.queue.text);
        let Some(QueuedFile { entry, .. }) = self.queue.pop() else { return Ok(()) };
        let new = generated_files::rewrite(self.files.rewriter, text, &mut self.inflate_budget);
        let fidelity = &mut self.sent.fidelity;
        if new.is_changed {
            fidelity.rewritten += 1;
            name_file(&mut fidelity.rewritten_files, self.root, &entry.path);
        }
        self.record_search(&entry.path, new.search);
        let (mut hasher, mut offset) = (ContentHasher::default(), 0);
        loop {
            let end = new.bytes.len().min(offset + PART_BYTES);
            let (bytes, last) = (&new.bytes[offset..end], end == new.bytes.len());
            hasher.update(bytes);
            let part = OutgoingPart {
                root: self.root,
                path: &entry.path,
                kind: if last { PartKind::Final } else { PartKind::Data },
                mode: entry.mode,
                size: new.bytes.len() as u64,
                mtime: entry.mtime,
                offset: offset as u64,
            };
            self.batch.part(&part, &bytes.chunks(FRAME_BYTES).collect::<Vec<_>>());
            if last {
                break;
            }
            offset = end;
            self.send_if_full().await?;
        }
        self.batch.complete.push((entry.path, new.bytes.len() as u64, hasher.finish()));
        self.send_if_full().await
    }

    /// Called when the first file of the queue was received completely.
    fn finish_file(&mut self) {
        let (result, hasher) =
            (self.queue.search.finish(self.files.rewriter), std::mem::take(&mut self.queue.hasher));
        if let Some(QueuedFile { entry, .. }) = self.queue.pop() {
            self.record_search(&entry.path, result);
            self.batch.complete.push((entry.path, entry.size, hasher.finish()));
        }
    }

    /// Names a file that holds the source's address, or was not searched to its end.
    fn record_search(&mut self, path: &[u8], result: SearchResult) {
        let fidelity = &mut self.sent.fidelity;
        let (count, names) = match result {
            SearchResult::Found => (&mut fidelity.holding_address, &mut fidelity.files_holding_address),
            SearchResult::Incomplete => (&mut fidelity.unsearched, &mut fidelity.unsearched_files),
            SearchResult::NotFound => return,
        };
        *count += 1;
        name_file(names, self.root, path);
    }

    /// Removes the first file of the queue, which cannot be read, and what the target has of it.
    fn drop_file(&mut self, path: &[u8], why: OmitReason) {
        // An earlier attempt may have sent a part of it.
        let begun = self.queue.offset > 0 || self.files.import.info().resumed;
        let files = self.queue.pop();
        if let Some(files) = files.filter(|files| begun || files.reads > 1) {
            self.add(&files.entry, PartKind::Deleted);
        }
        self.omit(path, why, String::new());
    }

    /// Adds an entry without content to the next batch.
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
        self.batch.part(&part, &[]);
    }

    /// Records the files that the target stored and those that it rejected, of those that were sent to it.
    fn record(
        &mut self,
        sent: &HashSet<Vec<u8>>,
        complete: Vec<CompleteFile>,
        stored: Option<StoreResult>,
    ) -> Result<(), TransferError> {
        let wrong = |what| TransferError::Target(ClientError::Malformed(what));
        for file in stored.into_iter().flat_map(|stored| stored.rejected) {
            let path = BASE64.decode(&file.path).ok().filter(|path| sent.contains(path));
            let path = path.ok_or_else(|| wrong("rejections of files that were not sent"))?;
            if self.refused.insert(path.clone()) {
                self.omit(&path, OmitReason::RefusedByTarget, file.field);
            }
        }
        if self.refused.len() > MAX_REJECTED {
            return Err(wrong("very many rejected files"));
        }
        for (path, size, digest) in complete {
            if !self.refused.contains(&path) {
                let is_hidden = (self.files.hides)(&path);
                self.sent.count(self.root, &path, size, digest, is_hidden);
            }
        }
        Ok(())
    }

    fn omit(&mut self, path: &[u8], why: OmitReason, note: String) {
        let fidelity = &mut self.sent.fidelity;
        *fidelity.omitted.entry(why).or_default() += 1;
        if fidelity.omitted_files.len() < MAX_NAMED_FILES {
            fidelity.omitted_files.push(OmittedFile {
                path: reported_path(self.root, path),
                reason: why,
                detail: note.chars().take(100).collect(),
            });
        }
    }
}

async fn store(
    import: &Import,
    files: FileBatch,
    batch_size: &mut AdaptiveBatch,
) -> Result<Option<StoreResult>, TransferError> {
    if files.is_empty() {
        return Ok(None);
    }
    import.store(files, batch_size).await.map(Some).map_err(TransferError::Target)
}

/// Adds a file to a list of names.
fn name_file(list: &mut Vec<String>, root: Root, path: &[u8]) {
    if list.len() < MAX_NAMED_FILES {
        list.push(reported_path(root, path));
    }
}
