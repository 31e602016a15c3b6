//! Searches a text for the old hosts, plain or in base64, to decide quickly which values need rewriting.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use aho_corasick::packed::{Config, MatchKind, Searcher};

use crate::base64;
use crate::codec::Codec;
use crate::folders::FolderMapping;
use crate::hit::{Hit, HitKind};
use crate::host_pattern;
use crate::sites::eq_ignore_case;

/// The meaning of a needle that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NeedleKind {
    /// It is the part of this literal at `offset`. The rest of the literal has to be compared, ignoring case.
    Fragment { literal: Vec<u8>, offset: usize },
    /// It is part of the pattern of this host.
    Pattern { name: Vec<u8> },
    /// It is a hit by itself.
    Whole(HitKind),
}

/// Searches for all hosts at once.
pub(crate) struct Finder {
    matcher: Matcher,
    needles: Vec<Needle>,
    min_text_len: usize,
}

struct Needle {
    text: Vec<u8>,
    kinds: Vec<NeedleKind>,
    /// Indices of the needles that start with this one, or that this one starts with. The matcher reports only one of
    /// them.
    overlapping: Vec<usize>,
}

enum Matcher {
    Packed(Searcher),
    /// Used if there are too many needles or the CPU lacks the vector instructions.
    Automaton(AhoCorasick),
}

/// Bytes that the packed searcher reads at once.
const VECTOR_BYTES: usize = 32;

/// With more needles than this, hosts in base64 are searched for in lower case only: searching for more costs more
/// than it finds.
const MAX_CASED_NEEDLES: usize = 48;

/// The most needles of the packed searcher.
const MAX_PACKED_NEEDLES: usize = 64;

impl Finder {
    /// A finder for folders and hosts. Hosts are in lower case, without `www.`, in ASCII or Unicode. Returns `None`
    /// without either.
    pub(crate) fn new(names: &[String], folders: &[FolderMapping]) -> Option<Self> {
        let mut needles = Vec::new();
        for literal in search_literals(names, folders) {
            for (text, offset) in fragments(literal) {
                add_needle(
                    &mut needles,
                    text,
                    NeedleKind::Fragment { literal: literal.as_bytes().to_vec(), offset },
                );
            }
        }
        for name in names.iter().filter(|name| literal_of(name).is_none()) {
            for (text, kind) in first_letter_forms(name) {
                add_needle(&mut needles, text, NeedleKind::Whole(kind));
            }
        }
        add_base64_hosts(&mut needles, names);
        for (text, group_offset) in folders.iter().flat_map(|folder| base64_alignments(folder.from())) {
            add_base64(&mut needles, &text, group_offset);
        }
        add_host_patterns(&mut needles, names);
        let mut needles = order_for_matcher(needles);
        let overlap = |needle: &Needle, other: &Needle| {
            needle.text.starts_with(&other.text) || other.text.starts_with(&needle.text)
        };
        for index in 0..needles.len() {
            let all = (0..needles.len())
                .filter(|other| *other != index && overlap(&needles[index], &needles[*other]))
                .collect();
            needles[index].overlapping = all;
        }
        let min_text_len = needles.iter().filter_map(Needle::min_text_len).min()?;
        Some(Self { matcher: Matcher::new(&needles)?, needles, min_text_len })
    }

    /// The first hit that starts at or after an offset.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<Hit> {
        let min_start = from;
        let mut from = from;
        while text.len().saturating_sub(from) >= self.min_text_len {
            let (at, needle) = self.matcher.find(text, from)?;
            let found = self.needles.get(needle)?;
            if found.overlapping.is_empty() {
                match found.hit(text, at).filter(|hit| hit.at >= min_start) {
                    None => from = at + 1,
                    hit => return hit,
                }
                continue;
            }
            let overlapping = found.overlapping.iter().filter_map(|index| self.needles.get(*index));
            let overlapping = overlapping.filter(|needle| text[at..].starts_with(&needle.text));
            let hits = std::iter::once(found).chain(overlapping).filter_map(|needle| needle.hit(text, at));
            // The longest hit wins: a whole name is more specific than a part of base64.
            if let Some(hit) = hits.filter(|hit| hit.at >= min_start).max_by_key(|hit| hit.end) {
                return Some(hit);
            }
            from = at + 1;
        }
        None
    }

    /// Appends all hits. The first one may already be known.
    pub(crate) fn find_all(&self, text: &[u8], first: Option<Hit>, hits: &mut Vec<Hit>) {
        let mut next = first.or_else(|| self.find(text, 0));
        while let Some(hit) = next {
            hits.push(hit);
            next = self.find(text, hit.end);
        }
    }
}

