#![doc = include_str!("../README.md")]

mod address;
mod base64;
mod codec;
mod edits;
mod finder;
mod folders;
mod json;
mod php;
mod prefix;
mod report;
mod root;
mod run;
mod sites;
mod span;
mod sql;
mod text;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;

use finder::Finder;
use report::Layers;
use root::Roots;
use run::{Room, Run};
use sites::Sites;

pub use folders::FolderMapping;
pub use prefix::PrefixMapping;
pub use report::{Encoding, Malformed, Report, UnreplacedAddress, UnreplacedReason};
pub use sites::{MappingError, SiteMapping};
pub use sql::{DumpOptions, DumpRewriter, GuidPolicy};

/// Bounds and choices.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether `www.example.com` and `example.com` are the same site, unless pairs say otherwise.
    pub match_www: bool,
    /// Layers of encodings that are taken off, 100 at most; what lies deeper stays. JSON in a serialised string is two.
    pub max_depth: usize,
    /// Folders of the old machine that move too.
    pub folders: Vec<FolderMapping>,
    /// Left-overs that are kept in a report with their context. All are counted.
    pub max_samples: usize,
    /// Whether root-relative addresses are counted where a site's path changes ([`UnreplacedReason::RootRelative`]). That is a search of
    /// its own, through values without an old host too.
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

/// Moves addresses. Made once, used for any number of values, by any number of threads.
pub struct Rewriter {
    sites: Sites,
    finder: Finder,
    roots: Option<Roots>,
    options: Options,
    /// Bytes of the longest new address or folder.
    longest: usize,
    /// Room for the work on values, for as many as were ever worked on at once.
    rooms: Mutex<Vec<Room>>,
}

impl Rewriter {
    /// A rewriter for these sites. Of pairs on one host the one with the longest path that fits decides.
    ///
    /// # Errors
    /// When there is neither a pair nor a folder, or two pairs contradict each other.
    pub fn new(pairs: &[SiteMapping], options: Options) -> Result<Self, MappingError> {
        let names = sites::names(pairs);
        let sites = Sites::new(pairs, options.match_www)?;
        let finder = Finder::new(&names, &options.folders).ok_or(MappingError::Empty)?;
        let roots = if options.count_root_relative { Roots::new(pairs) } else { None };
        let options = Options { max_depth: options.max_depth.min(100), ..options };
        let folders = options.folders.iter().map(FolderMapping::new_len);
        let longest = pairs.iter().map(SiteMapping::new_len).chain(folders).max().unwrap_or(0);
        Ok(Self { sites, finder, roots, options, longest, rooms: Mutex::default() })
    }

    /// A value with its addresses moved; the value itself where there are none.
    pub fn rewrite<'v>(&self, value: &'v [u8], report: &mut Report) -> Cow<'v, [u8]> {
        report.values += 1;
        self.note_root_relative(value, report);
        let Some(first) = self.finder.find(value, 0) else { return Cow::Borrowed(value) };
        let room = self.rooms.lock().ok().and_then(|mut rooms| rooms.pop()).unwrap_or_default();
        let (new, room) = Run::value(self, report, value, first, room);
        if let (Some(room), Ok(mut rooms)) = (room, self.rooms.lock()) {
            rooms.push(room);
        }
        match new {
            None => Cow::Borrowed(value),
            Some(new) => {
                report.changed_values += 1;
                Cow::Owned(new)
            }
        }
    }

    /// Counts a value that is nothing but a root-relative address, such as that of a menu item. Whoever knows what a
    /// value is asks this: a text alone that begins with a slash may be anything.
    pub fn count_root_relative_value(&self, value: &[u8], report: &mut Report) {
        if self.roots.as_ref().is_some_and(|roots| roots.is_one(value)) {
            self.note_root_relative_at(value, 0..value.len(), report);
        }
    }

    /// Counts the root-relative addresses in a value. They are searched for in the value as it is, with its escapes.
    fn note_root_relative(&self, value: &[u8], report: &mut Report) {
        for found in self.roots.iter().flat_map(|roots| roots.find(value)) {
            self.note_root_relative_at(value, found, report);
        }
    }

    fn note_root_relative_at(&self, value: &[u8], found: Range<usize>, report: &mut Report) {
        report.add_unreplaced(
            UnreplacedReason::RootRelative,
            value,
            found,
            Layers::default(),
            self.options.max_samples,
        );
    }
}
