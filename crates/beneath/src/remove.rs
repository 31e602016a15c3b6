//! Removing folders of any depth.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, DirEntry, FileType, Mode, unlinkat};
use rustix::io::Errno;

use crate::descent::{Descent, Left, open_folder};
use crate::dir::Dir;

/// How often a folder is emptied again because something was created in it meanwhile.
const MAX_PASSES: u32 = 16;
/// The most levels of folders; each takes 24 bytes of memory.
const MAX_DEPTH: usize = 4_000_000;
/// The most folders that could not be emptied; with more the removal ends.
const MAX_NOT_EMPTIED: usize = 10_000;

impl Dir {
    /// Removes a file, a link or a folder with everything in it; a missing one is fine. It takes any depth, holds few
    /// folders open, and enters neither links nor other mounts. What cannot be removed does not keep the rest.
    ///
    /// # Errors
    /// Something is left: it cannot be removed, or `deadline` has passed (kind `TimedOut`). The next call goes on.
    pub fn remove(&self, relative: impl AsRef<Path>, deadline: Instant) -> io::Result<()> {
        let (folder, name) = match self.parent(relative.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            parent => parent?,
        };
        let name = CString::new(name.as_bytes())?;
        let parent = folder.as_ref().unwrap_or(self);
        for _ in 0..MAX_PASSES {
            match remove_entry(parent.as_fd(), &name, deadline) {
                // Something was created, or moved, meanwhile.
                Err(Errno::NOTEMPTY | Errno::STALE) => {}
                Err(Errno::TIMEDOUT) => return Err(io::ErrorKind::TimedOut.into()),
                removed => return Ok(removed?),
            }
        }
        Err(io::ErrorKind::DirectoryNotEmpty.into())
    }
}

/// [`Dir::remove`] by a path in a folder that nobody else can change.
///
/// # Errors
/// Something is left.
pub fn remove_tree(path: &Path, deadline: Instant) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path does not end with a name"));
    };
    match Dir::open(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        parent => parent?.remove(name, deadline),
    }
}

fn remove_entry(parent: BorrowedFd<'_>, name: &CStr, deadline: Instant) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Err(Errno::NOENT) => return Ok(()),
        removed => return removed,
    }
    if remove_empty(parent, name)? {
        return Ok(());
    }
    let folder = open_folder(parent, name, Mode::RWXU)?;
    let removal =
        Removal { descent: Descent::new(folder)?, deadline, failed: None, not_emptied: HashSet::new() };
    removal.run()?;
    if remove_empty(parent, name)? { Ok(()) } else { Err(Errno::NOTEMPTY) }
}

/// Removes a folder if it is empty; returns whether it is gone.
fn remove_empty(parent: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

struct Removal {
    descent: Descent,
    deadline: Instant,
    /// Why the first thing that is left could not be removed.
    failed: Option<Errno>,
    /// The inodes of folders that could not be emptied, so that they are not entered again.
    not_emptied: HashSet<u64>,
}

impl Removal {
    /// Empties the first folder.
    fn run(mut self) -> Result<(), Errno> {
        loop {
            if Instant::now() >= self.deadline {
                return Err(Errno::TIMEDOUT);
            }
            match self.descent.next()? {
                Some(entry) => self.remove(entry)?,
                None => match self.descent.leave()? {
                    Left::First => return self.failed.map_or(Ok(()), Err),
                    Left::Above { entry: Some(entry), .. } => self.remove_emptied(&entry)?,
                    Left::Above { entry: None, inode } => {
                        if self.failed.is_some() {
                            self.do_not_enter(inode)?;
                        }
                        // Its name is not known any more: reading the folder again removes it.
                        self.descent.rewind();
                    }
                },
            }
        }
    }

    fn remove(&mut self, entry: DirEntry) -> Result<(), Errno> {
        let folder = self.descent.current()?;
        if entry.file_type() != FileType::Directory {
            match unlinkat(folder, entry.file_name(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // What kind it is was not known, or it has become a folder.
                Err(Errno::ISDIR) => {}
                Err(error) => return self.skip(error),
            }
        }
        match remove_empty(folder, entry.file_name()) {
            Ok(true) => Ok(()),
            Ok(false) if self.descent.depth() >= MAX_DEPTH => self.skip(Errno::NAMETOOLONG),
            Ok(false) if self.not_emptied.contains(&entry.ino()) => Ok(()),
            Ok(false) => match self.descent.enter(entry, Mode::RWXU) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(error) => self.skip(error),
            },
            // A link or a file has taken its place.
            Err(Errno::NOTDIR) => self.skip(Errno::NOTEMPTY),
            Err(error) => self.skip(error),
        }
    }

    fn remove_emptied(&mut self, entry: &DirEntry) -> Result<(), Errno> {
        match remove_empty(self.descent.current()?, entry.file_name()) {
            Ok(true) => Ok(()),
            // What is in it could not be removed, or was created meanwhile; that is for the next pass.
            Ok(false) => {
                self.do_not_enter(entry.ino())?;
                self.skip(Errno::NOTEMPTY)
            }
            Err(error) => self.skip(error),
        }
    }

    fn do_not_enter(&mut self, inode: u64) -> Result<(), Errno> {
        if self.not_emptied.len() >= MAX_NOT_EMPTIED {
            return Err(self.failed.unwrap_or(Errno::NOTEMPTY));
        }
        self.not_emptied.insert(inode);
        Ok(())
    }

    /// Leaves something and goes on with the rest.
    fn skip(&mut self, error: Errno) -> Result<(), Errno> {
        // Why something is left says more than that its folder is not empty.
        if self.failed.is_none_or(|first| first == Errno::NOTEMPTY) {
            self.failed = Some(error);
        }
        Ok(())
    }
}
