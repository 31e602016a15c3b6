//! Copying folders.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::users::{Ids, give};

/// The deepest that folders may lie; a WordPress has some twelve.
const DEEPEST: usize = 64;

/// Copies a folder for a user, as plain files and folders. Bytes are shared with the original where the file system
/// can do that.
pub(crate) fn copy(from: &Path, to: &Path, user: Option<Ids>) -> io::Result<()> {
    copy_but(from, to, user, &|_| false)
}

/// The same with links followed, and without what `left_out` says by its path below `from`.
pub(crate) fn copy_but(
    from: &Path,
    to: &Path,
    user: Option<Ids>,
    left_out: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    Walk { root: from, user, left_out, above: HashSet::new() }.copy(from, to)
}

/// Gives a folder and all that is in it to a user. Links are given, not followed.
pub(crate) fn give_all(folder: &Path, user: Option<Ids>) -> io::Result<()> {
    if user.is_none() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_all(&entry.path(), user)?;
        } else {
            give(&entry.path(), user)?;
        }
    }
    give(folder, user)
}

struct Walk<'a> {
    root: &'a Path,
    user: Option<Ids>,
    left_out: &'a dyn Fn(&Path) -> bool,
    /// Device and inode of the folders above: a link back to one of them would never end.
    above: HashSet<(u64, u64)>,
}

impl Walk<'_> {
    fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let here = fs::metadata(from)?;
        let here = (here.dev(), here.ino());
        if self.above.len() >= DEEPEST || !self.above.insert(here) {
            return Ok(());
        }
        DirBuilder::new().mode(0o755).create(to)?;
        give(to, self.user)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let path = entry.path();
            if (self.left_out)(path.strip_prefix(self.root).unwrap_or(&path)) {
                continue;
            }
            // A link that leads nowhere has nothing to copy.
            let Ok(found) = fs::metadata(&path) else { continue };
            let to = to.join(entry.file_name());
            if found.is_dir() {
                self.copy(&path, &to)?;
            } else if found.is_file() {
                copy_file(&path, &to, self.user)?;
            }
        }
        self.above.remove(&here);
        Ok(())
    }
}

fn copy_file(from: &Path, to: &Path, user: Option<Ids>) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mode = if from.metadata()?.permissions().mode() & 0o077 == 0 { 0o600 } else { 0o644 };
    let mut to = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    io::copy(&mut from, &mut to)?;
    user.map_or(Ok(()), |ids| std::os::unix::fs::fchown(&to, Some(ids.uid), Some(ids.gid)))
}

/// What a folder is known by: the names, sizes and times of all that is in it.
pub(crate) fn fingerprint(folder: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    list(folder, 0, &mut lines)?;
    lines.sort();
    Ok(hex::encode(Sha256::digest(lines.join("\n"))))
}

fn list(folder: &Path, depth: usize, lines: &mut Vec<String>) -> io::Result<()> {
    if depth >= DEEPEST {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_dir() {
            list(&path, depth + 1, lines)?;
        } else {
            lines.push(format!("{} {} {}", path.display(), found.len(), found.mtime()));
        }
    }
    Ok(())
}
