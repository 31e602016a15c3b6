//! Builds the plugin's zip reproducibly. Shared by the build script and the tests.

use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The files below a folder as (name with slashes, bytes), sorted by name.
///
/// # Errors
/// A file that cannot be read, or an entry that does not belong into a plugin: a link, a dot file, a name that is not
/// plain ASCII.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    collect(folder, "", &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(folder: &Path, below: &str, found: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(io::Error::other(format!(
                "{} does not belong in the plugin",
                entry.path().display()
            )));
        }
        let path = format!("{below}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), found)?;
        } else if kind.is_file() {
            found.push((path, fs::read(entry.path())?));
        } else {
            return Err(io::Error::other(format!("{} is not a plain file", entry.path().display())));
        }
    }
    Ok(())
}

/// A zip of these files below `root`, with a fixed time and mode.
///
/// # Errors
/// Errors of the zip library.
pub(crate) fn zip(root: &str, files: &[(String, Vec<u8>)], method: CompressionMethod) -> io::Result<Vec<u8>> {
    let level = (method == CompressionMethod::Deflated).then_some(9);
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .compression_level(level)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(format!("{root}/{name}"), options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}
