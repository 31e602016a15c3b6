//! The system calls that programs in sandboxes may not use.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
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
];
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

/// Added to a call's number by programs that use the x32 form of x86-64: syscalls(2).
#[cfg(target_arch = "x86_64")]
const X32: Option<c_long> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const X32: Option<c_long> = None;
/// The numbers, in that form, of calls that have another one there: ptrace, kexec_load, move_pages, process_vm_readv,
/// process_vm_writev and setsockopt.
const X32_NUMBERS: [c_long; 6] = [521, 528, 533, 539, 540, 541];
/// Those of calls that are denied to PHP: sendmsg, sendmmsg, io_setup and io_submit.
const X32_NUMBERS_FOR_PHP: [c_long; 4] = [518, 538, 543, 544];

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

/// The requests of ioctl(2) that put input into a terminal.
const TERMINAL_INPUT: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

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
    let rules = rules(filter).map_err(io::Error::other)?;
    let architecture = ARCH.try_into().map_err(io::Error::other)?;
    let denied = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(io::Error::other)?;
    Ok(program
        .iter()
        .flat_map(|step| {
            let [code0, code1] = step.code.to_ne_bytes();
            let [k0, k1, k2, k3] = step.k.to_ne_bytes();
            [code0, code1, step.jt, step.jf, k0, k1, k2, k3]
        })
        .collect())
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// The calls that are denied: always, or when one of their rules holds.
fn rules(filter: SyscallFilter) -> Result<Rules, seccompiler::BackendError> {
    let mut denied = [DENIED, DENIED_ON_ARCHITECTURE].concat();
    let mut x32_numbers = X32_NUMBERS.to_vec();
    if filter == SyscallFilter::Php {
        denied.extend([DENIED_TO_PHP, DENIED_TO_PHP_ON_ARCHITECTURE].concat());
        x32_numbers.extend(X32_NUMBERS_FOR_PHP);
    }
    let mut rules: Rules = denied.into_iter().map(|call| (call, Vec::new())).collect();
    let namespaces = NEW_NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        rule([argument(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?])
    });
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let terminal = TERMINAL_INPUT
        .iter()
        .map(|request| rule([argument(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *request)?]));
    rules.insert(libc::SYS_ioctl, terminal.collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_socket, socket_rules()?);
    rules.insert(libc::SYS_socketpair, vec![rule([is_not(0, libc::AF_UNIX)?])?]);
    rules.insert(libc::SYS_prctl, vec![rule([is(0, libc::PR_SET_SECCOMP)?])?]);
    let filters = SOCKET_FILTERS.iter().map(|option| rule([is(1, libc::SOL_SOCKET)?, is(2, *option)?]));
    rules.insert(libc::SYS_setsockopt, filters.collect::<Result<_, _>>()?);
    if let Some(x32) = X32 {
        let again: Rules = rules.iter().map(|(call, rules)| (call | x32, rules.clone())).collect();
        rules.extend(again);
        rules.extend(x32_numbers.into_iter().map(|call| (call | x32, Vec::new())));
    }
    Ok(rules)
}

/// Sockets may be of Unix, TCP and UDP; routing messages tell programs that there is no network.
fn socket_rules() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
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

fn rule(
    conditions: impl IntoIterator<Item = SeccompCondition>,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions.into_iter().collect())
}

fn argument(
    index: u8,
    length: SeccompCmpArgLen,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, length, operator, value)
}

fn is(index: u8, value: c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    argument(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(value.unsigned_abs()))
}

fn is_not(index: u8, value: c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    argument(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(value.unsigned_abs()))
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
