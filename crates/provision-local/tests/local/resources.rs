//! What a clone's programs take of the machine: processes, memory, open files, and what the kernel counts for all.

use std::process::Command;

use wpclone_provision::{CloneProblemKind, Health, Provisioner as _, Routing};

use crate::database_bounds::until_stopped;
use crate::owner::{kill_with_supervisors, started};
use crate::support::{
    Lab, folder, free_address, http, processes_in, processes_of, responds, uid_of, until, wordpress,
};

/// The most processes of a clone's PHP.
const MAX_PROCESSES: usize = 256;

pub(crate) async fn a_fork_bomb_is_bounded_and_others_go_on() {
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    let uid = uid_of(&lab, &one);
    lab.put(&one.name, "bomb.pl", "$SIG{TERM} = 'IGNORE'; fork while 1;");
    lab.eval(&one, false, "shell_exec('perl bomb.pl >/dev/null 2>&1 &');").await;
    until("the bomb to reach its limit", async || processes_of(uid).len() > MAX_PROCESSES - 16).await;
    for _ in 0..3 {
        responds(&two).await;
        let processes = processes_of(uid).len();
        assert!(processes <= MAX_PROCESSES, "{processes} processes");
    }
    let third = lab.clone("three").await.0;
    responds(&third).await;
    lab.local.delete(&one.name).await.expect("deleted");
    assert_eq!(processes_of(uid), Vec::<i32>::new());
    lab.end().await;
}

