//! Which file of a clone a path means.
//!
//! The folder belongs to PHP of strangers, which can create links and pipes in it, while the proxy may be root: everything
//! is opened by `wpclone_beneath`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use wpclone_beneath::{Dir, Owner};

use crate::htaccess::{self, Rule};
use crate::request_path::PathNames;

/// The most bytes of a .htaccess that are read.
const MAX_HTACCESS_BYTES: u64 = 64 << 10;
/// The most bytes of all .htaccess files on the way to a file. What lies behind more is not served: a clone can write any
/// number of rules.
const MAX_RULES_BYTES: usize = 256 << 10;

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

/// Finds it. A path that does not exist goes to `index.php`, WordPress' front controller. `owner` is the only user whose
/// files are served. The folder that `tree` is in is ours.
pub(crate) fn find(tree: &Path, path: &PathNames, owner: Owner) -> io::Result<Resource> {
    let front_controller = || Ok(Resource::Script { script: "index.php".into(), path_info: Vec::new() });
    let mut walk = Walk { folder: Dir::open(tree)?, rules: Vec::new(), rules_bytes: 0, owner };
    walk.read_rules()?;
    let mut at = PathBuf::new();
    for (index, name) in path.names.iter().enumerate() {
        if is_hidden_name(name, index) {
            return Ok(Resource::Hidden);
        }
        let last = index + 1 == path.names.len();
        match walk.step(name)? {
            Step::Folder if walk.rules_bytes > MAX_RULES_BYTES => return Ok(Resource::Denied),
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
    folder: Dir,
    rules: Vec<Rule>,
    rules_bytes: usize,
    owner: Owner,
}

impl Walk {
    /// Enters a folder or opens a file.
    fn step(&mut self, name: &OsStr) -> io::Result<Step> {
        match self.folder.open_dir(name) {
            Ok(folder) => {
                self.folder = folder;
                self.read_rules()?;
                return Ok(Step::Folder);
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) if is_absent(&error) => return Ok(Step::Missing),
            Err(error) => return Err(error),
        }
        match self.folder.open_file(name, self.owner) {
            Ok(file) => Ok(Step::File(file)),
            Err(error) if is_absent(&error) => Ok(Step::Missing),
            Err(error) => Err(error),
        }
    }

    fn read_rules(&mut self) -> io::Result<()> {
        let file = match self.folder.open_file(".htaccess", self.owner) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(MAX_HTACCESS_BYTES).read_to_end(&mut text)?;
        self.rules_bytes += text.len();
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

/// Whether there is nothing that is served: no such file, or one that is not the clone's own regular file.
fn is_absent(error: &io::Error) -> bool {
    let absent = [
        io::ErrorKind::NotFound,
        io::ErrorKind::NotADirectory,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::CrossesDevices,
        io::ErrorKind::InvalidFilename,
    ];
    // Links are not followed, and a socket is no device or address that can be opened.
    absent.contains(&error.kind()) || matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NXIO))
}

/// Whether a file of a clone, by its path, is not served because of a name in it, other than the configuration of Apache, which
/// no server serves.
#[must_use]
pub fn is_hidden(path: &[u8]) -> bool {
    let mut names = path.split(|byte| *byte == b'/').map(OsStr::from_bytes);
    let is_in_hidden = names.clone().enumerate().any(|(depth, name)| is_hidden_name(name, depth));
    let Some(last) = names.next_back() else { return false };
    !last.as_bytes().starts_with(b".ht") && (is_in_hidden || is_code(last) && !is_script(last))
}

/// Dot files and everything in dot folders, except `/.well-known/` (RFC 8615).
fn is_hidden_name(name: &OsStr, depth: usize) -> bool {
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
        match find(tree, &request_path::parse(path).unwrap(), Owner::Any).unwrap() {
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

    #[test]
    fn files_that_are_not_served_are_known_by_their_paths() {
        for (path, hidden) in [
            ("2024/a.jpg", false),
            ("dist/.vite/manifest.json", true),
            (".hidden", true),
            (".htaccess", false),
            ("private/.htpasswd", false),
            ("x/x.php", false),
            ("x/x.inc", true),
            ("x/x.php.bak", true),
            ("x/x.php.jpg", false),
            ("x/.well-known/a.txt", true),
            (".well-known/a.txt", false),
            ("x/wp-config.php", false),
            ("x/wp-config.txt", true),
            ("", false),
        ] {
            assert_eq!(is_hidden(path.as_bytes()), hidden, "{path}");
        }
    }

    #[test]
    fn what_lies_behind_very_many_rules_is_not_served() {
        let base = tempfile::tempdir().unwrap();
        let (tree, rules) = (base.path().join("tree"), base.path().join("rules"));
        fs::write(&rules, "<Files x>\nallow from all\n</Files>\n".repeat(2_000)).unwrap();
        let path = |folders: usize| "/a".repeat(folders);
        for folders in 1..=5 {
            let folder = tree.join(&path(folders)[1..]);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("a.txt"), "x").unwrap();
            fs::hard_link(&rules, folder.join(".htaccess")).unwrap();
        }
        assert_eq!(found(&tree, &format!("{}/a.txt", path(4))), "send a.txt");
        assert_eq!(found(&tree, &format!("{}/a.txt", path(5))), "Denied");
    }

    #[test]
    fn what_a_hostile_clone_puts_into_its_folder_is_neither_opened_nor_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        fs::create_dir_all(tree.join("up")).unwrap();
        fs::write(base.path().join("secret.txt"), "secret").unwrap();
        symlink("../../secret.txt", tree.join("up/link.txt")).unwrap();
        symlink("/proc/self/environ", tree.join("up/environ.txt")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("up/pipe.txt"), rustix::fs::Mode::RUSR).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, tree.join(".htaccess"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("up/socket.txt")).unwrap();
        for path in ["/up/link.txt", "/up/environ.txt", "/up/pipe.txt", "/up/socket.txt"] {
            assert_eq!(found(&tree, path), "run index.php", "{path}");
        }
        fs::write(tree.join("up/foreign.txt"), "").unwrap();
        let other = Owner::Uid(rustix::process::geteuid().as_raw() + 1);
        let found = find(&tree, &request_path::parse("/up/foreign.txt").unwrap(), other).unwrap();
        assert!(matches!(found, Resource::Script { .. }), "{found:?}");
    }
}
