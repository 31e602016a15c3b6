//! Writes the PHP that all clones use into the state folder.

use std::io;
use std::path::Path;

use wpclone_clone_php::unpack_migrator;
use wpclone_provision::clone_runtime::{SANDBOX_PLUGIN, SANDBOX_PLUGIN_FILE, TASKS_SCRIPT};

use crate::files::{create_dir, remove_all, write_atomically};

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
