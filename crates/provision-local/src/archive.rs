//! A folder as one file: it exists completely or not at all, and nobody changes a part of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path};

use tar::{Archive, Builder, EntryType, Header};
use walkdir::WalkDir;

use crate::users::{Ids, chown};

/// Packs the folders and regular files of a folder into a tar file, uncompressed, and syncs it. Packing and unpacking
/// take no longer than copying.
pub(crate) fn pack(tree: &Path, to: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut archive = Builder::new(BufWriter::new(file));
    for entry in WalkDir::new(tree).min_depth(1) {
        let entry = entry?;
        let (found, name) = (entry.metadata()?, entry.path().strip_prefix(tree).map_err(io::Error::other)?);
        let mut header = Header::new_gnu();
        header.set_mode(found.permissions().mode() & 0o777);
        if found.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, name, io::empty())?;
        } else if found.is_file() {
            header.set_size(found.len());
            archive.append_data(&mut header, name, File::open(entry.path())?)?;
        }
    }
    archive.into_inner()?.into_inner()?.sync_all()
}

/// Unpacks an archive of [`pack`] into a new folder for a user. One file after the other: several at once would slow
/// down browsers and databases that start meanwhile, and hardly be faster.
pub(crate) fn unpack(from: &Path, to: &Path, user: Option<Ids>) -> io::Result<()> {
    let create_dir = |path: &Path| {
        DirBuilder::new().mode(0o755).create(path)?;
        chown(path, user)
    };
    create_dir(to)?;
    let mut archive = Archive::new(BufReader::with_capacity(128 << 10, File::open(from)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::other(format!("{} leads outside of the folder", name.display())));
        }
        let path = to.join(name);
        if entry.header().entry_type().is_dir() {
            create_dir(&path)?;
            continue;
        }
        let mode = entry.header().mode()? & 0o777;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        io::copy(&mut entry, &mut file)?;
        user.map_or(Ok(()), |ids| std::os::unix::fs::fchown(&file, Some(ids.uid), Some(ids.gid)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_archive_unpacks_to_what_was_packed() {
        let folder = tempfile::tempdir().unwrap();
        let (from, archive, to) =
            (folder.path().join("from"), folder.path().join("tar"), folder.path().join("to"));
        let long = format!("a folder/{}.php", "x".repeat(200));
        let names = ["a folder/\u{1f600}.php", "..\\not-up.php", "c:name.php", &long];
        fs::create_dir_all(from.join("a folder")).unwrap();
        fs::create_dir_all(from.join("empty")).unwrap();
        for name in names {
            fs::write(from.join(name), [0, 255, b'\n']).unwrap();
            fs::set_permissions(from.join(name), fs::Permissions::from_mode(0o640)).unwrap();
        }
        pack(&from, &archive).unwrap();
        unpack(&archive, &to, None).unwrap();
        for name in names {
            assert_eq!(fs::read(to.join(name)).unwrap(), [0, 255, b'\n']);
            assert_eq!(to.join(name).metadata().unwrap().permissions().mode() & 0o777, 0o640);
        }
        assert!(to.join("empty").is_dir());
    }

    #[test]
    fn names_that_lead_outside_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("tar");
        let mut builder = Builder::new(File::create(&archive).unwrap());
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        // The library itself refuses to write such a name.
        header.as_gnu_mut().unwrap().name[..7].copy_from_slice(b"../evil");
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        builder.finish().unwrap();
        drop(builder);
        let refused = unpack(&archive, &folder.path().join("to"), None).unwrap_err();
        assert!(refused.to_string().contains("../evil"), "{refused}");
        assert!(!folder.path().join("evil").exists());
    }
}
