//! Attacks of a clone's PHP on the machine and on other clones, as root and without. Each says what succeeded.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use wpclone_provision::{CloneInfo, Provisioner as _};

use crate::owner::{Begin, refusal, started, started_so};
use crate::support::{
    Lab, eval_in, folder, free_address, http, prepared, processes_in, processes_of, responds, uid_of, until,
    wordpress,
};

fn quoted(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| format!("'{}'", file.display())).collect();
    files.join(" ")
}

/// What of the machine and of another clone nobody in a clone may read.
fn secrets_of_the_machine(state: &Path, own: &CloneInfo, other: &CloneInfo) -> Vec<PathBuf> {
    let (clones, worker) = (state.join("clones"), format!("/proc/{}/environ", std::process::id()));
    let (own, other) = (clones.join(own.name.as_str()), clones.join(other.name.as_str()));
    let mut files = vec![
        own.join("secrets.json"),
        own.join("clone.json"),
        other.join("secrets.json"),
        other.join("clone.json"),
        other.join("www/wp-config.php"),
        other.join("www").join(other.file_name().expect("a name")).join("index.php"),
        other.join("run/php.sock"),
        state.join("layout"),
        state.join("lock"),
        state.join("seccomp-php.bpf"),
        state.join("mariadb/shared/data/ibdata1"),
        state.join("mariadb/pristine/ibdata1"),
        worker.into(),
    ];
    files.extend(
        [
            "/etc/shadow",
            "/etc/passwd",
            "/etc/machine-id",
            "/root",
            "/home",
            "/var/tmp",
            "/var/lib",
            "/run",
            "/sys",
        ]
        .map(PathBuf::from),
    );
    files
}

/// A shell script that prints what it can read, and `done`.
fn read_all(files: &[PathBuf]) -> String {
    format!(
        "for f in {}; do if [ -n \"$(cat $f 2>/dev/null)\" ] || [ -n \"$(ls -A $f 2>/dev/null)\" ]; then echo read $f; fi; \
         done; echo done",
        quoted(files)
    )
}

pub(crate) async fn programs_of_a_clone_see_nothing_of_the_machine() {
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    let files = secrets_of_the_machine(&lab.dir.path().join("state"), &one, &two);
    assert!(files.iter().filter(|file| file.exists()).count() > 15, "they exist");
    let run = async |script: &str| {
        lab.put(&one.name, "attack.sh", script);
        lab.eval(&one, false, "echo shell_exec('sh attack.sh');").await.trim().to_owned()
    };
    assert_eq!(run(&read_all(&files)).await, "done");
    // The processes of the clone itself, and bubblewrap.
    let seen = run("cat /proc/[0-9]*/comm | sort -u | tr '\\n' ' '").await;
    let known = ["bwrap", "cat", "php-fpm", "sh", "sort", "tr"];
    assert!(seen.split(' ').all(|name| known.iter().any(|known| name.starts_with(known))), "{seen}");
    assert_eq!(
        run("ls /sys/class/net /proc/sys/net/ipv4/conf/eth0 2>/dev/null; cat /proc/net/dev | grep -c :")
            .await,
        "1"
    );
    // Neither files that the next user could run nor folders that others see.
    let places = "/ /usr /usr/bin /etc /dev /var/tmp /run /proc /proc/sys/kernel /sys/fs/cgroup";
    let written =
        run(&format!("for d in {places}; do touch $d/evil 2>/dev/null && echo $d; done; echo done")).await;
    assert_eq!(written, "done");
    let privileges =
        run("grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t\\n'").await;
    assert_eq!(privileges, "CapEff:0000000000000000CapBnd:0000000000000000NoNewPrivs:1Seccomp:2");
    assert_eq!(
        run("unshare -Ur true && echo namespace; mount -t tmpfs x /tmp && echo mount; echo done").await,
        "done"
    );
    lab.end().await;
}

