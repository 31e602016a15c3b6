//! JSON files with a version.

use std::fs;
use std::io;
use std::path::Path;

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
    let text = match fs::read(path) {
        Ok(text) => Zeroizing::new(text),
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

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
