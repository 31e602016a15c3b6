//! Which file of a clone a path means.
//!
//! The tree belongs to strangers' PHP, which can put links and pipes into it, while the proxy may be root: each step
//! is taken from an open folder, follows no link, and opens plain files only.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::htaccess::{self, Rule};
use super::path::Names;

/// The most bytes of a .htaccess that are read.
const MOST_HTACCESS: u64 = 64 << 10;

/// What a path means.
#[derive(Debug)]
pub(crate) enum Target {
    /// A PHP file, by its path below the tree, and what follows it in the path.
    Script { script: PathBuf, info: Vec<u8> },
    /// A file to be sent as it is.
    File { file: File, name: OsString },
    /// A folder, asked for without a slash at its end.
    Folder,
    /// There is something, and it is not for the web.
    Denied,
    /// Whether there is something is not told.
    Hidden,
}

/// Finds it. What is not there is WordPress' own affair: the front controller's. `owner`: the only user whose files
/// count, where clones have users of their own.
pub(crate) fn find(tree: &Path, path: &Names, owner: Option<u32>) -> io::Result<Target> {
    let front = || Ok(Target::Script { script: "index.php".into(), info: Vec::new() });
    let mut walk = Walk { folder: open_folder(CWD, tree.as_os_str())?, rules: Vec::new(), owner };
    walk.read_rules()?;
    let mut at = PathBuf::new();
    for (index, name) in path.names.iter().enumerate() {
        if is_hidden(name, index) {
            return Ok(Target::Hidden);
        }
        let last = index + 1 == path.names.len();
        match walk.step(name)? {
            Step::Into => at.push(name),
            Step::File(_) if is_script(name) => {
                if walk.denies(name) {
                    return Ok(Target::Denied);
                }
                let mut info = Vec::new();
                for rest in &path.names[index + 1..] {
                    info.push(b'/');
                    info.extend_from_slice(rest.as_bytes());
                }
                if path.folder {
                    info.push(b'/');
                }
                return Ok(Target::Script { script: at.join(name), info });
            }
            Step::File(file) if last && !path.folder => return Ok(walk.send(file, name)),
            Step::File(_) | Step::Nothing => return front(),
        }
    }
    if !path.folder {
        return Ok(Target::Folder);
    }
    for index in ["index.php", "index.html"].map(OsStr::new) {
        match walk.step(index)? {
            Step::File(_) if walk.denies(index) => return Ok(Target::Denied),
            Step::File(_) if is_script(index) => {
                return Ok(Target::Script { script: at.join(index), info: Vec::new() });
            }
            Step::File(file) => return Ok(walk.send(file, index)),
            Step::Into | Step::Nothing => {}
        }
    }
    Ok(Target::Denied)
}

enum Step {
    Into,
    File(File),
    Nothing,
}

struct Walk {
    folder: OwnedFd,
    rules: Vec<Rule>,
    owner: Option<u32>,
}

impl Walk {
    /// Goes into a folder, or opens a file.
    fn step(&mut self, name: &OsStr) -> io::Result<Step> {
        match open_folder(&self.folder, name) {
            Ok(folder) => {
                self.folder = folder;
                self.read_rules()?;
                return Ok(Step::Into);
            }
            Err(Errno::NOTDIR) => {}
            Err(error) => return nothing_or(error),
        }
        match self.open(name) {
            Ok(Some(file)) => Ok(Step::File(file)),
            Ok(None) => Ok(Step::Nothing),
            Err(error) => nothing_or(error),
        }
    }

    /// A plain file of the clone's own user in this folder.
    fn open(&self, name: &OsStr) -> Result<Option<File>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.folder, name, flags, Mode::empty())?);
        let Ok(found) = file.metadata() else { return Ok(None) };
        // A hard link may be to a file of somebody else.
        let own = self.owner.is_none_or(|owner| found.uid() == owner);
        Ok((found.is_file() && own).then_some(file))
    }

    fn read_rules(&mut self) -> io::Result<()> {
        let file = match self.open(OsStr::new(".htaccess")) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Errno::NOENT | Errno::LOOP | Errno::ACCESS | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut text = Vec::new();
        file.take(MOST_HTACCESS).read_to_end(&mut text)?;
        self.rules.extend(htaccess::read(&String::from_utf8_lossy(&text)));
        Ok(())
    }

    fn denies(&self, name: &OsStr) -> bool {
        htaccess::denies(&self.rules, &name.to_string_lossy())
    }

    fn send(&self, file: File, name: &OsStr) -> Target {
        if self.denies(name) {
            return Target::Denied;
        }
        if is_code(name) {
            return Target::Hidden;
        }
        Target::File { file, name: name.to_owned() }
    }
}

fn open_folder<F: std::os::fd::AsFd>(at: F, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn nothing_or(error: Errno) -> io::Result<Step> {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG | Errno::NXIO => {
            Ok(Step::Nothing)
        }
        error => Err(error.into()),
    }
}

/// Dot files and what lies in dot folders, but for `/.well-known/` (RFC 8615).
fn is_hidden(name: &OsStr, depth: usize) -> bool {
    name.as_bytes().starts_with(b".") && !(depth == 0 && name == ".well-known")
}

fn is_script(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".php")
}

/// Whether a file that is no script may hold code or a configuration all the same: other names for PHP, and copies
/// that editors and people make (`wp-config.php~`, `db.php.bak`, `.inc`).
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

    use super::super::path;
    use super::*;

    fn told(tree: &Path, asked: &str) -> String {
        match find(tree, &path::names(asked).unwrap(), None).unwrap() {
            Target::Script { script, info } => {
                format!("run {} {}", script.display(), String::from_utf8_lossy(&info)).trim().to_owned()
            }
            Target::File { name, .. } => format!("send {}", name.display()),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn files_scripts_and_folders_are_what_they_are() {
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
        for (asked, wanted) in [
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
            assert_eq!(told(&tree, asked), wanted, "{asked}");
        }
    }
}
