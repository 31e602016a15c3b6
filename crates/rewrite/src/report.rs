//! What was seen, what was done, and what stayed.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What an address was wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// In nothing: text, HTML, CSS, shortcodes.
    Plain,
    /// Serialised by PHP.
    Php,
    /// A string of a JSON document.
    Json,
    /// A string with backslash escapes outside of JSON: inline script, slashed text.
    Escaped,
    /// Percent-encoded.
    Percent,
    /// HTML's character references.
    Html,
    /// Base64.
    Base64,
}

impl Encoding {
    const ALL: [Self; 7] =
        [Self::Plain, Self::Php, Self::Json, Self::Escaped, Self::Percent, Self::Html, Self::Base64];
}

/// Why something was passed on as it was although it holds an old address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Malformed {
    /// Serialised data that ends too early, or claims more than there is.
    PhpCutOff,
    /// A length in serialised data that does not fit what follows.
    PhpLength,
    /// Serialised data that is wrong in another way.
    PhpSyntax,
    /// What begins as a JSON document and is none.
    Json,
    /// Base64 that nobody would write: wrong padding, loose bits, broken lines.
    Base64,
    /// Nested deeper than [`Options::depth`](crate::Options::depth).
    TooDeep,
    /// Spelled so that its new text would be many times as long: one slash behind a thousand backslashes.
    TooLong,
    /// A dump that ends in the middle of something.
    SqlCutOff,
    /// A value in a dump that is longer than [`DumpOptions::longest`](crate::DumpOptions::longest).
    SqlTooLong,
    /// A dump in a charset whose letters may hold quotes and backslashes; from there on it stays.
    SqlCharset,
}

/// Why an old address stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is the domain of an e-mail address.
    Email,
    /// Nothing before it says that it is an address: neither `http://` nor `//`.
    Bare,
    /// Another scheme than http and https.
    Scheme,
    /// A port that is not the site's.
    Port,
    /// A path outside of the site's.
    Path,
    /// An array key, a property name, a JSON key.
    Key,
    /// It lies in something malformed.
    Malformed,
    /// The new address would not fit into its column, and be cut off. Who knows the columns counts these.
    NoRoom,
    /// It is a post's guid, and these were to be kept. Those are counted only.
    Guid,
    /// It lies in a part of a dump that holds no rows: a comment, a table's definition, a routine.
    NoRow,
    /// It names a path without a host, such as `href="/about/"`, and the site's path changes.
    RootRelative,
}

/// An old address that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOver {
    /// Why it stayed.
    pub why: Why,
    /// What it lies in, as far as it was unwrapped.
    pub within: Vec<Encoding>,
    /// The host with some bytes on both sides; what is no UTF-8 is replaced.
    pub context: String,
}

/// Counts over all values a report was given to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Values looked at.
    pub values: u64,
    /// Values that came out different.
    pub changed: u64,
    /// Addresses replaced, and folders.
    pub addresses: u64,
    /// Names changed with the table prefix.
    pub names: u64,
    /// Addresses replaced by what they were wrapped in; one inside several encodings counts for each of them.
    pub by_encoding: BTreeMap<Encoding, u64>,
    /// Places passed on as they were, by reason. Only what holds an old host is ever looked into.
    pub malformed: BTreeMap<Malformed, u64>,
    /// Old addresses that stayed, by reason.
    pub stayed: BTreeMap<Why, u64>,
    /// The first of them; [`Options::left_overs`](crate::Options::left_overs) at most.
    pub left_overs: Vec<LeftOver>,
}

/// Bytes of context on each side of a left-over.
const CONTEXT: usize = 40;

impl Report {
    /// Old addresses that stayed.
    #[must_use]
    pub fn stayed(&self) -> u64 {
        self.stayed.values().sum()
    }

    /// Adds what another report counted.
    pub fn absorb(&mut self, other: Self) {
        self.values += other.values;
        self.changed += other.changed;
        self.addresses += other.addresses;
        self.names += other.names;
        add(&mut self.by_encoding, other.by_encoding);
        add(&mut self.malformed, other.malformed);
        add(&mut self.stayed, other.stayed);
        self.left_overs.extend(other.left_overs);
    }

    pub(crate) fn replaced(&mut self, replaced: &Replaced) {
        self.addresses += replaced.all;
        for encoding in Encoding::ALL {
            let count = replaced.within[encoding as usize];
            if count > 0 {
                *self.by_encoding.entry(encoding).or_default() += count;
            }
        }
    }

    pub(crate) fn malformed(&mut self, reason: Malformed) {
        *self.malformed.entry(reason).or_default() += 1;
    }

    pub(crate) fn stays(&mut self, why: Why, text: &[u8], host: Range<usize>, within: Layers, limit: usize) {
        *self.stayed.entry(why).or_default() += 1;
        if self.left_overs.len() < limit {
            let around = host.start.saturating_sub(CONTEXT)..(host.end + CONTEXT).min(text.len());
            let context = String::from_utf8_lossy(&text[around]).into_owned();
            self.left_overs.push(LeftOver { why, within: within.names().collect(), context });
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
