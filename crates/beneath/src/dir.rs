//! Opening beneath a folder.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2};
use rustix::io::Errno;

/// How a path is resolved: openat2(2).
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// How often a path is resolved again when something was renamed meanwhile.
const RESOLVE_ATTEMPTS: u32 = 64;

/// Whom a file has to belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The user with this id.
    Uid(u32),
    /// Any user, where all files belong to one.
    Any,
}

impl Owner {
    /// The user with this id, if there is one.
    #[must_use]
    pub const fn from_uid(uid: Option<u32>) -> Self {
        match uid {
            Some(uid) => Self::Uid(uid),
            None => Self::Any,
        }
    }

    const fn is(self, uid: u32) -> bool {
        match self {
            Self::Uid(expected) => uid == expected,
            Self::Any => true,
        }
    }
}

/// An open folder. Paths of its methods are relative to it; they lead beneath it and contain no link.
///
/// An error has the kind `NotFound` when nothing has the name, `PermissionDenied` when it is not what may be opened, and
/// the system's number (`ELOOP` for a link, `EXDEV` for what leads out) when the system refused.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl Dir {
    /// Opens a folder by a path that nobody else can change. Only its last part is checked not to be a link.
    ///
    /// # Errors
    /// There is no such folder, or it is a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { fd: open(path, flags, Mode::empty())? })
    }

    /// Opens a folder.
    ///
    /// # Errors
    /// It is not a folder, or cannot be opened.
    pub fn open_dir(&self, relative: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Self { fd: self.resolve(relative.as_ref(), flags, Mode::empty())? })
    }

    /// Opens a regular file for reading. It does not block.
    ///
    /// # Errors
    /// It is not a regular file of this owner, or cannot be opened.
    pub fn open_file(&self, relative: impl AsRef<Path>, owner: Owner) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.resolve(relative.as_ref(), flags, Mode::empty())?;
        expect(&fstat(&file)?, FileType::RegularFile, owner)?;
        Ok(File::from(file))
    }

    /// Opens a socket's file, for a connection through `/proc/self/fd/N`: nobody can exchange it then.
    ///
    /// # Errors
    /// It is not a socket of this owner.
    pub fn open_socket(&self, relative: impl AsRef<Path>, owner: Owner) -> io::Result<OwnedFd> {
        let socket = self.resolve(relative.as_ref(), OFlags::PATH, Mode::empty())?;
        expect(&fstat(&socket)?, FileType::Socket, owner)?;
        Ok(socket)
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(crate) fn resolve(&self, relative: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        resolve(self.fd.as_fd(), relative, flags, mode).map_err(io::Error::from)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a path beneath a folder, without links.
pub(crate) fn resolve<P: rustix::path::Arg + Copy>(
    dir: BorrowedFd<'_>,
    relative: P,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 1..RESOLVE_ATTEMPTS {
        match openat2(dir, relative, flags, mode, RESOLVE) {
            // Something was renamed, so that the system cannot tell whether the path leads out.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    openat2(dir, relative, flags, mode, RESOLVE)
}

/// Checks the type and the owner of a file.
fn expect(found: &Stat, expected: FileType, owner: Owner) -> io::Result<()> {
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if FileType::from_raw_mode(found.st_mode) != expected {
        return refused("it is not a file of the expected type");
    }
    if !owner.is(found.st_uid) {
        return refused("it belongs to another user");
    }
    Ok(())
}
