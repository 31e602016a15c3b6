//! What is looked after as long as the state folder is ours.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::record::forget_gone;
use super::template::Template;
use super::{Entry, Owner, lock};
use crate::{Health, Phase, ProvisionError, Swept, Unfinished};

/// How often programs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is tried again to prepare WordPress, and old names are forgotten.
const NOW_AND_THEN: Duration = Duration::from_secs(15);
/// How many clones are started at once.
const AT_ONCE: usize = 3;
/// How long no clone was on its way before WordPress is copied in advance.
const IDLE: Duration = Duration::from_secs(10);
/// How long a copy of WordPress may take until what runs is looked at again.
const SPARE_LIMIT: Duration = Duration::from_secs(5);
/// How far the deadline of a clone with an unfinished task is pushed on.
const PUSH: SignedDuration = SignedDuration::from_mins(30);

impl Owner {
    /// Starts what should run, again and again; never returns.
    pub(crate) async fn upkeep(self: &Arc<Self>, tell: impl Fn(Health)) {
        let (mut last, mut sparing, mut busy): (Option<Instant>, _, _) = (None, None, Instant::now());
        loop {
            match self.keep_server().await {
                Ok(false) => {}
                // What failed with the old one need not wait.
                Ok(true) => last = None,
                Err(error) => {
                    tell(Health::Unavailable(format!("the database server does not start: {error}")));
                    sleep(LOOK_EVERY * 5).await;
                    continue;
                }
            }
            stream::iter(self.entries())
                .for_each_concurrent(AT_ONCE, |entry| async move { self.keep(&entry).await })
                .await;
            if last.is_none_or(|at| at.elapsed() >= NOW_AND_THEN) {
                last = Some(Instant::now());
                if lock(&self.template).is_err() {
                    self.prepare().await;
                    busy = Instant::now();
                }
                forget_gone(&self.dirs, self.now());
            }
            tell(match &*lock(&self.template) {
                Ok(_) => Health::Ready,
                Err(why) => Health::Unavailable(why.clone()),
            });
            sleep(LOOK_EVERY).await;
            if self.entries().iter().any(|entry| matches!(entry.phase(), Phase::Making | Phase::Ready)) {
                busy = Instant::now();
            }
            if !self.spare(&mut sparing, busy.elapsed() >= IDLE).await {
                busy = Instant::now();
            }
        }
    }

    /// Keeps copies of WordPress ready, one after the other, while there is nothing else to do; says whether it can.
    async fn spare(&self, sparing: &mut Option<JoinHandle<io::Result<()>>>, idle: bool) -> bool {
        if sparing.is_none() && idle {
            let template = lock(&self.template).clone();
            let held = Arc::clone(&self.held);
            let spare = |template: Template| {
                tokio::spawn(async move { held.blocking(move || template.spare()).await })
            };
            *sparing = template.ok().map(spare);
        }
        if let Some(copying) = sparing
            && let Ok(copied) = timeout(SPARE_LIMIT, copying).await
        {
            *sparing = None;
            if let Ok(Err(error)) = copied {
                tracing::warn!(%error, "WordPress cannot be copied in advance");
                return false;
            }
        }
        true
    }

    /// Starts a clone's programs if they do not run; goes on with a deletion that was cut off.
    async fn keep(self: &Arc<Self>, entry: &Arc<Entry>) {
        // Who works on it looks after it.
        let Ok(mut programs) = entry.programs.try_lock() else { return };
        if Self::may_run(entry) {
            let running = self.run(entry, &mut programs).await;
            match running {
                Ok(()) => entry.set_up(true),
                Err(error) => tracing::warn!(clone = %entry.info().name, %error, "a clone does not start"),
            }
            return;
        }
        drop(programs);
        if entry.phase() == Phase::Deleting
            && let Err(error) = self.delete(Arc::clone(entry)).await
        {
            tracing::warn!(clone = %entry.info().name, %error, "a clone cannot be deleted");
        }
    }

    /// See [`crate::Provisioner::sweep`].
    pub(super) async fn sweep(self: &Arc<Self>, unfinished: Unfinished<'_>) -> Result<Swept, ProvisionError> {
        let (mut swept, now) = (Swept::default(), self.now());
        for entry in self.entries() {
            let info = entry.info();
            let over = match info.phase {
                Phase::Published => info.expires_at.is_some_and(|at| at <= now),
                Phase::Ready | Phase::Making => info.deadline <= now,
                Phase::Deleting => false,
            };
            if !over {
                continue;
            }
            if unfinished(&info) {
                self.push(&entry, now);
                continue;
            }
            if let Err(error) = self.delete(Arc::clone(&entry)).await {
                tracing::warn!(clone = %info.name, %error, "a clone cannot be deleted");
                continue;
            }
            let list = if info.phase == Phase::Published { &mut swept.expired } else { &mut swept.abandoned };
            list.push(info.name);
        }
        Ok(swept)
    }

    fn push(&self, entry: &Entry, now: Timestamp) {
        let pushed = entry.change(&self.dirs, |record| {
            // A clone that is still being made has no record on the disk yet, or one that its maker writes.
            let waits = record.info.phase == Phase::Ready;
            record.info.deadline = now + PUSH;
            Ok::<_, io::Error>(waits)
        });
        if let Err(error) = pushed {
            tracing::warn!(clone = %entry.info().name, %error, "the clone's record cannot be written");
        }
    }
}
