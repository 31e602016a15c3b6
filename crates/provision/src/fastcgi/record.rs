//! Records, as bytes.

use bytes::{BufMut, BytesMut};

pub(crate) const VERSION: u8 = 1;
pub(crate) const BEGIN_REQUEST: u8 = 1;
pub(crate) const END_REQUEST: u8 = 3;
pub(crate) const PARAMS: u8 = 4;
pub(crate) const STDIN: u8 = 5;
pub(crate) const STDOUT: u8 = 6;
pub(crate) const STDERR: u8 = 7;

/// Length of a record's head.
pub(crate) const HEAD: usize = 8;

/// The most content that a record of ours holds. A multiple of 8, so that it needs no padding.
pub(crate) const MOST: usize = 65_528;

/// The one request of a connection.
const REQUEST: u16 = 1;

/// The head of a record with so much content.
pub(crate) fn head(kind: u8, content: usize) -> [u8; HEAD] {
    debug_assert!(content <= MOST);
    let [high, low] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
    let [id_high, id_low] = REQUEST.to_be_bytes();
    [VERSION, kind, id_high, id_low, high, low, 0, 0]
}

/// The records that begin a request: responder, close the connection afterwards, and all parameters. None of them may
/// be longer than a record.
pub(crate) fn begin(params: &[(String, Vec<u8>)]) -> BytesMut {
    let mut out = BytesMut::with_capacity(4096);
    out.put_slice(&head(BEGIN_REQUEST, 8));
    out.put_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut pairs = BytesMut::new();
    let mut flush = |pairs: &mut BytesMut| {
        if !pairs.is_empty() {
            out.put_slice(&head(PARAMS, pairs.len()));
            out.put_slice(&pairs.split());
        }
    };
    for (name, value) in params {
        // PHP reads record by record: a pair must not begin in one and end in another.
        if pairs.len() + name.len() + value.len() + 8 > MOST {
            flush(&mut pairs);
        }
        put_length(&mut pairs, name.len());
        put_length(&mut pairs, value.len());
        pairs.put_slice(name.as_bytes());
        pairs.put_slice(value);
    }
    flush(&mut pairs);
    out.put_slice(&head(PARAMS, 0));
    out
}

/// Lengths under 128 are one byte, others four with the highest bit set.
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
    fn parameters_are_written_as_the_specification_says() {
        let long = vec![b'v'; 200];
        let bytes = begin(&[("A".into(), b"b".to_vec()), ("LONG".into(), long.clone())]);
        let mut wanted = vec![1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        wanted.extend([1, 4, 0, 1, 0, 213, 0, 0, 1, 1, b'A', b'b', 4, 0x80, 0, 0, 200]);
        wanted.extend(b"LONG");
        wanted.extend(long);
        wanted.extend([1, 4, 0, 1, 0, 0, 0, 0]);
        assert_eq!(bytes.to_vec(), wanted);
    }

    #[test]
    fn many_parameters_take_several_records_and_none_is_cut() {
        let bytes = begin(&[("A".into(), vec![0; 40_000]), ("B".into(), vec![0; 40_000])]);
        let pair = 1 + 4 + 1 + 40_000;
        for at in [16, 16 + HEAD + pair] {
            assert_eq!(bytes[at..at + HEAD], head(PARAMS, pair));
        }
        assert_eq!(bytes.len(), 16 + 2 * (HEAD + pair) + HEAD);
    }
}
