//! Decides which values are worth a look, at the speed of searching: finds the old hosts in a text, as they are
//! written or in base64.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use aho_corasick::packed::{Config, MatchKind, Searcher};

use crate::base64;
use crate::codec::Codec;
use crate::folders::FolderMapping;
use crate::sites::is_same;

/// A place in a text where an old host may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The part of a host that looks the same in any encoding but base64.
    Host,
    /// A host without such a part, in this encoding.
    Wrapped(Codec),
    /// A host in base64; a group of four characters begins so many before the hit.
    Base64 { back: usize },
}

/// What a needle that was found means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// It is a piece of this literal, so far from its beginning; the case of letters does not matter.
    Piece { literal: Vec<u8>, offset: usize },
    /// It is all there is to see.
    Whole(Kind),
}

/// Searches for all hosts at once.
pub(crate) struct Finder {
    engine: Engine,
    needles: Vec<Needle>,
    shortest: usize,
}

struct Needle {
    text: Vec<u8>,
    meanings: Vec<Meaning>,
    /// Needles that begin with this one, or this one with them: the engine names only one of them.
    kin: Vec<usize>,
}

enum Engine {
    Packed(Searcher),
    /// Where there are too many needles, or the processor cannot do the other.
    Automaton(AhoCorasick),
}

/// Bytes the engine looks at at once.
const VECTOR: usize = 32;

/// Needles beyond which searching for several cases of a host in base64 costs more than it finds.
const FEW: usize = 48;

impl Finder {
    /// A finder for hosts: in small letters, without `www.`, in ASCII or not; and for folders. There has to be one of them.
    pub(crate) fn new(names: &[String], folders: &[FolderMapping]) -> Option<Self> {
        let mut needles = Vec::new();
        for literal in literals(names, folders) {
            for (text, offset) in pieces(literal) {
                add(&mut needles, text, Meaning::Piece { literal: literal.as_bytes().to_vec(), offset });
            }
        }
        for name in names.iter().filter(|name| literal(name).is_none()) {
            for (text, kind) in beginnings(name) {
                add(&mut needles, text, Meaning::Whole(kind));
            }
        }
        in_base64(&mut needles, names);
        for (text, back) in folders.iter().flat_map(|folder| alignments(folder.from())) {
            add_base64(&mut needles, &text, back);
        }
        let mut needles = in_order(needles);
        let kin = |needle: &Needle, other: &Needle| {
            needle.text.starts_with(&other.text) || other.text.starts_with(&needle.text)
        };
        for index in 0..needles.len() {
            let all = (0..needles.len())
                .filter(|other| *other != index && kin(&needles[index], &needles[*other]))
                .collect();
            needles[index].kin = all;
        }
        let shortest = needles.iter().filter_map(Needle::shortest).min()?;
        Some(Self { engine: Engine::new(&needles)?, needles, shortest })
    }

    /// The first hit from an offset on.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<Hit> {
        let floor = from;
        let mut from = from;
        while text.len().saturating_sub(from) >= self.shortest {
            let (at, needle) = self.engine.find(text, from)?;
            let found = self.needles.get(needle)?;
            if found.kin.is_empty() {
                match found.hit(text, at).filter(|hit| hit.at >= floor) {
                    None => from = at + 1,
                    hit => return hit,
                }
                continue;
            }
            let kin = found.kin.iter().filter_map(|kin| self.needles.get(*kin));
            let kin = kin.filter(|kin| text[at..].starts_with(&kin.text));
            let hits = std::iter::once(found).chain(kin).filter_map(|needle| needle.hit(text, at));
            // Of several the longest: a whole name says more than a piece of base64.
            if let Some(hit) = hits.filter(|hit| hit.at >= floor).max_by_key(|hit| hit.end) {
                return Some(hit);
            }
            from = at + 1;
        }
        None
    }

    /// Adds all hits, the first of which may be known.
    pub(crate) fn all(&self, text: &[u8], first: Option<Hit>, hits: &mut Vec<Hit>) {
        let mut next = first.or_else(|| self.find(text, 0));
        while let Some(hit) = next {
            hits.push(hit);
            next = self.find(text, hit.end);
        }
    }
}

impl Needle {
    /// The length of the shortest text in which it means something.
    fn shortest(&self) -> Option<usize> {
        let length = |meaning: &Meaning| match meaning {
            Meaning::Piece { literal, .. } => Some(literal.len()),
            // Base64 is longer than what it stands for.
            Meaning::Whole(Kind::Base64 { .. }) => None,
            Meaning::Whole(_) => Some(self.text.len()),
        };
        self.meanings.iter().filter_map(length).min()
    }

