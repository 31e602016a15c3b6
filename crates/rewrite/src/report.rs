//! The report: values read, addresses replaced and addresses not replaced.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// An encoding around a replaced address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// No encoding: text, HTML, CSS, shortcodes.
    Plain,
    /// A string in the output of PHP's `serialize`.
    Php,
    /// A string of a JSON document.
    Json,
    /// A string with backslash escapes outside of JSON: inline script, slashed text.
    Backslash,
    /// Percent-encoding.
    Percent,
    /// HTML character references.
    Html,
    /// Base64.
    Base64,
}

impl Encoding {
    const ALL: [Self; 7] =
        [Self::Plain, Self::Php, Self::Json, Self::Backslash, Self::Percent, Self::Html, Self::Base64];
}

/// Why malformed data that holds an old address was passed through unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Malformed {
    /// Serialised data that ends too early, or announces more than there is.
    PhpTruncated,
    /// A length in serialised data that does not match its string.
    PhpLength,
    /// Another syntax error in serialised data.
    PhpSyntax,
    /// Text that starts like a JSON document and is not one.
    Json,
    /// Base64 with wrong padding, non-zero trailing bits or line breaks.
    Base64,
    /// Nested deeper than [`Options::max_depth`](crate::Options::max_depth).
    TooDeep,
    /// Escaped so often that the new text would be many times as long: one slash after a thousand backslashes.
    EscapeOverflow,
    /// A dump that ends inside a statement.
    SqlTruncated,
    /// A value in a dump that is longer than [`DumpOptions::max_value_bytes`](crate::DumpOptions::max_value_bytes).
    SqlValueTooLong,
    /// A dump in a charset whose characters may contain the bytes of quotes and backslashes. The rest passes unchanged.
    SqlCharset,
}

/// Why an old address was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnreplacedReason {
    /// It is the domain of an e-mail address.
    Email,
    /// It is a host name without `http://` or `//` before it.
    BareHost,
    /// Its scheme is neither http nor https.
    OtherScheme,
    /// Its port is not the site's.
    OtherPort,
    /// Its path is outside of the site's.
    OtherPath,
    /// It is part of an array key, a property name or a JSON key.
    Key,
    /// It is part of malformed data.
    Malformed,
    /// It is in a file or other binary data, which a longer or shorter address would damage.
    Binary,
    /// It is written as a pattern that matches the host, as in redirect rules: `example\.com`, `*.example.com`.
    HostPattern,
    /// The new address would be truncated by its column. Only a caller that knows the columns counts these.
    ColumnTooShort,
    /// With the new address, the row would equal another one in a unique index, or violate a check. Only a caller that
    /// knows these counts them; it has no samples.
    Constraint,
    /// It is a post's guid, and guids are kept. Counted, but never sampled.
    Guid,
    /// It is in a part of a dump that holds no rows: a comment, a table's definition, a routine.
    OutsideRows,
    /// It is a path without a host, such as `href="/about/"`, and the site's path changes.
    RootRelative,
}

/// An old address that was not replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreplacedAddress {
    /// Why it was not replaced.
    pub reason: UnreplacedReason,
    /// The encodings around it that were decoded.
    pub encodings: Vec<Encoding>,
    /// The host with up to 40 bytes on each side; invalid UTF-8 is replaced.
    pub context: String,
}

/// Counts over all values a report was passed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Values read.
    pub values: u64,
    /// Values that changed.
    pub changed_values: u64,
    /// Addresses and folders replaced.
    pub replaced_addresses: u64,
    /// Names changed with the table prefix: tables, options, keys of user metadata.
    pub prefix_renames: u64,
    /// Replaced addresses by encoding. An address inside several encodings counts once for each.
    pub replaced_by_encoding: BTreeMap<Encoding, u64>,
    /// Malformed data passed through unchanged, by reason. Only data that holds an old host is checked.
    pub malformed: BTreeMap<Malformed, u64>,
    /// Old addresses that were not replaced, by reason.
    pub unreplaced: BTreeMap<UnreplacedReason, u64>,
    /// The first of them, at most [`Options::max_samples`](crate::Options::max_samples).
    pub unreplaced_samples: Vec<UnreplacedAddress>,
}

/// Bytes of context on each side of an unreplaced address.
const CONTEXT_BYTES: usize = 40;

impl Report {
    /// The number of old addresses that were not replaced.
    #[must_use]
    pub fn unreplaced_total(&self) -> u64 {
        self.unreplaced.values().sum()
    }

    /// Adds the counts of another report.
    pub fn merge(&mut self, other: Self) {
        self.values += other.values;
        self.changed_values += other.changed_values;
        self.replaced_addresses += other.replaced_addresses;
        self.prefix_renames += other.prefix_renames;
        add(&mut self.replaced_by_encoding, other.replaced_by_encoding);
        add(&mut self.malformed, other.malformed);
        add(&mut self.unreplaced, other.unreplaced);
        self.unreplaced_samples.extend(other.unreplaced_samples);
    }

    pub(crate) fn add_replaced(&mut self, replaced: &Replaced) {
        self.replaced_addresses += replaced.all;
        for encoding in Encoding::ALL {
            let count = replaced.within[encoding as usize];
            if count > 0 {
                *self.replaced_by_encoding.entry(encoding).or_default() += count;
            }
        }
    }

    pub(crate) fn add_malformed(&mut self, reason: Malformed) {
        *self.malformed.entry(reason).or_default() += 1;
    }

    pub(crate) fn add_unreplaced(
        &mut self,
        reason: UnreplacedReason,
        text: &[u8],
        host: Range<usize>,
        within: Layers,
        limit: usize,
    ) {
        *self.unreplaced.entry(reason).or_default() += 1;
        if self.unreplaced_samples.len() < limit {
            let around = host.start.saturating_sub(CONTEXT_BYTES)..(host.end + CONTEXT_BYTES).min(text.len());
            let context = String::from_utf8_lossy(&text[around]).into_owned();
            self.unreplaced_samples.push(UnreplacedAddress {
                reason,
                encodings: within.names().collect(),
                context,
            });
        }
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(key).or_default() += count;
    }
}

/// The addresses replaced in a value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Replaced {
    all: u64,
    within: [u64; Encoding::ALL.len()],
}

impl Replaced {
    pub(crate) fn add(&mut self, within: Layers) {
        self.all += 1;
        for encoding in within.names() {
            self.within[encoding as usize] += 1;
        }
    }
}

/// The encodings around a text, as a set.
#[derive(Clone, Copy, Default)]
pub(crate) struct Layers(u8);

impl Layers {
    pub(crate) fn with(self, encoding: Encoding) -> Self {
        Self(self.0 | 1 << encoding as u8)
    }

    fn names(self) -> impl Iterator<Item = Encoding> {
        let set = if self.0 == 0 { 1 } else { self.0 };
        Encoding::ALL.into_iter().filter(move |encoding| set >> (*encoding as u8) & 1 == 1)
    }
}
