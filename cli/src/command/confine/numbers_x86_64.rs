//! Numbers of calls that only this kind of machine has.

use libc::c_long;

use super::Rules;

/// By these, processes are started as well.
pub(super) const FORKS: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];

/// This bit makes of a number that of the same call with pointers of 32 bits (x32), where a kernel has those.
const SHORT: i64 = 0x4000_0000;
/// Of these calls x32 has other numbers: ptrace, rt_sigqueueinfo, rt_tgsigqueueinfo, process_vm_readv and _writev.
const OWN: &[i64] = &[521, 524, 536, 539, 540];

/// `rules` for all numbers by which these calls are made.
pub(super) fn with_other_numbers(rules: Rules) -> Rules {
    let short = rules.iter().map(|(call, rules)| (call | SHORT, rules.clone()));
    let own = OWN.iter().map(|call| (call | SHORT, Vec::new()));
    short.chain(own).chain(rules.clone()).collect()
}
