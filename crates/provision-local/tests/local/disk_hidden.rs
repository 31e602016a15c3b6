//! Clones that take the disk without writing, or so that it is not seen, and what works again after a disk was full.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use wpclone_provision::{CloneInfo, Health, Provisioner as _};

use crate::disk::{
    Disk, LeastFree, PERL, RESERVE, end_on_disk, free_bytes, lab_on_disk, lab_on_disk_of, start_filler,
    status, until_stopped,
};
use crate::life::kill;
use crate::support::{Lab, http, responds, tries_everything, until};

/// Has the kernel allocate space in all ways that it has for that, and prints how each fails and what the file takes. The
/// numbers are those of x86-64.
const ALLOCATIONS: &str = r#"
my $size = 512 << 20;
my $space = pack('s s x4 q q l L l4', 0, 0, 0, $size, 0, 0, 0, 0, 0, 0); # struct space_resv
my $attributes = pack('L5 x8', 0x800, $size, 0, 0, 0); # struct fsxattr: FS_XFLAG_EXTSIZE
open(my $file, '+>', 'filler') or die;
my $fd = fileno($file);
my @calls = (
    ['fallocate', 285, $fd, 0, 0, $size], ['KEEP_SIZE', 285, $fd, 1, 0, $size],
    ['ZERO_RANGE', 285, $fd, 16, 0, $size], ['x32', 0x40000000 + 285, $fd, 0, 0, $size],
    ['FS_IOC_RESVSP', 16, $fd, 0x40305828, $space], ['FS_IOC_RESVSP64', 16, $fd, 0x4030582a, $space],
    ['FS_IOC_ZERO_RANGE', 16, $fd, 0x40305839, $space], ['FS_IOC_FSSETXATTR', 16, $fd, 0x401c5820, $attributes],
    ['ioctl of x32', 0x40000000 + 514, $fd, 0x4030582a, $space], ['file_setattr', 469, 0, 0, 0, 0, 0],
);
for (@calls) {
    my ($name, $number, @arguments) = @$_;
    $! = 0;
    my $result = syscall($number, @arguments);
    print "$name: ", $result == 0 ? 'done' : $!, "\n";
}
print 'blocks: ', (stat $file)[12], "\n";
"#;

pub(crate) async fn no_space_is_allocated_without_being_written() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    if cfg!(target_arch = "x86_64") {
        lab.put(&clone.name, "allocate.pl", ALLOCATIONS);
        let (unsupported, unknown) = ("Operation not supported", "Inappropriate ioctl for device");
        let missing = "Function not implemented";
        let expected = [
            ("fallocate", unsupported),
            ("KEEP_SIZE", unsupported),
            ("ZERO_RANGE", unsupported),
            ("x32", missing),
            ("FS_IOC_RESVSP", unknown),
            ("FS_IOC_RESVSP64", unknown),
            ("FS_IOC_ZERO_RANGE", unknown),
            ("FS_IOC_FSSETXATTR", unknown),
            ("ioctl of x32", missing),
            ("file_setattr", missing),
            ("blocks", "0"),
        ];
        let expected: String = expected.iter().map(|(name, result)| format!("{name}: {result}\n")).collect();
        let output = lab.eval(&clone, false, "echo shell_exec('perl allocate.pl 2>&1');").await;
        assert_eq!(output, expected);
    }
    // A program that wants space for later gets it by writing, as C's library does.
    let written =
        "fallocate -l 1M no 2>&1; fallocate --posix -l 1M yes 2>&1; stat -c '%n %s %b' no yes 2>/dev/null";
    let output = lab.eval(&clone, false, &format!("echo shell_exec(\"{written}\");")).await;
    let lines: Vec<&str> = output.lines().collect();
    let [refused, .., taken] = lines[..] else { panic!("{output}") };
    assert!(refused.contains("Operation not supported"), "{output}");
    let blocks = taken.strip_prefix("yes 1048576 ").and_then(|blocks| blocks.parse::<u64>().ok());
    assert!(blocks.is_some_and(|blocks| blocks >= 2048), "{output}");
    responds(&clone).await;
    lab.end().await;
}

