//! A limit of concurrent uses per key, within this process.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts permits per key: a token's open streams, calls to a host. A key without permits takes no memory.
#[derive(Debug, Clone, Default)]
pub struct KeyedLimiter(Arc<Mutex<HashMap<String, usize>>>);

/// A permit of a [`KeyedLimiter`]; it is released on drop.
#[derive(Debug)]
pub struct Permit {
    limiter: KeyedLimiter,
    key: String,
}

impl KeyedLimiter {
    /// A permit for this key; `None` when `limit` permits of it are held.
    #[must_use]
    pub fn try_acquire(&self, key: &str, limit: usize) -> Option<Permit> {
        let mut held = self.0.lock();
        let count = held.get(key).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        held.insert(key.to_owned(), count + 1);
        Some(Permit { limiter: self.clone(), key: key.to_owned() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.limiter.0.lock();
        let left = held.remove(&self.key).map_or(0, |count| count - 1);
        if left > 0 {
            held.insert(std::mem::take(&mut self.key), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_limit_of_its_own_and_dropped_permits_are_released() {
        let limiter = KeyedLimiter::default();
        let (one, _two) = (limiter.try_acquire("a", 2).unwrap(), limiter.try_acquire("a", 2).unwrap());
        assert!(limiter.try_acquire("a", 2).is_none());
        let other = limiter.try_acquire("b", 2).unwrap();
        drop(one);
        let _again = limiter.try_acquire("a", 2).unwrap();
        assert!(limiter.try_acquire("a", 2).is_none());
        drop(other);
        assert_eq!(limiter.0.lock().len(), 1);
    }
}
