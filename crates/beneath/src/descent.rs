//! A walk through folders of any depth.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Dir as Entries, DirEntry, Mode, OFlags, chmod, fchmod, fstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::dir::resolve;

/// How many folders are open at once.
const MAX_OPEN: usize = 32;

/// The folders from the first one down to the current one. Only the lower ones are open: one above them is opened again
/// by `..`, and must be the folder that it was.
pub(crate) struct Descent {
    levels: Vec<Level>,
    open: VecDeque<Open>,
}

/// What is kept of a folder that is not open.
#[derive(Clone, Copy)]
struct Level {
    device: u64,
    inode: u64,
    /// Where its entries are read on.
    position: i64,
}

struct Open {
    entries: Entries,
    entered: Option<DirEntry>,
}

/// Where [`Descent::leave`] has come to.
pub(crate) enum Left {
    /// To the folder above, whose entries are read on.
    Above {
        /// The entry that was left, unless the folder above had to be opened again.
        entry: Option<DirEntry>,
        /// The inode of the folder that was left.
        inode: u64,
    },
    /// The folder was the first one, and still is the current one.
    First,
}

impl Descent {
    /// Begins in this folder.
    pub(crate) fn new(first: OwnedFd) -> Result<Self, Errno> {
        let mut descent = Self { levels: Vec::new(), open: VecDeque::new() };
        descent.push(first, None)?;
        Ok(descent)
    }

    /// How many folders lead to the current one, itself included.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The current folder.
    pub(crate) fn current(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.open.back().ok_or(Errno::BADF)?.entries.fd()
    }

    /// The next entry of the current folder; `None` at its end.
    pub(crate) fn next(&mut self) -> Result<Option<DirEntry>, Errno> {
        let (Some(open), Some(level)) = (self.open.back_mut(), self.levels.last_mut()) else {
            return Err(Errno::BADF);
        };
        loop {
            let Some(entry) = open.entries.read().transpose()? else { return Ok(None) };
            level.position = entry.offset();
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Ok(Some(entry));
            }
        }
    }

    /// Reads the current folder from its beginning again.
    pub(crate) fn rewind(&mut self) {
        if let (Some(open), Some(level)) = (self.open.back_mut(), self.levels.last_mut()) {
            open.entries.rewind();
            level.position = 0;
        }
    }

    /// Enters a folder of the current one, with these rights of its owner.
    pub(crate) fn enter(&mut self, entry: DirEntry, rights: Mode) -> Result<(), Errno> {
        let folder = open_folder(self.current()?, entry.file_name(), rights)?;
        self.push(folder, Some(entry))
    }

    fn push(&mut self, folder: OwnedFd, entered: Option<DirEntry>) -> Result<(), Errno> {
        let found = fstat(&folder)?;
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        self.levels.push(Level { device: found.st_dev, inode: found.st_ino, position: 0 });
        self.open.push_back(Open { entries: Entries::new(folder)?, entered });
        Ok(())
    }

    /// Goes back to the folder above.
    pub(crate) fn leave(&mut self) -> Result<Left, Errno> {
        if self.levels.len() == 1 {
            return Ok(Left::First);
        }
        let left = self.open.pop_back().ok_or(Errno::BADF)?;
        let inode = self.levels.pop().ok_or(Errno::BADF)?.inode;
        if !self.open.is_empty() {
            return Ok(Left::Above { entry: left.entered, inode });
        }
        let above = self.levels.last().copied().ok_or(Errno::BADF)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(left.entries.fd()?, c"..", flags, Mode::empty())?;
        let found = fstat(&folder)?;
        if (found.st_dev, found.st_ino) != (above.device, above.inode) {
            // It was moved meanwhile.
            return Err(Errno::STALE);
        }
        let mut entries = Entries::new(folder)?;
        entries.seek(above.position)?;
        self.open.push_back(Open { entries, entered: None });
        Ok(Left::Above { entry: None, inode })
    }
}

/// Opens a folder in a folder. Rights that its owner, who we are unless we are root, does not have are given to it.
pub(crate) fn open_folder(parent: BorrowedFd<'_>, name: &CStr, rights: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match resolve(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // A folder that its owner may not read can only be opened as a path, and changed by that.
            let path = resolve(parent, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            chmod(format!("/proc/self/fd/{}", path.as_raw_fd()), Mode::RWXU)?;
            resolve(parent, name, flags, Mode::empty())
        }
        opened => opened,
    }?;
    let mode = Mode::from_raw_mode(fstat(&folder)?.st_mode);
    if !mode.contains(rights) && !geteuid().is_root() {
        fchmod(&folder, mode | rights)?;
    }
    Ok(folder)
}
