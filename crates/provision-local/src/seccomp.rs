//! The system calls that programs in sandboxes may not use.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

/// Calls that PHP and MariaDB can do without, and that attack the kernel, other processes or the sandbox. Programs take the
/// error, ENOSYS, for a kernel without them.
const DENIED: &[c_long] = &[
    // Keys, which are not in any namespace.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // Large, rarely needed parts of the kernel.
    libc::SYS_bpf,
    libc::SYS_fanotify_init,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    // Other processes.
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    // Mounts and namespaces. The arguments of clone3 are in memory, where a filter cannot see them; libraries use clone then.
    libc::SYS_chroot,
    libc::SYS_clone3,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
    // The machine.
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_personality,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    // Two ways to give a file a mode that a filter cannot see, or that came later than others: libraries use those then.
    libc::SYS_openat2,
    SYS_FCHMODAT2,
    // Filters of its own: compiled ones take memory of which the whole machine has little (net.core.bpf_jit_limit).
    libc::SYS_seccomp,
];
/// Calls that are also denied to PHP and what it starts. What they create belongs to no process, so neither limits nor
/// measurements of processes include it, or is counted for the machine or for a user, who without root is the worker's.
const DENIED_TO_PHP: &[c_long] = &[
    // An open file in the queue of a socket: nobody sees what a removed one takes of the disk.
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    // Memory: files in it, and System V's and POSIX' objects.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
    // Of the machine: contexts of asynchronous I/O (fs.aio-max-nr).
    libc::SYS_io_setup,
    libc::SYS_io_submit,
    // Of a user: watched files (fs.inotify).
    libc::SYS_inotify_init1,
    // Attributes of files, among them how much XFS allocates for the first byte that is written.
    SYS_FILE_SETATTR,
];
/// fchmodat2 of Linux 6.6, on all architectures.
const SYS_FCHMODAT2: c_long = 452;
/// file_setattr of Linux 6.17, on all architectures.
const SYS_FILE_SETATTR: c_long = 469;
#[cfg(target_arch = "x86_64")]
const DENIED_TO_PHP_ON_ARCHITECTURE: &[c_long] = &[libc::SYS_inotify_init];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_TO_PHP_ON_ARCHITECTURE: &[c_long] = &[];
#[cfg(target_arch = "x86_64")]
const DENIED_ON_ARCHITECTURE: &[c_long] = &[
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_ON_ARCHITECTURE: &[c_long] = &[];

/// Added to a call's number by programs that use the x32 form of x86-64: syscalls(2). Some calls have other numbers there, and
/// no program of a distribution uses it.
const X32: Option<u32> = if cfg!(target_arch = "x86_64") { Some(0x4000_0000) } else { None };

/// The flags of clone(2) that create a namespace.
const NEW_NAMESPACES: [c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Calls that give a file a mode, with the position of that argument. Those with flags do so only with one of
/// [`CREATING_FLAGS`].
const WITH_MODE: &[(c_long, u8)] = &[(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (libc::SYS_mknodat, 2)];
const WITH_FLAGS_AND_MODE: &[(c_long, u8, u8)] = &[(libc::SYS_openat, 2, 3)];
#[cfg(target_arch = "x86_64")]
const WITH_MODE_ON_ARCHITECTURE: &[(c_long, u8)] =
    &[(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mknod, 1)];
#[cfg(not(target_arch = "x86_64"))]
const WITH_MODE_ON_ARCHITECTURE: &[(c_long, u8)] = &[];
#[cfg(target_arch = "x86_64")]
const WITH_FLAGS_AND_MODE_ON_ARCHITECTURE: &[(c_long, u8, u8)] = &[(libc::SYS_open, 1, 2)];
#[cfg(not(target_arch = "x86_64"))]
const WITH_FLAGS_AND_MODE_ON_ARCHITECTURE: &[(c_long, u8, u8)] = &[];
/// The flags of open(2) that create a file. The second is what `O_TMPFILE` has beside `O_DIRECTORY`.
const CREATING_FLAGS: [c_int; 2] = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY];
/// Programs with such a mode run as the user or group of the file, whoever starts them.
const SET_ID_MODES: [u32; 2] = [libc::S_ISUID, libc::S_ISGID];

/// The requests of ioctl(2) that put input into a terminal.
const TERMINAL_INPUT: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// The requests of ioctl(2) that PHP and what it starts may make: those about descriptors. Most others are of terminals, which
/// there are none of, and of file systems, some of which take any space without writing it (`FS_IOC_RESVSP`).
const DESCRIPTOR_REQUESTS: [u64; 5] =
    [libc::FIOASYNC, libc::FIOCLEX, libc::FIONBIO, libc::FIONCLEX, libc::FIONREAD];

/// The commands of fcntl(2) that PHP and what it starts may not use: locks that belong to no process, so that nobody sees whose
/// they are; leases, which delay whoever opens the file; and watched folders.
const DENIED_COMMANDS: [c_int; 4] = [libc::F_OFD_SETLK, libc::F_OFD_SETLKW, libc::F_SETLEASE, libc::F_NOTIFY];

/// The options of setsockopt(2), at the level SOL_SOCKET, that give a socket a filter.
const SOCKET_FILTERS: [c_int; 4] = [
    libc::SO_ATTACH_FILTER,
    libc::SO_ATTACH_BPF,
    libc::SO_ATTACH_REUSEPORT_CBPF,
    libc::SO_ATTACH_REUSEPORT_EBPF,
];

/// Which programs a filter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyscallFilter {
    /// MariaDB's.
    Database,
    /// PHP, and everything that a clone's code starts.
    Php,
}

/// A filter in the form that bubblewrap reads: `struct sock_filter[]`.
pub(crate) fn program(filter: SyscallFilter) -> io::Result<Vec<u8>> {
    let programs = programs(filter).map_err(io::Error::other)?;
    Ok(joined(programs)
        .iter()
        .flat_map(|step| {
            let [code0, code1] = step.code.to_ne_bytes();
            let [k0, k1, k2, k3] = step.k.to_ne_bytes();
            [code0, code1, step.jt, step.jf, k0, k1, k2, k3]
        })
        .collect())
}

/// The programs that a filter consists of. Each denies calls with another error.
fn programs(filter: SyscallFilter) -> Result<Vec<BpfProgram>, BackendError> {
    let mut programs = vec![denying(rules(filter)?, libc::ENOSYS)?, denying(set_id_rules()?, libc::EPERM)?];
    if filter == SyscallFilter::Php {
        // Space that is not written is taken faster than anybody can look. With this error C libraries write it instead.
        let allocate = Rules::from([(libc::SYS_fallocate, Vec::new())]);
        programs.push(denying(allocate, libc::EOPNOTSUPP)?);
        // As of a file that knows no requests.
        let requests = DESCRIPTOR_REQUESTS.map(|request| argument(1, SeccompCmpOp::Ne, request));
        let requests = requests.into_iter().collect::<Result<Vec<_>, _>>()?;
        programs.push(denying(Rules::from([(libc::SYS_ioctl, vec![rule(requests)?])]), libc::ENOTTY)?);
        // As by a kernel without them.
        let commands = DENIED_COMMANDS.map(|command| rule([is(1, command)?]));
        let commands = commands.into_iter().collect::<Result<Vec<_>, _>>()?;
        programs.push(denying(Rules::from([(libc::SYS_fcntl, commands)]), libc::EINVAL)?);
        // There is no network, and what other sockets than those of Unix hold is counted for nobody.
        let sockets = Rules::from([(libc::SYS_socket, vec![rule([is_not(0, libc::AF_UNIX)?])?])]);
        programs.push(denying(sockets, libc::EAFNOSUPPORT)?);
    }
    programs.extend(X32.map(|x32| denying_from(x32, libc::ENOSYS)));
    Ok(programs)
}

/// A program that denies calls: always, or when one of their rules holds.
fn denying(rules: Rules, error: c_int) -> Result<BpfProgram, BackendError> {
    let denied = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, denied, ARCH.try_into()?)?.try_into()
}

