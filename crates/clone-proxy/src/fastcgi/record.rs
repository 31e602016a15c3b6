//! Encodes FastCGI records.

use bytes::{BufMut, BytesMut};

pub(crate) const VERSION: u8 = 1;
pub(crate) const BEGIN_REQUEST: u8 = 1;
pub(crate) const END_REQUEST: u8 = 3;
pub(crate) const PARAMS: u8 = 4;
pub(crate) const STDIN: u8 = 5;
pub(crate) const STDOUT: u8 = 6;
pub(crate) const STDERR: u8 = 7;

/// Bytes of a record's header.
pub(crate) const HEADER_BYTES: usize = 8;

/// The most content of a record that we send. A multiple of 8, so that it needs no padding.
pub(crate) const MAX_CONTENT_BYTES: usize = 65_528;

/// The id of the only request of a connection.
const REQUEST_ID: u16 = 1;

/// The header of a record with this many bytes of content.
pub(crate) fn header(kind: u8, content: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(content <= MAX_CONTENT_BYTES);
    let [high, low] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
    let [id_high, id_low] = REQUEST_ID.to_be_bytes();
    [VERSION, kind, id_high, id_low, high, low, 0, 0]
}

/// The records that begin a request: responder role, close the connection afterwards, and all parameters. No parameter
/// may be longer than a record.
pub(crate) fn begin_request(params: &[(String, Vec<u8>)]) -> BytesMut {
    let mut out = BytesMut::with_capacity(4096);
    out.put_slice(&header(BEGIN_REQUEST, 8));
    out.put_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut pairs = BytesMut::new();
    let mut flush = |pairs: &mut BytesMut| {
        if !pairs.is_empty() {
            out.put_slice(&header(PARAMS, pairs.len()));
            out.put_slice(&pairs.split());
        }
    };
    for (name, value) in params {
        // PHP decodes each record by itself: a pair must not be split between two.
        if pairs.len() + name.len() + value.len() + 8 > MAX_CONTENT_BYTES {
            flush(&mut pairs);
        }
        put_length(&mut pairs, name.len());
        put_length(&mut pairs, value.len());
        pairs.put_slice(name.as_bytes());
        pairs.put_slice(value);
    }
    flush(&mut pairs);
    out.put_slice(&header(PARAMS, 0));
    out
}

/// Lengths below 128 take one byte, others four with the highest bit set.
fn put_length(out: &mut BytesMut, length: usize) {
    match u8::try_from(length) {
        Ok(short @ 0..=127) => out.put_u8(short),
        _ => out.put_u32(u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_as_the_specification_says() {
        let long = vec![b'v'; 200];
        let bytes = begin_request(&[("A".into(), b"b".to_vec()), ("LONG".into(), long.clone())]);
        let mut expected = vec![1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        expected.extend([1, 4, 0, 1, 0, 213, 0, 0, 1, 1, b'A', b'b', 4, 0x80, 0, 0, 200]);
        expected.extend(b"LONG");
        expected.extend(long);
        expected.extend([1, 4, 0, 1, 0, 0, 0, 0]);
        assert_eq!(bytes.to_vec(), expected);
    }

    #[test]
    fn many_parameters_take_several_records_and_none_is_split() {
        let bytes = begin_request(&[("A".into(), vec![0; 40_000]), ("B".into(), vec![0; 40_000])]);
        let pair = 1 + 4 + 1 + 40_000;
        for at in [16, 16 + HEADER_BYTES + pair] {
            assert_eq!(bytes[at..at + HEADER_BYTES], header(PARAMS, pair));
        }
        assert_eq!(bytes.len(), 16 + 2 * (HEADER_BYTES + pair) + HEADER_BYTES);
    }
}
