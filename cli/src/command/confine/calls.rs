//! What a process asks of the kernel: not to look into other processes, to start some, to leave its groups, to use
//! memory that no limit counts, or to talk to servers of this machine that believe whoever reaches them.
//!
//! What is refused is listed rather than what is allowed: programs of many languages are to run unchanged. What only a
//! superuser can do is not on the list, because those rights are gone. Everything else is refused by `files`.

#[cfg(target_arch = "x86_64")]
#[path = "numbers_x86_64.rs"]
mod numbers;
#[cfg(not(target_arch = "x86_64"))]
#[path = "numbers.rs"]
mod numbers;

use std::collections::BTreeMap;

use anyhow::Context as _;
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

/// Sockets of the network, and those by which addresses of this machine are looked up.
pub(super) const NETWORK: &[i32] = &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The same with those of programs on one machine.
pub(super) const NETWORK_AND_UNIX: &[i32] = &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_UNIX];

/// By this file a kernel says that it can.
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// Into other processes.
const OTHERS: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_tkill,
];

/// Out of its groups: it could not be ended with all that it started.
const GROUPS: &[c_long] = &[libc::SYS_setsid, libc::SYS_setpgid];

/// Parts of the kernel that a provider has no use for, and in which most holes were found.
const PARTS: &[c_long] = &[
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
];

/// Memory that counts for nobody, or is shared with others by number.
const MEMORY: &[c_long] = &[
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semctl,
];

/// What a program does without when the kernel is too old for it. `clone3` has its flags where no filter sees them, and
/// what goes by a ring is seen by none.
const UNKNOWN: &[c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What this kernel lacks.
pub(super) fn missing() -> Option<&'static str> {
    let is_there = std::fs::read_to_string(ACTIONS).is_ok_and(|actions| actions.contains("errno"));
    (!is_there).then_some("seccomp filters (calls to the kernel; CONFIG_SECCOMP_FILTER)")
}

/// Has the kernel refuse these calls, and sockets of other `families`, to this process from now on.
pub(super) fn refuse(families: &[i32]) -> anyhow::Result<()> {
    for filter in filters(std::process::id(), families).context("make the filter of calls")? {
        apply_filter(&filter).context("filter calls")?;
    }
    Ok(())
}

/// What is forbidden to the process `pid`, and what it is told that there is not.
fn filters(pid: u32, families: &[i32]) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let unknown = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    Ok([compile(forbidden(pid.into(), families)?, libc::EPERM)?, compile(unknown, libc::ENOSYS)?])
}

fn compile(rules: Rules, error: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let error = SeccompAction::Errno(u32::try_from(error).expect("numbers of errors are positive"));
    let rules = numbers::with_other_numbers(rules);
    SeccompFilter::new(rules, SeccompAction::Allow, error, std::env::consts::ARCH.try_into()?)?.try_into()
}

fn forbidden(pid: u64, families: &[i32]) -> Result<Rules, seccompiler::BackendError> {
    let always = [OTHERS, GROUPS, PARTS, MEMORY, numbers::FORKS].concat();
    let mut rules: Rules = always.into_iter().map(|call| (call, Vec::new())).collect();
    // A thread, and no process.
    rules.insert(libc::SYS_clone, vec![none_of(0, flags(libc::CLONE_THREAD))?]);
    // It ends with its host.
    rules.insert(libc::SYS_prctl, vec![all(&[(0, SeccompCmpOp::Eq, flags(libc::PR_SET_PDEATHSIG))])?]);
    // Memory that is shared with nobody's files.
    let shared = flags(libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    rules.insert(libc::SYS_mmap, vec![all(&[(3, SeccompCmpOp::MaskedEq(shared), shared)])?]);
    rules.insert(libc::SYS_socket, sockets(families)?);
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        rules.insert(call, vec![other_than(0, &[pid])?]);
    }
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ] {
        rules.insert(call, vec![other_than(0, &[0, pid])?]);
    }
    // Of one process, which is 0 to the first and 1 to the second, and of none but this.
    for (call, process) in [(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)] {
        rules.insert(call, vec![other_than(0, &[process])?, other_than(1, &[0, pid])?]);
    }
    Ok(rules)
}

/// Sockets of other `families`, and those of netlink but by which addresses of this machine are looked up.
fn sockets(families: &[i32]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let families: Vec<u64> = families.iter().map(|family| flags(*family)).collect();
    let [netlink, route] = [libc::AF_NETLINK, libc::NETLINK_ROUTE].map(flags);
    Ok(vec![other_than(0, &families)?, all(&[(0, SeccompCmpOp::Eq, netlink), (2, SeccompCmpOp::Ne, route)])?])
}

fn flags(number: i32) -> u64 {
    u64::try_from(number).expect("constants of the kernel are positive")
}

/// Where the argument is none of `numbers`.
fn other_than(argument: u8, numbers: &[u64]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions: Vec<_> = numbers.iter().map(|number| (argument, SeccompCmpOp::Ne, *number)).collect();
    all(&conditions)
}

/// Where the argument has none of `flags`.
fn none_of(argument: u8, flags: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    all(&[(argument, SeccompCmpOp::MaskedEq(flags), 0)])
}

fn all(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions.iter().cloned();
    // Numbers of processes, kinds and flags all are 32 bits wide, whatever stands above them.
    let conditions =
        conditions.map(|(argument, how, number)| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, number));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;
    use std::os::unix::net::{UnixListener, UnixStream};

    use rustix::fs::MemfdFlags;
    use rustix::process::{Signal, getpid, getppid, kill_process, setsid};

    use super::{NETWORK, NETWORK_AND_UNIX, filters, forbidden, refuse};

    fn kind<T>(result: Result<T, impl Into<std::io::Error>>) -> Option<ErrorKind> {
        result.err().map(|error| {
            let error: std::io::Error = error.into();
            error.kind()
        })
    }

    #[test]
    fn what_is_refused_and_what_goes_on() {
        // Filters hold for the thread that takes them, and for those that it starts.
        let filtered = std::thread::spawn(|| {
            refuse(NETWORK).expect("this kernel can");
            let others = getppid().expect("a test has a parent");
            let refused = [
                kind(std::process::Command::new("/bin/true").spawn()),
                kind(kill_process(others, Signal::CONT)),
                kind(setsid()),
                kind(rustix::fs::memfd_create("a", MemfdFlags::empty())),
                kind(UnixListener::bind("/tmp/never")),
            ];
            assert_eq!(refused, [Some(ErrorKind::PermissionDenied); 5]);
            let allowed = [
                kind(TcpListener::bind("127.0.0.1:0")),
                kind(UnixStream::pair()),
                kind(kill_process(getpid(), Signal::CONT)),
                kind(std::thread::Builder::new().spawn(|| {})),
            ];
            assert_eq!(allowed, [None; 4]);
        });
        filtered.join().expect("all is so");
        assert_eq!(kind(std::process::Command::new("/bin/true").status()), None, "others are as they were");
    }

    #[test]
    fn the_filters_are_programs_that_a_kernel_takes() {
        for filter in filters(4_711, NETWORK_AND_UNIX).expect("compiles") {
            assert!((10..4_096).contains(&filter.len()), "{} instructions", filter.len());
        }
    }

    #[test]
    fn looking_into_others_is_forbidden_whatever_the_arguments() {
        let rules = forbidden(1, NETWORK).expect("made");
        for call in [libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_setsid, libc::SYS_memfd_create] {
            assert!(rules.get(&call).is_some_and(Vec::is_empty), "{call}");
        }
        assert!(!rules.contains_key(&libc::SYS_execve) && !rules.contains_key(&libc::SYS_futex));
    }
}
