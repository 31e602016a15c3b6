//! Writes the PHP that all clones use into the state folder.

use std::io::{self, Cursor, Read as _};
use std::path::Path;

use wpclone_provision::clone_runtime::{SANDBOX_PLUGIN, SANDBOX_PLUGIN_FILE, TASKS_SCRIPT};

use crate::files::{create_dir, remove_all, write_atomically};

/// The most bytes of a file of the migrator.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Writes the runtime: everybody can read it, only we can change it.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    create_dir(folder, 0o755)?;
    write_atomically(&folder.join(SANDBOX_PLUGIN_FILE), SANDBOX_PLUGIN.as_bytes(), 0o644)?;
    write_atomically(&folder.join("tasks.php"), TASKS_SCRIPT.as_bytes(), 0o644)?;
    let (plugin, new, old) =
        (folder.join("wpclone-migrator"), folder.join("migrator-new"), folder.join("migrator-old"));
    for remains in [&new, &old] {
        remove_all(remains)?;
    }
    unpack_migrator(&new)?;
    if plugin.is_dir() {
        std::fs::rename(&plugin, &old)?;
    }
    std::fs::rename(new.join("wpclone-migrator"), &plugin)?;
    remove_all(&new)?;
    remove_all(&old)
}

fn unpack_migrator(into: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(Cursor::new(wpclone_migrator::ZIP)).map_err(io::Error::other)?;
    create_dir(into, 0o755)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(io::Error::other)?;
        let Some(name) = member.enclosed_name() else {
            return Err(io::Error::other("a name in the migrator's zip leads outside of it"));
        };
        let mut parent = into.to_owned();
        for part in name.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            create_dir(&parent, 0o755)?;
        }
        let mut bytes = Vec::new();
        member.by_ref().take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        if member.is_file() {
            std::fs::write(into.join(&name), bytes)?;
        }
    }
    Ok(())
}
