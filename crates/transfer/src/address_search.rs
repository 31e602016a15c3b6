//! Searches files that stay as they are for the site's address: text in UTF-8, UTF-16 or UTF-32, which gzip may have compressed.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;
use wpclone_rewrite::{Report, Rewriter, UnreplacedReason};

/// An address that is longer than this may be missed where two parts of a file meet.
const OVERLAP_BYTES: usize = 2048;
/// What gzip begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// So much of a compressed file is searched. A small file may be very large when it is not compressed.
const MAX_INFLATED_BYTES: usize = 64 << 20;

/// Searches a file, part by part, for the site's address.
#[derive(Debug, Default)]
pub(crate) struct AddressSearch {
    /// Whether the first part has come.
    has_begun: bool,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    inflated: usize,
    /// The end of the parts so far.
    overlap: Vec<u8>,
    is_found: bool,
}

impl AddressSearch {
    /// Searches the next part.
    pub(crate) fn push(&mut self, rewriter: &Rewriter, part: &[u8]) {
        if !self.has_begun && part.starts_with(&GZIP) {
            self.gzip = Some(MultiGzDecoder::new(Vec::new()));
        }
        self.has_begun |= !part.is_empty();
        match self.gzip.take() {
            Some(decoder) => self.gzip = self.push_compressed(rewriter, decoder, part),
            None => self.search(rewriter, part),
        }
    }

    /// Whether the file holds the address; called after the last part.
    pub(crate) fn finish(&mut self, rewriter: &Rewriter) -> bool {
        if let Some(mut decoder) = self.gzip.take() {
            // What is incomplete is searched as far as it goes.
            let _ = decoder.try_finish();
            self.search(rewriter, decoder.get_ref());
        }
        self.is_found
    }

    /// Searches a compressed part. Returns the decoder, unless nothing more can be or is to be read.
    fn push_compressed(
        &mut self,
        rewriter: &Rewriter,
        mut decoder: MultiGzDecoder<Vec<u8>>,
        mut part: &[u8],
    ) -> Option<MultiGzDecoder<Vec<u8>>> {
        // One call takes as much as becomes some ten thousand bytes.
        while !part.is_empty() {
            let taken = decoder.write(part).ok().filter(|taken| *taken > 0);
            if taken.is_none() {
                // What follows is damaged or no gzip. The decoder still holds the end of what it has read.
                let _ = decoder.try_finish();
            }
            let text = std::mem::take(decoder.get_mut());
            self.inflated = self.inflated.saturating_add(text.len());
            self.search(rewriter, &text);
            if self.is_found || self.inflated > MAX_INFLATED_BYTES {
                return None;
            }
            let Some(taken) = taken else {
                self.search(rewriter, part);
                return None;
            };
            part = &part[taken..];
        }
        Some(decoder)
    }

    fn search(&mut self, rewriter: &Rewriter, part: &[u8]) {
        if self.is_found {
            return;
        }
        let has_overlap = !self.overlap.is_empty();
        self.overlap.extend_from_slice(&part[..part.len().min(OVERLAP_BYTES)]);
        self.is_found = has_address(rewriter, part) || (has_overlap && has_address(rewriter, &self.overlap));
        // A short part leaves something of those before it.
        let end = if part.len() < OVERLAP_BYTES { &self.overlap } else { part };
        self.overlap = end[end.len().saturating_sub(OVERLAP_BYTES)..].to_vec();
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

    fn is_found(parts: &[&[u8]]) -> bool {
        let pair = SiteMapping::new("https://shop.example", "http://127.0.0.1:8090/clone").unwrap();
        let rewriter = Rewriter::new(&[pair], Options::default()).unwrap();
        let mut search = AddressSearch::default();
        parts.iter().for_each(|part| search.push(&rewriter, part));
        search.finish(&rewriter)
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
    fn a_compressed_file_is_searched_up_to_its_bound() {
        let mut text = vec![b' '; MAX_INFLATED_BYTES + (1 << 20)];
        text.extend_from_slice(b"https://shop.example/");
        assert!(!is_found(&[&gzip(&text)]));
    }
}
