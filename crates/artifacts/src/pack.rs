//! gzip, within bounds.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// The bytes packed; `None` when they would be more than `most`.
pub(crate) fn pack(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for part in bytes.chunks(1 << 20) {
        encoder.write_all(part).ok()?;
        if encoder.get_ref().len() > most {
            return None;
        }
    }
    encoder.finish().ok().filter(|packed| packed.len() <= most)
}

/// The bytes as they were; `None` when they are not what was packed.
pub(crate) fn unpack(packed: &[u8], bytes: u64) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    GzDecoder::new(packed).take(bytes + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() as u64 == bytes).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        for bytes in [&b""[..], b"a", &[7; 3 << 20]] {
            let packed = pack(bytes, 1 << 20).unwrap();
            assert_eq!(unpack(&packed, bytes.len() as u64).unwrap(), bytes);
        }
    }

    #[test]
    fn nothing_larger_than_it_says_is_unpacked() {
        let packed = pack(&[0; 1 << 20], 1 << 20).unwrap();
        assert!(unpack(&packed, 1000).is_none());
        assert!(unpack(&packed[..packed.len() / 2], 1 << 20).is_none());
        assert!(unpack(b"no gzip", 1).is_none());
    }
}
