//! Files: both folders hashed, and every difference named in the report.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Pair, Side};

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FileKind {
    Folder,
    /// A file with its hash.
    File(String),
    /// A link to no file, or a special file.
    Other,
}

/// The server's own files: on both sides, and never transferred.
const SERVER_FILES: [&str; 2] = ["Core/wp-config.php", "Core/.htaccess"];
/// Also left out of the sites in these tests: caches, backups, logs, drop-ins, secrets, other users' folders,
/// unreadable files, files deleted meanwhile, links to folders, outside or nowhere, and our own.
const EXCLUDED_PATHS: [&str; 15] = [
    "Content/backups-dup-pro",
    "Content/cache",
    "Content/debug.log",
    "Content/object-cache.php",
    "Content/upgrade",
    "Core/backup.sql",
    "Core/old",
    "Plugins/wpclone-migrator",
    "Uploads/another loop",
    "Uploads/broken",
    "Uploads/closed.txt",
    "Uploads/error.log",
    "Uploads/goes.bin",
    "Uploads/loop",
    "Uploads/out",
];
/// Paths that may be on the clone only.
const CLONE_ONLY_PATHS: [&str; 2] = ["Plugins/wpclone-migrator", "Content/upgrade"];

impl Pair<'_> {
    /// Every file of the source is on the clone, or the report has the reason; and the clone has no others.
    pub(super) fn assert_same_files(&self) {
        let (source, clone) = (list_files(&self.source), list_files(&self.clone));
        let mut named: BTreeMap<&str, &str> = BTreeMap::new();
        for note in self.fidelity["files"]["omitted_files"].as_array().unwrap() {
            let (path, why) = (note["path"].as_str().unwrap(), note["reason"].as_str().unwrap());
            let may_be_omitted = SERVER_FILES.contains(&path) || EXCLUDED_PATHS.contains(&path);
            if !may_be_omitted || !["not-exported", "changed-during-read"].contains(&why) {
                self.fault(format!("{path} was left out, {why}: {note}"));
            }
            named.insert(path, why);
        }
        let is_explained = |path: &str| {
            SERVER_FILES.contains(&path)
                || ancestors(path).any(|path| named.contains_key(path) || CLONE_ONLY_PATHS.contains(&path))
        };
        let mut same = 0;
        for (path, kind) in &source {
            match clone.get(path) {
                Some(there) if there == kind => same += u64::from(matches!(kind, FileKind::File(_))),
                there => {
                    assert!(is_explained(path), "{path} is {kind:?}, and on the clone {there:?}: {named:#?}")
                }
            }
        }
        for (path, kind) in clone.iter().filter(|(path, _)| !source.contains_key(*path)) {
            if !is_explained(path) {
                self.fault(format!("only the clone has {path}: {kind:?}"));
            }
        }
        let reported = |field: &str| self.fidelity["files"][field].as_u64().unwrap();
        let core = source.iter().filter(|(path, kind)| {
            path.starts_with("Core/") && matches!(kind, FileKind::File(_)) && clone.get(*path) == Some(kind)
        });
        let core = core.count() as u64;
        let transferred = if reported("core_files") == 0 { same - core } else { same };
        let what = format!(
            "files that were transferred, {} of {core} in WordPress' own folder",
            reported("core_files")
        );
        self.equal(&what, &transferred, &reported("files"));
        let listed = named.len() as u64;
        let left_out: u64 = Self::left_out(&self.fidelity["files"]).values().sum();
        self.equal("files that are named, and that were left out", &listed, &left_out);
        self.assert_no_staging_folders();
    }

    /// No staging folder is left.
    fn assert_no_staging_folders(&self) {
        let tree = &self.clone.roots["Core"];
        for folder in [tree.parent().unwrap(), tree, &self.clone.roots["Content"]] {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_staging = name.strip_prefix("wpclone-").is_some_and(|rest| rest.len() == 32);
                if is_staging {
                    self.fault(format!("{} is left over", entry.path().display()));
                }
            }
        }
    }
}

/// A path and its parent folders.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(folder, _)| folder))
}

/// All entries of a side, by root and path.
fn list_files(side: &Side) -> BTreeMap<String, FileKind> {
    let mut found = BTreeMap::new();
    for (root, folder) in &side.roots {
        let others: Vec<_> = side.roots.values().filter(|other| *other != folder).collect();
        walk(root, folder, folder, &others, &mut found);
    }
    found
}

fn walk(root: &str, top: &Path, folder: &Path, others: &[&PathBuf], found: &mut BTreeMap<String, FileKind>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if others.contains(&&path) {
            continue;
        }
        let below = path.strip_prefix(top).unwrap().as_os_str().as_bytes();
        let name = format!("{root}/{}", String::from_utf8_lossy(below));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.insert(name, FileKind::Folder);
            walk(root, top, &path, others, found);
        } else if path.is_file() {
            found.insert(name, FileKind::File(hex::encode(Sha256::digest(fs::read(&path).unwrap()))));
        } else {
            found.insert(name, FileKind::Other);
        }
    }
}
