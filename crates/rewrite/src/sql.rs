//! Rewrites SQL dumps: values are unescaped, rewritten and escaped again.

use std::ops::Range;

use crate::codec::{Codec, Decoded, Written};
use crate::edits::Edits;
use crate::report::{Malformed, Report, UnreplacedReason};
use crate::value_rewriter::ValueRewriter;
use crate::{PrefixMapping, Rewriter, binary};

mod binary_columns;
mod function_call;
mod hex;
mod keyword;
mod literal_context;
mod output;
mod scanner;
mod session;
mod statement;
mod token;
mod token_end;

use literal_context::LiteralContext;
use output::Output;
use scanner::Scanner;
use statement::{Role, StatementReader};
use token::{Mode, SpannedToken, Token};

/// Options of a [`DumpRewriter`].
#[derive(Debug, Clone)]
pub struct DumpOptions {
    /// Whether a backslash escapes, which is the default unless the server ran with `NO_BACKSLASH_ESCAPES`. `SET
    /// sql_mode` in the dump overrides it.
    pub backslash_escapes: bool,
    /// Whether the guids of posts are rewritten.
    pub guid: GuidPolicy,
    /// The table prefix to change.
    pub prefix: Option<PrefixMapping>,
    /// Longer values are passed through. This is also about the most memory used.
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
    /// Guids are rewritten like all addresses. Feeds show them and some attachments are served from them: a copy of a
    /// site that keeps them points to the original.
    #[default]
    Rewrite,
    /// Guids are kept. For a site that moves for good: to feed readers, a new guid is a new post.
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
    statement: StatementReader,
    /// Input that cannot be processed without the next chunk.
    pending: Vec<u8>,
    /// The last byte that was not white space.
    last_byte: u8,
    /// The last bytes of the input that is processed, for what precedes a literal.
    tail: Vec<u8>,
    /// Whether the rest of the dump is passed through.
    pass_through: bool,
    /// Whether values without a hit are decoded as well, because a folder's name contains a quote.
    decode_all: bool,
    /// Whether the dump has values in hexadecimal digits in string literals.
    decodes_hex: bool,
    /// Whether a statement that writes rows has ended, so that each is expected to.
    rows_have_ended: bool,
    scratch: LiteralScratch,
}

/// Reusable buffers for literals.
#[derive(Default)]
struct LiteralScratch {
    decoded: Decoded,
    /// The result of a function, and its edits.
    result: Decoded,
    result_edits: Edits,
    edits: Edits,
    bytes: Vec<u8>,
}

/// Buffers larger than this are dropped instead of reused.
const MAX_KEPT_BYTES: usize = 1 << 20;

impl Rewriter {
    /// A rewriter for a dump of MySQL or MariaDB. Values are the literals of statements that write rows.
    #[must_use]
    pub fn dump_rewriter(&self, options: DumpOptions) -> DumpRewriter<'_> {
        let mode = Mode { escapes: options.backslash_escapes, ansi: false };
        let folders = &self.options.folders;
        DumpRewriter {
            rewriter: self,
            scanner: Scanner::new(mode, options.max_value_bytes),
            statement: StatementReader::new(&options, mode),
            prefix: options.prefix,
            pending: Vec::new(),
            last_byte: b';',
            tail: Vec::new(),
            pass_through: false,
            decode_all: folders
                .iter()
                .any(|folder| folder.literal().iter().any(|b| matches!(b, b'\'' | b'"'))),
            decodes_hex: false,
            rows_have_ended: false,
            scratch: LiteralScratch::default(),
        }
    }

    /// Rewrites a value that is already counted and passes its edits to `apply`; `None` if there are none.
    fn rewrite_literal<T>(
        &self,
        value: &[u8],
        is_binary: bool,
        report: &mut Report,
        apply: impl FnOnce(&Edits) -> T,
    ) -> Option<T> {
        let first = self.finder.find(value, 0)?;
        if is_binary && !binary::is_rewritable(value) {
            self.count_unreplaced(value, UnreplacedReason::Binary, report);
            return None;
        }
        let scratch =
            self.scratch_pool.lock().ok().and_then(|mut scratch_pool| scratch_pool.pop()).unwrap_or_default();
        let (result, scratch) = ValueRewriter::rewrite_with(self, report, value, first, scratch, apply);
        if let (Some(scratch), Ok(mut scratch_pool)) = (scratch, self.scratch_pool.lock()) {
            scratch_pool.push(scratch);
        }
        report.changed_values += u64::from(result.is_some());
        result
    }
}

