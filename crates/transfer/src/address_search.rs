//! Searches files that stay as they are for the site's address: text in UTF-8, UTF-16 or UTF-32, which gzip may have compressed.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;
use wpclone_rewrite::{Report, Rewriter, UnreplacedReason};

/// Text is searched when so much of it has come: a file may come in very small parts.
const SEARCH_BYTES: usize = 64 << 10;
/// An address that is longer than this may be missed where two such texts meet.
const OVERLAP_BYTES: usize = 2048;
/// What gzip begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// So much of a compressed file is searched. A small file may be very large when it is not compressed.
const MAX_INFLATED_BYTES: usize = 64 << 20;
/// So much of all compressed files of a root is searched. A site may have very many such files, and searching so much takes
/// some seconds of a processor.
const MAX_INFLATED_BYTES_OF_ROOT: usize = 1 << 30;

/// How many bytes compressed files may still become when they are searched.
#[derive(Debug)]
pub(crate) struct InflateBudget {
    bytes_left: usize,
}

impl Default for InflateBudget {
    fn default() -> Self {
        Self { bytes_left: MAX_INFLATED_BYTES_OF_ROOT }
    }
}

/// What a search of a file has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SearchResult {
    /// It holds the address.
    Found,
    /// It does not hold the address.
    NotFound,
    /// It was not searched to its end, and does not hold the address before.
    Incomplete,
}

/// Searches a file, part by part, for the site's address.
#[derive(Debug, Default)]
pub(crate) struct AddressSearch {
    /// Whether the first part has come.
    has_begun: bool,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    inflated: usize,
    /// Text that was not searched yet, and the end of the text before it.
    pending: Vec<u8>,
    is_found: bool,
    /// Whether a bound was reached.
    is_incomplete: bool,
}

impl AddressSearch {
    /// Searches the next part.
    pub(crate) fn push(&mut self, rewriter: &Rewriter, part: &[u8], budget: &mut InflateBudget) {
        if !self.has_begun && part.starts_with(&GZIP) {
            self.gzip = Some(MultiGzDecoder::new(Vec::new()));
        }
        self.has_begun |= !part.is_empty();
        match self.gzip.take() {
            Some(decoder) => self.gzip = self.push_compressed(rewriter, decoder, part, budget),
            None => self.add(rewriter, part),
        }
    }

    /// What was found; called after the last part.
    pub(crate) fn finish(&mut self, rewriter: &Rewriter) -> SearchResult {
        if let Some(mut decoder) = self.gzip.take() {
            // What is incomplete is searched as far as it goes.
            let _ = decoder.try_finish();
            self.add(rewriter, decoder.get_ref());
        }
        self.search(rewriter);
        match self {
            Self { is_found: true, .. } => SearchResult::Found,
            Self { is_incomplete: true, .. } => SearchResult::Incomplete,
            _ => SearchResult::NotFound,
        }
    }

    /// Searches a compressed part. Returns the decoder, unless nothing more can be or is to be read.
    fn push_compressed(
        &mut self,
        rewriter: &Rewriter,
        mut decoder: MultiGzDecoder<Vec<u8>>,
        mut part: &[u8],
        budget: &mut InflateBudget,
    ) -> Option<MultiGzDecoder<Vec<u8>>> {
        // One call takes as much as becomes some ten thousand bytes.
        while !part.is_empty() {
            if self.inflated > MAX_INFLATED_BYTES || budget.bytes_left == 0 {
                self.is_incomplete = true;
                return None;
            }
            let taken = decoder.write(part).ok().filter(|taken| *taken > 0);
            if taken.is_none() {
                // What follows is damaged or no gzip. The decoder still holds the end of what it has read.
                let _ = decoder.try_finish();
            }
            let text = std::mem::take(decoder.get_mut());
            self.inflated = self.inflated.saturating_add(text.len());
            budget.bytes_left = budget.bytes_left.saturating_sub(text.len());
            self.add(rewriter, &text);
            if self.is_found {
                return None;
            }
            let Some(taken) = taken else {
                self.add(rewriter, part);
                return None;
            };
            part = &part[taken..];
        }
        Some(decoder)
    }

    /// Adds text, and searches it when there is enough.
    fn add(&mut self, rewriter: &Rewriter, text: &[u8]) {
        if self.is_found || self.is_incomplete {
            return;
        }
        self.pending.extend_from_slice(text);
        if self.pending.len() >= SEARCH_BYTES {
            self.search(rewriter);
        }
    }

    fn search(&mut self, rewriter: &Rewriter) {
        self.is_found = self.is_found || has_address(rewriter, &self.pending);
        self.pending.drain(..self.pending.len().saturating_sub(OVERLAP_BYTES));
    }
}

fn has_address(rewriter: &Rewriter, text: &[u8]) -> bool {
    let has = |text: &[u8]| {
        let mut report = Report::default();
        rewriter.count_unreplaced(text, UnreplacedReason::Binary, &mut report);
        holds_address(&report)
    };
    // The letters of an address are ASCII: in UTF-16 and UTF-32 each has NULs beside it.
    has(text)
        || (text.contains(&0) && has(&text.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>()))
}