/// A program that denies all calls whose number is this or larger.
fn denying_from(number: u32, error: c_int) -> BpfProgram {
    let (load, at_least) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JGE);
    let denied = SeccompAction::Errno(error.unsigned_abs());
    vec![
        // The number is the first field of `struct seccomp_data`: seccomp(2).
        instruction(load, 0),
        sock_filter { jf: 1, ..instruction(at_least, number) },
        instruction(libc::BPF_RET, denied.into()),
        instruction(libc::BPF_RET, SeccompAction::Allow.into()),
    ]
}

/// Joins programs: what one allows, the next one looks at.
fn joined(programs: Vec<BpfProgram>) -> BpfProgram {
    let allow = instruction(libc::BPF_RET, SeccompAction::Allow.into());
    programs.into_iter().rev().fold(BpfProgram::new(), |next, mut program| {
        let length = program.len();
        for (index, step) in program.iter_mut().enumerate() {
            if *step == allow && !next.is_empty() {
                let left = u32::try_from(length - index - 1).unwrap_or(u32::MAX);
                *step = instruction(libc::BPF_JMP | libc::BPF_JA, left);
            }
        }
        program.extend(next);
        program
    })
}

fn instruction(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// The calls that are denied: always, or when one of their rules holds.
fn rules(filter: SyscallFilter) -> Result<Rules, BackendError> {
    let mut denied = [DENIED, DENIED_ON_ARCHITECTURE].concat();
    if filter == SyscallFilter::Php {
        denied.extend([DENIED_TO_PHP, DENIED_TO_PHP_ON_ARCHITECTURE].concat());
    }
    let mut rules: Rules = denied.into_iter().map(|call| (call, Vec::new())).collect();
    let mut clones: Vec<_> =
        NEW_NAMESPACES.iter().map(|flag| flags_are(*flag, *flag)).collect::<Result<_, _>>()?;
    if filter == SyscallFilter::Php {
        // Locks of files belong to the table of open files. Shared with another process, it outlives the one they are shown for.
        clones.push(flags_are(libc::CLONE_FILES | libc::CLONE_THREAD, libc::CLONE_FILES)?);
    }
    rules.insert(libc::SYS_clone, clones);
    let terminal = TERMINAL_INPUT.iter().map(|request| rule([argument(1, SeccompCmpOp::Eq, *request)?]));
    rules.insert(libc::SYS_ioctl, terminal.collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_socket, socket_rules()?);
    rules.insert(libc::SYS_socketpair, vec![rule([is_not(0, libc::AF_UNIX)?])?]);
    rules.insert(libc::SYS_prctl, vec![rule([is(0, libc::PR_SET_SECCOMP)?])?]);
    let filters = SOCKET_FILTERS.iter().map(|option| rule([is(1, libc::SOL_SOCKET)?, is(2, *option)?]));
    rules.insert(libc::SYS_setsockopt, filters.collect::<Result<_, _>>()?);
    Ok(rules)
}

/// Where the file system's mounts outside of the sandbox permit it, whoever reaches such a file becomes the sandbox' user.
fn set_id_rules() -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    for mode in SET_ID_MODES {
        for (call, at) in [WITH_MODE, WITH_MODE_ON_ARCHITECTURE].concat() {
            rules.entry(call).or_default().push(rule([has_bits(at, mode.into())?])?);
        }
        for (call, flags_at, at) in [WITH_FLAGS_AND_MODE, WITH_FLAGS_AND_MODE_ON_ARCHITECTURE].concat() {
            for flag in CREATING_FLAGS {
                let creates = has_bits(flags_at, flag.unsigned_abs().into())?;
                rules.entry(call).or_default().push(rule([creates, has_bits(at, mode.into())?])?);
            }
        }
    }
    Ok(rules)
}