impl DumpRewriter<'_> {
    /// Processes a chunk, and appends the output that is complete.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>, report: &mut Report) {
        if self.pending.is_empty() {
            let done = self.process(chunk, false, out, report);
            self.pending.extend_from_slice(&chunk[done..]);
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(chunk);
        let done = self.process(&pending, false, out, report);
        pending.drain(..done);
        if pending.len() < MAX_KEPT_BYTES && pending.capacity() > 4 * MAX_KEPT_BYTES {
            pending.shrink_to(MAX_KEPT_BYTES);
        }
        self.pending = pending;
    }

    /// Appends the rest. A truncated statement is passed through and counted.
    pub fn finish(mut self, out: &mut Vec<u8>, report: &mut Report) {
        let pending = std::mem::take(&mut self.pending);
        let counted = |report: &Report| report.malformed.get(&Malformed::SqlTruncated).copied();
        let counted_before = counted(report);
        let done = self.process(&pending, true, out, report);
        out.extend_from_slice(&pending[done..]);
        // The last statement of a text need not end with a semicolon, but those of a dump do.
        let in_row =
            self.statement.in_rows() && (self.rows_have_ended || matches!(self.last_byte, b',' | b'('));
        let is_truncated = in_row || !self.scanner.is_complete();
        if !self.pass_through && is_truncated && counted(report) == counted_before {
            report.add_malformed(Malformed::SqlTruncated);
        }
    }

    /// Processes as much as possible and returns how many bytes are done. `is_last`: no more input follows.
    fn process(&mut self, text: &[u8], is_last: bool, out: &mut Vec<u8>, report: &mut Report) -> usize {
        if self.pass_through {
            out.extend_from_slice(text);
            return text.len();
        }
        self.decodes_hex = self.decodes_hex || self.calls_unhex(text);
        let mut work = Output::new(self.rewriter, text, out, report);
        let mut at = 0;
        loop {
            let next_hit_start = if self.decode_all || self.decodes_hex { 0 } else { work.next_hit_start() };
            let Some(token) =
                self.scanner.next(text, &mut at, is_last, self.statement.token_filter(), next_hit_start)
            else {
                break;
            };
            if token.token == Token::StatementEnd {
                self.rows_have_ended |= self.statement.in_rows();
                let Some(mode) = self.statement.end_statement() else {
                    work.copy_until(text.len());
                    work.report.values += std::mem::take(&mut self.scanner.skipped_literals);
                    work.report.add_malformed(Malformed::SqlCharset);
                    self.pass_through = true;
                    return text.len();
                };
                self.scanner.mode = mode;
                continue;
            }
            let Some(context) = self.literal_context(&token, &mut work, is_last) else {
                at = token.start;
                break;
            };
            self.handle_token(&token, context, &mut work);
        }
        work.copy_until(at);
        work.report.values += std::mem::take(&mut self.scanner.skipped_literals);
        // Searched in the escaped form: literals without a hit are not extracted.
        self.rewriter.report_root_relative(&text[..at], work.report);
        if let Some(byte) = text[..at].iter().rfind(|byte| !byte.is_ascii_whitespace()) {
            self.last_byte = *byte;
        }
        if let Some(byte) = text[..at].last() {
            self.scanner.last_byte = *byte;
        }
        self.tail = self.bytes_before(text, at);
        at
    }

    fn handle_token(&mut self, token: &SpannedToken, context: LiteralContext, work: &mut Output<'_>) {
        if let Token::Partial(reason) = &token.token {
            if let Some(reason) = reason {
                work.report.add_malformed(*reason);
            }
            if *reason == Some(Malformed::SqlTruncated) {
                work.report_unreplaced(token.start..token.end, UnreplacedReason::Malformed);
            }
            return work.skip_hits_before(token.end);
        }
        let role = self.statement.role(token, work.text);
        match (&token.token, role) {
            (Token::Text { .. } | Token::Name(_) | Token::PassedThrough, Role::Unchanged) => {
                work.report_unreplaced(token.start..token.end, UnreplacedReason::OutsideRows);
            }
            (_, Role::Unchanged) => {}
            (Token::Name(name), Role::Table) => self.rename_table(name.clone(), work),
            (Token::Word, Role::Table) => self.rename_table(token.start..token.end, work),
            (Token::Text { content, .. }, role) if context.is_hex => {
                work.report.values += 1;
                self.rewrite_hex(content.clone(), role, work);
            }
            (Token::Text { quote, content }, role) => {
                work.report.values += 1;
                self.rewrite_text(*quote, content.clone(), role, context, work);
            }
            (Token::Hex(digits), role) => {
                work.report.values += 1;
                self.rewrite_hex(digits.clone(), role, work);
            }
            _ => {}
        }
    }

    /// Renames a table.
    fn rename_table(&mut self, name: Range<usize>, work: &mut Output<'_>) {
        let new = self.prefix.as_ref().and_then(|prefix| prefix.table(&work.text[name.clone()]));
        if let Some(new) = new {
            work.replace(name, &new);
            work.report.prefix_renames += 1;
        }
    }

    /// Rewrites a string literal; `content` is the range between its quotes.
    fn rewrite_text(
        &mut self,
        quote: u8,
        content: Range<usize>,
        role: Role,
        context: LiteralContext,
        work: &mut Output<'_>,
    ) {
        let raw = &work.text[content.clone()];
        let escapes = self.scanner.mode.escapes;
        let codec = Codec::Sql { quote, escapes };
        let is_escaped = || {
            let escaped = escapes && memchr::memchr(b'\\', raw).is_some();
            escaped || memchr::memchr(quote, raw).is_some()
        };
        let may_be_renamed = matches!(role, Role::Option | Role::UserMeta);
        let contains_hit = work.contains_hit(&content);
        let is_relevant = contains_hit || may_be_renamed || (self.decode_all && is_escaped());
        if !is_relevant {
            return;
        }
        let LiteralScratch { decoded, result, result_edits, edits, .. } = &mut self.scratch;
        if is_escaped() {
            codec.decode(raw, decoded);
        }
        let value = if decoded.bytes.is_empty() { raw } else { &decoded.bytes };
        let write_edits = |edits: &Edits, to: &mut Edits| {
            codec.write_edits(Written { text: raw, range: 0..raw.len(), base: 0 }, decoded, edits, to);
        };
        if let Some(new) = renaming(self.prefix.as_ref(), role, value) {
            write_edits(&new, edits);
            work.report.prefix_renames += 1;
        } else if role == Role::Guid {
            work.report_unreplaced(content.clone(), UnreplacedReason::Guid);
        } else if let Some(call) = context.call {
            call.decode(value, result);
            let rewritten = self.rewriter.rewrite_literal(&result.bytes, false, work.report, |new| {
                call.write_edits(value, result, new, result_edits);
            });
            if rewritten.is_some() {
                write_edits(result_edits, edits);
            }
        } else {
            let write = |new: &Edits| write_edits(new, edits);
            self.rewriter.rewrite_literal(value, context.is_binary, work.report, write);
        }
        work.apply(&content, edits);
        work.skip_hits_before(content.end);
        self.scratch.clear();
    }

    /// Rewrites a hexadecimal literal.
    fn rewrite_hex(&mut self, digits: Range<usize>, role: Role, work: &mut Output<'_>) {
        let raw = &work.text[digits.clone()];
        let LiteralScratch { edits, bytes, .. } = &mut self.scratch;
        if !hex::decode(raw, bytes) {
            bytes.clear();
            return;
        }
        if let Some(new) = renaming(self.prefix.as_ref(), role, bytes) {
            hex::write_edits(raw, &new, edits);
            work.report.prefix_renames += 1;
        } else if role == Role::Guid {
            Output::new(self.rewriter, bytes, &mut Vec::new(), work.report)
                .report_unreplaced(0..bytes.len(), UnreplacedReason::Guid);
        } else {
            // Without a definition: dumps write binary columns in hexadecimal.
            let is_binary = self.statement.is_binary_column().unwrap_or(true);
            let write = |new: &Edits| hex::write_edits(raw, new, edits);
            self.rewriter.rewrite_literal(bytes, is_binary, work.report, write);
        }
        work.apply(&digits, edits);
        self.scratch.clear();
    }
}

/// The edits of a name with the table prefix; `None` if it is not renamed.
fn renaming(prefix: Option<&PrefixMapping>, role: Role, name: &[u8]) -> Option<Edits> {
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

impl LiteralScratch {
    fn clear(&mut self) {
        let Self { decoded, result, result_edits, edits, bytes } = self;
        decoded.clear();
        result.clear();
        result_edits.clear();
        edits.clear();
        bytes.clear();
        let capacity = decoded.capacity() + result.capacity() + bytes.capacity();
        if capacity + result_edits.capacity() + edits.capacity() > MAX_KEPT_BYTES {
            *self = Self::default();
        }
    }
}
