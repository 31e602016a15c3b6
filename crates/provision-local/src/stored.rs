//! JSON files with a version.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Why a stored file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// There is no such file.
    #[error("{0} is missing")]
    Missing(String),
    /// The file system fails.
    #[error("{file} cannot be read: {error}")]
    Io { file: String, error: io::Error },
    /// It is of another version, or has none.
    #[error("{file} is of version {found}, and this program knows only {known}")]
    Version { file: String, found: u64, known: u32 },
    /// It is not what it should be.
    #[error("{file} is not valid: {error}")]
    Json { file: String, error: serde_json::Error },
    /// It is another clone's.
    #[error("{0} names another clone")]
    OtherClone(String),
}

/// Reads a file whose content has the field `version`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, known: u32) -> Result<T, ReadError> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(default)]
        version: u64,
    }
    let file = file_name(path);
    let text = match read_bytes(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::Missing(file)),
        Err(error) => return Err(ReadError::Io { file, error }),
    };
    let invalid = |error| ReadError::Json { file: file_name(path), error };
    let Header { version } = serde_json::from_slice(&text).map_err(invalid)?;
    if version != u64::from(known) {
        return Err(ReadError::Version { file, found: version, known });
    }
    serde_json::from_slice(&text).map_err(invalid)
}

/// The most bytes of a stored file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a regular file. A link or a pipe in its place is neither followed nor waited for.
fn read_bytes(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file of at most 1 MiB"));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(found.len() as usize + 1));
    file.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn links_pipes_and_large_files_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("good"), "{\"version\":1}").unwrap();
        assert!(read::<serde_json::Value>(&path("good"), 1).is_ok());
        symlink(path("good"), path("link")).unwrap();
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::write(path("large"), vec![b' '; 1 + MAX_BYTES as usize]).unwrap();
        for name in ["link", "pipe", "large"] {
            assert!(matches!(read::<serde_json::Value>(&path(name), 1), Err(ReadError::Io { .. })), "{name}");
        }
    }
}
