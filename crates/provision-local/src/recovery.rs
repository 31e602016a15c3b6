//! Finds the clones of the state folder at the start, and later loads those that were set aside.
//!
//! Only a clone whose record says that it was being created, or that has a tombstone, is removed. Everything else that
//! cannot be read is set aside: kept, reported, and checked again.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wpclone_provision::{CloneName, Phase};

use crate::backoff::Backoff;
use crate::blocking::run_blocking;
use crate::clone_paths::ClonePaths;
use crate::destroy::Destroyer;
use crate::files::remove_all;
use crate::host::Host;
use crate::local_clone::LocalClone;
use crate::local_clones::{LocalClones, Unreadable};
use crate::record::CloneRecord;
use crate::secrets::Secrets;
use crate::shared_database::SharedDatabase;
use crate::stored::ReadError;
use crate::template_builder::TEMPLATE_SCHEMA;
use crate::tombstones::Tombstones;
use crate::users::Users;

/// How many clones are read at once.
const CONCURRENT_READS: usize = 8;
/// How long the start waits for the removal of remains, which goes on afterwards.
const REMOVAL_WAIT: Duration = Duration::from_secs(5);

/// Finds clones.
pub(crate) struct Recovery {
    pub(crate) host: Arc<Host>,
    pub(crate) shared: Arc<SharedDatabase>,
    pub(crate) clones: Arc<LocalClones>,
    pub(crate) destroyer: Arc<Destroyer>,
    /// Removals of remains that run, or have failed.
    pub(crate) removals: Mutex<HashMap<CloneName, Removal>>,
}

/// The removal of a deleted clone's remains, whose record cannot be read.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    is_running: bool,
    backoff: Backoff,
}

/// The content of a clone's folder.
#[derive(Debug)]
enum CloneOnDisk {
    /// A clone, perhaps one whose deletion was interrupted.
    Clone(Box<CloneRecord>),
    /// A clone whose creation was interrupted.
    Unfinished(Box<CloneRecord>),
    /// The remains of a deleted clone without a record, and the slots of the users that own something in them.
    Remains(Option<BTreeSet<u32>>),
    /// A folder that was created just before the process died; nothing else is created before its record.
    Empty,
    /// Something that cannot be read.
    Unreadable(Unreadable),
}

impl Recovery {
    /// Finds all clones, and data that belongs to none. Removing what was being created or deleted is begun.
    ///
    /// # Errors
    /// The state folder or the database server cannot be read at all; nothing is removed then.
    pub(crate) async fn run(self: &Arc<Self>) -> io::Result<()> {
        self.refresh_tombstones().await;
        let folder = self.host.state_dir.clones();
        let names = run_blocking(move || clones_in(&folder)).await?;
        let load = |name: CloneName| async move { self.load(&name).await };
        let removals: Vec<_> =
            stream::iter(names).map(load).buffer_unordered(CONCURRENT_READS).collect().await;
        self.check_schemas().await?;
        self.check_data().await?;
        if timeout(REMOVAL_WAIT, join_all(removals.into_iter().flatten())).await.is_err() {
            tracing::info!("the remains of clones are still being removed");
        }
        Ok(())
    }

    /// Checks clones that were set aside again.
    pub(crate) async fn retry(self: &Arc<Self>) {
        for name in self.clones.unreadable() {
            self.load(&name).await;
        }
    }

    /// Reads the tombstones, and forgets old ones of which nothing is left.
    pub(crate) async fn refresh_tombstones(&self) {
        let (tombstones, clones) = (self.clones.tombstones.clone(), Arc::clone(&self.clones));
        let (dir, now) = (self.host.state_dir.clone(), self.host.now());
        let work = move || {
            tombstones.refresh(now, |name| {
                let data = dir.mariadb().join(name.as_str());
                clones.knows(name) || data.exists() || dir.clone_paths(name).folder.exists()
            });
            Ok(())
        };
        if let Err(error) = self.host.lock.run_blocking(work).await {
            tracing::warn!(%error, "it cannot be checked which deleted clones are forgotten");
        }
    }