pub(crate) async fn memory_and_memory_files_of_a_clone_are_bounded() {
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    let hog = "echo shell_exec('perl -e \\'$x = \"x\" x (3 << 30); print \"it has 3 GiB\"\\' 2>/dev/null'), 'done';";
    assert_eq!(lab.eval(&one, false, hog).await, "done");
    let files = "for d in /tmp /dev/shm; do head -c 400000000 /dev/zero > $d/x; stat -c %s $d/x; rm $d/x; done 2>/dev/null";
    let sizes = lab.eval(&one, false, &format!("echo shell_exec('{files}');")).await;
    let sizes: Vec<u64> = sizes.lines().map(|size| size.parse().expect("a size")).collect();
    assert!(sizes.len() == 2 && sizes[0] <= 256 << 20 && sizes[1] <= 64 << 20, "{sizes:?}");
    responds(&two).await;
    until("the clone itself to respond", async || {
        http().get(format!("{}/wp-json/", one.url)).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    lab.end().await;
}

/// Takes what the kernel counts for the machine, for a user, or for no process, and prints what it got.
const SHARED: &str = r#"
$got = [];
foreach (['/dev/ptmx', '/dev/pts', '/dev/tty', '/dev/console'] as $device) if (file_exists($device)) $got[] = $device;
if (@fopen('/dev/ptmx', 'r+')) $got[] = 'a terminal';
if (function_exists('shmop_open') && @shmop_open(1, 'c', 0600, 1 << 20)) $got[] = 'a memory segment';
if (function_exists('sem_get') && @sem_get(1)) $got[] = 'a semaphore';
if (function_exists('msg_get_queue') && @msg_get_queue(1)) $got[] = 'a message queue';
if (function_exists('inotify_init') && @inotify_init()) $got[] = 'watches';
echo implode(', ', $got), ' - ', str_replace("\n", ' ', shell_exec('ls /dev')), '- ';
echo shell_exec('perl files.pl');
"#;

/// Opens files until no more can be opened, and prints how many.
const FILES: &str = "while (open(my $file, '<', '/dev/null')) { push @files, $file } print scalar @files;";

pub(crate) async fn what_the_kernel_counts_for_all_is_out_of_a_clones_reach() {
    let lab = Lab::start().await;
    let (one, _) = lab.clone("one").await;
    lab.put(&one.name, "files.pl", FILES);
    let answer = lab.eval(&one, false, SHARED).await;
    let [got, devices, files] = answer.split(" - ").collect::<Vec<_>>()[..] else { panic!("{answer}") };
    assert_eq!(got, "");
    assert_eq!(devices, "fd full null random shm stderr stdin stdout urandom zero");
    let files: usize = files.parse().expect("a number");
    assert!((900..1024).contains(&files), "{files} open files of a process");
    lab.end().await;
}

/// Opens the sockets whose queues would be memory that is counted for nobody: TCP, UDP, and netlink. It prints how that fails.
const NETWORK_SOCKETS: &str = r#"
use Socket;
for ([AF_INET, SOCK_STREAM], [AF_INET, SOCK_DGRAM], [AF_INET6, SOCK_STREAM], [AF_INET6, SOCK_DGRAM], [16, SOCK_RAW]) {
    $! = 0;
    print socket(my $socket, $_->[0], $_->[1], 0) ? 'a socket' : $!, "\n";
}
"#;
pub(crate) async fn a_clone_gets_no_sockets_of_networks() {
    let lab = Lab::start().await;
    let (one, _) = lab.clone("one").await;
    lab.put(&one.name, "network.pl", NETWORK_SOCKETS);
    let answer = lab.eval(&one, false, "echo shell_exec('perl network.pl 2>&1');").await;
    assert_eq!(answer, "Address family not supported by protocol\n".repeat(5));
    lab.end().await;
}

/// Locks every second byte of files, in several processes, and prints which other locks it gets: those of open files, and those
/// of a table of open files that another process shares (flags and numbers of x86-64).
const LOCKS: &str = r#"
use Fcntl qw(:flock :seek F_SETLK F_WRLCK);
sub lock_of { pack('s s x4 q q i x4', F_WRLCK, SEEK_SET, $_[0], 1, 0) }
my @got;
open(my $other, '+>', 'lock') or die;
push @got, 'a lock of an open file' if fcntl($other, 37, lock_of(0)); # F_OFD_SETLK
my $child = syscall(56, 0x400 | 17, 0, 0, 0, 0); # clone(CLONE_FILES | SIGCHLD)
exit if $child == 0;
push @got, 'a shared table' if $child > 0;
$| = 1;
print 'it has: ', join(', ', @got), "\n";
for my $process (1..4) {
    next if fork;
    for (my $n = 0; $n < 10; $n++) {
        open($files[$n], '+>', "locks-$process-$n") or last;
        fcntl($files[$n], F_SETLK, lock_of(2 * $_)) || last for 1..1000;
    }
    sleep 3600;
}
"#;

pub(crate) async fn a_clone_that_holds_very_many_locks_of_files_is_stopped() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    lab.put(&one.name, "locks.pl", LOCKS);
    let uid = uid_of(&lab, &one);
    let answer = lab.eval(&one, false, "shell_exec('perl locks.pl >got 2>&1 &');").await;
    assert_eq!(answer, "");
    until_stopped(&lab, &one, CloneProblemKind::LockLimitExceeded, "locks").await;
    until("its programs to be gone", async || processes_of(uid).is_empty()).await;
    let got = std::fs::read_to_string(lab.tree(&one.name).join("got")).expect("what it printed");
    assert_eq!(got, "it has: \n");
    responds(&two).await;
    assert_eq!(lab.get(&two.name).await.expect("the neighbour").problem, None);
    lab.local.delete(&one.name).await.expect("deleted");
    lab.end().await;
}

/// The control groups that a process has created.
fn cgroups_by(creator: u32) -> Vec<String> {
    let name = format!("wpclone-*-program-{creator}-*");
    let found = Command::new("find").args(["/sys/fs/cgroup", "-name", &name]).output().expect("find");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

pub(crate) async fn control_groups_of_a_killed_owner_are_removed_with_another_state_folder_too() {
    let dir = folder();
    let (mut owner, _) = started(&dir.path().join("state"), free_address(), &wordpress(), None, &["one"]);
    if cgroups_by(owner.id()).is_empty() {
        eprintln!("this machine has no control groups for us");
        return;
    }
    kill_with_supervisors(&mut owner);
    until("all sandboxes to be gone", async || processes_in(dir.path()).is_empty()).await;
    // A worker that another test starts may remove them already.
    let other = Lab::begun(folder(), Routing::Path, |_| {});
    other.until(&Health::Ready).await;
    assert_eq!(cgroups_by(owner.id()), Vec::<String>::new());
    other.end().await;
}
