//! Providers as processes, from outside: what is built in, archives, and the beginnings of new ones.

use std::path::Path;
use std::process::Command;

use crate::support::lattice::{Lattice, path};
use crate::support::{process, wait};

fn until_gone(pid: u32) {
    wait::until("the end of a provider's process", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    });
}

fn counting() -> Lattice {
    let lattice = Lattice::one_box(&[]);
    let component = lattice.signed("counter", &["wasi:keyvalue/*"]);
    lattice.run(&["start", "provider", "kv", "process:keyvalue"]);
    lattice.run(&["link", "put", "counter", "kv", "wasi:keyvalue/store,atomics"]);
    lattice.run(&["start", "actor", "counter", path(&component)]);
    lattice.serve_http(None, &[("/", "counter")]);
    lattice
}

#[test]
fn a_store_in_a_process_of_its_own_outlives_its_process() {
    let lattice = counting();
    assert_eq!(lattice.until_ok("/a"), "1\n");
    let pid = process::provider_of(lattice.servers[0].id(), "keyvalue");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let data = limits.lines().find(|line| line.starts_with("Max data size")).expect("Linux has it");
    assert!(data.contains("2147483648"), "{data}");
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("it runs");
    assert!(environment.starts_with("TMPDIR=") && environment.matches('=').count() == 1, "{environment}");
    process::signal(pid, "KILL");
    assert_eq!(lattice.until_ok("/a"), "2\n");
    assert_ne!(process::provider_of(lattice.servers[0].id(), "keyvalue"), pid);
}

#[test]
fn a_process_ends_with_its_host_even_when_it_hangs() {
    let mut lattice = counting();
    lattice.until_ok("/a");
    let pid = process::provider_of(lattice.servers[0].id(), "keyvalue");
    process::signal(pid, "STOP");
    // Without a word, as when it runs out of memory.
    drop(lattice.servers.pop());
    until_gone(pid);
}

#[test]
fn an_archive_is_made_extended_shown_and_run() {
    let lattice = Lattice::one_box(&[]);
    let archive = lattice.data().join("true.par");
    let archive = path(&archive);
    lattice.run(&["par", "create", "/bin/true", "--out", archive, "--vendor", "acme", "--ver", "1.0.0"]);
    lattice.run(&["par", "insert", archive, "/bin/false", "--target", "riscv64-linux"]);
    let shown = lattice.run(&["par", "inspect", archive]);
    for part in ["true", "acme", "1.0.0", "riscv64-linux", &format!("{}-linux", std::env::consts::ARCH), "as signed"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let error = lattice.try_run(&["start", "provider", "true", archive]).refused();
    assert!(error.contains("before it was ready"), "it ran, and is no provider: {error}");
    let error = lattice.try_run(&["start", "provider", "true", "/bin/true"]).refused();
    assert!(error.contains("--allow-provider"), "{error}");
}

fn new(directory: &Path, arguments: &[&str]) {
    let output = Command::new(process::binary())
        .arg("new")
        .args(arguments)
        .current_dir(directory)
        .env("TRELLIS_DATA_DIR", directory)
        .output()
        .expect("trellis runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn cargo(project: &Path, arguments: &[&str], target: &str) {
    let target = process::binary().parent().and_then(Path::parent).expect("<target>/release").join(target);
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_new_provider_builds_and_passes_its_test() {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    new(directory.path(), &["provider", "price-list", "--sdk", path(&workspace.join("capability-providers/sdk"))]);
    let project = directory.path().join("price-list");
    // The versions that are here, rather than the newest ones, which may not be.
    std::fs::copy(workspace.join("Cargo.lock"), project.join("Cargo.lock")).expect("copied");
    cargo(&project, &["test"], "templates");
}

#[test]
fn a_new_actor_is_a_component() {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    new(directory.path(), &["actor", "price-list"]);
    let project = directory.path().join("price-list");
    std::fs::copy(workspace.join("examples/Cargo.lock"), project.join("Cargo.lock")).expect("copied");
    cargo(&project, &["check"], "templates");
}
