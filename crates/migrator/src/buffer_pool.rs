//! A pool of buffers for long bodies: memory use stays at what is in use at a time, independent of what the allocator
//! retains.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// Capacity of a buffer: more than any response or request has, so that it never grows. Pages that were never written cost
/// nothing. From 32 MiB on glibc's allocator always uses mmap and returns the memory to the system, whatever was freed before
/// (mallopt(3), `M_MMAP_THRESHOLD`); below, buffers of a second transfer would come from the arenas of its threads and stay
/// there.
const CAPACITY: usize = 33 << 20;

/// The maximum number of buffers with this capacity that exist, and that are kept for reuse; others are sized by content.
const MAX_BUFFERS: usize = 12;

/// Buffers of one client and its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<PoolState>>);

#[derive(Debug, Default)]
struct PoolState {
    ready: Vec<Vec<u8>>,
    /// Buffers in use.
    in_use: usize,
}

impl Pool {
    /// An empty buffer; it returns to the pool when it is dropped.
    pub(crate) fn take(&self) -> Buffer {
        let mut state = self.state();
        state.in_use += 1;
        let mut bytes = state.ready.pop().unwrap_or_default();
        if state.in_use <= MAX_BUFFERS {
            // Without overcommit the reservation may fail; the buffer then grows as it is filled.
            let _ = bytes.try_reserve_exact(CAPACITY);
        }
        drop(state);
        Buffer { bytes, pool: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.0.lock()
    }
}

/// A buffer of the pool.
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
        state.in_use -= 1;
        if state.ready.len() < MAX_BUFFERS && bytes.capacity() >= CAPACITY {
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
    fn dropped_buffers_are_reused_and_few_are_kept() {
        let pool = Pool::default();
        let mut first = pool.take();
        first.extend([7; 100]);
        let address = first.as_ptr();
        drop(first);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), address);
        drop(again);
        let many: Vec<_> = (0..MAX_BUFFERS + 3).map(|_| pool.take()).collect();
        assert_eq!(many.iter().filter(|buffer| buffer.capacity() >= CAPACITY).count(), MAX_BUFFERS);
        drop(many);
        let state = pool.state();
        assert_eq!((state.ready.len(), state.in_use), (MAX_BUFFERS, 0));
    }

    #[test]
    fn a_buffer_returns_to_the_pool_with_its_last_reader() {
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