/// What perl's `syscall` prints for calls that the filter denies: most fail with ENOSYS. The numbers are those of
/// x86-64.
pub(crate) async fn system_calls_that_attack_the_kernel_are_denied() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    let calls = [
        ("ptrace", "101, 0, 0, 0, 0"),
        ("keyctl", "250, 0, 0, 0, 0"),
        ("add_key", "248, 0, 0, 0, 0, 0"),
        ("unshare", "272, 0x10000000"),
        ("clone with a user namespace", "56, 0x10000011, 0, 0, 0, 0"),
        ("clone3", "435, 0, 0"),
        ("bpf", "321, 0, 0, 0"),
        ("perf_event_open", "298, 0, 0, 0, 0, 0"),
        ("userfaultfd", "323, 0"),
        ("io_uring_setup", "425, 1, 0"),
        ("process_vm_readv", "310, 1, 0, 0, 0, 0, 0"),
        ("mount", "165, 0, 0, 0, 0, 0"),
        ("TIOCSTI", "16, 0, 0x5412, 0"),
        ("a packet socket", "41, 17, 3, 0"),
        ("a vsock socket", "41, 40, 1, 0"),
        ("an SCTP socket", "41, 2, 1, 132"),
        ("a TCP socket", "41, 2, 1, 0"),
        ("a UDP socket", "41, 10, 2, 0"),
        ("a netfilter socket", "41, 16, 3, 12"),
        ("a routing socket", "41, 16, 3, 0"),
        ("ptrace of x32", "0x40000000 + 521, 0, 0, 0, 0"),
        ("seccomp", "317, 0, 0, 0"),
        ("a filter by prctl", "157, 22, 2, 0, 0, 0"),
        ("a socket's filter", "54, 0, 1, 26, 0, 0"),
        ("sendmsg", "46, 0, 0, 0"),
        ("sendmmsg", "307, 0, 0, 0, 0"),
        ("sendmsg of x32", "0x40000000 + 518, 0, 0, 0"),
        ("io_setup", "206, 1, 0"),
        ("io_submit", "209, 0, 0, 0"),
        ("io_setup of x32", "0x40000000 + 543, 1, 0"),
        ("memfd_create", "319, 0, 0"),
        ("memfd_secret", "447, 0"),
        ("shmget", "29, 1, 4096, 0x380"),
        ("semget", "64, 1, 1, 0x380"),
        ("msgget", "68, 1, 0x380"),
        ("mq_open", "240, 0, 0, 0, 0"),
        ("inotify_init", "253"),
        ("inotify_init1", "294, 0"),
        ("openat2", "437, 0, 0, 0, 0"),
        ("fchmodat2", "452, 0, 0, 0, 0"),
        ("clone with a shared table of open files", "56, 0x411, 0, 0, 0, 0"),
        ("fcntl of an open file's lock", "72, 0, 37, 0"),
        ("fcntl of a lease", "72, fileno($open), 1024, 0"),
        ("fcntl of a watched folder", "72, 0, 1026, 0x4"),
        ("set-ID chmod", "90, $file, 04755"),
        ("set-ID fchmod", "91, fileno($open), 02755"),
        ("set-ID fchmodat", "268, -100, $file, 02755"),
        ("set-ID creat", "85, $new, 04755"),
        ("set-ID open", "2, $new, 0x41, 04755"),
        ("set-ID openat", "257, -100, $new, 0x41, 02755"),
        ("set-ID openat of a file without a name", "257, -100, $folder, 0x410002, 04755"),
        ("set-ID mknod", "133, $new, 0104755, 0"),
        ("set-ID mknodat", "259, -100, $new, 0104755, 0"),
    ];
    let error = |name: &str| match name {
        "a TCP socket" | "a UDP socket" | "a routing socket" => "EAFNOSUPPORT",
        name if name.starts_with("fcntl") => "EINVAL",
        name if name.starts_with("set-ID") => "EPERM",
        _ => "ENOSYS",
    };
    let script: String = calls
        .iter()
        .map(|(name, call)| {
            format!("$! = 0; syscall({call}); print \"{name}: $!\\n\" if $!{{{}}} == 0;", error(name))
        })
        .collect();
    let allowed = "$! = 0; syscall(41, 1, 1, 0); print \"a Unix socket: $!\\n\" if $! != 0; \
                   chmod(0640, 'calls.pl') or print \"chmod: $!\\n\"; print 'done';";
    let files = "my ($file, $new, $folder) = ('calls.pl', 'new', '.'); open(my $open, '<', $file);";
    let script = format!("use Errno; {files} {script} {allowed}");
    lab.put(&clone.name, "calls.pl", &script);
    let output = lab.eval(&clone, false, "echo shell_exec('perl calls.pl 2>&1');").await;
    assert_eq!(output, "done");
    lab.end().await;
}

