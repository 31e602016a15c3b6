//! Dumps: the values in their rows, taken off SQL's spelling, rewritten and put back.

use std::ops::Range;

use crate::codec::{Codec, Decoded, Written};
use crate::edits::Edits;
use crate::report::{Malformed, Report, UnreplacedReason};
use crate::run::Run;
use crate::{PrefixMapping, Rewriter};

mod hex;
mod output;
mod scanner;
mod session;
mod statement;
mod token_end;

use output::Output;
use scanner::{Mode, Piece, Scanner, Token};
use statement::{Reader, Role};

/// Options of a [`DumpRewriter`].
#[derive(Debug, Clone)]
pub struct DumpOptions {
    /// Whether a backslash escapes, as it does unless the server ran with `NO_BACKSLASH_ESCAPES`. The dump's own
    /// `SET sql_mode` changes it.
    pub backslash_escapes: bool,
    /// Whether the guids of posts are rewritten.
    pub guid: GuidPolicy,
    /// A table prefix that changes.
    pub prefix: Option<PrefixMapping>,
    /// Longer values are passed through. About this many bytes may be in memory.
    pub max_value_bytes: usize,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self {
            backslash_escapes: true,
            guid: GuidPolicy::default(),
            prefix: None,
            max_value_bytes: 256 << 20,
        }
    }
}

/// Whether the guids of posts are rewritten. WordPress sets them when a post is created and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuidPolicy {
    /// They move like all addresses. Feeds show them and some attachments are served from them: a copy of a site that
    /// keeps them points at the original.
    #[default]
    Rewrite,
    /// They stay. For a site that moves for good: to feed readers a new guid is a new post.
    Keep,
}

/// Rewrites a dump that is pushed in chunks of any size.
///
/// ```
/// # use wpclone_rewrite::{DumpOptions, Options, SiteMapping, Report, Rewriter};
/// let pair = SiteMapping::new("http://example.com", "https://example.org")?;
/// let rewriter = Rewriter::new(&[pair], Options::default())?;
/// let (mut out, mut report) = (Vec::new(), Report::default());
/// let mut dump = rewriter.dump_rewriter(DumpOptions::default());
/// dump.push(br"INSERT INTO `wp_options` VALUES (1,'it\'s http://exam", &mut out, &mut report);
/// dump.push(br"ple.com','yes');", &mut out, &mut report);
/// dump.finish(&mut out, &mut report);
/// assert_eq!(out, br"INSERT INTO `wp_options` VALUES (1,'it\'s https://example.org','yes');");
/// # Ok::<(), wpclone_rewrite::MappingError>(())
/// ```
pub struct DumpRewriter<'r> {
    rewriter: &'r Rewriter,
    prefix: Option<PrefixMapping>,
    scanner: Scanner,
    reader: Reader,
    /// What could not be understood without what comes.
    pending: Vec<u8>,
    /// The last byte that was no space.
    last: u8,
    /// Whether the rest passes as it is.
    passes: bool,
    /// Whether even a value without a hit has to be decoded, since a folder is named like nothing in SQL.
    always: bool,
    spare: Spare,
}

/// Scratch for the work on literals.
#[derive(Default)]
struct Spare {
    decoded: Decoded,
    edits: Edits,
    bytes: Vec<u8>,
}

/// Larger buffers are dropped.
const KEPT: usize = 1 << 20;

