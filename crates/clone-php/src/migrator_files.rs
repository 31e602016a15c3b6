//! The migrator's files.

use std::fs;
use std::io::{self, Cursor, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path};

/// The most bytes of a file of the migrator.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Writes the folder `wpclone-migrator` into a new folder. Everybody may read it, whatever the umask.
///
/// # Errors
/// The folder cannot be written.
pub fn unpack_migrator(into: &Path) -> io::Result<()> {
    let publish = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let create_dir = |folder: &Path| fs::create_dir_all(folder).and_then(|()| publish(folder, 0o755));
    let mut archive = zip::ZipArchive::new(Cursor::new(wpclone_migrator::ZIP)).map_err(io::Error::other)?;
    create_dir(into)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(io::Error::other)?;
        let Some(name) = member.enclosed_name() else {
            return Err(io::Error::other("a name in the migrator's zip leads outside of it"));
        };
        let mut parent = into.to_owned();
        for part in name.parent().into_iter().flat_map(Path::components) {
            if let Component::Normal(part) = part {
                parent.push(part);
                create_dir(&parent)?;
            }
        }
        let mut bytes = Vec::new();
        member.by_ref().take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        if member.is_file() {
            let path = into.join(&name);
            fs::write(&path, bytes).and_then(|()| publish(&path, 0o644))?;
        }
    }
    Ok(())
}
