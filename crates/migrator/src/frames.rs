//! Frames: parsing those of an answer once it is proven, and writing those of a request.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ClientError;
use crate::signing::{Key, Request};

/// What frames begin with.
pub(crate) const MAGIC: &[u8] = b"WPCLONE1";

/// The most bytes of a frame's payload.
pub(crate) const MOST_PAYLOAD: usize = 4 * 1024 * 1024;

/// Bytes of the proof.
const PROOF: usize = 32;

/// The frames of an answer that has been proven.
#[derive(Debug)]
pub(crate) struct Frames {
    body: Vec<u8>,
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
        body: Vec<u8>,
        request: &Request<'_>,
        key: &Key,
        status: u16,
    ) -> Result<Self, ClientError> {
        let not_ours = || ClientError::Unproven { status, code: None };
        let mut rest = Cut::new(&body);
        if !MAGIC.starts_with(&body[..body.len().min(MAGIC.len())]) {
            return Err(not_ours());
        }
        rest.take(MAGIC.len()).ok_or(ClientError::CutOff)?;
        let mut frames = Vec::new();
        loop {
            let kind = rest.u8().ok_or(ClientError::CutOff)?;
            let size = rest.u32().ok_or(ClientError::CutOff)? as usize;
            if size > MOST_PAYLOAD {
                return Err(not_ours());
            }
            let at = rest.at;
            rest.take(size).ok_or(ClientError::CutOff)?;
            let place = at..rest.at;
            if kind != b'E' {
                frames.push((kind, place));
                continue;
            }
            let proof = rest.take(PROOF).ok_or(ClientError::CutOff)?;
            if !request.proves_frames(key, &body[..place.end], proof) {
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

/// Writes the body of a request.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// A body that begins with these parameters.
    pub(crate) fn new(parameters: &impl Serialize) -> Self {
        let mut writer = Self(MAGIC.to_vec());
        #[expect(clippy::expect_used, reason = "our own types become JSON")]
        writer.frame(b'J', &[&serde_json::to_vec(parameters).expect("plain JSON")]);
        writer
    }

    /// One more frame; its payload is given in parts.
    pub(crate) fn frame(&mut self, kind: u8, parts: &[&[u8]]) {
        let size: usize = parts.iter().map(|p| p.len()).sum();
        debug_assert!(size <= MOST_PAYLOAD, "callers keep frames small");
        self.0.push(kind);
        self.0.extend((size as u32).to_be_bytes());
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Takes bytes from the front, as long as there are enough.
#[derive(Debug, Clone)]
pub(crate) struct Cut<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Cut<'a> {
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
