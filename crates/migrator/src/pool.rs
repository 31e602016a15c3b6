//! Room for long bodies and answers, used again and again: a transfer holds what it needs at a time, and nothing that an
//! allocator keeps of what it needed before.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pace::Pace;

/// Bytes that a buffer has room for before it has to grow: what is asked for at a time, and how far an answer goes beyond
/// it. Pages that nobody wrote to cost nothing.
const ROOM: usize = Pace::MOST as usize + (512 << 10);

/// The most buffers that lie ready; others are freed.
const READY: usize = 12;

/// Buffers of one client and its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// An empty buffer, which comes back when it is dropped.
    pub(crate) fn take(&self) -> Buffer {
        let ready = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: ready.unwrap_or_else(|| Vec::with_capacity(ROOM)), pool: self.clone() }
    }
}

/// Bytes in room that is used again.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut ready = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that had to grow beyond all measure is not kept for what is shorter.
        if ready.len() < READY && bytes.capacity() <= 2 * ROOM {
            ready.push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_dropped_is_used_again_and_one_that_grew_too_long_is_not() {
        let pool = Pool::default();
        let mut first = pool.take();
        first.extend([7; 100]);
        let place = first.as_ptr();
        drop(first);
        let mut again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), place);
        again.reserve(4 * ROOM);
        drop(again);
        assert!(pool.0.lock().unwrap().is_empty());
        let many: Vec<_> = (0..READY + 3).map(|_| pool.take()).collect();
        drop(many);
        assert_eq!(pool.0.lock().unwrap().len(), READY);
    }

    #[test]
    fn a_body_gives_its_buffer_back_when_its_last_reader_is_gone() {
        let pool = Pool::default();
        let mut buffer = pool.take();
        buffer.extend(b"body");
        let body = bytes::Bytes::from_owner(buffer);
        let reader = body.slice(1..);
        drop(body);
        assert!(pool.0.lock().unwrap().is_empty());
        assert_eq!(&reader[..], b"ody");
        drop(reader);
        assert_eq!(pool.0.lock().unwrap().len(), 1);
    }
}