/// Sockets may be of Unix, TCP and UDP; routing messages tell programs that there is no network.
fn socket_rules() -> Result<Vec<SeccompRule>, BackendError> {
    const DEFAULT: c_int = 0;
    let mut rules = vec![rule([
        is_not(0, libc::AF_UNIX)?,
        is_not(0, libc::AF_INET)?,
        is_not(0, libc::AF_INET6)?,
        is_not(0, libc::AF_NETLINK)?,
    ])?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        rules.push(rule([
            is(0, family)?,
            is_not(2, DEFAULT)?,
            is_not(2, libc::IPPROTO_TCP)?,
            is_not(2, libc::IPPROTO_UDP)?,
        ])?);
    }
    rules.push(rule([is(0, libc::AF_NETLINK)?, is_not(2, libc::NETLINK_ROUTE)?])?);
    Ok(rules)
}

fn rule(conditions: impl IntoIterator<Item = SeccompCondition>) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect())
}

/// The flags of clone(2), of which these are looked at, are those.
fn flags_are(mask: c_int, flags: c_int) -> Result<SeccompRule, BackendError> {
    let (mask, flags) = (u64::from(mask.unsigned_abs()), u64::from(flags.unsigned_abs()));
    rule([SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), flags)?])
}

/// A condition on an argument, of which the kernel reads 32 bits.
fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
}

fn has_bits(index: u8, bits: u64) -> Result<SeccompCondition, BackendError> {
    argument(index, SeccompCmpOp::MaskedEq(bits), bits)
}

fn is(index: u8, value: c_int) -> Result<SeccompCondition, BackendError> {
    argument(index, SeccompCmpOp::Eq, u64::from(value.unsigned_abs()))
}

fn is_not(index: u8, value: c_int) -> Result<SeccompCondition, BackendError> {
    argument(index, SeccompCmpOp::Ne, u64::from(value.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_programs_that_the_kernel_accepts_in_length() {
        for filter in [SyscallFilter::Database, SyscallFilter::Php] {
            let bytes = program(filter).unwrap();
            // Instructions have eight bytes; BPF_MAXINSNS is 4096.
            assert!(bytes.len().is_multiple_of(8) && bytes.len() / 8 < 4096, "{}", bytes.len());
        }
    }
}
