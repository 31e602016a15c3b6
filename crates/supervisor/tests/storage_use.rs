//! What programs hold of a disk is seen, whatever it is. No libtest harness: this program also measures for itself with other
//! capabilities.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wpclone_supervisor::{ProcessTable, StorageUse};

const LIMIT: Duration = Duration::from_secs(60);
const SOCKETS: u64 = 50;
/// The settings of the service that measures clones as root.
const UNIT: &str = include_str!("../../../deploy/systemd/wpclone-provisioner.service");

/// Holds a removed file of 1 MiB, a folder, a named pipe, sockets, the working folder of another process, and that process'
/// program.
const HOLDS: &str = r#"
use Fcntl; use POSIX (); use Socket;
$| = 1;
open(my $file, '>', 'file') or die; syswrite($file, "x" x (1 << 20)) or die; unlink 'file';
mkdir 'folder'; sysopen(my $folder, 'folder', O_RDONLY | O_DIRECTORY) or die; rmdir 'folder' or die;
POSIX::mkfifo('pipe', 0600); sysopen(my $pipe, 'pipe', O_RDWR | O_NONBLOCK) or die; unlink 'pipe';
for (1..SOCKETS) {
    socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or die;
    bind($socket, pack_sockaddr_un('socket')) or die; unlink 'socket'; push @sockets, $socket;
}
pipe(my $started, my $starts) or die;
if (!fork) {
    system('cp', '/bin/sleep', 'program') == 0 or die;
    mkdir 'work'; chdir 'work' or die; rmdir '../work' or die;
    exec('../program', '600') or POSIX::_exit(1);
}
close $starts; sysread($started, my $nothing, 1);
unlink 'program' or die;
print "ready\n";
sleep 600;
"#;

/// Has a removed file of 1 MiB mapped, and not open.
const MAPS: &str = r#"
$| = 1;
open(my $file, '+>', 'file') or die; syswrite($file, "x" x (1 << 20)) or die; unlink 'file';
syscall(9, 0, 4096, 1, 1, fileno($file), 0) != -1 or die; # mmap of x86-64
close $file;
print "ready\n";
sleep 600;
"#;

/// Holds two locks of its own, and one that a process has taken which has ended.
const LOCKS: &str = r#"
use Fcntl qw(:flock :seek F_SETLK F_WRLCK);
$| = 1;
open(my $file, '+>', 'locked') or die;
fcntl($file, F_SETLK, pack('s s x4 q q i x4', F_WRLCK, SEEK_SET, 2 * $_, 1, 0)) or die for 1..2;
open(my $other, '>', 'other') or die;
if (!fork) { flock($other, LOCK_EX) or die; exit }
wait; $? == 0 or die;
print "ready\n";
sleep 600;
"#;

/// A program that ends with the test.
struct Running(Child);

impl Running {
    /// Starts it and waits until it says that it is ready.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a program");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let running = Self(child);
        assert_eq!(line, "ready\n");
        running
    }

    /// What it and its descendants do with the disk of this folder.
    fn storage_use(&self, folder: &Path) -> StorageUse {
        let device = fs::metadata(folder).expect("a folder").dev();
        ProcessTable::read().storage_use(self.0.id(), device, Instant::now() + LIMIT)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn perl(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("perl");
    command.arg("-e").arg(script).current_dir(folder);
    command
}

fn removed_things_of_every_kind_count_while_a_program_holds_them(folder: &Path) {
    let name = folder.to_str().expect("a name");
    let mut sandbox = Command::new("bwrap");
    sandbox.args(["--unshare-user", "--unshare-pid", "--unshare-net", "--die-with-parent", "--ro-bind", "/"]);
    sandbox.args(["/", "--bind", name, name, "--proc", "/proc", "--dev", "/dev", "--chdir", name, "--"]);
    sandbox.args(["perl", "-e", &HOLDS.replace("SOCKETS", &SOCKETS.to_string())]);
    let held = Running::start(sandbox).storage_use(folder);
    assert_eq!(held.removed_files, 5 + SOCKETS, "{held:?}");
    assert!(held.removed_bytes >= 1 << 20, "{held:?}");
}

fn sockets_of_our_own_network_are_not_the_programs(folder: &Path) {
    let socket = std::os::unix::net::UnixListener::bind(folder.join("own")).expect("a socket");
    fs::remove_file(folder.join("own")).expect("removed");
    let held = Running::start(perl(folder, "$| = 1; print \"ready\\n\"; sleep 600;")).storage_use(folder);
    assert_eq!((held.removed_files, held.is_incomplete || held.hides_files), (0, false), "{held:?}");
    drop(socket);
}

fn locks_count_whoever_took_them(folder: &Path) {
    if !cfg!(target_pointer_width = "64") {
        return;
    }
    let holder = Running::start(perl(folder, LOCKS));
    assert_eq!(ProcessTable::read().locks_of_open_files(holder.0.id(), 100), 3);
    assert_eq!(ProcessTable::read().locks_of_open_files(holder.0.id(), 1), 2, "counting ends");
}

/// The capabilities of the unit, as setpriv names them.
fn capabilities() -> Vec<String> {
    let set = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a set");
    set.split_whitespace().map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect()
}

/// What a process with these capabilities alone sees of a program that has a removed file mapped.
fn seen_with(capabilities: &[String], folder: &Path) -> String {
    let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let own = std::env::current_exe().expect("this program");
    let mut command = Command::new("setpriv");
    command.args([format!("--bounding-set=-all{set}"), "--inh-caps=-all".into()]);
    let output = command.arg(own).arg("measure").arg(folder).output().expect("setpriv");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn the_service_has_the_capabilities_to_see_what_is_only_mapped(folder: &Path) {
    if !rustix::process::geteuid().is_root() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let mut capabilities = capabilities();
    assert_eq!(seen_with(&capabilities, folder), "1 MiB, more: false");
    capabilities.retain(|name| name != "checkpoint_restore");
    assert_eq!(seen_with(&capabilities, folder), "0 MiB, more: true");
}

fn main() {
    if let [_, measure, folder] = &std::env::args().collect::<Vec<_>>()[..]
        && measure == "measure"
    {
        let folder = Path::new(folder);
        let held = Running::start(perl(folder, MAPS)).storage_use(folder);
        print!("{} MiB, more: {}", held.removed_bytes >> 20, held.hides_files);
        return;
    }
    let base = tempfile::tempdir().expect("a folder");
    removed_things_of_every_kind_count_while_a_program_holds_them(base.path());
    sockets_of_our_own_network_are_not_the_programs(base.path());
    the_service_has_the_capabilities_to_see_what_is_only_mapped(base.path());
    locks_count_whoever_took_them(base.path());
    println!("test result: ok. 4 passed; 0 failed");
}
