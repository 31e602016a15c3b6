//! Finds the clones of the state folder at the start, and takes up those that were set aside.
//!
//! Only what says of itself that it was being created, or what has a tombstone, is removed. Everything else that cannot be
//! read is set aside: kept, reported, and looked at again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use wpclone_provision::{CloneName, Phase};

use crate::clone_entry::CloneEntry;
use crate::clone_paths::ClonePaths;
use crate::destroy::Destroyer;
use crate::files::remove_all;
use crate::host::Host;
use crate::record::CloneRecord;
use crate::registry::{CloneRegistry, Unreadable};
use crate::secrets::Secrets;
use crate::shared_database::SharedDatabase;
use crate::stored::ReadError;
use crate::template_builder::TEMPLATE_SCHEMA;
use crate::tombstones::Tombstones;
use crate::users::Users;

/// Finds clones.
pub(crate) struct Recovery {
    pub(crate) host: Arc<Host>,
    pub(crate) shared: Arc<SharedDatabase>,
    pub(crate) registry: Arc<CloneRegistry>,
    pub(crate) destroyer: Arc<Destroyer>,
}

/// What a clone's folder holds.
#[derive(Debug)]
enum Found {
    /// A clone, perhaps one whose deletion was interrupted.
    Clone(Box<CloneRecord>),
    /// A clone whose creation was interrupted, or the remains of a deleted one.
    Removable,
    /// A folder that was created just before the process died; nothing else is created before its record.
    Empty,
    /// Something that cannot be read.
    Unreadable(Unreadable),
}

impl Recovery {
    /// Finds all clones, and data that belongs to none.
    ///
    /// # Errors
    /// The state folder or the database server cannot be read at all; nothing is removed then.
    pub(crate) async fn run(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.host.state_dir.clones())? {
            if let Some(name) = entry?.file_name().to_str().and_then(|n| n.parse().ok()) {
                self.take_up(&name).await?;
            }
        }
        self.check_schemas().await?;
        self.check_data().await
    }

    /// Looks again at clones that were set aside.
    pub(crate) async fn retry(&self) {
        for name in self.registry.unreadable() {
            if let Err(error) = self.take_up(&name).await {
                tracing::warn!(clone = %name, %error, "a clone that is set aside cannot be checked");
            }
        }
    }

    async fn take_up(&self, name: &CloneName) -> io::Result<()> {
        let paths = self.host.state_dir.clone_paths(name);
        let (look_at, tombstones, users) = (paths.clone(), self.registry.tombstones.clone(), self.host.users);
        let of = name.clone();
        let found = self.host.lock.run_blocking(move || look(&look_at, &of, &tombstones, users)).await?;
        let removed = match found {
            Found::Clone(record) => {
                if self.registry.knows(name) {
                    tracing::info!(clone = %name, "a clone that was set aside can be read again");
                }
                self.registry.insert(CloneEntry::new(paths, *record));
                return Ok(());
            }
            Found::Unreadable(why) => {
                self.set_aside(name, why);
                return Ok(());
            }
            Found::Removable => self.destroyer.remove_parts(name).await,
            Found::Empty => self.destroyer.remove_folder(name).await,
        };
        match removed {
            Ok(()) => {
                tracing::info!(clone = %name, "removed the remains of a clone");
                self.registry.remove(name);
            }
            Err(error) => {
                let reason = format!("its remains cannot be removed: {error}");
                self.set_aside(name, Unreadable { reason, slots: None });
            }
        }
        Ok(())
    }

    fn set_aside(&self, name: &CloneName, why: Unreadable) {
        let reason = why.reason.clone();
        if self.registry.set_aside(name, why) {
            tracing::error!(clone = %name, reason, "a clone cannot be read; it is set aside and kept");
        }
    }

    /// Drops schemas of clones that were deleted; others that no clone is known for are kept.
    async fn check_schemas(&self) -> io::Result<()> {
        let database = self.shared.admin();
        for schema in database.schemas().await? {
            if schema == TEMPLATE_SCHEMA || self.is_deleted(&schema)? {
                database.drop(&schema).await?;
            } else if !self.is_known(&schema) {
                self.report_unclaimed(&schema, format!("the schema {schema} of the shared database server"));
            }
        }
        Ok(())
    }

    /// Removes data of database servers of clones that were deleted; others that no clone is known for are kept.
    async fn check_data(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.host.state_dir.mariadb())? {
            let entry = entry?;
            let (file, path) = (entry.file_name(), entry.path());
            let Some(name) = file.to_str().filter(|name| name.parse::<CloneName>().is_ok()) else { continue };
            if self.is_deleted(name)? {
                self.host.lock.run_blocking(move || remove_all(&path)).await?;
            } else if !self.is_known(name) {
                self.report_unclaimed(name, format!("the folder {}", path.display()));
            }
        }
        Ok(())
    }

    fn is_known(&self, name: &str) -> bool {
        name.parse().is_ok_and(|name: CloneName| self.registry.knows(&name))
    }

    /// Whether a clone of this name was deleted, and nothing of it is known any more.
    fn is_deleted(&self, name: &str) -> io::Result<bool> {
        match name.parse::<CloneName>() {
            Ok(name) if !self.registry.knows(&name) => self.registry.tombstones.contains(&name),
            _ => Ok(false),
        }
    }

    fn report_unclaimed(&self, name: &str, what: String) {
        tracing::error!("{what} belongs to no known clone; it is kept");
        self.registry.add_unclaimed(name, what);
    }
}

fn look(paths: &ClonePaths, name: &CloneName, tombstones: &Tombstones, users: Users) -> io::Result<Found> {
    let is_deleted = tombstones.contains(name)?;
    let unreadable = |error: ReadError, slot: Option<u32>| {
        let slots = slots(paths, users).map(|mut slots| {
            slots.extend(slot);
            slots
        });
        Found::Unreadable(Unreadable { reason: error.to_string(), slots })
    };
    Ok(match CloneRecord::read(paths, name) {
        Ok(record) if record.info.phase == Phase::Creating => Found::Removable,
        Ok(mut record) if is_deleted => {
            record.info.phase = Phase::Deleting;
            Found::Clone(Box::new(record))
        }
        Ok(record) if record.info.phase == Phase::Deleting => Found::Clone(Box::new(record)),
        Ok(record) => match Secrets::read(paths) {
            Ok(_) => Found::Clone(Box::new(record)),
            Err(error) => unreadable(error, Some(record.slot)),
        },
        Err(_) if is_deleted => Found::Removable,
        Err(ReadError::Missing(_)) if paths.is_without_content().unwrap_or(false) => Found::Empty,
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
