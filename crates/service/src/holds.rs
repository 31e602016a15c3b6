//! How many things one name holds at a time in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Things of one sort that are held, by name: a token's open streams, calls to a host. A name that holds none is forgotten.
#[derive(Debug, Clone, Default)]
pub struct Holds(Arc<Mutex<HashMap<String, usize>>>);

/// One of them; it is given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    holds: Holds,
    name: String,
}

impl Holds {
    /// One more for this name; `None` when it has as many as it may.
    #[must_use]
    pub fn take(&self, name: &str, most: usize) -> Option<Held> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(name).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        open.insert(name.to_owned(), count + 1);
        Some(Held { holds: self.clone(), name: name.to_owned() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = self.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = open.remove(&self.name).map_or(0, |count| count - 1);
        if left > 0 {
            open.insert(std::mem::take(&mut self.name), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_so_many_and_what_is_dropped_is_given_back() {
        let holds = Holds::default();
        let (one, _two) = (holds.take("a", 2).unwrap(), holds.take("a", 2).unwrap());
        assert!(holds.take("a", 2).is_none());
        let other = holds.take("b", 2).unwrap();
        drop(one);
        let _again = holds.take("a", 2).unwrap();
        assert!(holds.take("a", 2).is_none());
        drop(other);
        assert_eq!(holds.0.lock().unwrap().len(), 1);
    }
}
