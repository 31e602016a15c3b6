//! Finds the clones of the state folder at the start, and later loads those that were set aside.
//!
//! Only a clone whose record says that it was being created, or that has a tombstone, is removed. Everything else that
//! cannot be read is set aside: kept, reported, and checked again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use wpclone_provision::{CloneName, Phase};

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

/// Finds clones.
pub(crate) struct Recovery {
    pub(crate) host: Arc<Host>,
    pub(crate) shared: Arc<SharedDatabase>,
    pub(crate) clones: Arc<LocalClones>,
    pub(crate) destroyer: Arc<Destroyer>,
}

/// The content of a clone's folder.
#[derive(Debug)]
enum CloneOnDisk {
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
                self.load(&name).await?;
            }
        }
        self.check_schemas().await?;
        self.check_data().await
    }

    /// Checks clones that were set aside again.
    pub(crate) async fn retry(&self) {
        for name in self.clones.unreadable() {
            if let Err(error) = self.load(&name).await {
                tracing::warn!(clone = %name, %error, "a clone that is set aside cannot be checked");
            }
        }
    }

    async fn load(&self, name: &CloneName) -> io::Result<()> {
        let paths = self.host.state_dir.clone_paths(name);
        let (inspected, tombstones, users) = (paths.clone(), self.clones.tombstones.clone(), self.host.users);
        let of = name.clone();
        let found = self.host.lock.run_blocking(move || inspect(&inspected, &of, &tombstones, users)).await?;
        let removed = match found {
            CloneOnDisk::Clone(record) => {
                if self.clones.knows(name) {
                    tracing::info!(clone = %name, "a clone that was set aside can be read again");
                }
                self.clones.insert(LocalClone::new(paths, *record));
                return Ok(());
            }
            CloneOnDisk::Unreadable(why) => {
                self.set_aside(name, why);
                return Ok(());
            }
            CloneOnDisk::Removable => self.destroyer.remove_parts(name).await,
            CloneOnDisk::Empty => self.destroyer.remove_folder(name).await,
        };
        match removed {
            Ok(()) => {
                tracing::info!(clone = %name, "removed the remains of a clone");
                self.clones.remove(name);
            }
            Err(error) => {
                let reason = format!("its remains cannot be removed: {error}");
                self.set_aside(name, Unreadable { reason, slots: None, info: None });
            }
        }
        Ok(())
    }

    fn set_aside(&self, name: &CloneName, why: Unreadable) {
        let reason = why.reason.clone();
        if self.clones.set_aside(name, why) {
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
        name.parse().is_ok_and(|name: CloneName| self.clones.knows(&name))
    }

    /// Whether a clone of this name was deleted, and nothing of it is known any more.
    fn is_deleted(&self, name: &str) -> io::Result<bool> {
        match name.parse::<CloneName>() {
            Ok(name) if !self.clones.knows(&name) => self.clones.tombstones.contains(&name),
            _ => Ok(false),
        }
    }

    fn report_unclaimed(&self, name: &str, what: String) {
        tracing::error!("{what} belongs to no known clone; it is kept");
        self.clones.add_unclaimed(name, what);
    }
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
        Ok(record) if record.info.phase == Phase::Creating => CloneOnDisk::Removable,
        Ok(mut record) if is_deleted => {
            record.info.phase = Phase::Deleting;
            CloneOnDisk::Clone(Box::new(record))
        }
        Ok(record) if record.info.phase == Phase::Deleting => CloneOnDisk::Clone(Box::new(record)),
        Ok(record) => match Secrets::read(paths) {
            Ok(_) => CloneOnDisk::Clone(Box::new(record)),
            Err(error) => unreadable(error, Some(record)),
        },
        Err(_) if is_deleted => CloneOnDisk::Removable,
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
