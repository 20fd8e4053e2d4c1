//! Calls to the kernel that a confined provider is refused, made by number.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::lattice::{Lattice, path};
use crate::support::wait;

/// Calls to the kernel by number: name, number on x86_64, number on aarch64, arguments. `$host` is the host's process.
const CALLS: &[(&str, u32, u32, &str)] = &[
    ("ptrace attach", 101, 117, "16, $host, 0, 0"),
    ("ptrace seize", 101, 117, "0x4206, $host, 0, 0"),
    ("process_vm_readv", 310, 270, "$host, 0, 0, 0, 0, 0"),
    ("process_vm_writev", 311, 271, "$host, 0, 0, 0, 0, 0"),
    ("kill", 62, 129, "$host, 9"),
    ("tgkill", 234, 131, "$host, $host, 9"),
    ("tkill", 200, 130, "$host, 9"),
    ("pidfd_getfd", 438, 438, "$pidfd, 0, 0"),
    ("pidfd_send_signal", 424, 424, "$pidfd, 9, 0, 0"),
    ("setpriority", 141, 140, "0, $host, 19"),
    ("sched_setaffinity", 203, 122, "$host, 8, $zeros"),
    ("prlimit64", 302, 261, "$host, 7, $zeros, 0"),
    ("outlive", 157, 167, "1, 0, 0, 0, 0"),
    ("setsid", 112, 157, ""),
    ("setpgid", 109, 154, "0, 0"),
    ("unshare", 272, 97, "0x10000000"),
    ("setns", 308, 268, "$pidfd, 0x40000000"),
    ("mount", 165, 40, "0, 0, 0, 0, 0"),
    ("chroot", 161, 51, "$root"),
    ("bpf", 321, 280, "0, $zeros, 0"),
    ("perf_event_open", 298, 241, "$zeros, 0, -1, -1, 0"),
    ("userfaultfd", 323, 282, "0"),
    ("keyctl", 250, 219, "0, -3, 0"),
    ("shmget", 29, 194, "0, 4096, 0x380"),
    ("memfd_create", 319, 279, "$root, 0"),
    ("io_uring_setup", 425, 425, "8, $zeros"),
    ("clone3", 435, 435, "$zeros, 88"),
    ("clone", 56, 220, "17, 0, 0, 0, 0"),
    ("unix socket", 41, 198, "1, 1, 0"),
    ("packet socket", 41, 198, "17, 3, 0"),
    ("vsock socket", 41, 198, "40, 1, 0"),
    ("audit socket", 41, 198, "16, 3, 9"),
    ("shared memory", 9, 222, "0, 4096, 3, 0x21, -1, 0"),
];

/// What runs it: confined programs may read what the system has, and this is there nearly everywhere.
const PERL: &str = "/usr/bin/perl";

/// The script that makes them, and writes the number of the error that each comes to.
fn script(host: u32) -> String {
    assert!(Path::new(PERL).is_file(), "{PERL} is missing: apt-get install perl");
    let mut script = format!(
        "#!{PERL}\nopen(my $out, '>', \"$ENV{{TMPDIR}}/report\") or die $!;\nmy $host = {host};\n\
         my $zeros = \"\\0\" x 256;\nmy $root = \"/\";\nmy $pidfd = syscall(434, $host, 0);\n"
    );
    for (name, x86_64, aarch64, arguments) in CALLS {
        let number = if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 };
        let call = [&number.to_string(), *arguments].join(", ");
        let call = call.trim_end_matches(", ");
        script +=
            &format!("$! = 0; my $r = syscall({call}); print $out \"{name}: \" . ($r == -1 ? $!+0 : 0) . \"\\n\";\n");
        if *name == "clone" {
            // A process that was made against expectation.
            script += "exit if $r == 0;\n";
        }
    }
    script + "print $out \"end: 0\\n\"; close $out;\n"
}

#[test]
fn the_kernel_refuses_a_provider_what_looks_into_others_or_leaves_its_bounds() {
    let programs = tempfile::tempdir().expect("a folder");
    let program = programs.path().canonicalize().expect("is there").join("raw");
    let lattice = Lattice::one_box(&["--allow-provider", path(&program)]);
    std::fs::write(&program, script(lattice.servers[0].id())).expect("written");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("made a program");
    // It is no provider, and the host says so.
    lattice.try_run(&["start", "provider", "raw", path(&program)]).refused();
    let report = lattice.data().join("hosts/local/providers/raw.tmp/report");
    let report = wait::until("the report of the script", || {
        let text = std::fs::read_to_string(&report).unwrap_or_default();
        if text.contains("end: 0") { Ok(text) } else { Err(format!("{text}\n{}", lattice.servers[0].output())) }
    });
    // EPERM, EACCES, ENOSYS.
    let reached: Vec<_> = report
        .lines()
        .filter(|line| !line.starts_with("end"))
        .filter(|line| ![": 1", ": 13", ": 38"].iter().any(|refused| line.ends_with(refused)))
        .collect();
    assert!(reached.is_empty(), "{reached:#?}");
    assert_eq!(report.lines().count(), CALLS.len() + 1, "{report}");
    lattice.run(&["get", "hosts"]);
}
