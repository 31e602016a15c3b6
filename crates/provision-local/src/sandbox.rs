//! The sandbox of strangers' programs: bubblewrap's namespaces, in which a program sees little more than its own folders.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use wpclone_supervisor::{FIRST_INHERITED_FD, is_in_system_folder, system_folder_args};

use crate::files::write_atomically;
use crate::seccomp::{self, SyscallFilter};
use crate::state_dir::StateDir;

/// What of /etc programs need to start and PHP's extensions need to work. What begins with `php` is added.
const SYSTEM_SETTINGS: [&str; 18] = [
    "ImageMagick-6",
    "ImageMagick-7",
    "alternatives",
    "fonts",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];
/// The host name in sandboxes, and their /etc/hosts.
const HOSTNAME: &str = "clone";
const HOSTS: &str = "127.0.0.1 localhost clone\n::1 localhost\n";
/// The devices in sandboxes. There are no terminals: those that programs create are counted for the whole machine.
const DEVICES: [&str; 5] = ["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];
/// The links beside them.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];
/// The most bytes in a sandbox's own /tmp and /dev/shm, which are memory.
const TMP_BYTES: u64 = 256 << 20;
const SHM_BYTES: u64 = 64 << 20;
/// The most signals and timers that wait in a sandbox. Without root they are counted for the worker's user as well.
const MAX_PENDING_SIGNALS: u64 = 1024;

/// What a program of strangers may see and use. It also sees the machine's programs (/usr), a private /tmp, and no other
/// process and no network, and of the devices only [`DEVICES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SandboxSpec {
    /// Files and folders that it may read, at their own paths.
    pub(crate) read_only: Vec<PathBuf>,
    /// Files and folders that it may also write, at their own paths. They may lie in folders that it may only read.
    pub(crate) read_write: Vec<PathBuf>,
    pub(crate) limits: ResourceLimits,
    /// Which system calls it may not use.
    pub(crate) syscalls: SyscallFilter,
}

/// The most that all processes of a program together use. Control groups enforce it where there are any; otherwise limits of
/// single processes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResourceLimits {
    /// Processes and threads.
    pub(crate) processes: u32,
    /// Bytes of memory. The page cache of its files counts too, but is freed when it is needed.
    pub(crate) memory_bytes: u64,
    /// Its share of the processors when they are busy, from 1 to 10,000; 100 is that of an ordinary process.
    pub(crate) cpu_weight: u32,
    /// Open files of each process.
    pub(crate) open_files: u64,
    /// Bytes of each file; a program that writes more is killed.
    pub(crate) file_bytes: Option<u64>,
}

/// The programs that build sandboxes: bubblewrap, and util-linux' prlimit.
#[derive(Debug, Clone)]
pub(crate) struct SandboxPrograms {
    pub(crate) bwrap: PathBuf,
    pub(crate) prlimit: PathBuf,
}

/// What sandboxes are built with.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(crate) programs: SandboxPrograms,
    /// The files with the system call filters.
    php_filter: PathBuf,
    database_filter: PathBuf,
    /// The file that is /etc/hosts in sandboxes.
    pub(crate) hosts: PathBuf,
}

impl Sandbox {
    /// Writes the files.
    pub(crate) fn new(programs: SandboxPrograms, state_dir: &StateDir) -> io::Result<Self> {
        let write_filter = |filter| {
            let file = state_dir.seccomp_filter(filter);
            write_atomically(&file, &seccomp::program(filter)?, 0o600).map(|()| file)
        };
        let (php_filter, database_filter) =
            (write_filter(SyscallFilter::Php)?, write_filter(SyscallFilter::Database)?);
        let hosts = state_dir.sandbox_hosts();
        write_atomically(&hosts, HOSTS.as_bytes(), 0o644)?;
        Ok(Self { programs, php_filter, database_filter, hosts })
    }

    /// The file with the system call filter of a sandbox.
    pub(crate) fn filter_of(&self, spec: &SandboxSpec) -> PathBuf {
        match spec.syscalls {
            SyscallFilter::Php => self.php_filter.clone(),
            SyscallFilter::Database => self.database_filter.clone(),
        }
    }

    /// The command that starts a program in a sandbox and with its limits. `folder` is the supervisor's; its mount marks the
    /// sandbox. The supervisor passes [`Self::filter_of`] as the first inherited file. `limit_memory`: that of each process.
    pub(crate) fn command(
        &self,
        spec: &SandboxSpec,
        folder: &Path,
        limit_memory: bool,
        program: &Path,
        mut args: Vec<String>,
    ) -> (PathBuf, Vec<String>) {
        let mut wrapped = self.bwrap_args(spec, folder, program);
        wrapped.push(self.programs.prlimit.display().to_string());
        wrapped.extend(prlimit_args(&spec.limits, limit_memory));
        wrapped.push(program.display().to_string());
        wrapped.append(&mut args);
        (self.programs.bwrap.clone(), wrapped)
    }

