//! Copying folders.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use sha2::{Digest, Sha256};

use super::users::{Ids, give};

/// How many threads copy what somebody waits for: it is the disk that takes the time.
pub(crate) const QUICKLY: usize = 4;
/// How many copy what nobody waits for.
pub(crate) const CALMLY: usize = 1;
/// The deepest that folders may lie; a WordPress has some twelve.
const DEEPEST: usize = 64;

/// A file to be copied.
struct Job {
    from: PathBuf,
    to: PathBuf,
}

/// Copies a folder for a user, as plain files and folders. Bytes are shared with the original where the file system
/// can do that.
pub(crate) fn copy(from: &Path, to: &Path, user: Option<Ids>, threads: usize) -> io::Result<()> {
    copy_but(from, to, user, threads, &|_| false)
}

/// The same with links followed, and without what `left_out` says by its path below `from`.
pub(crate) fn copy_but(
    from: &Path,
    to: &Path,
    user: Option<Ids>,
    threads: usize,
    left_out: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    let mut jobs = Vec::new();
    make_folders(from, to, user, &mut Walk { root: from, left_out, above: HashSet::new(), jobs: &mut jobs })?;
    let queue = Mutex::new(jobs);
    let work = || -> io::Result<()> {
        loop {
            let job = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            let Some(job) = job else { return Ok(()) };
            copy_file(&job, user)?;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended =
            threads.into_iter().map(|t| t.join().map_err(|_| io::Error::other("a thread panicked"))?);
        ended.collect::<io::Result<Vec<()>>>().map(drop)
    })
}

/// Gives a folder and all that is in it to a user. For what nobody else has touched: links are given, not followed.
pub(crate) fn give_all(folder: &Path, user: Option<Ids>) -> io::Result<()> {
    if user.is_none() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_all(&entry.path(), user)?;
        } else {
            give(&entry.path(), user)?;
        }
    }
    give(folder, user)
}

struct Walk<'a> {
    root: &'a Path,
    left_out: &'a dyn Fn(&Path) -> bool,
    /// Device and inode of the folders above: a link back to one of them would never end.
    above: HashSet<(u64, u64)>,
    jobs: &'a mut Vec<Job>,
}

fn make_folders(from: &Path, to: &Path, user: Option<Ids>, walk: &mut Walk<'_>) -> io::Result<()> {
    let here = fs::metadata(from)?;
    let here = (here.dev(), here.ino());
    if walk.above.len() >= DEEPEST || !walk.above.insert(here) {
        return Ok(());
    }
    DirBuilder::new().mode(0o755).create(to)?;
    give(to, user)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let path = entry.path();
        if (walk.left_out)(path.strip_prefix(walk.root).unwrap_or(&path)) {
            continue;
        }
        // A link that leads nowhere has nothing to copy.
        let Ok(found) = fs::metadata(&path) else { continue };
        let to = to.join(entry.file_name());
        if found.is_dir() {
            make_folders(&path, &to, user, walk)?;
        } else if found.is_file() {
            walk.jobs.push(Job { from: path, to });
        }
    }
    walk.above.remove(&here);
    Ok(())
}

fn copy_file(job: &Job, user: Option<Ids>) -> io::Result<()> {
    let mut from = File::open(&job.from)?;
    let mode = if from.metadata()?.permissions().mode() & 0o077 == 0 { 0o600 } else { 0o644 };
    let mut to = OpenOptions::new().write(true).create_new(true).mode(mode).open(&job.to)?;
    io::copy(&mut from, &mut to)?;
    user.map_or(Ok(()), |ids| std::os::unix::fs::fchown(&to, Some(ids.uid), Some(ids.gid)))
}

/// What a folder is known by: the names, sizes and times of all that is in it.
pub(crate) fn fingerprint(folder: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    list(folder, 0, &mut lines)?;
    lines.sort();
    Ok(hex::encode(Sha256::digest(lines.join("\n"))))
}

fn list(folder: &Path, depth: usize, lines: &mut Vec<String>) -> io::Result<()> {
    if depth >= DEEPEST {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_dir() {
            list(&path, depth + 1, lines)?;
        } else {
            lines.push(format!("{} {} {}", path.display(), found.len(), found.mtime()));
        }
    }
    Ok(())
}

/// Bytes that the files of a folder take.
pub(crate) fn size(folder: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => total += size(&entry.path()),
            Ok(found) => total += found.blocks() * 512,
            Err(_) => {}
        }
    }
    total
}
