//! What clones have and sites have not: PHP that keeps them harmless, and that does for us what needs WordPress.

use std::io::{self, Cursor, Read as _};
use std::path::Path;

use crate::local::dirs::{make_dir, remove_dir, write_whole};

/// The must-use plugin: no mail, no cron, no requests to anybody, not indexed. On a local clone it is loaded by
/// wp-config.php, from outside of the tree; on another target it goes to `wp-content/mu-plugins/` under
/// [`MU_PLUGIN_FILE`].
pub const MU_PLUGIN: &str = include_str!("../php/wpclone-harmless.php");

/// The must-use plugin's file name.
pub const MU_PLUGIN_FILE: &str = wpclone_migrator::SANDBOX_PLUGIN_FILE;

/// What WordPress has to do for us, each by a request that only we can send.
pub(crate) const TASKS: &str = include_str!("../php/tasks.php");

/// The most bytes of a file of the migrator; its zip is ours.
const MOST: u64 = 1 << 20;

/// Writes the harness for the clones of this state folder: readable by all, writable by us alone.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    make_dir(folder, 0o755)?;
    write_whole(&folder.join(MU_PLUGIN_FILE), MU_PLUGIN.as_bytes(), 0o644)?;
    write_whole(&folder.join("tasks.php"), TASKS.as_bytes(), 0o644)?;
    let (plugin, new, old) =
        (folder.join("wpclone-migrator"), folder.join("migrator-new"), folder.join("migrator-old"));
    for left in [&new, &old] {
        remove_dir(left)?;
    }
    unpack(&new)?;
    if plugin.is_dir() {
        std::fs::rename(&plugin, &old)?;
    }
    std::fs::rename(new.join("wpclone-migrator"), &plugin)?;
    remove_dir(&new)?;
    remove_dir(&old)
}

/// Unpacks the migrator below a folder.
fn unpack(into: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(Cursor::new(wpclone_migrator::ZIP)).map_err(io::Error::other)?;
    make_dir(into, 0o755)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(io::Error::other)?;
        let Some(name) = member.enclosed_name() else {
            return Err(io::Error::other("a name in the migrator's zip leads outside"));
        };
        let mut parent = into.to_owned();
        for part in name.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            make_dir(&parent, 0o755)?;
        }
        let mut bytes = Vec::new();
        member.by_ref().take(MOST).read_to_end(&mut bytes)?;
        if member.is_file() {
            std::fs::write(into.join(&name), bytes)?;
        }
    }
    Ok(())
}