/// Moves folders all the time, so that nobody can measure what is in them, and has children write whom nobody waits for.
const UNCOUNTED: &str = r#"
mkdir 'maze';
for my $n (0..19) {
    mkdir "maze/a$n"; mkdir "maze/b$n";
    my $folder = "maze/a$n/deep";
    for (0..50) { mkdir $folder; $folder .= '/d' }
}
if (!fork) {
    for (;;) {
        rename("maze/a$_/deep", "maze/b$_/deep") for 0..19;
        rename("maze/b$_/deep", "maze/a$_/deep") for 0..19;
    }
}
$SIG{CHLD} = 'IGNORE';
my $block = "\0" x (1 << 20);
for (my $n = 0; ; $n++) {
    my $writer = fork;
    defined $writer or exit;
    if (!$writer) {
        open(my $file, '>', "filler-$n") or exit;
        for (1..32) { syswrite($file, $block) or exit }
        exit;
    }
    waitpid($writer, 0);
}
"#;

pub(crate) async fn a_clone_that_hides_what_it_takes_and_what_it_writes_is_stopped() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk_of(5 << 30, RESERVE).await;
    let ((clone, _), (neighbour, _)) = (lab.clone("filler").await, lab.clone("neighbour").await);
    lab.put(&clone.name, "fill.pl", UNCOUNTED);
    is_stopped_before_the_reserve_is_gone(&lab, &disk, &clone, &neighbour).await;
    end_on_disk(lab, disk).await;
}

/// Has a clone run its `fill.pl`.
async fn is_stopped_before_the_reserve_is_gone(
    lab: &Lab,
    disk: &Disk,
    clone: &CloneInfo,
    neighbour: &CloneInfo,
) {
    let least = LeastFree::watch(&disk.folder);
    let begun = Instant::now();
    let filler = start_filler(lab, clone, PERL);
    until_stopped(lab, &clone.name).await;
    filler.await.expect("the filler's request");
    let all_files = statvfs(&disk.folder).expect("the disk").f_files;
    let (bytes, files) = (least.bytes.load(Ordering::Relaxed), least.files.load(Ordering::Relaxed));
    println!("stopped after {:?}, at least {bytes} bytes and {files} inodes free", begun.elapsed());
    assert!(bytes >= RESERVE, "only {bytes} bytes were free");
    assert!(files >= all_files / 20, "only {files} of {all_files} inodes were free");
    assert_eq!((status(lab, clone).await, status(lab, neighbour).await), (507, 200));
    assert_eq!(lab.get(&neighbour.name).await.expect("the neighbour").problem, None);
}

/// Takes everything that is free for others than root.
fn exhaust(disk: &Disk) -> File {
    let file = File::create(disk.folder.join("outside")).expect("a file");
    let mut length = 0;
    while free_bytes(disk) > 0 {
        let free = free_bytes(disk);
        fallocate(&file, FallocateFlags::empty(), length, free).expect("the blocks of root");
        length += free;
    }
    file
}

/// Whether a clone's WordPress writes into its database.
async fn writes(lab: &Lab, clone: &CloneInfo) -> bool {
    let code = "<?php require __DIR__ . '/wp-load.php'; \
        echo $wpdb->replace($wpdb->options, ['option_name' => 'lab', 'option_value' => str_repeat('y', 200000)]) ? 'written' : 'failed';";
    lab.put(&clone.name, "write.php", code);
    let answer = http().get(format!("{}/write.php", clone.url)).send().await.expect("a response");
    answer.text().await.is_ok_and(|text| text == "written")
}

/// How long the database server has not run before space is made: long enough that it waits for space, a minute at most.
const OUTAGE: Duration = Duration::from_secs(10);
/// The same, long enough that the worker waits half a minute between two attempts to start it.
const LONG_OUTAGE: Duration = Duration::from_secs(100);
/// How soon everything works after that, on a busy machine: before the server would look for space again by itself.
const RECOVERY: Duration = Duration::from_secs(40);

pub(crate) async fn clones_work_again_as_soon_as_a_full_disk_has_space() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk().await;
    let (clone, _) = lab.clone("one").await;
    drop(exhaust(&disk));
    assert!(kill(&lab, "mariadbd") > 0, "it runs");
    let (since, outage) = (Instant::now(), if tries_everything() { LONG_OUTAGE } else { OUTAGE });
    until("the outage to last", async || since.elapsed() >= outage).await;
    assert!(!writes(&lab, &clone).await, "nothing is free");
    std::fs::remove_file(disk.folder.join("outside")).expect("removed");
    let freed = Instant::now();
    until("the clone to write into its database", async || writes(&lab, &clone).await).await;
    assert!(freed.elapsed() < RECOVERY, "it took {:?}", freed.elapsed());
    until("new clones to be created", async || lab.local.health() == Health::Ready).await;
    end_on_disk(lab, disk).await;
}
