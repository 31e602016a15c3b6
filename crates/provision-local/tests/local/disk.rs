//! Clones that fill the disk, and what they leave behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use wpclone_provision::{
    CloneInfo, CloneName, CloneProblemKind, Health, ProvisionError, Provisioner as _, Routing,
};
use wpclone_provision_local::DiskLimits;

use crate::support::{Lab, folder, http, prepare_in, prepared, spec, until};

/// Writes as fast as it can, in files of 512 MiB.
const BYTES: &str = "$block = str_repeat(\"\\0\", 1 << 20);
for ($n = 0; ; $n++) {
    $file = fopen(\"filler-$n\", 'w');
    for ($i = 0; $i < 512; $i++) if (!fwrite($file, $block)) exit;
}";
/// The same in files that have no name any more.
const REMOVED: &str = "$block = str_repeat(\"\\0\", 1 << 20);
for ($n = 0; ; $n++) {
    $files[$n] = fopen('filler', 'w');
    unlink('filler');
    for ($i = 0; $i < 512; $i++) if (!fwrite($files[$n], $block)) exit;
}";
/// The same in a thread of a process whose first thread has ended.
const THREAD: &str = r#"use threads;
threads->create(sub {
    my ($block, @files) = ("\0" x (1 << 20));
    for (;;) {
        open(my $file, '>', 'filler') or exit;
        unlink 'filler';
        push @files, $file;
        for (1..512) { syswrite($file, $block) or exit }
    }
});
syscall(60, 0); # exit of x86-64, of this thread alone
"#;
/// The same in files that are only mapped.
const MAPPED: &str = r#"my $block = "\0" x (1 << 20);
for (;;) {
    open(my $file, '+>', 'filler') or exit;
    unlink 'filler';
    for (1..512) { syswrite($file, $block) or exit }
    syscall(9, 0, 4096, 1, 1, fileno($file), 0) != -1 or exit; # mmap of x86-64
    close $file;
}
"#;
/// The same in files without content, of which the kernel is asked to allocate all pages.
const POPULATED: &str = r#"for (my $n = 0; ; $n++) {
    open(my $file, '+>', "filler-$n") or exit;
    truncate($file, 512 << 20);
    my $address = syscall(9, 0, 512 << 20, 3, 1, fileno($file), 0); # mmap of x86-64
    syscall(28, $address, 512 << 20, 23) == 0 or exit; # madvise(MADV_POPULATE_WRITE)
    syscall(11, $address, 512 << 20); # munmap
}
"#;
/// The same in files that C's library writes because the kernel allocates nothing.
const ALLOCATED: &str = "shell_exec('n=0; while fallocate --posix -l 512M filler-$n; do n=$((n+1)); done');";
pub(crate) const PERL: &str = "shell_exec('perl fill.pl');";
/// The same in files that only the queue of a socket holds.
const QUEUED: &str = "$block = str_repeat(\"\\0\", 1 << 20);
socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $pair) || exit('no sockets');
for ($n = 0; ; $n++) {
    $file = fopen('filler', 'w');
    unlink('filler');
    for ($i = 0; $i < 32; $i++) if (!fwrite($file, $block)) exit('the disk is full');
    $rights = ['level' => SOL_SOCKET, 'type' => SCM_RIGHTS, 'data' => [$file]];
    if (!@socket_sendmsg($pair[0], ['iov' => ['x'], 'control' => [$rights]])) exit(socket_strerror(socket_last_error($pair[0])));
    fclose($file);
}";
/// Writes a file of up to 96 MiB anew, again and again, and notes how often.
const REWRITING: &str = "$block = str_repeat(\"\\0\", 1 << 20);
for ($n = 0; ; $n++) {
    $file = fopen('cache', 'w');
    for ($i = 0; $i < 96; $i++) fwrite($file, $block);
    fclose($file);
    file_put_contents('rounds', $n);
    usleep(100000);
}";
/// Creates empty files as fast as it can.
const FILES: &str = "for ($n = 0; ; $n++) {
    if ($n % 5000 === 0) mkdir($folder = \"filler-$n\");
    if (!touch(\"$folder/$n\")) exit;
}";

/// A file system of its own.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    image: tempfile::NamedTempFile,
}

impl Disk {
    fn mount(folder: &Path, bytes: u64) -> Self {
        let image = tempfile::NamedTempFile::new().expect("an image");
        image.as_file().set_len(bytes).expect("its size");
        let disk = Self { folder: folder.to_owned(), image };
        let image = disk.image.path().display().to_string();
        let folder = folder.display().to_string();
        for command in [&["mkfs.ext4", "-q", "-F", &image][..], &["mount", "-o", "loop", &image, &folder]] {
            let done = Command::new(command[0]).args(&command[1..]).output().expect(command[0]);
            assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

pub(crate) const RESERVE: u64 = 512 << 20;

/// A provisioner whose state folder is a disk of 8 GiB.
pub(crate) async fn lab_on_disk() -> (Lab, Disk) {
    lab_on_disk_of(8 << 30, RESERVE).await
}

/// The same with a disk of so many bytes, of which clones leave so many free.
pub(crate) async fn lab_on_disk_of(bytes: u64, reserve_bytes: u64) -> (Lab, Disk) {
    let dir = folder();
    let mounted = dir.path().join("state");
    std::fs::create_dir(&mounted).expect("a folder");
    let disk = Disk::mount(&mounted, bytes);
    // What the disk contains is unmounted before the folder is removed.
    std::fs::remove_dir(mounted.join("lost+found")).expect("what mkfs creates");
    prepare_in(&mounted);
    let lab = Lab::begun(dir, Routing::Path, |options| {
        options.disk = DiskLimits { reserve_bytes, ..DiskLimits::default() };
    });
    lab.until(&Health::Ready).await;
    (lab, disk)
}

/// Ends it, and removes the disk before the folder that it is mounted in.
pub(crate) async fn end_on_disk(lab: Lab, disk: Disk) {
    let dir = lab.end().await;
    drop(disk);
    drop(dir);
}

pub(crate) fn free_bytes(disk: &Disk) -> u64 {
    let found = statvfs(&disk.folder).expect("the disk");
    found.f_bavail * found.f_frsize
}

/// The least free bytes and inodes that a disk has had.
pub(crate) struct LeastFree {
    pub(crate) bytes: Arc<AtomicU64>,
    pub(crate) files: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl LeastFree {
    pub(crate) fn watch(folder: &Path) -> Self {
        let least = || Arc::new(AtomicU64::new(u64::MAX));
        let watch = Self { bytes: least(), files: least(), ended: Arc::default() };
        let (bytes, files, ended) =
            (Arc::clone(&watch.bytes), Arc::clone(&watch.files), Arc::clone(&watch.ended));
        let folder = folder.to_owned();
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok(disk) = statvfs(&folder) else { return };
                bytes.fetch_min(disk.f_bavail * disk.f_frsize, Ordering::Relaxed);
                files.fetch_min(disk.f_favail, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        watch
    }
}

impl Drop for LeastFree {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Has a clone's PHP run this until it is ended.
pub(crate) fn start_filler(lab: &Lab, clone: &CloneInfo, code: &str) -> tokio::task::JoinHandle<()> {
    lab.put(&clone.name, "fill.php", &format!("<?php ignore_user_abort(true); set_time_limit(0); {code}"));
    let url = format!("{}/fill.php", clone.url);
    tokio::spawn(async move {
        // It ends when the clone is stopped.
        let _ = http().get(url).send().await;
    })
}

/// The status of a clone's front page. Another provisioner may have another port than that of the clone's address.
pub(crate) async fn status(lab: &Lab, clone: &CloneInfo) -> u16 {
    let url = format!("http://{}/{}/", lab.listen, clone.name);
    http().get(url).send().await.expect("a response").status().as_u16()
}

pub(crate) async fn until_stopped(lab: &Lab, name: &CloneName) {
    until("the clone to be stopped", async || {
        let problem = lab.get(name).await.expect("the clone").problem;
        problem.is_some_and(|problem| problem.kind == CloneProblemKind::DiskLimitExceeded)
    })
    .await;
}

pub(crate) async fn a_clone_that_fills_the_disk_at_full_speed_is_stopped_before_the_reserve_is_gone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk().await;
    let mounted = disk.folder.as_path();
    let (neighbour, _) = lab.clone("neighbour").await;
    let mut fillers = vec![
        ("bytes", BYTES, ""),
        ("removed", REMOVED, ""),
        ("files", FILES, ""),
        ("allocated", ALLOCATED, ""),
    ];
    if cfg!(target_arch = "x86_64") {
        fillers.extend([("thread", PERL, THREAD), ("mapped", PERL, MAPPED), ("populated", PERL, POPULATED)]);
    }
    for (task, code, perl) in fillers {
        let (clone, _) = lab.clone(task).await;
        lab.put(&clone.name, "fill.pl", perl);
        let least = LeastFree::watch(mounted);
        let filler = start_filler(&lab, &clone, code);
        let begun = Instant::now();
        until_stopped(&lab, &clone.name).await;
        filler.await.expect("the filler's request");
        let all_files = statvfs(mounted).expect("the disk").f_files;
        let (bytes, files) = (least.bytes.load(Ordering::Relaxed), least.files.load(Ordering::Relaxed));
        println!(
            "{task}: stopped after {:?}, at least {bytes} bytes and {files} inodes free",
            begun.elapsed()
        );
        assert!(bytes >= RESERVE, "{task}: only {bytes} bytes were free");
        assert!(files >= all_files / 20, "{task}: only {files} of {all_files} inodes were free");
        assert_eq!((status(&lab, &clone).await, status(&lab, &neighbour).await), (507, 200), "{task}");
        assert!(lab.get(&neighbour.name).await.expect("the neighbour").problem.is_none(), "{task}");
        let refused = lab.local.ensure_access(&clone.name).await.expect_err("stopped");
        assert!(matches!(refused, ProvisionError::Stopped { .. }), "{refused}");
        if matches!(task, "bytes" | "files") {
            let left = std::fs::read_dir(lab.tree(&clone.name)).expect("its files").flatten();
            assert!(
                left.into_iter().any(|e| e.file_name().to_string_lossy().starts_with("filler")),
                "nothing is deleted"
            );
        }
        lab.local.delete(&clone.name).await.expect("deleted");
    }
    assert_eq!(status(&lab, &neighbour).await, 200);
    end_on_disk(lab, disk).await;
}

pub(crate) async fn files_that_only_a_sockets_queue_would_hold_take_no_space() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk().await;
    let ((clone, _), (neighbour, _)) = (lab.clone("filler").await, lab.clone("neighbour").await);
    let before = free_bytes(&disk);
    assert_eq!(lab.eval(&clone, false, QUEUED).await, "Function not implemented");
    until("the space to be free again", async || free_bytes(&disk) + (64 << 20) > before).await;
    for clone in [&clone, &neighbour] {
        assert_eq!(status(&lab, clone).await, 200);
        assert!(lab.get(&clone.name).await.expect("the clone").problem.is_none());
    }
    end_on_disk(lab, disk).await;
}

/// Fills a disk with a file that belongs to no clone, until less than this is free.
pub(crate) fn fill_from_outside(disk: &Disk, file: &Path, left: u64) {
    const BLOCK: u64 = 16 << 20;
    let (file, mut length) = (std::fs::File::create(file).expect("a file"), 0);
    while free_bytes(disk) >= left {
        fallocate(&file, FallocateFlags::empty(), length, BLOCK).expect("space");
        length += BLOCK;
    }
}

pub(crate) async fn a_clone_that_grows_a_little_while_others_fill_the_disk_is_not_stopped() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk().await;
    let (neighbour, _) = lab.clone("neighbour").await;
    let rounds = || {
        let rounds = std::fs::read_to_string(lab.tree(&neighbour.name).join("rounds")).unwrap_or_default();
        rounds.parse::<u32>().unwrap_or_default()
    };
    let busy = start_filler(&lab, &neighbour, REWRITING);
    until("the neighbour to write", async || rounds() > 0).await;
    let outside = disk.folder.join("outside");
    // The reserve of clones is being used.
    fill_from_outside(&disk, &outside, RESERVE);
    until("the provisioner to say so", async || {
        matches!(lab.local.health(), Health::Unavailable(why) if why.contains("the disk is nearly full"))
    })
    .await;
    let then = rounds();
    until("the neighbour to go on", async || rounds() > then + 20).await;
    assert_eq!(status(&lab, &neighbour).await, 200);
    assert_eq!(lab.get(&neighbour.name).await.expect("the neighbour").problem, None);
    let refused = lab.local.create(&spec("late")).await.expect_err("no space");
    assert!(matches!(refused, ProvisionError::InsufficientDisk { .. }), "{refused}");
    std::fs::remove_file(outside).expect("removed");
    until("clones to be created again", async || lab.local.health() == Health::Ready).await;
    lab.local.delete(&neighbour.name).await.expect("deleted");
    busy.await.expect("the neighbour's request");
    end_on_disk(lab, disk).await;
}

pub(crate) async fn a_clone_that_takes_more_than_it_may_is_stopped_and_not_started_again() {
    let limited = |options: &mut wpclone_provision_local::LocalOptions| {
        options.disk = DiskLimits { clone_files: 20_000, ..DiskLimits::default() };
    };
    let lab = Lab::begun(prepared().await, Routing::Path, limited);
    lab.until(&Health::Ready).await;
    let ((clone, _), (neighbour, _)) = (lab.clone("filler").await, lab.clone("neighbour").await);
    let filler = start_filler(&lab, &clone, FILES);
    until_stopped(&lab, &clone.name).await;
    filler.await.expect("the filler's request");
    assert_eq!((status(&lab, &clone).await, status(&lab, &neighbour).await), (507, 200));
    until("its record to be written", async || {
        let record = lab.dir.path().join("state/clones").join(clone.name.as_str()).join("clone.json");
        std::fs::read_to_string(record).is_ok_and(|text| text.contains("disk_limit_exceeded"))
    })
    .await;
    // The next process does not start it either, and it can be deleted.
    let lab = Lab::begun(lab.end().await, Routing::Path, limited);
    lab.until(&Health::Ready).await;
    until("the neighbour to run", async || status(&lab, &neighbour).await == 200).await;
    let stopped = lab.get(&clone.name).await.expect("the clone");
    assert_eq!(
        stopped.problem.as_ref().map(|problem| problem.kind),
        Some(CloneProblemKind::DiskLimitExceeded)
    );
    let answer =
        http().get(format!("http://{}/{}/", lab.listen, clone.name)).send().await.expect("a response");
    assert_eq!(answer.status(), 507);
    assert!(
        answer
            .text()
            .await
            .expect("a page")
            .contains("more than it may: of the disk, of its database server, or of locks of files")
    );
    lab.local.delete(&clone.name).await.expect("deleted");
    assert!(!lab.tree(&clone.name).exists());
    lab.end().await;
}

/// PHP that creates this many folders in each other, by a program: PHP itself resolves the whole path each time. It prints
/// how many there are.
fn nested(levels: u32) -> String {
    format!(
        r#"chdir(__DIR__ . '/wp-content/uploads');
echo shell_exec('perl -e \'for (1..{levels}) {{ mkdir("a") && chdir("a") || die; $n++ }} open(F, ">", "bottom"); print $n\'');"#
    )
}

/// How long removing may take: a journaling file system removes many folders one after the other slowly.
const REMOVAL_LIMIT: Duration = Duration::from_secs(1200);

async fn until_removed(folder: &Path) {
    let end = Instant::now() + REMOVAL_LIMIT;
    while folder.exists() {
        assert!(Instant::now() < end, "{} is removed within {REMOVAL_LIMIT:?}", folder.display());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn clones_with_very_deep_folders_are_deleted_and_keep_nobody_from_starting() {
    let lab = Lab::start().await;
    let ((one, _), (two, _), (neighbour, _)) =
        (lab.clone("one").await, lab.clone("two").await, lab.clone("neighbour").await);
    for (clone, levels) in [(&one, 1_500), (&two, 15_000)] {
        assert_eq!(lab.eval(clone, false, &nested(levels)).await, levels.to_string());
    }
    let seat = |lab: &Lab, clone: &CloneInfo| lab.dir.path().join("state/clones").join(clone.name.as_str());
    lab.local.delete(&one.name).await.expect("deleted");
    assert!(!seat(&lab, &one).exists());
    assert_eq!(status(&lab, &neighbour).await, 200);
    // The process ends between the tombstone and the removal.
    let dir = lab.end().await;
    std::fs::write(dir.path().join("state/deleted").join(two.name.as_str()), "").expect("a tombstone");
    let lab = Lab::begun(dir, Routing::Path, |_| {});
    lab.until(&Health::Ready).await;
    until("the neighbour to run", async || status(&lab, &neighbour).await == 200).await;
    until_removed(&seat(&lab, &two)).await;
    assert_eq!(status(&lab, &neighbour).await, 200);
    lab.end().await;
}
