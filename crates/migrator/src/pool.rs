//! Room for long bodies and answers, used again and again: a transfer holds what it needs at a time, and nothing that an
//! allocator keeps of what it needed before.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a buffer has room for: more than any answer or request has, so that it never grows. Pages that nobody wrote to
/// cost nothing. Above 32 MiB glibc's allocator takes memory from the system and gives it back as a whole, whatever was
/// freed before (mallopt(3), `M_MMAP_THRESHOLD`): below, the second transfer's buffers would come from the heaps of its
/// threads, and stay there.
const ROOM: usize = 33 << 20;

/// The most buffers that have such room, and lie ready later; others are what their content takes.
const ROOMY: usize = 12;

/// Buffers of one client and its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    ready: Vec<Vec<u8>>,
    /// Buffers that were taken and have not come back.
    out: usize,
}

impl Pool {
    /// An empty buffer, which comes back when it is dropped.
    pub(crate) fn take(&self) -> Buffer {
        let mut shelf = self.shelf();
        shelf.out += 1;
        let mut bytes = shelf.ready.pop().unwrap_or_default();
        if shelf.out <= ROOMY {
            // Where a system promises no more than it has, it grows as it is filled.
            let _ = bytes.try_reserve_exact(ROOM);
        }
        drop(shelf);
        Buffer { bytes, pool: self.clone() }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut shelf = self.pool.shelf();
        shelf.out -= 1;
        if shelf.ready.len() < ROOMY && bytes.capacity() >= ROOM {
            shelf.ready.push(bytes);
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
    fn a_buffer_that_was_dropped_is_used_again_and_few_are_kept() {
        let pool = Pool::default();
        let mut first = pool.take();
        first.extend([7; 100]);
        let place = first.as_ptr();
        drop(first);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), place);
        drop(again);
        let many: Vec<_> = (0..ROOMY + 3).map(|_| pool.take()).collect();
        assert_eq!(many.iter().filter(|buffer| buffer.capacity() >= ROOM).count(), ROOMY);
        drop(many);
        let shelf = pool.shelf();
        assert_eq!((shelf.ready.len(), shelf.out), (ROOMY, 0));
    }

    #[test]
    fn a_body_gives_its_buffer_back_when_its_last_reader_is_gone() {
        let pool = Pool::default();
        let mut buffer = pool.take();
        buffer.extend(b"body");
        let body = bytes::Bytes::from_owner(buffer);
        let reader = body.slice(1..);
        drop(body);
        assert!(pool.shelf().ready.is_empty());
        assert_eq!(&reader[..], b"ody");
        drop(reader);
        assert_eq!(pool.shelf().ready.len(), 1);
    }
}