    /// What is alike in needles that share a group for sure.
    fn group(&self) -> Vec<u8> {
        self.text.iter().take(3).map(|byte| byte & 0x0f).collect()
    }

    fn is_piece(&self) -> bool {
        self.meanings.iter().any(|meaning| matches!(meaning, Meaning::Piece { .. }))
    }

    /// What it means, found at an offset.
    fn hit(&self, text: &[u8], at: usize) -> Option<Hit> {
        let end = at + self.text.len();
        self.meanings.iter().find_map(|meaning| match meaning {
            Meaning::Whole(kind) => Some(Hit { at, end, kind: *kind }),
            Meaning::Piece { literal, offset } => {
                let at = at.checked_sub(*offset)?;
                let end = at + literal.len();
                is_same(text.get(at..end)?, literal).then_some(Hit { at, end, kind: Kind::Host })
            }
        })
    }
}

impl Engine {
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
            Self::Packed(engine) => {
                let rest = &text[from..];
                let mut room = [0; 2 * VECTOR];
                // It is slow in what is shorter than its vectors.
                let found = match room.get_mut(..rest.len()) {
                    None => engine.find(rest)?,
                    Some(short) => {
                        short.copy_from_slice(rest);
                        engine.find(room)?
                    }
                };
                Some((from + found.start(), found.pattern().as_usize()))
            }
            Self::Automaton(engine) => {
                let found = engine.find(aho_corasick::Input::new(text).span(from..text.len()))?;
                Some((found.start(), found.pattern().as_usize()))
            }
        }
    }
}

fn add(needles: &mut Vec<Needle>, text: Vec<u8>, meaning: Meaning) {
    match needles.iter_mut().find(|needle| needle.text == text) {
        Some(needle) if needle.meanings.contains(&meaning) => {}
        Some(needle) => needle.meanings.push(meaning),
        None => needles.push(Needle { text, meanings: vec![meaning], kin: Vec::new() }),
    }
}

// --- what the engine likes ---------------------------------------------------------------------------------------

/// The needles in an order that is good for the engine. It sorts them into eight groups, one after the other, and tells
/// groups apart by a few bits of a needle's first bytes. With a piece of a host and one of base64 in one group, most words
/// would look like one of them.
fn in_order(needles: Vec<Needle>) -> Vec<Needle> {
    let (mut pieces, mut rest): (Vec<_>, Vec<_>) = needles.into_iter().partition(Needle::is_piece);
    let groups = pieces.iter().map(|piece| piece.group()).collect::<BTreeSet<_>>().len().clamp(1, 4);
    let mut all = Vec::new();
    while !(pieces.is_empty() && rest.is_empty()) {
        let is_piece = all.len() % 8 < groups && !pieces.is_empty();
        all.extend(if is_piece || rest.is_empty() { pieces.pop() } else { rest.pop() });
    }
    all
}

// --- hosts as they are written -----------------------------------------------------------------------------------

/// The literals of all names, without those that hold another: where they are, the other is too.
fn literals<'n>(names: &'n [String], folders: &'n [FolderMapping]) -> Vec<&'n str> {
    let folders = folders.iter().filter_map(|folder| std::str::from_utf8(folder.literal()).ok());
    let all: Vec<&str> = names.iter().filter_map(|name| literal(name)).chain(folders).collect();
    let mut few: Vec<&str> =
        all.iter().filter(|one| !all.iter().any(|two| two != *one && one.contains(two))).copied().collect();
    few.sort_unstable();
    few.dedup();
    few
}

/// The longest part of a host that every encoding leaves alone: ASCII, and without the `--` that block comments escape.
fn literal(name: &str) -> Option<&str> {
    let longest = name
        .split(|letter: char| !letter.is_ascii())
        .flat_map(|part| part.split("--"))
        .max_by_key(|part| part.len())?;
    // The end of a domain alone would be found everywhere.
    let known = name.rfind('.').is_none_or(|dot| longest.len() > name.len() - dot + 2);
    if known { Some(longest) } else { name.is_ascii().then_some(name) }
}

