//! The files of WordPress: packed in the image, unpacked into a clone's volume.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header};
use walkdir::WalkDir;

/// The file that is unpacked last.
const LAST: &str = "wp-includes/version.php";
/// Folders that WordPress expects, and not every archive of it has.
const FOLDERS: [&str; 4] = ["wp-content", "wp-content/plugins", "wp-content/uploads", "wp-content/upgrade"];
/// Files that are a site's own.
const EXCLUDED: [&str; 2] = ["wp-config.php", ".htaccess"];
/// The most levels of folders; a WordPress has some twelve.
const MAX_DEPTH: usize = 64;

/// Packs a WordPress and the migrator. Links are followed.
pub(crate) fn pack(wordpress: &Path, migrator: &Path, to: &Path) -> io::Result<()> {
    if !wordpress.join("wp-load.php").is_file() || !wordpress.join(LAST).is_file() {
        let missing = format!("wp-load.php or {LAST} is missing");
        return Err(io::Error::new(io::ErrorKind::NotFound, missing));
    }
    let mut archive = Builder::new(BufWriter::new(File::create(to)?));
    for folder in FOLDERS {
        append_folder(&mut archive, Path::new(folder))?;
    }
    let own = Path::new("wp-content/plugins/wpclone-migrator");
    append(&mut archive, wordpress, Path::new(""), &|name| {
        !name.starts_with(own)
            && name != Path::new(LAST)
            && !EXCLUDED.iter().any(|file| name == Path::new(file))
    })?;
    append(&mut archive, migrator, own, &|_| true)?;
    append_file(&mut archive, &wordpress.join(LAST), Path::new(LAST))?;
    archive.into_inner()?.into_inner()?.sync_all()
}

type NewArchive = Builder<BufWriter<File>>;

fn append(
    archive: &mut NewArchive,
    from: &Path,
    to: &Path,
    wanted: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    for entry in WalkDir::new(from).follow_links(true).max_depth(MAX_DEPTH).sort_by_file_name() {
        let entry = entry?;
        let name = to.join(entry.path().strip_prefix(from).map_err(io::Error::other)?);
        if name.as_os_str().is_empty() || !wanted(&name) {
            continue;
        }
        if entry.file_type().is_dir() {
            append_folder(archive, &name)?;
        } else if entry.file_type().is_file() {
            append_file(archive, entry.path(), &name)?;
        }
    }
    Ok(())
}

fn append_folder(archive: &mut NewArchive, name: &Path) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    archive.append_data(&mut header, name, io::empty())
}

fn append_file(archive: &mut NewArchive, file: &Path, name: &Path) -> io::Result<()> {
    let file = File::open(file)?;
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(file.metadata()?.len());
    archive.append_data(&mut header, name, file)
}

/// Unpacks the archive into the folder, unless it has been done. What an interrupted call has unpacked is overwritten.
pub(crate) fn unpack(archive: &Path, tree: &Path) -> io::Result<()> {
    let last = tree.join(LAST);
    if last.exists() {
        return Ok(());
    }
    let mut archive = Archive::new(BufReader::with_capacity(128 << 10, File::open(archive)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path: PathBuf = tree.join(entry.path()?);
        if entry.header().entry_type().is_dir() {
            fs::create_dir_all(&path)?;
        } else if path == last {
            let (new, mut content) = (path.with_extension("new"), Vec::new());
            entry.read_to_end(&mut content)?;
            fs::write(&new, content)?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
            fs::rename(&new, &path)?;
        } else {
            io::copy(&mut entry, &mut File::create(&path)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_once_and_completely() {
        let folder = tempfile::tempdir().unwrap();
        let (from, migrator) = (folder.path().join("from"), folder.path().join("migrator"));
        for file in [LAST, "wp-load.php", "wp-config.php", "wp-content/plugins/wpclone-migrator/old.php"] {
            let path = from.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        fs::write(folder.path().join("outside.js"), "shared").unwrap();
        symlink("../outside.js", from.join("linked.js")).unwrap();
        fs::create_dir(&migrator).unwrap();
        fs::write(migrator.join("wpclone-migrator.php"), "migrator").unwrap();
        let archive = folder.path().join("wordpress.tar");
        pack(&from, &migrator, &archive).unwrap();

        let tree = folder.path().join("tree");
        // An interrupted call has left this.
        fs::create_dir_all(tree.join("wp-content/plugins")).unwrap();
        fs::write(tree.join("linked.js"), "sha").unwrap();
        unpack(&archive, &tree).unwrap();
        assert_eq!(fs::read_to_string(tree.join("linked.js")).unwrap(), "shared");
        assert!(tree.join("linked.js").symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read_to_string(tree.join(LAST)).unwrap(), LAST);
        assert!(tree.join("wp-content/uploads").is_dir());
        assert!(tree.join("wp-content/plugins/wpclone-migrator/wpclone-migrator.php").is_file());
        for absent in
            ["wp-config.php", "wp-content/plugins/wpclone-migrator/old.php", "wp-includes/version.new"]
        {
            assert!(!tree.join(absent).exists(), "{absent}");
        }

        fs::write(tree.join("wp-load.php"), "the site's own").unwrap();
        unpack(&archive, &tree).unwrap();
        assert_eq!(fs::read_to_string(tree.join("wp-load.php")).unwrap(), "the site's own");
    }

    #[test]
    fn a_folder_without_wordpress_is_not_packed() {
        let folder = tempfile::tempdir().unwrap();
        let refused = pack(folder.path(), folder.path(), &folder.path().join("to.tar")).unwrap_err();
        assert!(refused.to_string().contains("wp-load.php"), "{refused}");
    }
}
