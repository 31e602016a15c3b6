//! The slots of a stage: how much of it runs at once, and how many slots one owner may have.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use wpclone_task::Stage;

/// The slots of a stage. Clones share them.
#[derive(Clone)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    shares: Arc<OwnerShares>,
}

/// How many slots each owner has, of those owners that share the slots with others.
struct OwnerShares {
    /// The most slots of one owner, at least half of all; `None` for no limit.
    limit: Option<u32>,
    slots: Mutex<HashMap<String, u32>>,
    /// Notified when a slot of an owner becomes free.
    freed: Notify,
}

/// A slot, which is free again when this is dropped.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    shares: Arc<OwnerShares>,
    owner: Option<String>,
}

impl Slots {
    /// Slots of which one owner may have all.
    pub(crate) fn new(slots: u32) -> Self {
        Self::with_limit(slots, None)
    }

    /// The slots for steps of a stage. A transfer may take hours, so one owner leaves a slot to others. Steps of other stages
    /// end within minutes, and then another owner has its turn.
    pub(crate) fn of_stage(stage: Stage, slots: u32) -> Self {
        let limit = (stage == Stage::Transfer && slots > 1).then(|| slots - 1);
        Self::with_limit(slots, limit)
    }

    /// Slots of which one owner may have half.
    pub(crate) fn half_for_one_owner(slots: u32) -> Self {
        Self::with_limit(slots, Some(slots.div_ceil(2)))
    }

    fn with_limit(slots: u32, limit: Option<u32>) -> Self {
        let shares = OwnerShares { limit, slots: Mutex::default(), freed: Notify::new() };
        Self { free: Arc::new(Semaphore::new(slots as usize)), shares: Arc::new(shares) }
    }

    /// Waits for a free slot.
    pub(crate) async fn acquire(&self) -> Result<Slot, AcquireError> {
        let permit = Arc::clone(&self.free).acquire_owned().await?;
        Ok(Slot { _permit: permit, shares: Arc::clone(&self.shares), owner: None })
    }

    /// The owner that may not have another slot. While a slot is free there is at most one: its limit is half of all or more.
    pub(crate) fn owner_at_limit(&self) -> Option<String> {
        let limit = self.shares.limit?;
        let slots = self.shares.slots.lock();
        slots.iter().find(|(_, slots)| **slots >= limit).map(|(owner, _)| owner.clone())
    }

    /// Waits until a slot of an owner has become free since the last call.
    pub(crate) async fn freed(&self) {
        self.shares.freed.notified().await;
    }
}

impl Slot {
    /// Counts the slot as one of this owner, where owners have a limit. Called once.
    pub(crate) fn set_owner(&mut self, owner: &str) {
        if self.is_unlimited() {
            return;
        }
        *self.shares.slots.lock().entry(owner.to_owned()).or_default() += 1;
        self.owner = Some(owner.to_owned());
    }

    /// Whether an owner may have all slots, so that what comes next in this one may be anybody's.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.shares.limit.is_none()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(owner) = self.owner.take() else { return };
        let mut slots = self.shares.slots.lock();
        if let Some(count) = slots.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                slots.remove(&owner);
            }
        }
        drop(slots);
        self.shares.freed.notify_one();
    }
}