impl Needle {
    /// The length of the shortest text that can contain a match of it.
    fn min_text_len(&self) -> Option<usize> {
        let length = |kind: &NeedleKind| match kind {
            NeedleKind::Fragment { literal, .. } => Some(literal.len()),
            NeedleKind::Pattern { name } => Some(name.len()),
            // The plain form of the same host is shorter than its base64.
            NeedleKind::Whole(HitKind::Base64 { .. }) => None,
            NeedleKind::Whole(_) => Some(self.text.len()),
        };
        self.kinds.iter().filter_map(length).min()
    }

    /// The low nibbles of the first three bytes. Needles with the same key always share a bucket of the packed
    /// searcher.
    fn bucket_key(&self) -> Vec<u8> {
        self.text.iter().take(3).map(|byte| byte & 0x0f).collect()
    }

    fn is_fragment(&self) -> bool {
        self.kinds.iter().any(|kind| !matches!(kind, NeedleKind::Whole(_)))
    }

    /// The hit, if the needle was found at an offset.
    fn hit(&self, text: &[u8], at: usize) -> Option<Hit> {
        let end = at + self.text.len();
        self.kinds.iter().find_map(|kind| match kind {
            NeedleKind::Whole(kind) => Some(Hit { at, end, kind: *kind }),
            NeedleKind::Pattern { name } => {
                let (at, end) = host_pattern::range_around(text, at, name)?;
                Some(Hit { at, end, kind: HitKind::Pattern })
            }
            NeedleKind::Fragment { literal, offset } => {
                let at = at.checked_sub(*offset)?;
                let end = at + literal.len();
                eq_ignore_case(text.get(at..end)?, literal).then_some(Hit { at, end, kind: HitKind::Host })
            }
        })
    }
}

impl Matcher {
    fn new(needles: &[Needle]) -> Option<Self> {
        let texts = || needles.iter().map(|needle| &needle.text);
        let packed = Config::new().match_kind(MatchKind::LeftmostFirst).builder().extend(texts()).build();
        match packed {
            Some(packed) => Some(Self::Packed(packed)),
            None => AhoCorasick::new(texts()).ok().map(Self::Automaton),
        }
    }

    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        match self {
            Self::Packed(searcher) => {
                let rest = &text[from..];
                let mut padded = [0; 2 * VECTOR_BYTES];
                // The searcher is slow in texts shorter than its vectors.
                let found = match padded.get_mut(..rest.len()) {
                    None => searcher.find(rest)?,
                    Some(short) => {
                        short.copy_from_slice(rest);
                        searcher.find(padded)?
                    }
                };
                Some((from + found.start(), found.pattern().as_usize()))
            }
            Self::Automaton(searcher) => {
                let found = searcher.find(aho_corasick::Input::new(text).span(from..text.len()))?;
                Some((found.start(), found.pattern().as_usize()))
            }
        }
    }
}

fn add_needle(needles: &mut Vec<Needle>, text: Vec<u8>, kind: NeedleKind) {
    match needles.iter_mut().find(|needle| needle.text == text) {
        Some(needle) if needle.kinds.contains(&kind) => {}
        Some(needle) => needle.kinds.push(kind),
        None => needles.push(Needle { text, kinds: vec![kind], overlapping: Vec::new() }),
    }
}

// --- how the matcher works best -------------------------------------------------------------------------------------

