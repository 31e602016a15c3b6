//! A folder as one file: it is there or not, nobody changes a part of it, and making it takes one file instead of some
//! thousands.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::users::{Ids, give};

/// Packs the folders and plain files of a tree of ours, uncompressed, and onto the disk. Packing and unpacking take no
/// longer than copying.
pub(crate) fn pack(tree: &Path, to: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    add(&mut zip, tree, tree)?;
    zip.finish().map_err(io::Error::other)?.into_inner()?.sync_all()
}

fn add(zip: &mut ZipWriter<BufWriter<File>>, tree: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, stored) =
            (entry?, SimpleFileOptions::default().compression_method(CompressionMethod::Stored));
        let (path, found) = (entry.path(), entry.metadata()?);
        let name = path.strip_prefix(tree).ok().and_then(Path::to_str);
        // What a zip's reader would take for something else.
        let name = name.filter(|name| !name.contains(['\\', ':']));
        let name = name
            .ok_or_else(|| io::Error::other(format!("{} has a name for one system only", path.display())))?;
        if found.is_dir() {
            zip.add_directory(name, stored).map_err(io::Error::other)?;
            add(zip, tree, &path)?;
        } else if found.is_file() {
            let (mode, large) = (found.permissions().mode() & 0o777, found.len() >= u64::from(u32::MAX));
            let stored = stored.unix_permissions(mode).large_file(large);
            zip.start_file(name, stored).map_err(io::Error::other)?;
            io::copy(&mut File::open(&path)?, zip)?;
        }
    }
    Ok(())
}

/// Unpacks what [`pack`] made into a new folder, for a user. One file after the other: with more at once what starts
/// meanwhile, browsers and databases, is slower, and this hardly quicker.
pub(crate) fn unpack(from: &Path, to: &Path, user: Option<Ids>) -> io::Result<()> {
    let folder = |path: &Path| {
        DirBuilder::new().mode(0o755).create(path)?;
        give(path, user)
    };
    let mut zip = ZipArchive::new(BufReader::new(File::open(from)?)).map_err(io::Error::other)?;
    folder(to)?;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).map_err(io::Error::other)?;
        let path = to.join(member.enclosed_name().ok_or_else(|| io::Error::other("a name leads outside"))?);
        if member.is_dir() {
            folder(&path)?;
            continue;
        }
        let mode = member.unix_mode().unwrap_or(0o644) & 0o777;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        io::copy(&mut member, &mut file)?;
        user.map_or(Ok(()), |ids| std::os::unix::fs::fchown(&file, Some(ids.uid), Some(ids.gid)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (from, zip, to) =
            (folder.path().join("from"), folder.path().join("zip"), folder.path().join("to"));
        let name = "a folder/\u{1f600}.php";
        fs::create_dir_all(from.join("a folder")).unwrap();
        fs::create_dir_all(from.join("empty")).unwrap();
        fs::write(from.join(name), [0, 255, b'\n']).unwrap();
        fs::set_permissions(from.join(name), fs::Permissions::from_mode(0o640)).unwrap();
        pack(&from, &zip).unwrap();
        unpack(&zip, &to, None).unwrap();
        assert_eq!(fs::read(to.join(name)).unwrap(), [0, 255, b'\n']);
        assert_eq!(to.join(name).metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(to.join("empty").is_dir());
    }

    #[test]
    fn names_that_would_be_unpacked_as_others_are_refused() {
        for name in ["..\\evil.php", "c:evil.php"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), "").unwrap();
            let zip = tempfile::tempdir().unwrap();
            let refused = pack(folder.path(), &zip.path().join("zip")).unwrap_err();
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }
}