    /// Takes up what is in the folder of a clone. Returns the removal that was begun.
    async fn load(self: &Arc<Self>, name: &CloneName) -> Option<JoinHandle<()>> {
        let paths = self.host.state_dir.clone_paths(name);
        let (inspected, tombstones, users) = (paths.clone(), self.clones.tombstones.clone(), self.host.users);
        let of = name.clone();
        let found = self.host.lock.run_blocking(move || inspect(&inspected, &of, &tombstones, users)).await;
        let no_users = Some(BTreeSet::new());
        match found {
            Ok(CloneOnDisk::Clone(record)) => {
                if self.clones.knows(name) {
                    tracing::info!(clone = %name, "a clone that was set aside can be read again");
                }
                self.clones.insert(LocalClone::new(paths, *record));
                None
            }
            Ok(CloneOnDisk::Unfinished(record)) => {
                let entry = self.clones.insert(LocalClone::new(paths, *record));
                entry.set_unfinished(true);
                let destroyer = Arc::clone(&self.destroyer);
                // What fails is tried again by the upkeep.
                Some(tokio::spawn(async move { drop(destroyer.delete_unfinished(entry).await) }))
            }
            Ok(CloneOnDisk::Unreadable(why)) => {
                self.set_aside(name, why);
                None
            }
            Ok(CloneOnDisk::Remains(slots)) => self.remove_remains(name, slots),
            Ok(CloneOnDisk::Empty) => {
                match self.destroyer.remove_folder(name).await {
                    Ok(()) => self.clones.remove(name),
                    Err(error) => self.set_aside_remains(name, &error, no_users),
                }
                None
            }
            Err(error) => {
                let slots = self.slots_of(paths).await;
                self.set_aside(name, Unreadable { reason: error.to_string(), slots, info: None });
                None
            }
        }
    }

    /// Begins to remove what is left of a deleted clone, unless it is being removed or is to be tried again later. Its name
    /// and its users are in use until then.
    fn remove_remains(
        self: &Arc<Self>,
        name: &CloneName,
        slots: Option<BTreeSet<u32>>,
    ) -> Option<JoinHandle<()>> {
        {
            let mut removals = self.removals.lock();
            let removal = removals.entry(name.clone()).or_default();
            if removal.is_running || !removal.backoff.is_due(Instant::now()) {
                return None;
            }
            removal.is_running = true;
        }
        if !self.clones.knows(name) {
            let reason = "what is left of it is being removed".to_owned();
            self.clones.set_aside(name, Unreadable { reason, slots: slots.clone(), info: None });
        }
        let (recovery, name) = (Arc::clone(self), name.clone());
        Some(tokio::spawn(async move {
            match recovery.destroyer.remove_parts(&name).await {
                Ok(()) => {
                    tracing::info!(clone = %name, "removed the remains of a clone");
                    recovery.clones.remove(&name);
                    recovery.removals.lock().remove(&name);
                }
                Err(error) => {
                    recovery.set_aside_remains(&name, &error, slots);
                    if let Some(removal) = recovery.removals.lock().get_mut(&name) {
                        removal.is_running = false;
                        removal.backoff.fail(Instant::now());
                    }
                }
            }
        }))
    }

    fn set_aside_remains(&self, name: &CloneName, error: &io::Error, slots: Option<BTreeSet<u32>>) {
        let reason = format!("its remains cannot be removed: {error}");
        self.set_aside(name, Unreadable { reason, slots, info: None });
    }

    fn set_aside(&self, name: &CloneName, why: Unreadable) {
        let reason = why.reason.clone();
        if self.clones.set_aside(name, why) {
            tracing::error!(clone = %name, reason, "a clone cannot be read; it is set aside and kept");
        }
    }

    async fn slots_of(&self, paths: ClonePaths) -> Option<BTreeSet<u32>> {
        let users = self.host.users;
        run_blocking(move || Ok(slots(&paths, users))).await.ok().flatten()
    }