    fn bwrap_args(&self, spec: &SandboxSpec, folder: &Path, program: &Path) -> Vec<String> {
        let mut args: Vec<String> = [
            "--unshare-user",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-net",
            "--unshare-cgroup",
            // No further user namespaces, by bubblewrap as by the filter.
            "--disable-userns",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
            "--hostname",
            HOSTNAME,
            "--chdir",
            "/",
            "--setenv",
            "TMPDIR",
            "/tmp",
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(["--seccomp".to_owned(), FIRST_INHERITED_FD.to_string()]);
        add_system(&mut args);
        args.extend(["--ro-bind".to_owned(), self.hosts.display().to_string(), "/etc/hosts".into()]);
        for (size, mount) in [(SHM_BYTES, "/dev/shm"), (TMP_BYTES, "/tmp")] {
            args.extend(["--size".to_owned(), size.to_string(), "--perms".into(), "1777".into()]);
            args.extend(["--tmpfs".to_owned(), mount.into()]);
        }
        for folder in hidden_folders(spec, folder) {
            args.extend(["--perms".to_owned(), "0111".into(), "--dir".into(), folder.display().to_string()]);
        }
        let read_only = spec.read_only.iter().map(PathBuf::as_path).chain([folder]);
        for path in read_only.chain((!is_in_system_folder(program)).then_some(program)) {
            bind(&mut args, "--ro-bind", path);
        }
        for path in &spec.read_write {
            bind(&mut args, "--bind", path);
        }
        // What is left writable would be memory without a limit.
        args.extend(["--remount-ro", "/dev", "--remount-ro", "/", "--"].map(str::to_owned));
        args
    }
}

/// The arguments of prlimit before a program's own. Processes are counted in the sandbox's user namespace.
fn prlimit_args(limits: &ResourceLimits, limit_memory: bool) -> Vec<String> {
    let mut args = vec![
        format!("--nproc={}", allowed(Resource::Nproc, limits.processes.into())),
        format!("--nofile={}", allowed(Resource::Nofile, limits.open_files)),
        format!("--sigpending={}", allowed(Resource::Sigpending, MAX_PENDING_SIGNALS)),
        "--core=0".to_owned(),
    ];
    args.extend(limits.file_bytes.map(|bytes| format!("--fsize={}", allowed(Resource::Fsize, bytes))));
    args.extend(limit_memory.then(|| format!("--as={}", allowed(Resource::As, limits.memory_bytes))));
    args.push("--".to_owned());
    args
}

/// The limit, or our own, which others than root cannot raise.
fn allowed(resource: Resource, limit: u64) -> u64 {
    getrlimit(resource).maximum.map_or(limit, |own| own.min(limit))
}

/// Adds the machine's programs, the settings that they need, and the special file systems.
fn add_system(args: &mut Vec<String>) {
    args.extend(system_folder_args());
    for name in SYSTEM_SETTINGS {
        bind(args, "--ro-bind-try", &Path::new("/etc").join(name));
    }
    for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("php")) {
            bind(args, "--ro-bind", &entry.path());
        }
    }
    args.extend(["--proc", "/proc", "--tmpfs", "/dev"].map(str::to_owned));
    for device in DEVICES {
        bind(args, "--dev-bind", Path::new(device));
    }
    for (target, link) in DEVICE_LINKS {
        args.extend(["--symlink", target, link].map(str::to_owned));
    }
}

/// The folders that lead to those of a sandbox: they can be passed and not listed.
fn hidden_folders<'a>(spec: &'a SandboxSpec, folder: &'a Path) -> BTreeSet<&'a Path> {
    let shown: Vec<&Path> =
        spec.read_only.iter().chain(&spec.read_write).map(PathBuf::as_path).chain([folder]).collect();
    let is_shown = |folder: &Path| shown.iter().any(|shown| folder.starts_with(shown));
    let above = shown.iter().flat_map(|path| path.ancestors().skip(1));
    above.filter(|folder| folder.parent().is_some() && !is_shown(folder)).collect()
}

/// Shows a path in the sandbox at the same path.
fn bind(args: &mut Vec<String>, how: &str, path: &Path) {
    let path = path.display().to_string();
    args.extend([how.to_owned(), path.clone(), path]);
}
