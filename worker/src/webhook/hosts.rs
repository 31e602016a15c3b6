//! So many calls to one host at a time: a host that stalls holds up its own messages and nobody else's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// How many calls to one host may be under way.
const MOST: u32 = 2;

/// Counts calls that are under way, by host.
#[derive(Default)]
pub(crate) struct Hosts {
    under_way: Arc<Mutex<HashMap<String, u32>>>,
}

/// One call that is under way; dropping it makes room for another.
pub(super) struct Call {
    host: String,
    under_way: Arc<Mutex<HashMap<String, u32>>>,
}

impl Hosts {
    /// `None` when the host has as many as it may have.
    pub(super) fn call(&self, host: &str) -> Option<Call> {
        let mut under_way = lock(&self.under_way);
        let count = under_way.entry(host.to_owned()).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Call { host: host.to_owned(), under_way: Arc::clone(&self.under_way) })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.under_way).entry(std::mem::take(&mut self.host)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_calls_and_no_more_and_nothing_is_kept_of_it() {
        let hosts = Hosts::default();
        let first = hosts.call("a.example").unwrap();
        let second = hosts.call("a.example").unwrap();
        assert!(hosts.call("a.example").is_none());
        let other = hosts.call("b.example").unwrap();
        drop(first);
        let third = hosts.call("a.example").unwrap();
        assert!(hosts.call("a.example").is_none());
        drop((second, third, other));
        assert!(lock(&hosts.under_way).is_empty());
    }
}