/// Nested processes, each in a session of its own, that ignore SIGTERM.
const CHAIN: &str = "use POSIX; $SIG{TERM} = $SIG{HUP} = 'IGNORE'; for (1..150) { my $child = fork; last if !defined $child; \
    POSIX::setsid(); last if $child; } sleep 600;";

pub(crate) async fn nothing_of_a_clone_outlives_it() {
    let lab = Lab::start().await;
    let (one, _) = lab.clone("one").await;
    let uid = uid_of(&lab, &one);
    let own = lab.dir.path().join("state/clones").join(one.name.as_str());
    let (tmp, run) = (own.join("tmp"), own.join("run"));
    lab.put(&one.name, "chain.pl", CHAIN);
    let copy = format!(
        "for d in /tmp /var/tmp /dev/shm {} {}; do cp /usr/bin/dash $d/shell && chmod 4755 $d/shell; done",
        tmp.display(),
        run.display()
    );
    let attack =
        format!("shell_exec('{copy} 2>&1'); shell_exec('perl chain.pl >/dev/null 2>&1 &'); echo 'done';");
    assert_eq!(lab.eval(&one, false, &attack).await, "done");
    until("the chain to be long", async || processes_of(uid).len() > 140).await;
    // Bits that a mount ignores would work outside of the sandbox.
    assert!(tmp.join("shell").exists(), "its own folder is writable");
    lab.local.delete(&one.name).await.expect("deleted");
    assert_eq!(processes_of(uid), Vec::<i32>::new());
    let mut find = Command::new("find");
    find.args(["/tmp", "/var/tmp", "/dev/shm", "-maxdepth", "3", "-uid"]).arg(uid.to_string());
    let left = find.output().expect("find");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    let (two, _) = lab.clone("two").await;
    assert_ne!(uid_of(&lab, &two), uid, "its user is not used again at once");
    lab.end().await;
}

pub(crate) async fn a_clone_ends_with_its_killed_supervisor() {
    let lab = Lab::start().await;
    let (one, _) = lab.clone("one").await;
    let uid = uid_of(&lab, &one);
    lab.put(&one.name, "chain.pl", CHAIN);
    lab.eval(&one, false, "shell_exec('perl chain.pl >/dev/null 2>&1 &');").await;
    until("the chain to be long", async || processes_of(uid).len() > 140).await;
    let before = processes_of(uid);
    let outer = before.iter().find_map(|pid| supervisor_of(*pid)).expect("bubblewrap's supervisor");
    let killed = Command::new("kill").args(["-KILL", &outer.to_string()]).status().expect("kill");
    assert!(killed.success());
    until("the clone's processes to be gone", async || {
        before.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    })
    .await;
    until("the clone to be up again", async || {
        http().get(format!("{}/", one.url)).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    lab.end().await;
    let groups = format!("wpclone-*-program-{}-*", std::process::id());
    let found = Command::new("find").args(["/sys/fs/cgroup", "-name", &groups]).output().expect("find");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "control groups are left");
}

/// The parent of a process, if that is a supervisor.
fn supervisor_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat[stat.rfind(')')? + 1..].split_whitespace().nth(1)?.parse().ok()?;
    let line = fs::read(format!("/proc/{parent}/cmdline")).ok()?;
    line.split(|b| *b == 0).nth(1).is_some_and(|argument| argument == b"supervise").then_some(parent)
}

