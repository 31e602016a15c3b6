//! Copies and fingerprints of folders.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use crate::users::{Ids, chown};

/// The most levels of folders; a WordPress has some twelve.
const MAX_DEPTH: usize = 64;

/// Copies a folder for a user as regular files and folders; links are followed. The blocks are shared with the original
/// where the file system supports it. `excluded` gets paths below `from`.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    user: Option<Ids>,
    excluded: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    let below = |entry: &DirEntry| entry.path().strip_prefix(from).unwrap_or(entry.path()).to_owned();
    let walk = WalkDir::new(from).follow_links(true).max_depth(MAX_DEPTH).into_iter();
    for entry in walk.filter_entry(|entry| !excluded(&below(entry))) {
        let Some(entry) = existing(entry)? else { continue };
        let to = match entry.depth() {
            0 => to.to_owned(),
            _ => to.join(below(&entry)),
        };
        if entry.file_type().is_dir() {
            DirBuilder::new().mode(0o755).create(&to)?;
            chown(&to, user)?;
        } else if entry.file_type().is_file() {
            copy_file(entry.path(), &to, user)?;
        }
    }
    Ok(())
}

/// Changes the owner of a folder and everything in it. Links are changed, not followed.
pub(crate) fn chown_all(folder: &Path, user: Option<Ids>) -> io::Result<()> {
    if user.is_none() {
        return Ok(());
    }
    for entry in WalkDir::new(folder).contents_first(true) {
        chown(entry?.path(), user)?;
    }
    Ok(())
}

/// A digest over the paths, sizes and modification times of all files.
pub(crate) fn fingerprint(folder: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true).max_depth(MAX_DEPTH) {
        let Some(entry) = existing(entry)? else { continue };
        let found = entry.metadata()?;
        if !found.is_dir() {
            lines.push(format!("{} {} {}", entry.path().display(), found.len(), found.mtime()));
        }
    }
    lines.sort();
    Ok(hex::encode(Sha256::digest(lines.join("\n"))))
}

/// An entry, unless it is a link that leads nowhere or back to a folder above it.
fn existing(entry: walkdir::Result<DirEntry>) -> io::Result<Option<DirEntry>> {
    match entry {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if error.loop_ancestor().is_some() => Ok(None),
        Err(error) if error.depth() > 0 && is_broken_link(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_broken_link(error: &walkdir::Error) -> bool {
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    error.path().is_some_and(is_link)
}

fn copy_file(from: &Path, to: &Path, user: Option<Ids>) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mode = if from.metadata()?.permissions().mode() & 0o077 == 0 { 0o600 } else { 0o644 };
    let mut to = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    io::copy(&mut from, &mut to)?;
    user.map_or(Ok(()), |ids| std::os::unix::fs::fchown(&to, Some(ids.uid), Some(ids.gid)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_unless_they_lead_nowhere_or_back() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(base.path().join("outside"), "content").unwrap();
        fs::write(from.join("left-out"), "").unwrap();
        for (target, link) in
            [("../outside", "file"), ("nowhere", "broken"), ("..", "a/b/up"), ("self", "self")]
        {
            symlink(target, from.join(link)).unwrap();
        }
        copy(&from, &to, None, &|path| path == Path::new("left-out")).unwrap();
        assert_eq!(fs::read(to.join("file")).unwrap(), b"content");
        assert!(to.join("file").symlink_metadata().unwrap().is_file() && to.join("a/b").is_dir());
        for absent in ["left-out", "broken", "self", "a/b/up"] {
            assert!(to.join(absent).symlink_metadata().is_err(), "{absent}");
        }
        assert_eq!(fingerprint(&from).unwrap(), fingerprint(&from).unwrap());
    }
}
