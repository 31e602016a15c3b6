//! gzip with size limits.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// The compressed bytes; `None` when they are more than `most`.
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

/// The content of `bytes` bytes; `None` when it has another size or is not gzip.
pub(crate) fn unpack(packed: &[u8], bytes: u64) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    GzDecoder::new(packed).take(bytes + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() as u64 == bytes).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_returns_what_was_packed() {
        for bytes in [&b""[..], b"a", &[7; 3 << 20]] {
            let packed = pack(bytes, 1 << 20).unwrap();
            assert_eq!(unpack(&packed, bytes.len() as u64).unwrap(), bytes);
        }
    }

    #[test]
    fn nothing_larger_than_the_stated_size_is_unpacked() {
        let packed = pack(&[0; 1 << 20], 1 << 20).unwrap();
        assert!(unpack(&packed, 1000).is_none());
        assert!(unpack(&packed[..packed.len() / 2], 1 << 20).is_none());
        assert!(unpack(b"no gzip", 1).is_none());
    }
}