/// A literal's rarest three bytes in every case of their letters, and where in it they are. The engine looks at three
/// first, and is slower with four.
fn pieces(literal: &str) -> Vec<(Vec<u8>, usize)> {
    let bytes = literal.as_bytes();
    // Wholly inside `.com` nothing is rare.
    let last = literal.rfind('.').map_or(bytes.len(), |dot| dot.saturating_sub(1));
    let windows = bytes.windows(3).enumerate().filter(|(at, _)| *at <= last);
    let (offset, window) = windows.min_by_key(|(_, window)| commonness(window)).unwrap_or((0, bytes));
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

/// How often bytes are met next to each other in what sites hold, roughly.
fn commonness(bytes: &[u8]) -> u64 {
    let of_thousand = |byte: &u8| match byte {
        b'e' => 90,
        b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 55,
        b'l' | b'd' | b'h' | b'c' | b'u' | b'm' | b'p' => 25,
        b'0'..=b'9' | b'w' | b'g' | b'f' | b'y' | b'b' | b'v' => 15,
        b'.' | b'-' => 8,
        b'k' => 5,
        _ => 2,
    };
    // A site's name is met in its texts too, but not with what is before and behind it in the host.
    let name = if bytes.iter().all(u8::is_ascii_alphanumeric) { 8 } else { 1 };
    bytes.iter().map(of_thousand).product::<u64>() * name
}

/// How a host without a literal may begin: as it is, and with its first letter in each encoding.
fn beginnings(name: &str) -> Vec<(Vec<u8>, Kind)> {
    let Some(letter) = name.chars().find(|letter| !letter.is_ascii()) else { return Vec::new() };
    let mut bytes = [0; 4];
    let bytes = letter.encode_utf8(&mut bytes).as_bytes();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut units = [0; 2];
    let escaped: String =
        letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    let large = escaped.to_ascii_uppercase().replace("\\U", "\\u");
    let number = u32::from(letter);
    let mut all = vec![
        (bytes.to_vec(), Kind::Host),
        (percent.to_ascii_lowercase().into_bytes(), Kind::Wrapped(Codec::Percent)),
        (percent.into_bytes(), Kind::Wrapped(Codec::Percent)),
        (escaped.into_bytes(), Kind::Wrapped(Codec::Backslash)),
        (large.into_bytes(), Kind::Wrapped(Codec::Backslash)),
        (format!("&#{number};").into_bytes(), Kind::Wrapped(Codec::Html)),
        (format!("&#x{number:x};").into_bytes(), Kind::Wrapped(Codec::Html)),
        (format!("&#x{number:X};").into_bytes(), Kind::Wrapped(Codec::Html)),
    ];
    all.sort_by(|one, two| one.0.cmp(&two.0));
    all.dedup_by(|one, two| one.0 == two.0);
    all
}

// --- hosts in base64 ---------------------------------------------------------------------------------------------

/// Hosts in base64, and in base64 of base64, in the cases people write; fewer of them where there are many hosts.
fn in_base64(needles: &mut Vec<Needle>, names: &[String]) {
    let plenty = needles.len() + names.len() * 18 > FEW;
    for name in names {
        let mut cases = vec![name.clone()];
        if !plenty {
            cases.extend([name.to_uppercase(), capitalised(name)]);
        }
        let once: Vec<_> = cases.iter().flat_map(|case| alignments(case.as_bytes())).collect();
        let twice = alignments(name.as_bytes()).into_iter().flat_map(|(once, _)| alignments(&once));
        for (text, back) in once.iter().cloned().chain(twice) {
            add_base64(needles, &text, back);
        }
    }
}

/// Adds a piece of base64 in both alphabets, without its beginning where that is like other text.
fn add_base64(needles: &mut Vec<Needle>, text: &[u8], back: usize) {
    let skip = sharpest(text);
    for text in [text[skip..].to_vec(), base64::url_safe(&text[skip..])] {
        add(needles, text, Meaning::Whole(Kind::Base64 { back: back + skip }));
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Where the three characters begin that are least like other text: capitals and digits. The engine looks at three first,
/// and all it has to look at twice takes time.
fn sharpest(text: &[u8]) -> usize {
    let common = |window: &[u8]| {
        window.iter().filter(|byte| !byte.is_ascii_uppercase() && !byte.is_ascii_digit()).count()
    };
    let windows = text.windows(3).enumerate().take(text.len().saturating_sub(SHORT - 1));
    windows.min_by_key(|(_, window)| common(window)).map_or(0, |(at, _)| at)
}

/// Fewer characters of base64 would be found in every picture.
const SHORT: usize = 4;

/// The characters of base64 that some bytes alone decide, for each of the three ways they can fall into groups, and how
/// many characters before them their group begins.
fn alignments(bytes: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let way = |before: usize| {
        let padded = [vec![0; before], bytes.to_vec()].concat();
        let known = padded.len() * 8 / 6;
        let skip = (before * 8).div_ceil(6);
        let text = base64::encode(&padded);
        text.get(skip..known).map(|text| (text.to_vec(), skip))
    };
    (0..3).filter_map(way).filter(|(text, _)| text.len() >= SHORT).collect()
}