/// Orders the needles for the packed searcher. It distributes them over eight buckets in turn and tells buckets apart
/// by a few bits of a needle's first bytes. A bucket with both fragments of hosts and base64 would match most words.
fn order_for_matcher(needles: Vec<Needle>) -> Vec<Needle> {
    let (mut fragments, mut rest): (Vec<_>, Vec<_>) = needles.into_iter().partition(Needle::is_fragment);
    let groups =
        fragments.iter().map(|fragment| fragment.bucket_key()).collect::<BTreeSet<_>>().len().clamp(1, 4);
    let mut all = Vec::new();
    while !(fragments.is_empty() && rest.is_empty()) {
        let is_fragment = all.len() % 8 < groups && !fragments.is_empty();
        all.extend(if is_fragment || rest.is_empty() { fragments.pop() } else { rest.pop() });
    }
    all
}

// --- hosts as they are written --------------------------------------------------------------------------------------

/// The literals of all names and folders, without those that contain another one: a search for the shorter one finds
/// both.
fn search_literals<'n>(names: &'n [String], folders: &'n [FolderMapping]) -> Vec<&'n str> {
    let folders = folders.iter().filter_map(|folder| std::str::from_utf8(folder.literal()).ok());
    let all: Vec<&str> = names.iter().filter_map(|name| literal_of(name)).chain(folders).collect();
    let mut shortest: Vec<&str> =
        all.iter().filter(|one| !all.iter().any(|two| two != *one && one.contains(two))).copied().collect();
    shortest.sort_unstable();
    shortest.dedup();
    shortest
}

/// The longest part of a host that no encoding changes: ASCII, and without the `--` that block comments escape.
fn literal_of(name: &str) -> Option<&str> {
    let longest = name
        .split(|letter: char| !letter.is_ascii())
        .flat_map(|part| part.split("--"))
        .max_by_key(|part| part.len())?;
    // A top-level domain alone would be found everywhere.
    let known = name.rfind('.').is_none_or(|dot| longest.len() > name.len() - dot + 2);
    if known { Some(longest) } else { name.is_ascii().then_some(name) }
}

/// The rarest three bytes of a literal, in every combination of upper and lower case, with their offset in it. The
/// matcher compares three bytes first and is slower with four.
fn fragments(literal: &str) -> Vec<(Vec<u8>, usize)> {
    let bytes = literal.as_bytes();
    // Within `.com` no three bytes are rare.
    let last = literal.rfind('.').map_or(bytes.len(), |dot| dot.saturating_sub(1));
    let windows = bytes.windows(3).enumerate().filter(|(at, _)| *at <= last);
    let (offset, window) = windows.min_by_key(|(_, window)| frequency_score(window)).unwrap_or((0, bytes));
    let mut all: Vec<Vec<u8>> = vec![Vec::new()];
    for byte in window {
        let other = byte.to_ascii_uppercase();
        let more: Vec<_> =
            all.iter().filter(|_| other != *byte).map(|one| [one, &[other][..]].concat()).collect();
        all.iter_mut().for_each(|one| one.push(*byte));
        all.extend(more);
    }
    all.into_iter().map(|text| (text, offset)).collect()
}

/// A rough score of how often bytes occur next to each other in the data of sites.
fn frequency_score(bytes: &[u8]) -> u64 {
    let of_thousand = |byte: &u8| match byte {
        b'e' => 90,
        b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 55,
        b'l' | b'd' | b'h' | b'c' | b'u' | b'm' | b'p' => 25,
        b'0'..=b'9' | b'w' | b'g' | b'f' | b'y' | b'b' | b'v' => 15,
        b'.' | b'-' => 8,
        b'k' => 5,
        _ => 2,
    };
    // A site's name also occurs in its texts, but without the dots and hyphens around it in the host.
    let name = if bytes.iter().all(u8::is_ascii_alphanumeric) { 8 } else { 1 };
    bytes.iter().map(of_thousand).product::<u64>() * name
}

