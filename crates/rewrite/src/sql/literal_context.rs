//! What surrounds a literal: how it is introduced, and the function whose argument it is.

use memchr::memmem;

use super::DumpRewriter;
use super::function_call::{CallLookup, FunctionCall, MAX_BEFORE_BYTES, call_around};
use super::output::Output;
use super::token::{SpannedToken, Token};

/// What precedes a literal of a binary column.
const BINARY: &[u8] = b"_binary";
/// The function whose argument is a value in hexadecimal digits, as Adminer writes binary columns. In both cases.
const UNHEX: [&[u8]; 2] = [b"UNHEX(", b"unhex("];

/// What surrounds a literal.
#[derive(Default)]
pub(super) struct LiteralContext {
    /// Whether it is declared as binary: `_binary '…'`.
    pub(super) is_binary: bool,
    /// Whether it is the value in hexadecimal digits: `UNHEX('…')`.
    pub(super) is_hex: bool,
    /// The function whose argument it is.
    pub(super) call: Option<FunctionCall>,
}

impl DumpRewriter<'_> {
    /// The last bytes of the input before an offset of the current text.
    pub(super) fn bytes_before(&self, text: &[u8], at: usize) -> Vec<u8> {
        let here = &text[at.saturating_sub(MAX_BEFORE_BYTES)..at];
        let missing = (MAX_BEFORE_BYTES - here.len()).min(self.tail.len());
        [&self.tail[self.tail.len() - missing..], here].concat()
    }

    /// Whether a text, or what precedes it, calls `UNHEX`. Only then are literals without a hit of interest.
    pub(super) fn calls_unhex(&self, text: &[u8]) -> bool {
        let start = [&self.tail, &text[..text.len().min(UNHEX[0].len())]].concat();
        UNHEX.iter().any(|name| [&start, text].iter().any(|part| memmem::find(part, name).is_some()))
    }

    /// What surrounds a literal, as far as it matters; `None` if that is not known without the next chunk.
    pub(super) fn literal_context(
        &self,
        token: &SpannedToken,
        work: &mut Output<'_>,
        is_last: bool,
    ) -> Option<LiteralContext> {
        let mut context = LiteralContext::default();
        let Token::Text { content, .. } = &token.token else { return Some(context) };
        if !self.statement.in_rows() || !(self.decodes_hex || work.contains_hit(content)) {
            return Some(context);
        }
        let before = self.bytes_before(work.text, token.start);
        context.is_hex = UNHEX.iter().any(|name| before.ends_with(name));
        let word = before.trim_ascii_end();
        let is_introduced =
            word.len() >= BINARY.len() && word[word.len() - BINARY.len()..].eq_ignore_ascii_case(BINARY);
        context.is_binary = is_introduced || self.statement.is_binary_column() == Some(true);
        if !self.scanner.mode.escapes {
            let folders = &self.rewriter.options.folders;
            match call_around(&before, &work.text[token.end..], is_last) {
                CallLookup::Incomplete => return None,
                CallLookup::Found(call) if !folders.iter().any(|folder| call.changes(folder.to())) => {
                    context.call = Some(call);
                }
                _ => {}
            }
        }
        Some(context)
    }
}