pub(crate) async fn phps_log_reaches_the_caller_and_nothing_in_its_place_does() {
    const EXIT: &str = "<?php exit('no JSON');";
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    let (state, uid) = (lab.dir.path().join("state/clones"), uid_of(&lab, &one));
    let log = state.join(one.name.as_str()).join("log/php.log");
    let secrets = state.join(two.name.as_str()).join("secrets.json");
    let failed = async || lab.local.ensure_access(&one.name).await.expect_err("no access").to_string();
    lab.put(&one.name, "wp-content/db.php", "<?php error_log('PHP Fatal: of the site'); exit('no JSON');");
    let problem = failed().await;
    assert!(problem.contains("PHP Fatal: of the site"), "{problem}");
    lab.put(&one.name, "wp-content/db.php", EXIT);
    for target in [secrets.as_path(), Path::new("/etc/shadow"), Path::new("/proc/self/environ")] {
        let _ = fs::remove_file(&log);
        symlink(target, &log).expect("a link");
        std::os::unix::fs::lchown(&log, Some(uid), Some(uid)).expect("chown");
        let content = fs::read_to_string(target).expect("the target");
        let problem = failed().await;
        for line in content.split(['\n', '\0', '"']).filter(|line| line.len() > 12) {
            assert!(!problem.contains(line), "{}: {problem}", target.display());
        }
    }
    fs::remove_file(&log).expect("removed");
    assert!(Command::new("mkfifo").arg(&log).status().expect("mkfifo").success());
    std::os::unix::fs::chown(&log, Some(uid), Some(uid)).expect("chown");
    // Opening it would wait until somebody writes, which nobody does.
    failed().await;
    lab.end().await;
}

pub(crate) async fn a_planted_socket_gets_nothing() {
    let lab = Lab::start().await;
    let (one, _) = lab.clone("one").await;
    let uid = uid_of(&lab, &one);
    let socket = lab.dir.path().join("state/clones").join(one.name.as_str()).join("run/php.sock");
    let elsewhere = lab.dir.path().join("elsewhere.sock");
    let foreign = UnixListener::bind(&elsewhere).expect("a listener");
    fs::remove_file(&socket).expect("php-fpm's own");
    let status = async || http().get(format!("{}/", one.url)).send().await.expect("a response").status();

    symlink(&elsewhere, &socket).expect("a link");
    std::os::unix::fs::lchown(&socket, Some(uid), Some(uid)).expect("chown");
    assert_eq!(status().await, 503, "a link to another socket");
    lab.local.ensure_access(&one.name).await.expect_err("not through a link");
    // Nobody has connected: the next connection is ours.
    let own = tokio::net::UnixStream::connect(&elsewhere).await.expect("connected");
    drop(own);
    let (mut first, _) = foreign.accept().await.expect("a connection");
    assert_eq!(first.read(&mut [0; 16]).await.expect("the end"), 0);
    let waiting = tokio::time::timeout(Duration::from_millis(200), foreign.accept()).await;
    assert!(waiting.is_err(), "somebody else has connected");

    fs::remove_file(&socket).expect("removed");
    let planted = UnixListener::bind(&socket).expect("a listener");
    std::os::unix::fs::chown(&socket, Some(uid), Some(uid)).expect("chown");
    assert_eq!(status().await, 503, "a socket of the clone that another user serves");
    let (mut connection, _) = planted.accept().await.expect("a connection");
    let mut got = Vec::new();
    connection.read_to_end(&mut got).await.expect("the end");
    assert_eq!(got, b"", "nothing is sent before it is known who listens");
    lab.end().await;
}

/// A folder with a bubblewrap that fails, as on a machine that allows no user namespaces.
pub(crate) fn failing_bubblewrap(dir: &Path) -> PathBuf {
    let stub = dir.join("stub");
    fs::create_dir(&stub).expect("a folder");
    fs::write(stub.join("bwrap"), "#!/bin/sh\necho bwrap: no namespaces here >&2\nexit 1\n").expect("a file");
    fs::set_permissions(stub.join("bwrap"), fs::Permissions::from_mode(0o755)).expect("its mode");
    stub
}

pub(crate) async fn without_sandboxes_clones_are_refused_unless_that_is_allowed() {
    let dir = prepared().await;
    let stub = failing_bubblewrap(dir.path());
    let (state, listen) = (dir.path().join("state"), free_address());
    let why = refusal(&state, listen, &wordpress(), Begin { path: Some(&stub), ..Begin::default() });
    assert!(why.contains("allows no sandbox") && why.contains("no namespaces here"), "{why}");
    let begin = Begin { path: Some(&stub), unsafe_no_sandbox: true, ..Begin::default() };
    let (mut owner, clones) = started_so(&state, listen, &wordpress(), begin, &["one"]);
    let clone = &clones[0].0;
    assert!(!clone.effective_isolation.own_network, "the result says so: {:?}", clone.effective_isolation);
    responds(clone).await;
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("all programs to be gone", async || processes_in(dir.path()).is_empty()).await;
}

