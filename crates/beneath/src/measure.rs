//! What a folder takes of the disk.

use std::collections::HashSet;
use std::io;
use std::ops::AddAssign;
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, statat};
use rustix::io::Errno;

use crate::descent::{Descent, Left};
use crate::dir::Dir;

/// The most files with several names that are told apart; further ones are counted once for each name.
const MAX_LINKED: usize = 100_000;

/// What takes space on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of the blocks that are allocated.
    pub bytes: u64,
    /// Files, folders and everything else that has an inode.
    pub files: u64,
}

impl Usage {
    /// Whether this is more than `limit` of anything.
    #[must_use]
    pub const fn exceeds(self, limit: Self) -> bool {
        self.bytes > limit.bytes || self.files > limit.files
    }

    fn of(found: &Stat) -> Self {
        // stat(2): blocks of 512 bytes, whatever the file system's own.
        Self { bytes: u64::try_from(found.st_blocks).unwrap_or_default().saturating_mul(512), files: 1 }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files = self.files.saturating_add(other.files);
    }
}

impl Dir {
    /// What the folder and everything in it takes. Counting ends when it is more than `limit`. A file with several names
    /// counts once. What is created, removed or moved meanwhile may or may not be counted. Without root, folders that their
    /// owner closed are opened to their owner.
    ///
    /// # Errors
    /// `deadline` has passed (kind `TimedOut`), or the folder cannot be read.
    pub fn measure(&self, limit: Usage, deadline: Instant) -> io::Result<Usage> {
        let mut usage = Usage::of(&fstat(self)?);
        let mut descent = Descent::new(self.open_dir(".")?.into_fd())?;
        let mut linked = HashSet::new();
        while !usage.exceeds(limit) {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let Some(entry) = descent.next()? else {
                match descent.leave()? {
                    Left::First => break,
                    Left::Above { .. } => continue,
                }
            };
            let found = match statat(descent.current()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
            let is_dir = FileType::from_raw_mode(found.st_mode).is_dir();
            let is_counted = is_dir
                || found.st_nlink <= 1
                || linked.len() >= MAX_LINKED
                || linked.insert((found.st_dev, found.st_ino));
            if is_counted {
                usage += Usage::of(&found);
            }
            if is_dir {
                match descent.enter(entry, Mode::RUSR | Mode::XUSR) {
                    // It was removed or exchanged meanwhile, or is another mount.
                    Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(usage)
    }
}
