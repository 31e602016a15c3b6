//! Room for long bodies and answers, used again and again: a transfer holds what it needs at a time, and nothing that an
//! allocator keeps of what it needed before.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// Bytes that a buffer has room for: more than any answer or request has, so that it never grows. Pages that nobody wrote to
/// cost nothing. Above 32 MiB glibc's allocator takes memory from the system and gives it back as a whole, whatever was
/// freed before (mallopt(3), `M_MMAP_THRESHOLD`): below, the second transfer's buffers would come from the heaps of its
/// threads, and stay there.
const ROOM: usize = 33 << 20;

/// The most buffers that have such room, and lie ready later; others are what their content takes.
const MAX_BUFFERS: usize = 12;

/// Buffers of one client and its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<PoolState>>);

#[derive(Debug, Default)]
struct PoolState {
    ready: Vec<Vec<u8>>,
    /// Buffers that were taken and have not come back.
    out: usize,
}

impl Pool {
    /// An empty buffer, which comes back when it is dropped.
    pub(crate) fn take(&self) -> Buffer {
        let mut state = self.state();
        state.out += 1;
        let mut bytes = state.ready.pop().unwrap_or_default();
        if state.out <= MAX_BUFFERS {
            // Where a system promises no more than it has, it grows as it is filled.
            let _ = bytes.try_reserve_exact(ROOM);
        }
        drop(state);
        Buffer { bytes, pool: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.0.lock()
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
        let mut state = self.pool.state();
        state.out -= 1;
        if state.ready.len() < MAX_BUFFERS && bytes.capacity() >= ROOM {
            state.ready.push(bytes);
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
        let many: Vec<_> = (0..MAX_BUFFERS + 3).map(|_| pool.take()).collect();
        assert_eq!(many.iter().filter(|buffer| buffer.capacity() >= ROOM).count(), MAX_BUFFERS);
        drop(many);
        let state = pool.state();
        assert_eq!((state.ready.len(), state.out), (MAX_BUFFERS, 0));
    }

    #[test]
    fn a_body_gives_its_buffer_back_when_its_last_reader_is_gone() {
        let pool = Pool::default();
        let mut buffer = pool.take();
        buffer.extend(b"body");
        let body = bytes::Bytes::from_owner(buffer);
        let reader = body.slice(1..);
        drop(body);
        assert!(pool.state().ready.is_empty());
        assert_eq!(&reader[..], b"ody");
        drop(reader);
        assert_eq!(pool.state().ready.len(), 1);
    }
}
