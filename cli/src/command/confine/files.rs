//! What a process opens: its own folder, what every program of the system needs, and what the operator names. The rest
//! is refused by Landlock, which also keeps it from the memory of other processes and from sending them signals.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, Scope, make_bitflags, path_beneath_rules,
};

use crate::output::say;

/// The newest of what is asked for; of it, a kernel does what it can.
const NEWEST: ABI = ABI::V6;
/// Without these, nothing is kept from anybody.
const OLDEST: ABI = ABI::V1;

/// Code of the system. A program that is run instead of the provider's own has no more rights than that.
const CODE: &[&str] = &["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store"];

/// Names, servers, certificates and times, without a folder in which a key may lie; and what a process may know of
/// itself and of the machine.
const FACTS: &[&str] = &[
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/run/NetworkManager/resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/systemd/resolve",
    "/var/lib/ca-certificates",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/sys/devices/system/cpu",
];

/// Where nothing stays.
const SINKS: &[&str] = &["/dev/null", "/dev/full"];

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// What a process may open.
pub(super) struct Allowed<'a> {
    /// Its program.
    pub(super) program: &'a Path,
    /// What it may read beside what every program may.
    pub(super) readable: &'a [PathBuf],
    /// What it may read and write.
    pub(super) writable: &'a [PathBuf],
}

/// What this kernel lacks.
pub(super) fn missing() -> Option<&'static str> {
    let hard = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if hard().handle_access(AccessFs::from_all(OLDEST)).is_err() {
        return Some("Landlock (files and memory of others; Linux 5.13, `landlock` among its security modules)");
    }
    None
}

/// Keeps this process to `allowed`, as far as the kernel can.
pub(super) fn keep_to(allowed: &Allowed<'_>) -> anyhow::Result<()> {
    let keep = || -> anyhow::Result<()> {
        let rules = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?.scope(Scope::from_all(NEWEST))?;
        let rules = allow(rules.create()?, CODE, READ | AccessFs::Execute)?;
        let rules = allow(rules, &[allowed.program], AccessFs::Execute | AccessFs::ReadFile)?;
        let rules = allow(rules, FACTS, READ)?;
        let rules = allow(rules, SINKS, AccessFs::ReadFile | AccessFs::WriteFile)?;
        let rules = allow(rules, allowed.readable, READ)?;
        let rules = allow(rules, allowed.writable, AccessFs::from_all(NEWEST) & !BitFlags::from(AccessFs::Execute))?;
        rules.restrict_self()?;
        Ok(())
    };
    for absent in allowed.readable.iter().chain(allowed.writable).filter(|path| !path.exists()) {
        say(format_args!("{} is not there, and is not given to this provider", absent.display()));
    }
    keep().context("keep to files by Landlock")
}

/// What is not there cannot be allowed, and need not be: a system has some of these files.
fn allow<P: AsRef<Path>>(
    rules: RulesetCreated,
    paths: &[P],
    access: impl Into<BitFlags<AccessFs>>,
) -> anyhow::Result<RulesetCreated> {
    Ok(rules.add_rules(path_beneath_rules(paths, access))?)
}
