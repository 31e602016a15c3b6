//! Contents of files, new files and new folders.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Mode, OFlags, fchmod, fchown, fsync, mkdirat, renameat, unlinkat};
use rustix::process::{Gid, Uid};

use crate::dir::{Dir, Owner};

/// How many names for a temporary file are tried.
const NAME_ATTEMPTS: u32 = 16;

/// Whose a new file or folder is, and what it permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFile {
    /// Its permissions, whatever the umask.
    pub mode: u32,
    /// Its user and group; the process' own if absent.
    pub owner: Option<(u32, u32)>,
}

impl Dir {
    /// Reads a regular file of at most this many bytes.
    ///
    /// # Errors
    /// It is larger (kind `FileTooLarge`), is not a regular file of this owner, or cannot be read.
    pub fn read_bounded(
        &self,
        relative: impl AsRef<Path>,
        owner: Owner,
        max_bytes: u64,
    ) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = self.open_file(relative, owner)?;
        if file.take(max_bytes.saturating_add(1)).read_to_end(&mut content)? as u64 > max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }

    /// Reads the last bytes of a regular file, at most this many.
    ///
    /// # Errors
    /// It is not a regular file of this owner, or cannot be read.
    pub fn read_tail(&self, relative: impl AsRef<Path>, owner: Owner, max_bytes: u64) -> io::Result<Vec<u8>> {
        let mut file = self.open_file(relative, owner)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(max_bytes)))?;
        let mut content = Vec::new();
        file.take(max_bytes).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Creates a file for writing.
    ///
    /// # Errors
    /// Something has the name already, be it a link that leads nowhere, or it cannot be created.
    pub fn create_file(&self, relative: impl AsRef<Path>, new: NewFile) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        // Nobody else may open it before it is theirs.
        let file = File::from(self.resolve(relative.as_ref(), flags, Mode::RUSR | Mode::WUSR)?);
        file.set_permissions(Permissions::from_mode(new.mode))?;
        change_owner(&file, new.owner)?;
        Ok(file)
    }

    /// Writes a file completely or not at all, and syncs it and its folder. A file or link with its name is replaced.
    ///
    /// # Errors
    /// A folder has the name, or it cannot be written.
    pub fn replace_file(&self, relative: impl AsRef<Path>, content: &[u8], new: NewFile) -> io::Result<()> {
        let (folder, name) = self.parent(relative.as_ref())?;
        let folder = folder.as_ref().unwrap_or(self);
        let (temporary, mut file) = folder.create_temporary(new)?;
        let written = file
            .write_all(content)
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(folder, temporary.as_str(), folder, name)?));
        if written.is_err() {
            let _ = unlinkat(folder, temporary.as_str(), AtFlags::empty());
        }
        written?;
        Ok(fsync(folder)?)
    }

    /// Creates a folder.
    ///
    /// # Errors
    /// Something has the name already, or it cannot be created.
    pub fn create_dir(&self, relative: impl AsRef<Path>, new: NewFile) -> io::Result<Self> {
        let relative = relative.as_ref();
        let (folder, name) = self.parent(relative)?;
        let folder = folder.as_ref().unwrap_or(self);
        mkdirat(folder, name, Mode::RWXU)?;
        let created = folder.open_dir(name)?;
        fchmod(&created, Mode::from_raw_mode(new.mode))?;
        change_owner(&created, new.owner)?;
        Ok(created)
    }

    /// The folder that a path's last part is in, `None` for this one, and that part.
    pub(crate) fn parent<'a>(&self, relative: &'a Path) -> io::Result<(Option<Self>, &'a OsStr)> {
        let Some(Component::Normal(name)) = relative.components().next_back() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path does not end with a name"));
        };
        let parent = relative.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok((parent.map(|parent| self.open_dir(parent)).transpose()?, name))
    }

    fn create_temporary(&self, new: NewFile) -> io::Result<(String, File)> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let name = format!(".{:016x}.new", RandomState::new().build_hasher().finish());
            match self.create_file(&name, new) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < NAME_ATTEMPTS => {}
                created => return Ok((name, created?)),
            }
        }
    }
}

fn change_owner(file: &impl std::os::fd::AsFd, owner: Option<(u32, u32)>) -> io::Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    Ok(fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}