impl Rewriter {
    /// A dump of MySQL or MariaDB, to be pushed through. Values are the literals of statements that write rows.
    #[must_use]
    pub fn dump_rewriter(&self, options: DumpOptions) -> DumpRewriter<'_> {
        let mode = Mode { escapes: options.backslash_escapes, ansi: false };
        let folders = &self.options.folders;
        DumpRewriter {
            rewriter: self,
            scanner: Scanner::new(mode, options.max_value_bytes),
            reader: Reader::new(&options, mode),
            prefix: options.prefix,
            pending: Vec::new(),
            last: b';',
            passes: false,
            always: folders.iter().any(|folder| folder.literal().iter().any(|b| matches!(b, b'\'' | b'"'))),
            spare: Spare::default(),
        }
    }

    /// What `apply` makes of a value's edits, if there are any. Counts as a value that was looked at already.
    fn edited<T>(&self, value: &[u8], report: &mut Report, apply: impl FnOnce(&Edits) -> T) -> Option<T> {
        let first = self.finder.find(value, 0)?;
        let room =
            self.scratch_pool.lock().ok().and_then(|mut scratch_pool| scratch_pool.pop()).unwrap_or_default();
        let (made, room) = Run::edited(self, report, value, first, room, apply);
        if let (Some(room), Ok(mut scratch_pool)) = (room, self.scratch_pool.lock()) {
            scratch_pool.push(room);
        }
        report.changed_values += u64::from(made.is_some());
        made
    }
}