    /// Drops schemas of clones that were deleted; others that no clone is known for are kept.
    async fn check_schemas(&self) -> io::Result<()> {
        let database = self.shared.admin();
        for schema in database.schemas().await? {
            let what = || format!("the schema {schema} of the shared database server");
            if schema == TEMPLATE_SCHEMA || self.is_deleted(&schema).await? {
                if let Err(error) = database.drop(&schema).await {
                    tracing::warn!(%error, "{} cannot be dropped", what());
                    self.clones.add_unclaimed(&schema, what());
                }
            } else if !self.is_known(&schema) {
                self.report_unclaimed(&schema, what());
            }
        }
        Ok(())
    }

    /// Removes data of database servers of clones that were deleted; others that no clone is known for are kept.
    async fn check_data(&self) -> io::Result<()> {
        let folder = self.host.state_dir.mariadb();
        let found = folder.clone();
        for name in run_blocking(move || clones_in(&found)).await? {
            let (name, path) = (name.as_str(), folder.join(name.as_str()));
            let what = format!("the folder {}", path.display());
            if self.is_deleted(name).await? {
                if let Err(error) = self.host.lock.run_blocking(move || remove_all(&path)).await {
                    tracing::warn!(%error, "{what} cannot be removed");
                    self.clones.add_unclaimed(name, what);
                }
            } else if !self.is_known(name) {
                self.report_unclaimed(name, what);
            }
        }
        Ok(())
    }

    fn is_known(&self, name: &str) -> bool {
        name.parse().is_ok_and(|name: CloneName| self.clones.knows(&name))
    }

    /// Whether a clone of this name was deleted, and nothing of it is known any more.
    async fn is_deleted(&self, name: &str) -> io::Result<bool> {
        match name.parse::<CloneName>() {
            Ok(name) if !self.clones.knows(&name) => {
                let tombstones = self.clones.tombstones.clone();
                run_blocking(move || tombstones.contains(&name)).await
            }
            _ => Ok(false),
        }
    }

    fn report_unclaimed(&self, name: &str, what: String) {
        tracing::error!("{what} belongs to no known clone; it is kept");
        self.clones.add_unclaimed(name, what);
    }
}

/// The names of clones among the names in a folder.
fn clones_in(folder: &Path) -> io::Result<Vec<CloneName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<CloneName>().ok()));
    }
    Ok(names)
}

fn inspect(
    paths: &ClonePaths,
    name: &CloneName,
    tombstones: &Tombstones,
    users: Users,
) -> io::Result<CloneOnDisk> {
    let is_deleted = tombstones.contains(name)?;
    let unreadable = |error: ReadError, record: Option<CloneRecord>| {
        let slots = slots(paths, users).map(|mut slots| {
            slots.extend(record.as_ref().map(|record| record.slot));
            slots
        });
        let info = record.map(|record| Box::new(record.info));
        CloneOnDisk::Unreadable(Unreadable { reason: error.to_string(), slots, info })
    };
    Ok(match CloneRecord::read(paths, name) {
        Ok(mut record) if is_deleted => {
            record.info.phase = Phase::Deleting;
            CloneOnDisk::Clone(Box::new(record))
        }
        Ok(record) if record.info.phase == Phase::Creating => CloneOnDisk::Unfinished(Box::new(record)),
        Ok(record) if record.info.phase == Phase::Deleting => CloneOnDisk::Clone(Box::new(record)),
        Ok(record) => match Secrets::read(paths) {
            Ok(_) => CloneOnDisk::Clone(Box::new(record)),
            Err(error) => unreadable(error, Some(record)),
        },
        Err(_) if is_deleted => CloneOnDisk::Remains(slots(paths, users)),
        Err(ReadError::Missing(_)) if paths.is_without_content().unwrap_or(false) => CloneOnDisk::Empty,
        Err(error) => unreadable(error, None),
    })
}

/// The slots of the users that own something in a clone's folder; `None` when that cannot be known.
fn slots(paths: &ClonePaths, users: Users) -> Option<BTreeSet<u32>> {
    let mut slots = BTreeSet::new();
    if users.of_slot(0).is_none() {
        return Some(slots);
    }
    for folder in [paths.folder.clone(), paths.www()] {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.ok()?,
        };
        for entry in entries {
            let uid = fs::symlink_metadata(entry.ok()?.path()).ok()?.uid();
            slots.extend(users.slot_of(uid));
        }
    }
    Some(slots)
}