/// Whether a report is of a text that holds an address of the source as a whole.
pub(crate) fn holds_address(report: &Report) -> bool {
    let root_relative = report.unreplaced.get(&UnreplacedReason::RootRelative).copied().unwrap_or_default();
    report.unreplaced_total() > root_relative
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use wpclone_rewrite::{Options, SiteMapping};

    use super::*;

    fn search(parts: &[&[u8]], budget: &mut InflateBudget) -> SearchResult {
        let pair = SiteMapping::new("https://shop.example", "http://127.0.0.1:8090/clone").unwrap();
        let rewriter = Rewriter::new(&[pair], Options::default()).unwrap();
        let mut search = AddressSearch::default();
        parts.iter().for_each(|part| search.push(&rewriter, part, budget));
        search.finish(&rewriter)
    }

    fn is_found(parts: &[&[u8]]) -> bool {
        search(parts, &mut InflateBudget::default()) == SearchResult::Found
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn an_address_is_found_where_two_parts_meet() {
        let text = b"see https://shop.example/ here";
        for cut in 0..30 {
            assert!(is_found(&[&text[..cut], &text[cut..]]), "{cut}");
        }
        assert!(is_found(&text.chunks(1).collect::<Vec<_>>()));
        assert!(!is_found(&[b"see https://shop.example.com/ here"]));
    }

    #[test]
    fn an_address_in_utf_16_or_utf_32_is_found() {
        let units: Vec<u16> =
            "\u{feff}body { background: url('https://shop.example/\u{e4}.png') }".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let wide: Vec<u8> = units.iter().flat_map(|unit| u32::from(*unit).to_be_bytes()).collect();
        for text in [little, big, wide] {
            assert!(is_found(&[&text]), "{text:?}");
            assert!(is_found(&[&text[..31], &text[31..]]), "{text:?}");
            assert!(is_found(&[&gzip(&text)]), "{text:?}");
        }
        let other: Vec<u8> = "https://other.example/".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(!is_found(&[&other]));
    }

    #[test]
    fn an_address_in_a_compressed_file_is_found() {
        let mut text = vec![b'x'; 3 << 20];
        text.extend_from_slice(b" url(https://shop.example/a.png)");
        let compressed = gzip(&text);
        assert!(compressed.windows(12).all(|part| part != b"shop.example"));
        assert!(is_found(&[&compressed]));
        assert!(is_found(&compressed.chunks(7).collect::<Vec<_>>()));
        assert!(!is_found(&[&gzip(b"url(https://other.example/a.png)")]));
        // Damaged and incomplete files are no error.
        assert!(!is_found(&[&compressed[..40]]) && !is_found(&[&GZIP, b"damaged"]));
    }

    #[test]
    fn an_address_is_found_whatever_follows_the_gzip_stream_and_in_each_of_its_members() {
        let (here, other) = (gzip(b"url(https://shop.example/a.png)"), gzip(b"url(https://other.example/)"));
        let padding = [0; 512];
        // Its last block is incomplete, or its checksum is another one.
        let cut = &here[..here.len() - 9];
        let mut damaged = here.clone();
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        for file in [
            [&here, b"\0\0".as_slice()].concat(),
            [&here, padding.as_slice()].concat(),
            [&here, b"and more".as_slice()].concat(),
            [here.as_slice(), &other].concat(),
            [other.as_slice(), &here].concat(),
            [other.as_slice(), &here, &padding].concat(),
            [damaged.as_slice(), &padding].concat(),
            [damaged.as_slice(), &other].concat(),
            cut.to_vec(),
        ] {
            assert!(is_found(&[&file]), "{file:?}");
            assert!(is_found(&file.chunks(3).collect::<Vec<_>>()), "{file:?}");
        }
        assert!(is_found(&[&[other.as_slice(), b" https://shop.example/"].concat()]));
        assert!(!is_found(&[&[other.as_slice(), &other, &padding].concat()]));
    }

    #[test]
    fn what_precedes_a_damaged_block_is_searched() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"url(https://shop.example/a.png) ").unwrap();
        encoder.flush().unwrap();
        // No block is of this type.
        let file = [encoder.get_ref().as_slice(), &[0xff; 100]].concat();
        assert!(is_found(&[&file]));
        assert!(is_found(&file.chunks(7).collect::<Vec<_>>()));
    }

    #[test]
    fn a_compressed_file_is_searched_up_to_its_bound_and_that_is_told() {
        let mut text = vec![b' '; MAX_INFLATED_BYTES + (1 << 20)];
        text.extend_from_slice(b"https://shop.example/");
        let file = gzip(&text);
        let result = |parts: &[&[u8]]| search(parts, &mut InflateBudget::default());
        assert_eq!(result(&[&file]), SearchResult::Incomplete);
        // Nothing that comes after the bound is taken for text.
        assert_eq!(result(&[&file, b"https://shop.example/"]), SearchResult::Incomplete);
        assert_eq!(result(&[&gzip(&text[..1 << 20])]), SearchResult::NotFound);
    }

    #[test]
    fn all_compressed_files_of_a_root_have_one_budget() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        let here = gzip(b"url(https://shop.example/a.png)");
        let mut budget = InflateBudget { bytes_left: 3 << 20 };
        let mut result = |file: &[u8]| search(&file.chunks(500).collect::<Vec<_>>(), &mut budget);
        let results: Vec<_> = (0..10).map(|_| result(&bomb)).collect();
        assert_eq!(results[..2], [SearchResult::NotFound; 2]);
        assert_eq!(results[3..], [SearchResult::Incomplete; 7]);
        assert_eq!(result(&here), SearchResult::Incomplete);
        // Other files need no budget.
        assert_eq!(result(b"url(https://shop.example/a.png)"), SearchResult::Found);
        assert_eq!(budget.bytes_left, 0);
    }
}
