//! A freshly installed WordPress, prepared once, so that creating a clone is a copy and some SQL.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use rustix::fs::syncfs;

use crate::archive::unpack;
use crate::disk_usage::FreeSpace;
use crate::files::{create_dir, remove_all};
use crate::random::random_hex;
use crate::tree;
use crate::users::Ids;

/// The address in the template's database.
pub(crate) const TEMPLATE_URL: &str = "http://template.invalid/wpclone-template";
/// The table prefix in the template's database; nothing else contains it.
pub(crate) const TEMPLATE_PREFIX: &str = "wpct3mpl8_";
/// The administrator in the template's database.
pub(crate) const TEMPLATE_USER: &str = "wpclone-template";

/// In the template's folder: the files of WordPress, packed.
pub(crate) const FILES: &str = "files.tar";
/// In the template's folder: the database as SQL.
pub(crate) const DATABASE: &str = "db.sql";
/// In the template's folder: WordPress' version.
pub(crate) const VERSION: &str = "wordpress";
/// In the template's folder: copies of the files that are ready to be moved into a clone.
pub(crate) const PREWARMED: &str = "prewarmed";
/// How many prewarmed copies are kept: copying takes longer than all the rest.
const PREWARMED_COPIES: usize = 2;
/// What the names of complete prewarmed copies begin with.
const READY_PREFIX: &str = "ready-";

/// A prepared WordPress.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    files: PathBuf,
    prewarmed: PathBuf,
    sql: Arc<Vec<u8>>,
    /// WordPress' version.
    pub(crate) wordpress: String,
    /// Bytes that the files take.
    pub(crate) size: u64,
}

/// Whether a template is complete: its folder gets its name when everything is in it.
pub(crate) fn exists(template: &Path) -> bool {
    template.join(FILES).is_file()
}

/// The name of a new prewarmed copy.
pub(crate) fn prewarmed_name() -> io::Result<String> {
    Ok(format!("{READY_PREFIX}{}", random_hex::<8>()?))
}

impl Template {
    /// Opens the template in this folder.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let sql = Arc::new(fs::read(folder.join(DATABASE))?);
        let wordpress = fs::read_to_string(folder.join(VERSION))?;
        let (files, prewarmed) = (folder.join(FILES), folder.join(PREWARMED));
        create_dir(&prewarmed, 0o700)?;
        Ok(Self { size: fs::metadata(&files)?.len(), files, prewarmed, sql, wordpress })
    }

    /// Puts the files into a clone: a prewarmed copy if there is one.
    pub(crate) fn copy_files(&self, to: &Path, user: Option<Ids>) -> io::Result<()> {
        // Of two clones that take the same copy, one gets it.
        let taken = self.prewarmed_copies().any(|copy| fs::rename(copy, to).is_ok());
        if taken { tree::chown_all(to, user) } else { unpack(&self.files, to, user) }
    }

    /// Makes one more prewarmed copy if there are too few and this many bytes stay free.
    pub(crate) fn prewarm(&self, reserve: u64) -> io::Result<()> {
        if self.prewarmed_copies().count() >= PREWARMED_COPIES
            || FreeSpace::of(&self.prewarmed)?.bytes < self.size.saturating_add(reserve)
        {
            return Ok(());
        }
        let new = self.prewarmed.join("new");
        remove_all(&new)?;
        let copied = unpack(&self.files, &new, None)
            // Nobody waits for it, and after a power failure it must be complete.
            .and_then(|()| Ok(syncfs(File::open(&self.prewarmed)?)?))
            .and_then(|()| fs::rename(&new, self.prewarmed.join(prewarmed_name()?)));
        if copied.is_err() {
            let _ = remove_all(&new);
        }
        copied
    }

    fn prewarmed_copies(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.prewarmed).into_iter().flatten().flatten();
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(READY_PREFIX)).map(|e| e.path())
    }

    /// The database of a clone.
    pub(crate) fn sql_for(&self, url: &str, table_prefix: &str) -> Vec<u8> {
        let sql = replace(&self.sql, TEMPLATE_URL.as_bytes(), url.as_bytes());
        replace(&sql, TEMPLATE_PREFIX.as_bytes(), table_prefix.as_bytes())
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let mut copied = 0;
    for at in memmem::find_iter(text, from) {
        out.extend_from_slice(&text[copied..at]);
        out.extend_from_slice(to);
        copied = at + from.len();
    }
    out.extend_from_slice(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::pack;

    /// A template with a single file that claims this size.
    fn template(folder: &Path, size: u64) -> Template {
        let (tree, files, prewarmed) = (folder.join("tree"), folder.join(FILES), folder.join(PREWARMED));
        fs::create_dir_all(tree.join("wp-content")).unwrap();
        fs::write(tree.join("wp-content/index.php"), "<?php").unwrap();
        fs::create_dir(&prewarmed).unwrap();
        pack(&tree, &files).unwrap();
        Template { files, prewarmed, sql: Arc::default(), wordpress: "6.8".into(), size }
    }

    #[test]
    fn a_clone_takes_one_of_the_prewarmed_copies() {
        let folder = tempfile::tempdir().unwrap();
        let template = template(folder.path(), 5);
        for _ in 0..PREWARMED_COPIES + 2 {
            template.prewarm(0).unwrap();
        }
        assert_eq!(template.prewarmed_copies().count(), PREWARMED_COPIES);
        template.copy_files(&folder.path().join("clone"), None).unwrap();
        assert_eq!(template.prewarmed_copies().count(), PREWARMED_COPIES - 1);
        assert_eq!(fs::read(folder.path().join("clone/wp-content/index.php")).unwrap(), b"<?php");
    }

    #[test]
    fn prewarmed_copies_leave_the_disk_its_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let (all, reserve) = (FreeSpace::of(folder.path()).unwrap().bytes, 1 << 30);
        // Half the reserve is more than others write to this disk meanwhile.
        let template = template(folder.path(), all - reserve / 2);
        template.prewarm(reserve).unwrap();
        assert_eq!(template.prewarmed_copies().count(), 0);
        template.copy_files(&folder.path().join("clone"), None).unwrap();
        assert!(
            folder.path().join("clone/wp-content/index.php").is_file(),
            "a clone does not need the reserve"
        );
    }
}