/// The possible starts of a host without a literal: its first non-ASCII letter, plain and in each encoding.
fn first_letter_forms(name: &str) -> Vec<(Vec<u8>, HitKind)> {
    let Some(letter) = name.chars().find(|letter| !letter.is_ascii()) else { return Vec::new() };
    let mut bytes = [0; 4];
    let bytes = letter.encode_utf8(&mut bytes).as_bytes();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut units = [0; 2];
    let escaped: String =
        letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    let upper = escaped.to_ascii_uppercase().replace("\\U", "\\u");
    let number = u32::from(letter);
    let mut all = vec![
        (bytes.to_vec(), HitKind::Host),
        (percent.to_ascii_lowercase().into_bytes(), HitKind::Encoded(Codec::Percent)),
        (percent.into_bytes(), HitKind::Encoded(Codec::Percent)),
        (escaped.into_bytes(), HitKind::Encoded(Codec::Backslash)),
        (upper.into_bytes(), HitKind::Encoded(Codec::Backslash)),
        (format!("&#{number};").into_bytes(), HitKind::Encoded(Codec::Html)),
        (format!("&#x{number:x};").into_bytes(), HitKind::Encoded(Codec::Html)),
        (format!("&#x{number:X};").into_bytes(), HitKind::Encoded(Codec::Html)),
    ];
    all.sort_by(|one, two| one.0.cmp(&two.0));
    all.dedup_by(|one, two| one.0 == two.0);
    all
}

// --- hosts as patterns ----------------------------------------------------------------------------------------------

/// Adds hosts as patterns, unless the packed searcher would be lost to them.
fn add_host_patterns(needles: &mut Vec<Needle>, names: &[String]) {
    let before = needles.len();
    for name in names.iter().filter(|name| name.is_ascii()) {
        for text in host_pattern::needles(name) {
            add_needle(needles, text, NeedleKind::Pattern { name: name.as_bytes().to_vec() });
        }
    }
    if before <= MAX_PACKED_NEEDLES && needles.len() > MAX_PACKED_NEEDLES {
        needles.truncate(before);
    }
}

// --- hosts in base64 ------------------------------------------------------------------------------------------------

/// Adds hosts in base64 and in base64 of base64, in the usual cases; with many needles in lower case only.
fn add_base64_hosts(needles: &mut Vec<Needle>, names: &[String]) {
    let only_lowercase = needles.len() + names.len() * 18 > MAX_CASED_NEEDLES;
    for name in names {
        let mut cases = vec![name.clone()];
        if !only_lowercase {
            cases.extend([name.to_uppercase(), capitalised(name)]);
        }
        let once: Vec<_> = cases.iter().flat_map(|case| base64_alignments(case.as_bytes())).collect();
        let twice =
            base64_alignments(name.as_bytes()).into_iter().flat_map(|(once, _)| base64_alignments(&once));
        for (text, group_offset) in once.iter().cloned().chain(twice) {
            add_base64(needles, &text, group_offset);
        }
    }
}

/// Adds base64 in both alphabets, starting at its rarest characters.
fn add_base64(needles: &mut Vec<Needle>, text: &[u8], group_offset: usize) {
    let skip = rarest_offset(text);
    for text in [text[skip..].to_vec(), base64::url_safe(&text[skip..])] {
        add_needle(needles, text, NeedleKind::Whole(HitKind::Base64 { group_offset: group_offset + skip }));
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The offset of the three rarest characters: those with the most capitals and digits. The matcher compares three
/// characters first, and each false match costs time.
fn rarest_offset(text: &[u8]) -> usize {
    let common = |window: &[u8]| {
        window.iter().filter(|byte| !byte.is_ascii_uppercase() && !byte.is_ascii_digit()).count()
    };
    let windows = text.windows(3).enumerate().take(text.len().saturating_sub(MIN_BASE64_CHARS - 1));
    windows.min_by_key(|(_, window)| common(window)).map_or(0, |(at, _)| at)
}

/// Shorter base64 would be found in every picture.
const MIN_BASE64_CHARS: usize = 4;

/// The base64 characters that are fully determined by some bytes, for each of their three alignments to groups, and
/// how many characters before them their group starts.
fn base64_alignments(bytes: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let align = |before: usize| {
        let padded = [vec![0; before], bytes.to_vec()].concat();
        let known = padded.len() * 8 / 6;
        let skip = (before * 8).div_ceil(6);
        let text = base64::encode(&padded);
        text.get(skip..known).map(|text| (text.to_vec(), skip))
    };
    (0..3).filter_map(align).filter(|(text, _)| text.len() >= MIN_BASE64_CHARS).collect()
}
