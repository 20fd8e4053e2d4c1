//! What operators do by the command line: labels, cordon and drain, events, and components in a registry.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::lattice::{Lattice, listed, path};
use crate::support::process::{self, Server};
use crate::support::registry::Registry;
use crate::support::wait;

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
    let reference = format!("{}/acme/seven:1", registry.host());
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
        lattice.try_run(&["pull", &format!("{}/acme/none:1", registry.host()), path(&copy), "--force"]).refused();
    assert!(refusal.contains("has no artifact"), "{refusal}");
}

/// How many instances of the actor `id` may run, by the names of hosts that run it.
fn instances_of(lattice: &Lattice, id: &str) -> Vec<(String, u64)> {
    let inventories = json(&lattice.run(&["get", "inventory", "--output", "json"]));
    let mut found = Vec::new();
    for host in inventories.as_array().expect("a list") {
        let component = host["components"].as_array().expect("a list").iter().find(|entry| entry["id"] == id);
        let name = host["friendly_name"].as_str().expect("a name").to_owned();
        found.extend(component.map(|entry| (name, entry["max_instances"].as_u64().expect("a number"))));
    }
    found
}

/// The hosts, by name, that run the provider `id`.
fn hosts_of_provider(lattice: &Lattice, id: &str) -> Vec<String> {
    let inventories = json(&lattice.run(&["get", "inventory", "--output", "json"]));
    let runs = |host: &&Value| host["providers"].as_array().expect("a list").iter().any(|entry| entry["id"] == id);
    let hosts = inventories.as_array().expect("a list").iter().filter(runs);
    hosts.map(|host| host["friendly_name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn what_runs_is_scaled_and_stopped_on_all_hosts_or_on_one() {
    let mut lattice = Lattice::two_hosts();
    let component = signed(&lattice, "seven");
    let both = |a: u64, b: u64| vec![("a".to_owned(), a), ("b".to_owned(), b)];
    for host in ["a", "b"] {
        lattice.run(&["start", "actor", "seven", path(&component), "--host", host, "--max", "3"]);
        lattice.run(&["start", "provider", "kv", "builtin:keyvalue", "--host", host]);
    }
    let scaled = json(&lattice.run(&["scale", "seven", "5", "--output", "json"]));
    assert_eq!((&scaled["max"], scaled["hosts"].as_array().map(Vec::len)), (&5.into(), Some(2)), "{scaled}");
    assert_eq!(instances_of(&lattice, "seven"), both(5, 5));
    assert!(lattice.run(&["scale", "seven", "2", "--host", "a"]).contains("may have 2 instances"));
    assert_eq!(instances_of(&lattice, "seven"), both(2, 5));
    lattice.run(&["scale", "seven", "0", "--host", "b"]);
    assert_eq!(hosts_of(&lattice, "seven"), ["a"]);
    for nobody in [&["scale", "seven", "1", "--host", "b"][..], &["scale", "eight", "1"], &["stop", "actor", "eight"]] {
        let refused = lattice.try_run(nobody).refused();
        assert!(refused.contains("actor ") && refused.contains("trellis get inventory"), "{refused}");
    }
    lattice.run(&["stop", "actor", "seven"]);
    assert_eq!(hosts_of(&lattice, "seven"), [""; 0]);

    lattice.run(&["stop", "provider", "kv", "--host", "a"]);
    assert_eq!(hosts_of_provider(&lattice, "kv"), ["b"]);
    assert!(lattice.try_run(&["stop", "provider", "kv", "--host", "a"]).refused().contains("kv"));
    lattice.run(&["stop", "provider", "kv"]);
    assert_eq!(hosts_of_provider(&lattice, "kv"), [""; 0]);
    assert!(lattice.try_run(&["stop", "provider", "kv"]).refused().contains("trellis get inventory"));

    assert!(lattice.run(&["stop", "host", "b", "--drain-ms", "100"]).contains("is stopped"));
    lattice.wait_for_hosts(1);
    let (status, output) = lattice.servers.pop().expect("b is the last one").wait();
    assert!(status.success() && output.contains("host stopped"), "{status}: {output}");
    let refused = lattice.try_run(&["stop", "host", "b"]).refused();
    assert!(refused.contains("has no host \"b\"; there is a"), "{refused}");
}

#[test]
fn claims_links_and_configs_are_shown_and_taken_away() {
    let lattice = Lattice::one_box(&[]);
    let component = signed(&lattice, "seven");
    lattice.run(&["start", "actor", "seven", path(&component)]);
    let claims = json(&lattice.run(&["get", "claims", "--output", "json"]));
    let issuer = listed(lattice.data(), "account", "issuer", "public");
    assert_eq!(
        (&claims[0]["name"], &claims[0]["issuer"]),
        (&"seven".into(), &Value::from(issuer.as_str())),
        "{claims}"
    );
    let table = lattice.run(&["get", "claims"]);
    assert!(table.lines().any(|line| line.trim().starts_with("seven") && line.contains(&issuer)), "{table}");

    lattice.run(&["config", "put", "greeting", "text=hello", "times=2"]);
    let config = json(&lattice.run(&["config", "get", "greeting", "--output", "json"]));
    assert_eq!(config, serde_json::json!({"text": "hello", "times": "2"}));
    let table = lattice.run(&["config", "get", "greeting"]);
    assert!(table.lines().any(|line| line.trim().starts_with("text") && line.ends_with("hello")), "{table}");

    lattice.run(&["link", "put", "app", "kv", "wasi:keyvalue/store", "--source-config", "greeting"]);
    lattice.run(&["link", "put", "other", "db", "trellis:sql/database"]);
    let shown = |arguments: &[&str]| {
        let links = json(&lattice.run(&[arguments, &["--output", "json"]].concat()));
        let source = |link: &Value| link["source_id"].as_str().expect("text").to_owned();
        links.as_array().expect("a list").iter().map(source).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["link", "get"]), ["app", "other"]);
    assert_eq!(
        (shown(&["link", "get", "kv"]), shown(&["get", "links", "other"])),
        (vec!["app".to_owned()], vec!["other".to_owned()])
    );
    let table = lattice.run(&["link", "get", "app"]);
    assert!(table.contains("wasi:keyvalue/store") && table.contains("greeting"), "{table}");
    lattice.run(&["link", "del", "app", "wasi:keyvalue"]);
    assert_eq!(shown(&["link", "get"]), ["other"]);
    lattice.run(&["link", "del", "app", "wasi:keyvalue"]);

    lattice.run(&["config", "del", "greeting"]);
    lattice.run(&["config", "del", "greeting"]);
    let refused = lattice.try_run(&["config", "get", "greeting"]).refused();
    assert!(refused.contains("no config greeting") && refused.contains("trellis config put greeting"), "{refused}");
}

#[test]
fn hosts_are_watched() {
    let mut lattice = Lattice::two_hosts();
    let url = lattice.nats_url();
    let watch = Server::start(lattice.data(), &["get", "hosts", "--watch", "--output", "json", "--nats-url", &url]);
    // The last list, by names: what is in use, and how many actors it runs.
    let until = |what: &str, expected: &[(&str, &str, u64)]| {
        wait::until(what, || {
            let output = watch.output();
            // Each list is a line; others are of the log.
            let last = output.lines().rfind(|line| line.starts_with('[')).map(json).unwrap_or_default();
            let of = |host: &Value| {
                let cordoned = host["labels"]["trellis.dev/cordoned"].as_str().unwrap_or_default();
                let actors = host["components"].as_array().map_or(0, |all| all.len() as u64);
                (host["friendly_name"].as_str().unwrap_or_default().to_owned(), cordoned.to_owned(), actors)
            };
            let shown: Vec<_> = last.as_array().into_iter().flatten().map(of).collect();
            let expected =
                expected.iter().map(|(name, cordoned, actors)| ((*name).to_owned(), (*cordoned).to_owned(), *actors));
            if shown.iter().cloned().eq(expected) { Ok(()) } else { Err(output) }
        });
    };
    until("both hosts", &[("a", "", 0), ("b", "", 0)]);
    let component = signed(&lattice, "seven");
    lattice.run(&["start", "actor", "seven", path(&component), "--host", "b"]);
    until("the actor", &[("a", "", 0), ("b", "", 1)]);
    lattice.run(&["host", "cordon", "a", "--reason", "new disk"]);
    until("the cordon", &[("a", "new disk", 0), ("b", "", 1)]);
    lattice.kill("b");
    until("one host less", &[("a", "new disk", 0)]);
    lattice.start_host("c");
    until("another host", &[("a", "new disk", 0), ("c", "", 0)]);
}
