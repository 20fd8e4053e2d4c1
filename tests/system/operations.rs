//! What operators do by the command line: labels, cordon and drain, events, and components in a registry.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::lattice::{Lattice, path};
use crate::support::registry::Registry;
use crate::support::{process, wait};

/// A component with one function, signed by the lattice's issuer.
fn signed(lattice: &Lattice, name: &str) -> PathBuf {
    let wat = r#"(component
      (core module $m (func (export "f") (result i32) (i32.const 7)))
      (core instance $i (instantiate $m))
      (func $f (result u32) (canon lift (core func $i "f")))
      (instance $out (export "seven" (func $f)))
      (export "test:seven/seven" (instance $out)))"#;
    let (plain, signed) =
        (lattice.data().join(format!("{name}.wasm")), lattice.data().join(format!("{name}.signed.wasm")));
    std::fs::write(&plain, wat::parse_str(wat).expect("a component")).expect("written");
    process::run(lattice.data(), &["sign", path(&plain), "--out", path(&signed), "--name", name]).ok();
    signed
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The hosts, by name, that run the actor `id`.
fn hosts_of(lattice: &Lattice, id: &str) -> Vec<String> {
    let inventories = json(&lattice.run(&["get", "inventory", "--output", "json"]));
    let runs = |host: &&Value| {
        let components = host["components"].as_array().expect("a list");
        components.iter().any(|component| component["id"] == id)
    };
    let hosts = inventories.as_array().expect("a list").iter().filter(runs);
    hosts.map(|host| host["friendly_name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_host_is_labelled_cordoned_and_drained() {
    let lattice = Lattice::two_hosts();
    let labels = json(&lattice.run(&["label", "put", "a", "disk=ssd", "tier=edge", "--output", "json"]));
    assert_eq!((&labels["labels"]["disk"], &labels["labels"]["tier"]), (&"ssd".into(), &"edge".into()));
    let labels = json(&lattice.run(&["label", "del", "a", "tier", "--output", "json"]));
    assert_eq!(labels["labels"].get("tier"), None);

    let component = signed(&lattice, "seven");
    lattice.run(&["start", "actor", "seven", path(&component), "--host", "a", "--max", "3"]);
    assert_eq!(hosts_of(&lattice, "seven"), ["a"]);
    lattice.run(&["host", "cordon", "a", "--reason", "new disk"]);
    let shown = lattice.run(&["get", "hosts"]);
    assert!(shown.contains("trellis.dev/cordoned=new disk"), "{shown}");
    assert_eq!(hosts_of(&lattice, "seven"), ["a"], "what runs there goes on");

    let drained = json(&lattice.run(&["host", "drain", "a", "--output", "json"]));
    assert_eq!(drained["moved"][0]["to"], "b", "{drained}");
    assert_eq!(hosts_of(&lattice, "seven"), ["b"]);
    lattice.run(&["host", "uncordon", "a"]);
    assert!(!lattice.run(&["get", "hosts"]).contains("cordoned"));
    lattice.run(&["host", "cordon", "a"]);
    let refusal = lattice.try_run(&["host", "drain", "b"]).refused();
    assert!(refusal.contains("seven") && refusal.contains("no other host"), "{refusal}");
    assert_eq!(hosts_of(&lattice, "seven"), ["b"], "it is not stopped before it runs elsewhere");
}

#[test]
fn events_are_followed() {
    let lattice = Lattice::two_hosts();
    let lattice = &lattice;
    std::thread::scope(|scope| {
        let followed =
            scope.spawn(|| lattice.run(&["events", "--only", "config_set", "--count", "1", "--output", "json"]));
        wait::until("an event", || {
            lattice.run(&["config", "put", "settings", "a=b"]);
            if followed.is_finished() { Ok(()) } else { Err("none yet".to_owned()) }
        });
        let event = json(&followed.join().expect("runs"));
        assert_eq!(event["data"]["config_name"], "settings", "{event}");
    });
}

#[test]
fn a_component_goes_through_a_registry() {
    let lattice = Lattice::two_hosts();
    let registry = Registry::start();
    let component = signed(&lattice, "seven");
    let reference = format!("{}/acme/seven:1", registry.address());
    let pushed = json(&lattice.run(&["push", &reference, path(&component), "--output", "json"]));
    let digest = pushed["digest"].as_str().expect("a digest");
    assert!(digest.starts_with("sha256:"), "{pushed}");
    assert!(lattice.run(&["push", &reference, path(&component)]).contains(digest), "the same again is the same");

    let copy = lattice.data().join("copy.wasm");
    let pulled = lattice.run(&["pull", &reference, path(&copy)]);
    assert!(pulled.contains(digest), "{pulled}");
    assert_eq!(std::fs::read(&copy).expect("pulled"), std::fs::read(&component).expect("signed"));
    let refusal = lattice.try_run(&["pull", &reference, path(&copy)]).refused();
    assert!(refusal.contains("--force"), "{refusal}");

    let fixed = pushed["fixed_reference"].as_str().expect("a reference");
    lattice.run(&["start", "actor", "tagged", &reference, "--host", "a"]);
    lattice.run(&["start", "actor", "fixed", fixed, "--host", "b"]);
    assert_eq!(
        (hosts_of(&lattice, "tagged"), hosts_of(&lattice, "fixed")),
        (vec!["a".to_owned()], vec!["b".to_owned()])
    );
    let refusal =
        lattice.try_run(&["pull", &format!("{}/acme/none:1", registry.address()), path(&copy), "--force"]).refused();
    assert!(refusal.contains("has no artifact"), "{refusal}");
}
