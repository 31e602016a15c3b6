#![doc = include_str!("../README.md")]

mod address;
mod base64;
mod binary;
mod codec;
mod edits;
mod finder;
mod folders;
mod found_strings;
mod hit;
mod host_pattern;
mod json;
mod php;
mod prefix;
mod report;
mod root_relative;
mod sites;
mod sql;
mod text;
mod value_rewriter;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;

use finder::Finder;
use report::Layers;
use root_relative::RootRelativeFinder;
use sites::MappingTable;
use value_rewriter::{Scratch, ValueRewriter};

pub use folders::FolderMapping;
pub use prefix::PrefixMapping;
pub use report::{Encoding, Malformed, Report, UnreplacedAddress, UnreplacedReason};
pub use sites::{MappingError, SiteMapping};
pub use sql::{DumpOptions, DumpRewriter, GuidPolicy};

/// Options of a [`Rewriter`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether `www.example.com` and `example.com` are the same site, unless both are mapped.
    pub match_www: bool,
    /// How many nested encodings are decoded, at most 100. JSON in a serialised string counts as two.
    pub max_depth: usize,
    /// Directories to replace.
    pub folders: Vec<FolderMapping>,
    /// The most unreplaced addresses that a report keeps with their context. All are counted.
    pub max_samples: usize,
    /// Whether to count root-relative addresses if a site's path changes ([`UnreplacedReason::RootRelative`]). This is an
    /// additional search through every value.
    pub count_root_relative: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            match_www: true,
            max_depth: 32,
            folders: Vec::new(),
            max_samples: 100,
            count_root_relative: false,
        }
    }
}

/// Replaces addresses. Build it once and share it between threads.
pub struct Rewriter {
    mappings: MappingTable,
    finder: Finder,
    root_relative: Option<RootRelativeFinder>,
    options: Options,
    /// Bytes of the longest new address or folder.
    max_new_len: usize,
    /// Reusable buffers, one set per concurrent call.
    scratch_pool: Mutex<Vec<Scratch>>,
}

impl Rewriter {
    /// A rewriter for these sites. Of several sites on one host, the longest matching path wins.
    ///
    /// # Errors
    /// If there is neither a site nor a folder, or two sites contradict each other.
    pub fn new(pairs: &[SiteMapping], options: Options) -> Result<Self, MappingError> {
        let names = sites::host_names(pairs);
        let mappings = MappingTable::new(pairs, options.match_www)?;
        let finder = Finder::new(&names, &options.folders).ok_or(MappingError::Empty)?;
        let root_relative = if options.count_root_relative { RootRelativeFinder::new(pairs) } else { None };
        let options = Options { max_depth: options.max_depth.min(100), ..options };
        let folders = options.folders.iter().map(FolderMapping::new_len);
        let max_new_len = pairs.iter().map(SiteMapping::new_len).chain(folders).max().unwrap_or(0);
        Ok(Self { mappings, finder, root_relative, options, max_new_len, scratch_pool: Mutex::default() })
    }

    /// Returns the value with its addresses replaced; borrowed if nothing changed.
    pub fn rewrite<'v>(&self, value: &'v [u8], report: &mut Report) -> Cow<'v, [u8]> {
        report.values += 1;
        self.report_root_relative(value, report);
        let Some(first) = self.finder.find(value, 0) else { return Cow::Borrowed(value) };
        let scratch =
            self.scratch_pool.lock().ok().and_then(|mut scratch_pool| scratch_pool.pop()).unwrap_or_default();
        let (new, scratch) = ValueRewriter::rewrite(self, report, value, first, scratch);
        if let (Some(scratch), Ok(mut scratch_pool)) = (scratch, self.scratch_pool.lock()) {
            scratch_pool.push(scratch);
        }
        match new {
            None => Cow::Borrowed(value),
            Some(new) => {
                report.changed_values += 1;
                Cow::Owned(new)
            }
        }
    }

    /// Returns a value of a binary column with its addresses replaced, if it is text, serialised data or JSON as a
    /// whole. Anything else is not changed, and its addresses are reported as [`UnreplacedReason::Binary`].
    pub fn rewrite_binary<'v>(&self, value: &'v [u8], report: &mut Report) -> Cow<'v, [u8]> {
        if self.finder.find(value, 0).is_none() || binary::is_rewritable(value) {
            return self.rewrite(value, report);
        }
        report.values += 1;
        self.count_unreplaced(value, UnreplacedReason::Binary, report);
        Cow::Borrowed(value)
    }

    /// Reports the old hosts in a value that is not rewritten.
    pub fn count_unreplaced(&self, value: &[u8], reason: UnreplacedReason, report: &mut Report) {
        let mut hits = Vec::new();
        self.finder.find_all(value, None, &mut hits);
        hits.retain(|hit| address::is_old_host(&self.mappings, value, *hit));
        for hit in hits {
            let limit = self.options.max_samples;
            report.add_unreplaced(reason, value, hit.at..hit.end, Layers::default(), limit);
        }
    }

    /// Counts a value that is a root-relative address as a whole, such as that of a menu item. Call it only for
    /// values known to be addresses: any text may start with a slash.
    pub fn count_root_relative_value(&self, value: &[u8], report: &mut Report) {
        if self.root_relative.as_ref().is_some_and(|roots| roots.is_root_relative(value)) {
            self.report_root_relative_at(value, 0..value.len(), report);
        }
    }

    /// Counts the root-relative addresses in a value. The value is searched as written, with its escapes.
    fn report_root_relative(&self, value: &[u8], report: &mut Report) {
        for found in self.root_relative.iter().flat_map(|roots| roots.find(value)) {
            self.report_root_relative_at(value, found, report);
        }
    }

    fn report_root_relative_at(&self, value: &[u8], found: Range<usize>, report: &mut Report) {
        report.add_unreplaced(
            UnreplacedReason::RootRelative,
            value,
            found,
            Layers::default(),
            self.options.max_samples,
        );
    }
}
