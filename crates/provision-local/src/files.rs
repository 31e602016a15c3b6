//! Folders and files of the state folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::users::{Ids, chown};

/// How long one removal may take; removing a million files takes some twenty seconds.
pub(crate) const REMOVAL_TIMEOUT: Duration = Duration::from_secs(45);

/// Creates a folder with this mode, whatever the umask. An existing one gets the mode.
pub(crate) fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        created => created?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Creates a folder of ours that a user's group may enter, and nobody else: whatever the user permits everybody to below it,
/// other users of the machine do not get there.
pub(crate) fn create_closed_dir(path: &Path, user: Option<Ids>) -> io::Result<()> {
    create_dir(path, if user.is_some() { 0o710 } else { 0o700 })?;
    chown(path, user.map(Ids::readable_by_group))
}

/// Writes a file completely or not at all, and syncs it and its folder.
pub(crate) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let new = temporary(path);
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// The file that [`write_atomically`] writes before it has its name.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Syncs a folder, so that the names in it survive a power failure.
pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file or a folder with everything in it. Removing a missing one succeeds. It ends after [`REMOVAL_TIMEOUT`];
/// the next call goes on.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    wpclone_beneath::remove_tree(path, Instant::now() + REMOVAL_TIMEOUT)
}
