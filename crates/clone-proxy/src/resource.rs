//! Which file of a clone a path means.
//!
//! The folder belongs to PHP of strangers, which can create links and pipes in it, while the proxy may be root: each
//! name is opened relative to an open folder, no link is followed, and only regular files are opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::htaccess::{self, Rule};
use crate::request_path::PathNames;

/// The most bytes of a .htaccess that are read.
const MAX_HTACCESS_BYTES: u64 = 64 << 10;

/// What a path means.
#[derive(Debug)]
pub(crate) enum Resource {
    /// A PHP file, by its path below the clone's folder, and what follows it in the request's path.
    Script { script: PathBuf, path_info: Vec<u8> },
    /// A file that is sent as it is.
    File { file: File, name: OsString },
    /// A folder whose path was requested without its trailing slash.
    Folder,
    /// It exists and is not served.
    Denied,
    /// Whether it exists is not disclosed.
    Hidden,
}

/// Finds it. A path that does not exist goes to `index.php`, WordPress' front controller. `uid` is the only user whose
/// files are served, where clones have users of their own.
pub(crate) fn find(tree: &Path, path: &PathNames, uid: Option<u32>) -> io::Result<Resource> {
    let front_controller = || Ok(Resource::Script { script: "index.php".into(), path_info: Vec::new() });
    let mut walk = Walk { folder: open_folder(CWD, tree.as_os_str())?, rules: Vec::new(), uid };
    walk.read_rules()?;
    let mut at = PathBuf::new();
    for (index, name) in path.names.iter().enumerate() {
        if is_hidden(name, index) {
            return Ok(Resource::Hidden);
        }
        let last = index + 1 == path.names.len();
        match walk.step(name)? {
            Step::Folder => at.push(name),
            Step::File(_) if is_script(name) => {
                if walk.denies(name) {
                    return Ok(Resource::Denied);
                }
                let mut path_info = Vec::new();
                for rest in &path.names[index + 1..] {
                    path_info.push(b'/');
                    path_info.extend_from_slice(rest.as_bytes());
                }
                if path.is_folder {
                    path_info.push(b'/');
                }
                return Ok(Resource::Script { script: at.join(name), path_info });
            }
            Step::File(file) if last && !path.is_folder => return Ok(walk.file(file, name)),
            Step::File(_) | Step::Missing => return front_controller(),
        }
    }
    if !path.is_folder {
        return Ok(Resource::Folder);
    }
    for index in ["index.php", "index.html"].map(OsStr::new) {
        match walk.step(index)? {
            Step::File(_) if walk.denies(index) => return Ok(Resource::Denied),
            Step::File(_) if is_script(index) => {
                return Ok(Resource::Script { script: at.join(index), path_info: Vec::new() });
            }
            Step::File(file) => return Ok(walk.file(file, index)),
            Step::Folder | Step::Missing => {}
        }
    }
    Ok(Resource::Denied)
}

enum Step {
    Folder,
    File(File),
    Missing,
}

struct Walk {
    folder: OwnedFd,
    rules: Vec<Rule>,
    uid: Option<u32>,
}

impl Walk {
    /// Enters a folder or opens a file.
    fn step(&mut self, name: &OsStr) -> io::Result<Step> {
        match open_folder(&self.folder, name) {
            Ok(folder) => {
                self.folder = folder;
                self.read_rules()?;
                return Ok(Step::Folder);
            }
            Err(Errno::NOTDIR) => {}
            Err(error) => return missing_or(error),
        }
        match self.open(name) {
            Ok(Some(file)) => Ok(Step::File(file)),
            Ok(None) => Ok(Step::Missing),
            Err(error) => missing_or(error),
        }
    }

    /// Opens a regular file of the clone's own user in this folder.
    fn open(&self, name: &OsStr) -> Result<Option<File>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.folder, name, flags, Mode::empty())?);
        let Ok(found) = file.metadata() else { return Ok(None) };
        // A hard link may point to a file of another user.
        let own = self.uid.is_none_or(|uid| found.uid() == uid);
        Ok((found.is_file() && own).then_some(file))
    }

    fn read_rules(&mut self) -> io::Result<()> {
        let file = match self.open(OsStr::new(".htaccess")) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Errno::NOENT | Errno::LOOP | Errno::ACCESS | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut text = Vec::new();
        file.take(MAX_HTACCESS_BYTES).read_to_end(&mut text)?;
        self.rules.extend(htaccess::parse(&String::from_utf8_lossy(&text)));
        Ok(())
    }

    fn denies(&self, name: &OsStr) -> bool {
        htaccess::denies(&self.rules, &name.to_string_lossy())
    }

    fn file(&self, file: File, name: &OsStr) -> Resource {
        if self.denies(name) {
            return Resource::Denied;
        }
        if is_code(name) {
            return Resource::Hidden;
        }
        Resource::File { file, name: name.to_owned() }
    }
}

