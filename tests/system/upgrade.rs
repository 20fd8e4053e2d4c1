//! Providers that are processes, upgraded while they are asked without a pause: nothing fails, and the new version answers
//! after. One that does not work leaves the old one going.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::load::Load;
use crate::support::registry::Registry;
use crate::support::{process, wait};

/// The programs of the archives here become another one, which a confined provider may not.
const UNCONFINED: &[&str] = &["--provider-confine", "off"];

/// So many requests before, between and after upgrades.
const SOME: usize = 50;

/// Numbers that were each given once, from 1 on: no request was lost, and none was carried out twice.
fn check_counted(answers: Vec<String>, before: u64) {
    let mut numbers: Vec<u64> = answers.iter().map(|body| body.trim().parse().expect("a number")).collect();
    numbers.sort_unstable();
    let expected: Vec<u64> = (before + 1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

/// What the inventory says that the provider `id` is.
fn reference_of(lattice: &Lattice, id: &str) -> String {
    let inventory = lattice.run(&["get", "inventory", "--output", "json"]);
    let hosts: Value = serde_json::from_str(&inventory).expect("JSON");
    let hosts = hosts.as_array().expect("a list").iter();
    let mut providers = hosts.flat_map(|host| host["providers"].as_array().expect("a list"));
    let found = providers.find(|provider| provider["id"] == id).unwrap_or_else(|| panic!("{id} in {inventory}"));
    found["image_ref"].as_str().expect("a reference").to_owned()
}

/// The process of the provider `name` when it is another one than `before`.
fn next_process(lattice: &Lattice, name: &str, before: u32) -> u32 {
    wait::until("another process alone", || {
        let pid = process::provider_of(lattice.servers[0].id(), name);
        if pid == before { Err(format!("{pid} is there still")) } else { Ok(pid) }
    })
}

/// `counter`, which has its numbers from the store `kv`, whatever that is.
fn count(lattice: &Lattice) {
    let component = lattice.signed("counter", &["wasi:keyvalue/*"]);
    lattice.run(&["link", "put", "counter", "kv", "wasi:keyvalue/store,atomics"]);
    lattice.run(&["start", "actor", "counter", path(&component)]);
    lattice.serve_http(None, &[("/", "counter")]);
    assert_eq!(lattice.until_ok("/a"), "1\n");
}

#[test]
fn a_store_goes_from_process_to_process_and_counts_on() {
    let lattice = Lattice::one_box(&[]);
    lattice.run(&["start", "provider", "kv", "process:keyvalue"]);
    count(&lattice);
    let mut pid = process::provider_of(lattice.servers[0].id(), "keyvalue");
    let load = Load::once(&lattice.runtime, lattice.address, "/a");
    for _ in 0..3 {
        load.until_more(SOME);
        lattice.run(&["start", "provider", "kv", "process:keyvalue", "--update"]);
        pid = next_process(&lattice, "keyvalue", pid);
    }
    load.until_more(SOME);
    check_counted(load.end(&lattice.runtime), 1);
}

#[test]
fn an_http_server_is_upgraded_without_a_failed_request() {
    let lattice = Lattice::one_box(&[]);
    let component = lattice.signed("hello", &[]);
    lattice.run(&["start", "actor", "hello", path(&component)]);
    let address = format!("address={}", lattice.address);
    lattice.run(&["config", "put", "old", &address]);
    lattice.run(&["config", "put", "new", &address, "health=on"]);
    lattice.run(&["start", "provider", "http", "process:http-server", "--config", "old"]);
    lattice.route("/", "hello", "wasi:http/incoming-handler");
    lattice.until_ok("/");
    let mut pid = process::provider_of(lattice.servers[0].id(), "http-server");
    let load = Load::start(&lattice.runtime, lattice.address, "/");
    // The old config does not answer there by itself.
    for (config, livez) in [("new", "ok"), ("old", "hello"), ("new", "ok")] {
        load.until_more(SOME);
        lattice.run(&["start", "provider", "http", "process:http-server", "--config", config, "--update"]);
        pid = next_process(&lattice, "http-server", pid);
        let (status, body) = lattice.get("/livez");
        assert!(status == 200 && body.starts_with(livez), "{status} {body}");
    }
    load.until_more(SOME);
    let answers = load.end(&lattice.runtime);
    assert!(answers.iter().all(|body| body.starts_with("hello")), "{answers:?}");
}

/// An archive of the store as this `version` of a provider, which differs by a comment.
fn archive(lattice: &Lattice, version: &str) -> String {
    let program = lattice.data().join(format!("store-{version}"));
    let trellis = process::binary();
    let script =
        format!("#!/bin/sh\n# {version}\nexec {} provider keyvalue --log-format=json --log=info\n", path(&trellis));
    let script = if version == "broken" { "#!/bin/sh\necho no such device >&2\nexit 3\n".to_owned() } else { script };
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let archive = lattice.data().join(format!("store-{version}.par"));
    lattice.run(&["par", "create", path(&program), "--out", path(&archive), "--ver", version]);
    // Each machine takes its own program out of it.
    lattice.run(&["par", "insert", path(&archive), "/bin/true", "--target", "riscv64-linux"]);
    path(&archive).to_owned()
}

/// Pushes the archive of `version` under a tag of that name; the reference.
fn push(lattice: &Lattice, registry: &Registry, version: &str) -> String {
    let reference = format!("{}/acme/store:{version}", registry.host());
    lattice.run(&["push", &reference, &archive(lattice, version)]);
    reference
}

#[test]
fn a_new_tag_takes_over_and_one_that_does_not_work_leaves_the_old_one_going() {
    let (lattice, registry) = (Lattice::one_box(UNCONFINED), Registry::start());
    let [first, second, broken] = ["1.0.0", "1.1.0", "broken"].map(|version| push(&lattice, &registry, version));
    lattice.run(&["start", "provider", "kv", &first]);
    count(&lattice);
    let pid = process::provider_of(lattice.servers[0].id(), "keyvalue");
    let load = Load::once(&lattice.runtime, lattice.address, "/a");
    load.until_more(SOME);
    let refusal = lattice.try_run(&["start", "provider", "kv", &broken, "--update"]).refused();
    assert!(refusal.contains("was not replaced") && refusal.contains("exit status: 3"), "{refusal}");
    load.until_more(SOME);
    assert_eq!(process::provider_of(lattice.servers[0].id(), "keyvalue"), pid, "the old one goes on");
    assert_eq!(reference_of(&lattice, "kv"), first);
    let absent = format!("{}/acme/store:2", registry.host());
    let refusal = lattice.try_run(&["start", "provider", "kv", &absent, "--update"]).refused();
    assert!(refusal.contains("has no artifact"), "{refusal}");
    lattice.run(&["start", "provider", "kv", &second, "--update"]);
    next_process(&lattice, "keyvalue", pid);
    assert_eq!(reference_of(&lattice, "kv"), second);
    load.until_more(SOME);
    check_counted(load.end(&lattice.runtime), 1);
}

#[test]
fn an_application_has_its_provider_upgraded_in_place() {
    let (lattice, registry) = (Lattice::one_box(UNCONFINED), Registry::start());
    let [first, second, broken] = ["1.0.0", "1.1.0", "broken"].map(|version| push(&lattice, &registry, version));
    let write = |version: &str, image: &str| {
        App::example(&lattice, "counter", &["wasi:keyvalue/*"])
            .with("version: v1", &format!("version: {version}"))
            .with("image: builtin:keyvalue", &format!("image: {image}"))
            .write()
    };
    lattice.run(&["app", "deploy", path(&write("v1", &first)), "--wait"]);
    assert_eq!(lattice.until_ok("/a"), "1\n");
    let pid = process::provider_of(lattice.servers[0].id(), "keyvalue");
    let load = Load::once(&lattice.runtime, lattice.address, "/a");
    load.until_more(SOME);
    lattice.run(&["app", "deploy", path(&write("v2", &second)), "--wait"]);
    let pid = next_process(&lattice, "keyvalue", pid);
    assert_eq!(reference_of(&lattice, "counter-kv"), second);
    load.until_more(SOME);
    let refused =
        lattice.try_run(&["app", "deploy", path(&write("v3", &broken)), "--wait", "--timeout", "3"]).refused();
    assert!(refused.contains("was not replaced") && refused.contains("exit status: 3"), "{refused}");
    assert_eq!(process::provider_of(lattice.servers[0].id(), "keyvalue"), pid, "the old one goes on");
    load.until_more(SOME);
    check_counted(load.end(&lattice.runtime), 1);
}
