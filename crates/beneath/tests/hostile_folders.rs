//! What a hostile program puts into a folder.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, mkdirat, mkfifoat, openat, renameat_with};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wpclone_beneath::{Dir, NewFile, Owner, Usage, remove_tree};

const UNLIMITED: Usage = Usage { bytes: u64::MAX, files: u64::MAX };
const OURS: NewFile = NewFile { mode: 0o600, owner: None };

/// How long anything may take; the machine may be busy.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(120)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Creates folders in each other, by descriptors: a path to the last one would be too long.
fn nested(base: &Path, levels: usize, name: &str) {
    let mut folder =
        openat(CWD, base, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("a nested folder");
    for _ in 0..levels {
        mkdirat(&folder, name, Mode::RWXU).expect("a nested folder");
        folder = openat(&folder, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .expect("a nested folder");
    }
    let flags = OFlags::WRONLY | OFlags::CREATE;
    openat(&folder, "file", flags, Mode::RUSR | Mode::WUSR).expect("a nested folder");
}

#[test]
fn links_are_not_followed_wherever_they_are_in_a_path() {
    let base = tempfile::tempdir().unwrap();
    let inside = base.path().join("inside");
    fs::create_dir_all(inside.join("log")).unwrap();
    fs::create_dir(base.path().join("outside")).unwrap();
    fs::write(base.path().join("outside/secret"), "secret").unwrap();
    symlink("../../outside/secret", inside.join("log/last")).unwrap();
    symlink("../outside", inside.join("first")).unwrap();
    symlink("log", inside.join("harmless")).unwrap();
    symlink("/proc/self/environ", inside.join("environ")).unwrap();
    symlink("/proc/self/root", inside.join("magic")).unwrap();
    fs::write(inside.join("log/own"), "own").unwrap();
    let dir = Dir::open(&inside).unwrap();
    assert_eq!(dir.read_tail("log/own", Owner::Any, 100).unwrap(), b"own");
    for path in [
        "log/last",
        "first/secret",
        "harmless/own",
        "environ",
        "magic/etc/passwd",
        "../outside/secret",
        "log/../../outside/secret",
        "/etc/passwd",
    ] {
        for read in [Dir::read_tail, Dir::read_bounded] {
            let refused = read(&dir, path, Owner::Any, 100).unwrap_err();
            let number = Errno::from_io_error(&refused);
            assert!(matches!(number, Some(Errno::LOOP | Errno::XDEV)), "{path}: {refused}");
        }
        assert!(dir.create_file(path, OURS).is_err() && dir.open_socket(path, Owner::Any).is_err(), "{path}");
    }
    assert!(Dir::open(&inside.join("first")).is_err(), "the last part of a path is no link");
    assert_eq!(fs::read(base.path().join("outside/secret")).unwrap(), b"secret");
}

#[test]
fn a_link_that_comes_and_goes_is_never_followed() {
    let base = tempfile::tempdir().unwrap();
    let inside = base.path().join("inside");
    fs::create_dir_all(inside.join("log/deep")).unwrap();
    fs::create_dir_all(base.path().join("outside/deep")).unwrap();
    fs::write(base.path().join("outside/deep/php.log"), "secret").unwrap();
    fs::write(inside.join("log/deep/php.log"), "own").unwrap();
    symlink("../outside", inside.join("link")).unwrap();
    symlink("../../../outside/deep/php.log", inside.join("file-link")).unwrap();
    let (ended, dir) = (AtomicBool::new(false), Dir::open(&inside).unwrap());
    let swap = |a: &str, b: &str| {
        renameat_with(&dir, a, &dir, b, RenameFlags::EXCHANGE).unwrap();
    };
    let own = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                swap("log", "link");
                swap("link", "log");
                swap("log/deep/php.log", "file-link");
                swap("file-link", "log/deep/php.log");
            }
        });
        let (mut own, mut refused, end) = (0, 0, deadline());
        while (own < 2_000 || refused < 200) && Instant::now() < end {
            match dir.read_tail("log/deep/php.log", Owner::Any, 100) {
                Ok(text) => {
                    assert_eq!(text, b"own");
                    own += 1;
                }
                Err(_) => refused += 1,
            }
            let _ = dir.replace_file("log/deep/new", b"", OURS);
        }
        ended.store(true, Ordering::Relaxed);
        assert!(refused >= 200, "the race took place");
        own
    });
    assert!(own >= 2_000);
    let outside = fs::read_dir(base.path().join("outside/deep")).unwrap();
    assert_eq!(outside.map(|e| e.unwrap().file_name()).collect::<Vec<_>>(), ["php.log"]);
}

