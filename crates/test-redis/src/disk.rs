//! A simulated disk: what a server sees of a machine that dies, or of a slow disk.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOURCE: &str = include_str!("disk.c");

/// A library that intercepts the writes and syncs of one server.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    sync_takes: Duration,
}

impl Disk {
    pub(crate) fn new(folder: &Path, sync_takes: Duration) -> Self {
        let disk = Self { folder: folder.to_owned(), sync_takes };
        let source = folder.join("disk.c");
        fs::write(&source, SOURCE).unwrap();
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([disk.library(), source])
            .status();
        assert!(made.expect("cc (gcc) is needed for the simulated disk").success());
        disk
    }

    pub(crate) fn env(&self) -> [(&'static str, PathBuf); 4] {
        let ms = self.sync_takes.as_millis().to_string();
        [
            ("LD_PRELOAD", self.library()),
            ("WPCLONE_DISK_MS", ms.into()),
            ("WPCLONE_DISK_NOTES", self.notes()),
            ("WPCLONE_DISK_HOLD", self.hold()),
        ]
    }

    pub(crate) fn hold_syncs(&self) {
        fs::write(self.hold(), "").unwrap();
    }

    pub(crate) fn release_syncs(&self) {
        fs::remove_file(self.hold()).unwrap();
    }

    /// Truncates the append-only files to what was synced.
    pub(crate) fn drop_unsynced(&self) {
        for (path, _, synced) in self.logs() {
            OpenOptions::new().write(true).open(&path).unwrap().set_len(synced).unwrap();
        }
    }

    /// Whether everything written to the append-only files is synced.
    pub(crate) fn has_all(&self) -> bool {
        self.logs().into_iter().all(|(_, length, synced)| length == synced)
    }

    /// The append-only files, with the length and the synced length of each.
    fn logs(&self) -> Vec<(PathBuf, u64, u64)> {
        let notes = fs::read_to_string(self.notes()).unwrap_or_default();
        let synced: HashMap<u64, u64> = notes.lines().map(note).collect();
        let paths =
            fs::read_dir(self.folder.join("appendonlydir")).unwrap().map(|entry| entry.unwrap().path());
        // The other files are written and synced when the server starts.
        paths
            .filter(|path| path.to_str().unwrap().ends_with(".incr.aof"))
            .map(|path| {
                let file = path.metadata().unwrap();
                (path, file.len(), synced.get(&file.ino()).copied().unwrap_or_default())
            })
            .collect()
    }

    fn library(&self) -> PathBuf {
        self.folder.join("disk.so")
    }

    /// While this file exists, no sync ends.
    fn hold(&self) -> PathBuf {
        self.folder.join("hold-syncs")
    }

    fn notes(&self) -> PathBuf {
        self.folder.join("synced")
    }
}

/// The file of a note (inode), and how many bytes of it are synced.
fn note(line: &str) -> (u64, u64) {
    let (file, bytes) = line.split_once(' ').unwrap();
    (file.parse().unwrap(), bytes.parse().unwrap())
}
