//! Frames: parsing those of an answer once it is proven, and writing those of a request.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ClientError;
use crate::buffer_pool::{Buffer, Pool};
use crate::signing::{Key, Request};

/// What frames begin with.
pub(crate) const MAGIC: &[u8] = b"WPCLONE1";

/// The most bytes of a frame's payload.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// The most frames of an answer.
const MOST: usize = 65_536;

/// Bytes of the proof.
const PROOF: usize = 32;

/// The frames of an answer that has been proven.
#[derive(Debug)]
pub(crate) struct Frames {
    body: Buffer,
    /// Kind, and where the payload is.
    frames: Vec<(u8, std::ops::Range<usize>)>,
    end: std::ops::Range<usize>,
}

impl Frames {
    /// Checks that these bytes are a whole answer to `request`, and where its frames are.
    ///
    /// # Errors
    /// It is cut off, or not proven.
    pub(crate) fn proven(
        body: Buffer,
        request: &Request<'_>,
        key: &Key,
        status: u16,
    ) -> Result<Self, ClientError> {
        let not_ours = || ClientError::Unverified { status, code: None };
        let mut rest = ByteReader::new(&body);
        if !MAGIC.starts_with(&body[..body.len().min(MAGIC.len())]) {
            return Err(not_ours());
        }
        rest.take(MAGIC.len()).ok_or(ClientError::Truncated)?;
        let (mut frames, mut told) = (Vec::new(), request.frames_verifier(key));
        loop {
            let head = rest.at;
            let kind = rest.u8().ok_or(ClientError::Truncated)?;
            let size = rest.u32().ok_or(ClientError::Truncated)? as usize;
            if size > MAX_PAYLOAD_BYTES {
                return Err(not_ours());
            }
            let at = rest.at;
            let payload = rest.take(size).ok_or(ClientError::Truncated)?;
            told.add(&body[head..at], payload);
            let place = at..rest.at;
            if kind != b'E' {
                if frames.len() == MOST {
                    return Err(not_ours());
                }
                frames.push((kind, place));
                continue;
            }
            let proof = rest.take(PROOF).ok_or(ClientError::Truncated)?;
            if !told.is(proof) {
                return Err(not_ours());
            }
            return Ok(Self { frames, end: place, body });
        }
    }

    /// What the last frame says.
    pub(crate) fn end<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body[self.end.clone()])
            .map_err(|_| ClientError::Malformed("the last frame"))
    }

    /// The frames before the last one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.frames.iter().map(|(kind, place)| (*kind, &self.body[place.clone()]))
    }

    /// Bytes of the whole answer.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }
}

/// Bytes that are kept free for the parameters of a request. The longest is a cursor, of 2 KB and its escapes.
const ROOM: usize = 8192;

/// Bytes of a frame's head.
const HEAD: usize = 5;

/// The body of a request, in the making. Its parameters come first and are known last: there is room for them, so that
/// a body is held once.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    /// Nothing, or the room and frames.
    bytes: Option<Buffer>,
    pool: Pool,
}

impl FrameBuffer {
    /// An empty one, in a buffer of this pool as soon as there is something in it.
    pub(crate) fn new(pool: Pool) -> Self {
        Self { bytes: None, pool }
    }

    /// Bytes of frames so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() - ROOM)
    }

    fn bytes(&mut self) -> &mut Buffer {
        self.bytes.get_or_insert_with(|| empty_buffer(&self.pool))
    }

    /// One more frame; its payload is given in parts.
    pub(crate) fn frame(&mut self, kind: u8, parts: &[&[u8]]) {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(size <= MAX_PAYLOAD_BYTES, "callers keep frames small");
        let bytes = self.bytes();
        bytes.push(kind);
        bytes.extend((size as u32).to_be_bytes());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
    }

    /// The frames from there on.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let mut later = Self::new(self.pool.clone());
        let bytes = self.bytes();
        later.bytes().extend_from_slice(&bytes[ROOM + at..]);
        bytes.truncate(ROOM + at);
        later
    }

    /// The body with these parameters; it is gone from here. Blanks behind them, which JSON allows, fill the room.
    ///
    /// # Errors
    /// They do not fit.
    pub(crate) fn with(&mut self, parameters: &impl Serialize) -> Result<Bytes, ClientError> {
        let parameters = serde_json::to_vec(parameters).map_err(|_| ClientError::Malformed("parameters"))?;
        let size = (ROOM - MAGIC.len() - HEAD) as u32;
        let mut room = [MAGIC, b"J", &size.to_be_bytes(), &parameters].concat();
        if room.len() > ROOM {
            return Err(ClientError::Malformed("parameters"));
        }
        room.resize(ROOM, b' ');
        let mut bytes = self.bytes.take().unwrap_or_else(|| empty_buffer(&self.pool));
        bytes[..ROOM].copy_from_slice(&room);
        Ok(Bytes::from_owner(bytes))
    }

    /// Becomes what was this one's body.
    pub(crate) fn restore(&mut self, body: &Bytes) {
        let mut bytes = self.pool.take();
        bytes.extend_from_slice(body);
        self.bytes = Some(bytes);
    }
}

/// The room for parameters, and nothing behind it.
fn empty_buffer(pool: &Pool) -> Buffer {
    let mut bytes = pool.take();
    bytes.resize(ROOM, b' ');
    bytes
}

/// Takes bytes from the front, as long as there are enough.
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