#[test]
fn pipes_sockets_folders_and_devices_are_refused_without_waiting() {
    let base = tempfile::tempdir().unwrap();
    let dir = Dir::open(base.path()).unwrap();
    mkfifoat(&dir, "pipe", Mode::RUSR | Mode::WUSR).unwrap();
    let _socket = UnixListener::bind(base.path().join("socket")).unwrap();
    fs::create_dir(base.path().join("folder")).unwrap();
    let begun = Instant::now();
    for name in ["pipe", "socket", "folder"] {
        assert!(dir.read_tail(name, Owner::Any, 100).is_err(), "{name}");
        assert!(dir.read_bounded(name, Owner::Any, 100).is_err(), "{name}");
        assert!(dir.create_file(name, OURS).is_err(), "{name}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    let of_system = Dir::open(Path::new("/dev")).unwrap();
    assert_eq!(of_system.open_file("zero", Owner::Any).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn files_of_another_user_are_refused_even_by_a_hard_link() {
    if !is_root() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let (inside, foreign) = (base.path().join("inside"), base.path().join("foreign"));
    fs::create_dir(&inside).unwrap();
    fs::write(&foreign, "secret").unwrap();
    fs::hard_link(&foreign, inside.join("php.log")).unwrap();
    fs::write(inside.join("own"), "own").unwrap();
    chown(inside.join("own"), Some(61_201), Some(61_201)).unwrap();
    let dir = Dir::open(&inside).unwrap();
    let owner = Owner::Uid(61_201);
    assert_eq!(dir.read_tail("own", owner, 10).unwrap(), b"own");
    assert_eq!(dir.read_tail("php.log", owner, 10).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn reading_is_bounded_however_large_a_file_is() {
    let base = tempfile::tempdir().unwrap();
    let dir = Dir::open(base.path()).unwrap();
    let mut file = File::create(base.path().join("huge")).unwrap();
    file.set_len(1 << 42).unwrap();
    io::Seek::seek(&mut file, io::SeekFrom::End(-3)).unwrap();
    file.write_all(b"end").unwrap();
    assert_eq!(dir.read_tail("huge", Owner::Any, 5).unwrap(), b"\0\0end");
    assert_eq!(dir.read_bounded("huge", Owner::Any, 5).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    fs::write(base.path().join("small"), "small").unwrap();
    assert_eq!(dir.read_bounded("small", Owner::Any, 5).unwrap(), b"small");
    assert_eq!(dir.read_tail("small", Owner::Any, 100).unwrap(), b"small");
}

#[test]
fn a_new_file_replaces_a_link_and_is_not_written_through_it() {
    let base = tempfile::tempdir().unwrap();
    let inside = base.path().join("inside");
    fs::create_dir_all(inside.join("www")).unwrap();
    fs::write(base.path().join("precious"), "precious").unwrap();
    for name in ["www/link", "www/file", "broken"] {
        let target = if name == "broken" { "../nowhere" } else { "../../precious" };
        symlink(target, inside.join(name)).unwrap();
    }
    let dir = Dir::open(&inside).unwrap();
    for name in ["www/link", "www/file", "broken", "new"] {
        dir.replace_file(name, b"new", NewFile { mode: 0o640, owner: None }).unwrap();
        let found = fs::symlink_metadata(inside.join(name)).unwrap();
        assert!(found.is_file() && found.mode() & 0o777 == 0o640, "{name}");
        assert_eq!(fs::read(inside.join(name)).unwrap(), b"new");
    }
    assert_eq!(fs::read(base.path().join("precious")).unwrap(), b"precious");
    assert!(!base.path().join("nowhere").exists());
    let created = dir.create_dir("www/folder", NewFile { mode: 0o711, owner: None }).unwrap();
    created.create_file("in it", OURS).unwrap();
    assert!(dir.replace_file("www/folder", b"", OURS).is_err(), "a folder is not replaced");
    let names: Vec<_> = fs::read_dir(&inside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
}

#[test]
fn a_socket_is_connected_to_by_its_descriptor() {
    let base = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(base.path().join("php.sock")).unwrap();
    symlink("php.sock", base.path().join("link")).unwrap();
    let dir = Dir::open(base.path()).unwrap();
    let socket = dir.open_socket("php.sock", Owner::Any).unwrap();
    fs::rename(base.path().join("php.sock"), base.path().join("moved")).unwrap();
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    assert!(dir.open_socket("link", Owner::Any).is_err());
    let other = Owner::Uid(rustix::process::geteuid().as_raw() + 1);
    assert!(dir.open_socket("moved", other).is_err());
}

#[test]
fn folders_of_any_depth_are_measured_and_removed_with_few_descriptors() {
    let base = tempfile::tempdir().unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: before.maximum }).unwrap();
    for (levels, name) in [(15_000, "a".to_owned()), (1_500, "n".repeat(255))] {
        let tree = base.path().join("tree");
        fs::create_dir(&tree).unwrap();
        nested(&tree, levels, &name);
        let usage = Dir::open(&tree).unwrap().measure(UNLIMITED, deadline()).unwrap();
        assert_eq!(usage.files, 1 + levels as u64 + 1);
        remove_tree(&tree, deadline()).unwrap();
        assert!(!tree.exists());
    }
    setrlimit(Resource::Nofile, before).unwrap();
}

#[test]
fn any_name_is_removed_and_nothing_outside() {
    let base = tempfile::tempdir().unwrap();
    let (tree, outside) = (base.path().join("tree"), base.path().join("outside"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    let long = "x".repeat(255).into_bytes();
    for name in [b"\xff\xfe".to_vec(), b"new\nline".to_vec(), b"-rf".to_vec(), b" ".to_vec(), long] {
        let folder = tree.join(OsString::from_vec(name.clone()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(OsString::from_vec(name)), "").unwrap();
        symlink(&outside, folder.join("link")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        fs::hard_link(outside.join("precious"), folder.join("hard")).unwrap();
        mkfifoat(CWD, folder.join("pipe"), Mode::RUSR).unwrap();
    }
    // What its owner may not read or change.
    fs::create_dir_all(tree.join("closed/in it")).unwrap();
    fs::set_permissions(tree.join("closed/in it"), Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o0)).unwrap();
    assert!(Dir::open(&tree).unwrap().measure(UNLIMITED, deadline()).unwrap().files > 25);
    remove_tree(&tree, deadline()).unwrap();
    assert!(!tree.exists());
    remove_tree(&tree, deadline()).unwrap();
    remove_tree(&tree.join("missing/too"), deadline()).unwrap();
    symlink(&outside, &tree).unwrap();
    remove_tree(&tree, deadline()).unwrap();
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"precious");
}

#[test]
fn a_removal_ends_at_its_deadline_and_the_next_one_goes_on() {
    let base = tempfile::tempdir().unwrap();
    let tree = base.path().join("tree");
    fs::create_dir(&tree).unwrap();
    nested(&tree, 2_000, "a");
    let refused = remove_tree(&tree, Instant::now()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    assert!(tree.exists());
    let measured = Dir::open(&tree).unwrap().measure(UNLIMITED, Instant::now());
    assert_eq!(measured.unwrap_err().kind(), io::ErrorKind::TimedOut);
    remove_tree(&tree, deadline()).unwrap();
    assert!(!tree.exists());
}

#[test]
fn what_is_created_and_moved_meanwhile_ends_no_removal() {
    let base = tempfile::tempdir().unwrap();
    let (tree, outside) = (base.path().join("tree"), base.path().join("outside"));
    fs::create_dir_all(outside.join("a/b/c")).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    fs::create_dir_all(tree.join("x")).unwrap();
    nested(&tree.join("x"), 200, "a");
    let ended = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for n in 0..u64::MAX {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let _ = fs::create_dir_all(tree.join("x/new"));
                let _ = fs::write(tree.join(format!("x/new/{n}")), "");
                let _ = fs::rename(tree.join("x/a/a/a"), base.path().join("moved"));
                let _ = fs::rename(base.path().join("moved"), tree.join("x/back"));
                let _ = symlink(&outside, tree.join("x/link"));
            }
        });
        // It may fail as long as somebody writes, but it ends.
        let _ = remove_tree(&tree, Instant::now() + Duration::from_secs(2));
        ended.store(true, Ordering::Relaxed);
    });
    remove_tree(&tree, deadline()).unwrap();
    remove_tree(&base.path().join("moved"), deadline()).unwrap();
    assert!(!tree.exists());
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"precious");
    assert!(outside.join("a/b/c").is_dir());
}

#[test]
fn a_measurement_counts_blocks_once_and_ends_at_its_limit() {
    let base = tempfile::tempdir().unwrap();
    for n in 0..50 {
        fs::write(base.path().join(n.to_string()), [1; 8_192]).unwrap();
    }
    for n in 0..50 {
        fs::hard_link(base.path().join("0"), base.path().join(format!("link-{n}"))).unwrap();
    }
    // It claims a size and takes no blocks.
    File::create(base.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    let dir = Dir::open(base.path()).unwrap();
    let usage = dir.measure(UNLIMITED, deadline()).unwrap();
    assert_eq!(usage.files, 1 + 50 + 1);
    assert!((50 * 8_192..100 * 8_192).contains(&usage.bytes), "{usage:?}");
    let limit = Usage { bytes: u64::MAX, files: 10 };
    let over = dir.measure(limit, deadline()).unwrap();
    assert!(over.exceeds(limit) && over.files == 11, "{over:?}");
}