impl DumpRewriter<'_> {
    /// Processes a chunk, and appends the output that is complete.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>, report: &mut Report) {
        if self.pending.is_empty() {
            let done = self.run(chunk, false, out, report);
            self.pending.extend_from_slice(&chunk[done..]);
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(chunk);
        let done = self.run(&pending, false, out, report);
        pending.drain(..done);
        if pending.len() < KEPT && pending.capacity() > 4 * KEPT {
            pending.shrink_to(KEPT);
        }
        self.pending = pending;
    }

    /// Appends the rest. A truncated statement is passed through and counted.
    pub fn finish(mut self, out: &mut Vec<u8>, report: &mut Report) {
        let pending = std::mem::take(&mut self.pending);
        let done = self.run(&pending, true, out, report);
        out.extend_from_slice(&pending[done..]);
        let in_row = self.reader.in_rows() && matches!(self.last, b',' | b'(');
        if !self.passes && (in_row || !self.scanner.is_idle()) {
            report.add_malformed(Malformed::SqlTruncated);
        }
    }

    /// Reads as far as it goes; says how far it is done with.
    fn run(&mut self, text: &[u8], last: bool, out: &mut Vec<u8>, report: &mut Report) -> usize {
        if self.passes {
            out.extend_from_slice(text);
            return text.len();
        }
        let mut work = Output::new(self.rewriter, text, out, report);
        let mut at = 0;
        loop {
            let quiet = if self.always { 0 } else { work.quiet() };
            let Some(piece) = self.scanner.next(text, &mut at, last, self.reader.seek(), quiet) else {
                break;
            };
            if piece.token == Token::End {
                let Some(mode) = self.reader.end() else {
                    work.end(text.len());
                    work.report.values += std::mem::take(&mut self.scanner.skipped);
                    work.report.add_malformed(Malformed::SqlCharset);
                    self.passes = true;
                    return text.len();
                };
                self.scanner.mode = mode;
            } else {
                self.piece(&piece, &mut work);
            }
        }
        work.end(at);
        work.report.values += std::mem::take(&mut self.scanner.skipped);
        // As it is written: literals without a hit are not taken out one by one.
        self.rewriter.note_root_relative(&text[..at], work.report);
        if let Some(byte) = text[..at].iter().rfind(|byte| !byte.is_ascii_whitespace()) {
            self.last = *byte;
        }
        if let Some(byte) = text[..at].last() {
            self.scanner.before = *byte;
        }
        at
    }

    fn piece(&mut self, piece: &Piece, work: &mut Output<'_>) {
        if let Token::Part(reason) = &piece.token {
            if let Some(reason) = reason {
                work.report.add_malformed(*reason);
            }
            if *reason == Some(Malformed::SqlTruncated) {
                work.stay(piece.start..piece.end, UnreplacedReason::Malformed);
            }
            return work.skip(piece.end);
        }
        let role = self.reader.role(piece, work.text);
        match (&piece.token, role) {
            (Token::Text { .. } | Token::Name(_) | Token::Passes, Role::Passes) => {
                work.stay(piece.start..piece.end, UnreplacedReason::OutsideRows);
            }
            (_, Role::Passes) => {}
            (Token::Name(name), Role::Table) => self.table(name.clone(), work),
            (Token::Word, Role::Table) => self.table(piece.start..piece.end, work),
            (Token::Text { quote, content }, role) => {
                work.report.values += 1;
                self.text(*quote, content.clone(), role, work);
            }
            (Token::Hex(digits), role) => {
                work.report.values += 1;
                self.hex(digits.clone(), role, work);
            }
            _ => {}
        }
    }

    /// The name of a table.
    fn table(&mut self, name: Range<usize>, work: &mut Output<'_>) {
        let new = self.prefix.as_ref().and_then(|prefix| prefix.table(&work.text[name.clone()]));
        if let Some(new) = new {
            work.replace(name, &new);
            work.report.prefix_renames += 1;
        }
    }

    /// A literal, by what is between its quotes.
    fn text(&mut self, quote: u8, content: Range<usize>, role: Role, work: &mut Output<'_>) {
        let raw = &work.text[content.clone()];
        let escapes = self.scanner.mode.escapes;
        let codec = Codec::Sql { quote, escapes };
        let spelled = || {
            let escaped = escapes && memchr::memchr(b'\\', raw).is_some();
            escaped || memchr::memchr(quote, raw).is_some()
        };
        let named = matches!(role, Role::Option | Role::UserMeta);
        let holds = work.holds(&content);
        let looks = holds || named || (self.always && spelled());
        if !looks {
            return;
        }
        let Spare { decoded, edits, .. } = &mut self.spare;
        if spelled() {
            codec.decode(raw, decoded);
        }
        let value = if decoded.bytes.is_empty() { raw } else { &decoded.bytes };
        let written = |edits: &Edits, to: &mut Edits| {
            codec.write(Written { whole: raw, range: 0..raw.len(), base: 0 }, decoded, edits, to);
        };
        if let Some(new) = renamed(self.prefix.as_ref(), role, value) {
            written(&new, edits);
            work.report.prefix_renames += 1;
        } else if role == Role::Guid {
            work.stay(content.clone(), UnreplacedReason::Guid);
        } else {
            self.rewriter.edited(value, work.report, |new| written(new, edits));
        }
        work.apply(&content, edits);
        work.skip(content.end);
        self.spare.clear();
    }

    /// A literal in hexadecimal digits.
    fn hex(&mut self, digits: Range<usize>, role: Role, work: &mut Output<'_>) {
        let raw = &work.text[digits.clone()];
        let Spare { edits, bytes, .. } = &mut self.spare;
        if !hex::decode(raw, bytes) {
            bytes.clear();
            return;
        }
        if let Some(new) = renamed(self.prefix.as_ref(), role, bytes) {
            hex::write(raw, &new, edits);
            work.report.prefix_renames += 1;
        } else if role == Role::Guid {
            Output::new(self.rewriter, bytes, &mut Vec::new(), work.report)
                .stay(0..bytes.len(), UnreplacedReason::Guid);
        } else {
            self.rewriter.edited(bytes, work.report, |new| hex::write(raw, new, edits));
        }
        work.apply(&digits, edits);
        self.spare.clear();
    }
}

/// What becomes of a name that holds the table prefix.
fn renamed(prefix: Option<&PrefixMapping>, role: Role, name: &[u8]) -> Option<Edits> {
    let new = match role {
        Role::Option => prefix?.option(name)?,
        Role::UserMeta => prefix?.user_meta(name)?,
        _ => return None,
    };
    if new == name {
        return None;
    }
    let same = name.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let mut edits = Edits::default();
    edits.push(0..name.len() - same, |to| to.extend_from_slice(&new[..new.len() - same]));
    Some(edits)
}

impl Spare {
    fn clear(&mut self) {
        self.decoded.clear();
        self.edits.clear();
        self.bytes.clear();
        if self.decoded.room() + self.edits.room() + self.bytes.capacity() > KEPT {
            *self = Self::default();
        }
    }
}
