//! Files: both folders hashed, and every difference named in the report.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Pair, Side};

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Folder,
    /// A file with its hash.
    File(String),
    /// A link to no file, or a special file.
    Other,
}

/// Never transferred, and present on both sides: the server's own files.
const OWN: [&str; 2] = ["Core/wp-config.php", "Core/.htaccess"];
/// Also left out of the sites in these tests: caches, backups, logs, drop-ins, secrets, other users' folders,
/// unreadable files, files deleted meanwhile, links to folders, outside or nowhere, and our own.
const STAYS: [&str; 15] = [
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
/// Files that only a clone has.
const CLONES: [&str; 2] = ["Plugins/wpclone-migrator", "Content/upgrade"];

impl Pair<'_> {
    /// Every file of the source is on the clone, or the report says why not; and nothing else is there.
    pub(super) fn same_files(&self) {
        let (source, clone) = (things(&self.source), things(&self.clone));
        let mut named: BTreeMap<&str, &str> = BTreeMap::new();
        for note in self.fidelity["files"]["omitted_files"].as_array().unwrap() {
            let (path, why) = (note["path"].as_str().unwrap(), note["reason"].as_str().unwrap());
            let may_stay = OWN.contains(&path) || STAYS.contains(&path);
            if !may_stay || !["not-exported", "changed-during-read"].contains(&why) {
                self.wrong(format!("{path} was left out, {why}: {note}"));
            }
            named.insert(path, why);
        }
        let explained = |path: &str| {
            OWN.contains(&path)
                || ancestors(path).any(|path| named.contains_key(path) || CLONES.contains(&path))
        };
        let mut same = 0;
        for (path, thing) in &source {
            match clone.get(path) {
                Some(there) if there == thing => same += u64::from(matches!(thing, Thing::File(_))),
                there => {
                    assert!(explained(path), "{path} is {thing:?}, and on the clone {there:?}: {named:#?}")
                }
            }
        }
        for (path, thing) in clone.iter().filter(|(path, _)| !source.contains_key(*path)) {
            if !explained(path) {
                self.wrong(format!("only the clone has {path}: {thing:?}"));
            }
        }
        let told = |field: &str| self.fidelity["files"][field].as_u64().unwrap();
        let core = source.iter().filter(|(path, thing)| {
            path.starts_with("Core/") && matches!(thing, Thing::File(_)) && clone.get(*path) == Some(thing)
        });
        let core = core.count() as u64;
        let travelled = if told("core_files") == 0 { same - core } else { same };
        let what = format!("files that travelled, {} of {core} in WordPress' own folder", told("core_files"));
        self.equal(&what, &travelled, &told("files"));
        let listed = named.len() as u64;
        let left_out: u64 = Self::left_out(&self.fidelity["files"]).values().sum();
        self.equal("files that are named, and that were left out", &listed, &left_out);
        self.nothing_waits();
    }

    /// No staging folder is left.
    fn nothing_waits(&self) {
        let tree = &self.clone.roots["Core"];
        for folder in [tree.parent().unwrap(), tree, &self.clone.roots["Content"]] {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let waits = name.strip_prefix("wpclone-").is_some_and(|rest| rest.len() == 32);
                if waits {
                    self.wrong(format!("{} is left over", entry.path().display()));
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
fn things(side: &Side) -> BTreeMap<String, Thing> {
    let mut found = BTreeMap::new();
    for (root, folder) in &side.roots {
        let others: Vec<_> = side.roots.values().filter(|other| *other != folder).collect();
        walk(root, folder, folder, &others, &mut found);
    }
    found
}

fn walk(root: &str, top: &Path, folder: &Path, others: &[&PathBuf], found: &mut BTreeMap<String, Thing>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if others.contains(&&path) {
            continue;
        }
        let below = path.strip_prefix(top).unwrap().as_os_str().as_bytes();
        let name = format!("{root}/{}", String::from_utf8_lossy(below));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.insert(name, Thing::Folder);
            walk(root, top, &path, others, found);
        } else if path.is_file() {
            found.insert(name, Thing::File(hex::encode(Sha256::digest(fs::read(&path).unwrap()))));
        } else {
            found.insert(name, Thing::Other);
        }
    }
}