/// A library whose constructor runs a script, for LD_PRELOAD.
fn preloaded_library(to: &Path, script: &str) {
    let source = to.with_extension("c");
    let code = format!(
        "#include <stdlib.h>\n__attribute__((constructor)) void run(void) {{ unsetenv(\"LD_PRELOAD\"); system(\"sh {script}\"); }}"
    );
    fs::write(&source, code).expect("a file");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(to).arg(&source).status().expect("cc");
    assert!(built.success());
}

/// PHP that sends a request to a php-fpm with settings that only administrators may make, and prints the response.
const PHP_ADMIN_VALUE: &str = r#"
function part(int $type, string $content): string { return pack('CCnnCC', 1, $type, 1, strlen($content), 0, 0) . $content; }
function pair(string $name, string $value): string { return pack('NN', strlen($name) | 1 << 31, strlen($value) | 1 << 31) . $name . $value; }
$fpm = stream_socket_client('unix://' . $socket);
$params = ['SCRIPT_FILENAME' => $script, 'REQUEST_METHOD' => 'GET', 'PHP_ADMIN_VALUE' => "open_basedir=/\ndisable_functions="];
$pairs = '';
foreach ($params as $name => $value) $pairs .= pair($name, $value);
fwrite($fpm, part(1, pack('nCx5', 1, 0)) . part(4, $pairs) . part(4, '') . part(5, ''));
echo stream_get_contents($fpm);
"#;

pub(crate) async fn without_root_code_that_leaves_phps_restrictions_reaches_nothing() {
    let dir = folder();
    let (state, listen, tree) = (dir.path().join("state"), free_address(), dir.path().join("wordpress"));
    let copied = Command::new("cp").arg("-rL").arg(wordpress()).arg(&tree).status().expect("cp");
    assert!(copied.success());
    fs::create_dir(&state).expect("a folder");
    let user = rustix::process::geteuid().is_root().then_some(1_899_999_999);
    std::os::unix::fs::chown(&state, user, user).expect("chown");
    let (mut owner, clones) = started(&state, listen, &tree, user, &["one", "two"]);
    let ((one, ..), (two, ..)) = (&clones[0], &clones[1]);
    let own = state.join("clones").join(one.name.as_str());
    let tree = own.join("www").join(one.name.as_str());
    let mut files = secrets_of_the_machine(&state, one, two);
    files.push(format!("/proc/{}/environ", owner.id()).into());

    let script = format!("({}) > {} 2>&1\n", read_all(&files), own.join("tmp/output.txt").display());
    fs::write(tree.join("attack.sh"), script).expect("a file");
    let library = tree.join("attack.so");
    preloaded_library(&library, &tree.join("attack.sh").display().to_string());
    let preload = format!(
        "putenv('LD_PRELOAD={}'); mail('a@b.c', 'x', 'y'); echo file_get_contents('{}');",
        library.display(),
        own.join("tmp/output.txt").display()
    );
    assert_eq!(eval_in(&tree, one, false, &preload).await, "done\n", "a program ran, and read nothing");

    let listed: Vec<String> = files.iter().map(|file| format!("'{}'", file.display())).collect();
    let probe = format!(
        "<?php error_reporting(0); foreach ([{}] as $file) if (file_get_contents($file) || scandir($file)) echo \"read $file\\n\"; \
         echo 'basedir ', ini_get('open_basedir');",
        listed.join(",")
    );
    fs::write(tree.join("probe.php"), probe).expect("a file");
    let attack = format!(
        "$socket = '{}'; $script = __DIR__ . '/probe.php'; {PHP_ADMIN_VALUE}",
        own.join("run/php.sock").display()
    );
    let output = eval_in(&tree, one, false, &attack).await;
    assert!(output.contains("basedir /") && !output.contains("basedir /t"), "the setting was made: {output}");
    assert!(!output.contains("read "), "{output}");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("all programs to be gone", async || processes_in(dir.path()).is_empty()).await;
}
