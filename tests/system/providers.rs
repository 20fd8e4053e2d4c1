//! Providers as processes, from outside: what is built in, archives, and the beginnings of new ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use ::http::Method;

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::{http, process, wait};

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

/// A folder for what is built from templates.
fn templates(name: &str) -> PathBuf {
    process::binary().parent().and_then(Path::parent).expect("<target>/release").join(name)
}

fn cargo(project: &Path, arguments: &[&str], target: &str) {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(project)
        .env("CARGO_TARGET_DIR", templates(target))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_new_provider_builds_passes_its_test_and_answers_an_actor() {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    new(directory.path(), &["provider", "price-list", "--sdk", path(&workspace.join("capability-providers/sdk"))]);
    let project = directory.path().join("price-list");
    // The versions that are here, rather than the newest ones, which may not be.
    std::fs::copy(workspace.join("Cargo.lock"), project.join("Cargo.lock")).expect("copied");
    cargo(&project, &["test"], "templates");
    cargo(&project, &["build"], "templates");
    let program = templates("templates").join("debug/price-list");

    let lattice = Lattice::one_box(&["--allow-provider", path(&program)]);
    lattice.run(&["start", "provider", "price-list", path(&program)]);
    let greeter = "my:price-list/greeter";
    let actor = signed_text(&lattice, "passer", PASSER);
    lattice.run(&["config", "put", "hi", "greeting=Hi"]);
    lattice.run(&["link", "put", "passer", "price-list", greeter, "--target-config", "hi"]);
    lattice.run(&["start", "actor", "passer", path(&actor)]);
    let greeted = lattice.run(&["call", "passer", &format!("{greeter}.greet(\"Ada\")")]);
    assert_eq!(greeted.trim(), "\"Hi, Ada\"");
    lattice.run(&["config", "put", "empty", "greeting="]);
    let bad = ["link", "put", "passer", "price-list", greeter, "--name", "bad", "--target-config", "empty"];
    let error = lattice.try_run(&bad).refused();
    assert!(error.contains("greeting") && error.contains("Hello"), "it names key and example: {error}");
}

/// An actor that asks the template's provider what it is asked itself.
const PASSER: &str = r#"(component
  (import "my:price-list/greeter" (instance $greeter (export "greet" (func (param "name" string) (result string)))))
  (core module $heap
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $free))
      (global.set $free (i32.add (global.get $free) (local.get 3)))
      (local.get $at)))
  (core instance $heap (instantiate $heap))
  (core func $ask
    (canon lower (func $greeter "greet") (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (core module $pass
    (import "greeter" "greet" (func $ask (param i32 i32 i32)))
    (func (export "greet") (param i32 i32) (result i32)
      (call $ask (local.get 0) (local.get 1) (i32.const 16))
      (i32.const 16)))
  (core instance $pass (instantiate $pass (with "greeter" (instance (export "greet" (func $ask))))))
  (func $greet (param "name" string) (result string)
    (canon lift (core func $pass "greet") (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (instance $out (export "greet" (func $greet)))
  (export "my:price-list/greeter" (instance $out)))"#;

/// The actor that a text is, signed for whatever it imports.
fn signed_text(lattice: &Lattice, name: &str, text: &str) -> PathBuf {
    let file = |ending: &str| lattice.data().join(format!("{name}{ending}"));
    let (plain, signed) = (file(".wasm"), file(".signed.wasm"));
    std::fs::write(&plain, wat::parse_str(text).expect("a component")).expect("written");
    process::run(lattice.data(), &["sign", path(&plain), "--import-all", "--out", path(&signed), "--name", name]).ok();
    signed
}

#[test]
fn dice_from_a_file_roll_for_an_actor_by_a_contract_of_their_own() {
    let program = process::binary().with_file_name("dice-provider");
    let lattice = Lattice::one_box(&["--allow-provider", path(&program)]);
    lattice.run(&["start", "provider", "dice", path(&program)]);
    let actor = lattice.signed("game", &["demo:dice/*"]);
    lattice.run(&["config", "put", "two-sides", "sides=2"]);
    lattice.run(&["link", "put", "game", "dice", "demo:dice/roller", "--target-config", "two-sides"]);
    lattice.run(&["start", "actor", "game", path(&actor)]);
    lattice.serve_http(None, &[("/", "game")]);
    let rolled = lattice.until_ok("/50");
    let (values, total) = rolled.trim().split_once(" = ").expect("values and their sum");
    let values: Vec<u32> = values.split(" + ").map(|value| value.parse().expect("a number")).collect();
    assert!(values.len() == 50 && values.iter().all(|value| (1..=2).contains(value)), "{rolled}");
    assert_eq!(total, values.iter().sum::<u32>().to_string(), "{rolled}");
    assert_eq!(lattice.get("/101"), (400, "a hundred dice at most\n".to_owned()));
}

#[test]
fn what_a_process_says_is_in_the_log_of_its_host_with_its_id() {
    let program = process::binary().with_file_name("probe-provider");
    let lattice = Lattice::one_box(&["--allow-provider", path(&program)]);
    lattice.run(&["start", "provider", "talker", path(&program)]);
    // The program warns of this when it starts, by `tracing`.
    lattice.servers[0].wait_for("probe started");
    let log = lattice.servers[0].output();
    let line = log.lines().find(|line| line.contains("probe started")).expect("it was waited for");
    for part in ["WARN", "provider_id", "talker", "disk=a"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

/// The example `app`, with what it has built in as a process, and nothing else changed.
fn deployed(lattice: &Lattice, app: &str, imports: &[&str], builtin: &str) {
    let manifest =
        App::example(lattice, app, imports).with(&format!("builtin:{builtin}"), &format!("process:{builtin}")).write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    lattice.until_ok("/");
}

fn ask(lattice: &Lattice, method: Method, path: &str, body: &'static str) -> u16 {
    lattice.runtime.block_on(http::request(lattice.address, method, path, body.into())).expect("an answer").0
}

#[test]
fn a_database_in_a_process_of_its_own_outlives_its_process() {
    let lattice = Lattice::one_box(&[]);
    deployed(&lattice, "todo", &["trellis:sql/*"], "sql");
    assert_eq!(ask(&lattice, Method::POST, "/", "buy milk"), 201);
    process::signal(process::provider_of(lattice.servers[0].id(), "sql"), "KILL");
    assert_eq!(lattice.until_ok("/"), "1 [ ] buy milk\n");
}

#[test]
fn blobs_in_a_process_of_its_own_outlive_its_process() {
    let lattice = Lattice::one_box(&[]);
    deployed(&lattice, "files", &["wasi:blobstore/*"], "blobstore");
    assert_eq!(ask(&lattice, Method::PUT, "/note", "hello"), 201);
    process::signal(process::provider_of(lattice.servers[0].id(), "blobstore"), "KILL");
    assert_eq!(lattice.until_ok("/note"), "hello");
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
