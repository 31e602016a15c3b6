//! The space for request bodies in files, which all clones share.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wpclone_provision::CloneName;

/// The most bytes of all bodies in files.
const MAX_SPOOLED_BYTES: u64 = 512 << 20;

/// The space that is left for bodies in files. No clone gets more than it leaves to the others: the first that wants all
/// gets half, the next one a quarter. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SpoolSpace(Arc<Mutex<Space>>);

#[derive(Debug)]
struct Space {
    free: u64,
    of_clone: HashMap<CloneName, u64>,
}

/// Why there is no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSpace {
    /// The clone has its share.
    OfClone,
    /// The other clones have theirs.
    OfAll,
}

impl Default for SpoolSpace {
    fn default() -> Self {
        Self::new(MAX_SPOOLED_BYTES)
    }
}

impl SpoolSpace {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Space { free: bytes, of_clone: HashMap::new() })))
    }

    /// The space of a body of this clone: none yet.
    pub(crate) fn begin(&self, clone: &CloneName) -> TakenSpace {
        TakenSpace { of: self.clone(), clone: clone.clone(), bytes: 0 }
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> u64 {
        self.0.lock().free
    }
}

/// The space of one body, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct TakenSpace {
    of: SpoolSpace,
    clone: CloneName,
    bytes: u64,
}

impl TakenSpace {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), NoSpace> {
        let mut space = self.of.0.lock();
        let bytes = bytes as u64;
        let free = space.free.checked_sub(bytes).ok_or(NoSpace::OfAll)?;
        let own = space.of_clone.get(&self.clone).copied().unwrap_or(0) + bytes;
        if own > free {
            return Err(NoSpace::OfClone);
        }
        space.free = free;
        space.of_clone.insert(self.clone.clone(), own);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for TakenSpace {
    fn drop(&mut self) {
        let mut space = self.of.0.lock();
        space.free += self.bytes;
        let left = space.of_clone.remove(&self.clone).unwrap_or(0).saturating_sub(self.bytes);
        if left > 0 {
            space.of_clone.insert(self.clone.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u32) -> CloneName {
        format!("clone-20261130-00000{n}-abcdef").parse().unwrap()
    }

    #[test]
    fn clones_that_take_what_they_get_leave_as_much_to_others() {
        let space = SpoolSpace::new(512);
        let mut taken = Vec::new();
        for (n, share) in [(1, 256), (2, 128), (3, 64)] {
            let mut bodies = Vec::new();
            loop {
                let mut body = space.begin(&name(n));
                if body.grow(16).is_err() {
                    break;
                }
                bodies.push(body);
            }
            assert_eq!(bodies.len() * 16, share);
            taken.push(bodies);
        }
        assert_eq!(space.free(), 64);
        let mut body = space.begin(&name(4));
        assert_eq!(body.grow(32), Ok(()));
        assert_eq!(body.grow(1), Err(NoSpace::OfClone));
        assert_eq!(body.grow(33), Err(NoSpace::OfAll));
        // What is given back is everybody's again, and nothing is left of those that have none.
        taken.remove(0);
        assert_eq!(body.grow(100), Ok(()));
        drop((taken, body));
        assert_eq!(space.free(), 512);
        assert!(space.0.lock().of_clone.is_empty());
    }
}
