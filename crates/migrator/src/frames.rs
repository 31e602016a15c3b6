//! Frames: parsing those of verified responses, and writing those of requests.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ClientError;
use crate::buffer_pool::{Buffer, Pool};
use crate::kept_json;
use crate::signing::{Key, MAGIC, Request};

/// The maximum payload of a frame, in bytes.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// The maximum number of frames of a response.
const MAX_FRAMES: usize = 65_536;

/// The length of the HMAC at the end.
const MAC_BYTES: usize = 32;

/// The frames of a verified response.
#[derive(Debug)]
pub(crate) struct Frames {
    body: Buffer,
    /// Kind, and position of the payload.
    frames: Vec<(u8, std::ops::Range<usize>)>,
    end: std::ops::Range<usize>,
}

impl Frames {
    /// Verifies that these bytes are a complete response to `request`, and locates its frames.
    ///
    /// # Errors
    /// The response is truncated, or its HMAC is wrong.
    pub(crate) fn verified(
        body: Buffer,
        request: &Request<'_>,
        key: &Key,
        status: u16,
    ) -> Result<Self, ClientError> {
        let invalid = || ClientError::Unverified { status, code: None };
        let mut rest = ByteReader::new(&body);
        if !MAGIC.starts_with(&body[..body.len().min(MAGIC.len())]) {
            return Err(invalid());
        }
        rest.take(MAGIC.len()).ok_or(ClientError::Truncated)?;
        let (mut frames, mut verifier) = (Vec::new(), request.frames_verifier(key));
        loop {
            let header = rest.at;
            let kind = rest.u8().ok_or(ClientError::Truncated)?;
            let size = rest.u32().ok_or(ClientError::Truncated)? as usize;
            if size > MAX_PAYLOAD_BYTES {
                return Err(invalid());
            }
            let at = rest.at;
            let payload = rest.take(size).ok_or(ClientError::Truncated)?;
            verifier.add(&body[header..at], payload);
            let place = at..rest.at;
            if kind != b'E' {
                if frames.len() == MAX_FRAMES {
                    return Err(invalid());
                }
                frames.push((kind, place));
                continue;
            }
            let mac = rest.take(MAC_BYTES).ok_or(ClientError::Truncated)?;
            if !verifier.matches(mac) {
                return Err(invalid());
            }
            return Ok(Self { frames, end: place, body });
        }
    }

    /// Parses the last frame.
    pub(crate) fn end<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        kept_json::parse(&self.body[self.end.clone()]).ok_or(ClientError::Malformed("the last frame"))
    }

    /// The frames before the last one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.range(0..self.frames.len())
    }

    /// These of the frames before the last one; none if there are not so many.
    pub(crate) fn range(&self, places: std::ops::Range<usize>) -> impl Iterator<Item = (u8, &[u8])> {
        let frames = self.frames.get(places).unwrap_or_default();
        frames.iter().map(|(kind, place)| (*kind, &self.body[place.clone()]))
    }

    /// Length of the whole response.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }
}

/// Bytes reserved for the parameters of a request. The longest is a cursor of 2 KB, escaped.
const RESERVED_BYTES: usize = 8192;

/// The length of a frame's header.
const HEADER_BYTES: usize = 5;

/// The body of a request being built. Its parameters come first but are known last, so room is reserved for them and the
/// body is never copied.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    /// Nothing, or the reserved room and frames.
    bytes: Option<Buffer>,
    pool: Pool,
}

impl FrameBuffer {
    /// An empty body; takes a buffer from the pool when the first frame is added.
    pub(crate) fn new(pool: Pool) -> Self {
        Self { bytes: None, pool }
    }

    /// Length of the frames so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() - RESERVED_BYTES)
    }

    fn bytes(&mut self) -> &mut Buffer {
        self.bytes.get_or_insert_with(|| empty_buffer(&self.pool))
    }

    /// Adds a frame; its payload is given in parts.
    pub(crate) fn frame(&mut self, kind: u8, parts: &[&[u8]]) {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(size <= MAX_PAYLOAD_BYTES, "callers keep frames small");
        let bytes = self.bytes();
        bytes.push(kind);
        bytes.extend((size as u32).to_be_bytes());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
    }

    /// Splits off the frames from this offset on.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let mut later = Self::new(self.pool.clone());
        let bytes = self.bytes();
        later.bytes().extend_from_slice(&bytes[RESERVED_BYTES + at..]);
        bytes.truncate(RESERVED_BYTES + at);
        later
    }

    /// Takes the body with these parameters; leaves this one empty. Spaces after the JSON fill the reserved room.
    ///
    /// # Errors
    /// They do not fit into the reserved room.
    pub(crate) fn with(&mut self, parameters: &impl Serialize) -> Result<Bytes, ClientError> {
        let parameters = serde_json::to_vec(parameters).map_err(|_| ClientError::Malformed("parameters"))?;
        let size = (RESERVED_BYTES - MAGIC.len() - HEADER_BYTES) as u32;
        let mut reserved = [MAGIC, b"J", &size.to_be_bytes(), &parameters].concat();
        if reserved.len() > RESERVED_BYTES {
            return Err(ClientError::Malformed("parameters"));
        }
        reserved.resize(RESERVED_BYTES, b' ');
        let mut bytes = self.bytes.take().unwrap_or_else(|| empty_buffer(&self.pool));
        bytes[..RESERVED_BYTES].copy_from_slice(&reserved);
        Ok(Bytes::from_owner(bytes))
    }

    /// Restores the frames from a body that was taken.
    pub(crate) fn restore(&mut self, body: &Bytes) {
        let mut bytes = self.pool.take();
        bytes.extend_from_slice(body);
        self.bytes = Some(bytes);
    }
}

/// Reserved room for parameters, without frames.
fn empty_buffer(pool: &Pool) -> Buffer {
    let mut bytes = pool.take();
    bytes.resize(RESERVED_BYTES, b' ');
    bytes
}

/// Reads numbers and bytes from the front of a slice; `None` when there are too few.
#[derive(Debug, Clone)]
pub(crate) struct ByteReader<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> ByteReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }
}