fn open_folder<F: std::os::fd::AsFd>(at: F, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn missing_or(error: Errno) -> io::Result<Step> {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG | Errno::NXIO => {
            Ok(Step::Missing)
        }
        error => Err(error.into()),
    }
}

/// Dot files and everything in dot folders, except `/.well-known/` (RFC 8615).
fn is_hidden(name: &OsStr, depth: usize) -> bool {
    name.as_bytes().starts_with(b".") && !(depth == 0 && name == ".well-known")
}

fn is_script(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".php")
}

/// Whether a file that is not run may contain code or a configuration: other extensions of PHP, and copies made by
/// editors and people (`wp-config.php~`, `db.php.bak`, `.inc`).
fn is_code(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_lowercase();
    let mut parts = name.split('.');
    let stem = parts.next().unwrap_or_default();
    let media = mime_guess::from_path(&*name)
        .first_raw()
        .is_some_and(|t| ["image/", "audio/", "video/", "font/"].iter().any(|kind| t.starts_with(kind)));
    let code = |part: &str| {
        part.strip_prefix("php").is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
            || ["phtml", "phar", "pht", "phps", "inc", "htaccess", "htpasswd", "swp", "swo"]
                .iter()
                .any(|known| part.trim_end_matches('~') == *known)
    };
    (stem == "wp-config" || name.ends_with('~') || parts.any(code)) && !media
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::request_path;

    fn found(tree: &Path, path: &str) -> String {
        match find(tree, &request_path::parse(path).unwrap(), None).unwrap() {
            Resource::Script { script, path_info } => {
                format!("run {} {}", script.display(), String::from_utf8_lossy(&path_info)).trim().to_owned()
            }
            Resource::File { name, .. } => format!("send {}", name.display()),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn scripts_run_files_are_sent_and_the_rest_is_denied_or_hidden() {
        let base = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        for folder in ["wp-admin", "up/2026", "denied/deep", ".git", ".well-known", "empty"] {
            fs::create_dir_all(tree.join(folder)).unwrap();
        }
        for file in [
            "index.php",
            "wp-admin/index.php",
            "wp-admin/a.php",
            "up/a.jpg",
            "up/x.php.jpg",
            "up/index.html",
            "up/s.PHP",
            "up/s.phtml",
            "up/s.php7",
            "up/a.php.bak",
            "wp-config.php~",
            "wp-config.txt",
            ".env",
            ".git/config",
            ".well-known/x.txt",
            "denied/deep/a.txt",
            "denied/b.php",
            "up/a.inc",
            "up/p.phpx",
            "up/readme.txt",
        ] {
            fs::write(tree.join(file), "x").unwrap();
        }
        fs::write(tree.join("denied/.htaccess"), "Deny from all").unwrap();
        fs::write(base.path().join("outside.txt"), "secret").unwrap();
        symlink(base.path().join("outside.txt"), tree.join("up/link.txt")).unwrap();
        symlink(base.path(), tree.join("up/linked")).unwrap();
        for (path, expected) in [
            ("/", "run index.php"),
            ("/pretty/permalink/", "run index.php"),
            ("/index.php/2026/a/", "run index.php /2026/a/"),
            ("/wp-admin", "Folder"),
            ("/wp-admin/", "run wp-admin/index.php"),
            ("/wp-admin/a.php", "run wp-admin/a.php"),
            ("/wp-admin/a.php/x.css", "run wp-admin/a.php /x.css"),
            ("/missing.php", "run index.php"),
            ("/up/a.jpg", "send a.jpg"),
            ("/up/a.jpg/x.php", "run index.php"),
            ("/up/a.jpg/", "run index.php"),
            ("/up/x.php.jpg", "send x.php.jpg"),
            ("/up/readme.txt", "send readme.txt"),
            ("/up/p.phpx", "send p.phpx"),
            ("/up/", "send index.html"),
            ("/empty/", "Denied"),
            ("/up/s.PHP", "Hidden"),
            ("/up/s.phtml", "Hidden"),
            ("/up/s.php7", "Hidden"),
            ("/up/a.php.bak", "Hidden"),
            ("/up/a.inc", "Hidden"),
            ("/wp-config.php~", "Hidden"),
            ("/wp-config.txt", "Hidden"),
            ("/.env", "Hidden"),
            ("/.git/config", "Hidden"),
            ("/.htaccess", "Hidden"),
            ("/.well-known/x.txt", "send x.txt"),
            ("/up/.well-known/x.txt", "Hidden"),
            ("/denied/deep/a.txt", "Denied"),
            ("/denied/b.php", "Denied"),
            ("/up/link.txt", "run index.php"),
            ("/up/linked/outside.txt", "run index.php"),
        ] {
            assert_eq!(found(&tree, path), expected, "{path}");
        }
    }
}
