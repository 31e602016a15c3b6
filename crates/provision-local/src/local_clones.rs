//! The clones of the state folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use wpclone_provision::{
    CloneInfo, CloneName, CloneSpec, ProvisionError, SetAside, UnreadableClone, most_of_one_owner,
};

use crate::local_clone::LocalClone;
use crate::tombstones::Tombstones;

/// All clones, and what is kept because it cannot be read.
#[derive(Debug)]
pub(crate) struct LocalClones {
    max_clones: usize,
    pub(crate) tombstones: Tombstones,
    /// Held while a clone gets its slot.
    pub(crate) allocation: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    clones: BTreeMap<CloneName, Arc<LocalClone>>,
    unreadable: BTreeMap<CloneName, Unreadable>,
    /// Data of no known clone, by the name of the clone that it may belong to.
    unclaimed: BTreeMap<String, String>,
}

/// A clone that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) reason: String,
    /// The slots of the users that own something in its folder; `None` when that cannot be known either.
    pub(crate) slots: Option<BTreeSet<u32>>,
    /// What its record says, when that can be read.
    pub(crate) info: Option<Box<CloneInfo>>,
}

impl LocalClones {
    pub(crate) fn new(max_clones: usize, tombstones: Tombstones) -> Self {
        Self { max_clones, tombstones, allocation: tokio::sync::Mutex::default(), known: Mutex::default() }
    }

    /// A clone.
    pub(crate) fn get(&self, name: &CloneName) -> Option<Arc<LocalClone>> {
        self.known.lock().clones.get(name).cloned()
    }

    /// A clone, or why there is none.
    pub(crate) fn require(
        &self,
        name: &CloneName,
        now: Timestamp,
    ) -> Result<Arc<LocalClone>, ProvisionError> {
        let known = self.known.lock();
        if let Some(entry) = known.clones.get(name) {
            return Ok(Arc::clone(entry));
        }
        known.check_readable(name)?;
        drop(known);
        Err(match self.tombstones.is_recent(name, now) {
            true => ProvisionError::Gone(name.clone()),
            false => ProvisionError::NotFound(name.clone()),
        })
    }

    /// All clones, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<LocalClone>> {
        self.known.lock().clones.values().cloned().collect()
    }

    /// The clones whose own code runs.
    pub(crate) fn running_own_code(&self) -> Vec<Arc<LocalClone>> {
        self.all().into_iter().filter(|clone| clone.runs_its_own_code()).collect()
    }

    /// Whether this entry is still the clone of its name.
    pub(crate) fn is_current(&self, entry: &Arc<LocalClone>) -> bool {
        self.get(&entry.name()).is_some_and(|current| Arc::ptr_eq(&current, entry))
    }

    /// Checks that this clone may be created besides those that exist. Returns the slots that are in use.
    pub(crate) fn check_new(&self, spec: &CloneSpec) -> Result<BTreeSet<u32>, ProvisionError> {
        let (known, total) = (self.known.lock(), self.max_clones);
        known.check_readable(&spec.name)?;
        if known.clones.len() + known.unreadable.len() >= total {
            return Err(ProvisionError::LimitReached { limit: total });
        }
        let (count, limit) = (known.count_of(&spec.owner), most_of_one_owner(total));
        if spec.has_other_owners && count >= limit {
            return Err(ProvisionError::OwnerLimitReached { count, limit, total });
        }
        known.slots()
    }

    /// Adds a clone; it is not set aside any more.
    pub(crate) fn insert(&self, entry: LocalClone) -> Arc<LocalClone> {
        let (name, entry, mut known) = (entry.name(), Arc::new(entry), self.known.lock());
        known.unreadable.remove(&name);
        known.clones.insert(name, Arc::clone(&entry));
        entry
    }

    /// Removes a clone of which nothing is left.
    pub(crate) fn remove(&self, name: &CloneName) {
        let mut known = self.known.lock();
        known.clones.remove(name);
        known.unreadable.remove(name);
    }

    /// Sets a clone aside; says whether that is new.
    pub(crate) fn set_aside(&self, name: &CloneName, why: Unreadable) -> bool {
        let mut known = self.known.lock();
        known.unreadable.insert(name.clone(), why.clone()).as_ref() != Some(&why)
    }

    /// Notes data that belongs to no known clone.
    pub(crate) fn add_unclaimed(&self, name: &str, description: String) {
        self.known.lock().unclaimed.insert(name.to_owned(), description);
    }

    /// Whether the clone is known, if only as unreadable.
    pub(crate) fn knows(&self, name: &CloneName) -> bool {
        let known = self.known.lock();
        known.clones.contains_key(name) || known.unreadable.contains_key(name)
    }

    /// The names of clones that are set aside.
    pub(crate) fn unreadable(&self) -> Vec<CloneName> {
        self.known.lock().unreadable.keys().cloned().collect()
    }

    /// What is set aside.
    pub(crate) fn all_set_aside(&self) -> SetAside {
        let known = self.known.lock();
        let clone = |(name, why): (&CloneName, &Unreadable)| UnreadableClone {
            name: name.clone(),
            reason: why.reason.clone(),
            info: why.info.clone(),
        };
        SetAside {
            clones: known.unreadable.iter().map(clone).collect(),
            unclaimed: known.unclaimed.values().cloned().collect(),
        }
    }
}

impl Known {
    /// How many clones this owner has, in any phase. One that cannot be read counts when its record can be.
    fn count_of(&self, owner: &str) -> usize {
        let unreadable = self.unreadable.values().filter_map(|why| why.info.as_ref());
        let is_of_owner = |of: &str| usize::from(of == owner);
        self.clones.values().map(|entry| is_of_owner(&entry.info().owner)).sum::<usize>()
            + unreadable.map(|info| is_of_owner(&info.owner)).sum::<usize>()
    }

    fn check_readable(&self, name: &CloneName) -> Result<(), ProvisionError> {
        let unreadable = self.unreadable.get(name).map(|why| &why.reason);
        match unreadable.or_else(|| self.unclaimed.get(name.as_str())) {
            Some(reason) => Err(ProvisionError::Unreadable { name: name.clone(), reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// The slots whose users own something.
    fn slots(&self) -> Result<BTreeSet<u32>, ProvisionError> {
        let mut taken: BTreeSet<u32> = self.clones.values().map(|entry| entry.slot()).collect();
        for (name, unreadable) in &self.unreadable {
            let Some(slots) = &unreadable.slots else {
                return Err(ProvisionError::Unavailable(format!(
                    "the system user of the clone {name}, which cannot be read, is not known, and no other clone may get it"
                )));
            };
            taken.extend(slots);
        }
        Ok(taken)
    }
}
