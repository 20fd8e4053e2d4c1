//! What a deploy would do, before anything happens: changes, permissions, and whether callers would still fit.

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};

#[test]
fn a_plan_shows_what_is_lost_and_does_nothing() {
    let lattice = Lattice::one_box(&[]);
    let app = App::example(&lattice, "counter", &["wasi:keyvalue/*"]);
    let manifest = app.write();
    let planned = lattice.run(&["app", "deploy", "--plan", path(&manifest)]);
    assert!(planned.contains("+ counter may call wasi:keyvalue/store of kv"), "{planned}");
    assert_eq!(planned, lattice.run(&["app", "plan", path(&manifest)]), "it is the same");
    assert!(!lattice.run(&["app", "list"]).contains("counter"), "nothing was sent");
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    let inventory = lattice.run(&["get", "inventory"]);

    let fewer = app
        .with("version: v1", "version: v2")
        .with("interfaces: [store, atomics]", "interfaces: [store]")
        .write_as("fewer");
    for planned in [&["app", "plan", path(&fewer)], &["app", "deploy", path(&fewer), "--plan"][..]] {
        let planned = lattice.run(planned);
        assert!(planned.contains("- counter may call wasi:keyvalue/atomics of kv"), "{planned}");
        assert!(!planned.contains("wasi:keyvalue/store of kv"), "what it keeps is neither gained nor lost: {planned}");
    }
    assert_eq!(lattice.run(&["get", "inventory"]), inventory, "nothing was done");
    let versions = lattice.run(&["app", "versions", "counter"]);
    assert!(!versions.contains("v2"), "{versions}");

    let got = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&lattice.run(&[&["app", "get", "counter"], arguments].concat())).expect("JSON")
    };
    let first = got(&[]);
    assert_eq!((&first["metadata"]["name"], &first["kind"]), (&"counter".into(), &"Application".into()), "{first}");
    assert_eq!(got(&["--version", "v1"]), first);
    let refused = lattice.try_run(&["app", "get", "counter", "--version", "v9"]).refused();
    assert!(refused.contains("v9"), "{refused}");
    assert!(lattice.try_run(&["app", "get", "nothing"]).refused().contains("nothing"));
}

/// Two actors of which one calls the other.
const GREETING: &str = "\
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: greeting
  annotations: { version: v1 }
spec:
  components:
    - name: caller
      type: component
      properties: { image: file://caller.signed.wasm }
      traits:
        - type: link
          properties: { target: greeter, namespace: demo, package: greet, interfaces: [greeter] }
    - name: greeter
      type: component
      properties: { image: file://greeter.signed.wasm }
";

/// A greeter that greets otherwise.
const OTHER_GREETER: &str = r#"(component
  (core module $m (func (export "greet") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func $greet (result u32) (canon lift (core func $i "greet")))
  (instance $out (export "greet" (func $greet)))
  (export "demo:greet/greeter" (instance $out)))"#;

#[test]
fn a_version_that_callers_do_not_fit_is_shown_and_refused() {
    let lattice = Lattice::one_box(&[]);
    lattice.signed("caller", &["demo:greet/*"]);
    lattice.signed("greeter", &[]);
    let app = App::text(&lattice, GREETING);
    let manifest = app.write();
    let plan = lattice.run(&["app", "plan", path(&manifest), "--check"]);
    assert!(plan.contains("= greeting-caller -> greeting-greeter: demo:greet/greeter fits"), "{plan}");
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);

    let other = lattice.data().join("other.wasm");
    std::fs::write(&other, wat::parse_str(OTHER_GREETER).expect("is text")).expect("written");
    let changed = app.with("version: v1", "version: v2").with("greeter.signed.wasm", "other.wasm").write();
    let plan = lattice.run(&["app", "plan", path(&changed)]);
    let broken = "demo:greet/greeter: demo:greet/greeter has greet as func() -> u32, and it is called as func(";
    assert!(plan.contains("compatibility:") && plan.contains(broken), "{plan}");
    let json = lattice.run(&["app", "plan", path(&changed), "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let fits = json["compatibility"].as_array().expect("a list");
    let is_broken = |when: &str| fits.iter().any(|fit| fit["verdict"] == "broken" && fit["when"] == when);
    assert!(is_broken("afterwards") && fits.iter().all(|fit| fit["source"] == "greeting-caller"), "{json}");
    assert!(lattice.try_run(&["app", "plan", path(&changed), "--check"]).refused().contains("would not fit"));
    let refused = lattice.try_run(&["app", "deploy", path(&changed)]).refused();
    assert!(refused.contains(broken) && refused.contains("--force"), "{refused}");
    let versions = lattice.run(&["app", "versions", "greeting"]);
    assert!(!versions.contains("v2"), "nothing was sent: {versions}");
    lattice.run(&["app", "deploy", path(&changed), "--force"]);
}

#[test]
fn a_version_that_callers_of_another_application_do_not_fit_is_refused() {
    let lattice = Lattice::one_box(&[]);
    lattice.signed("caller", &["demo:greet/*"]);
    lattice.signed("greeter", &[]);
    let caller = GREETING[GREETING.find("    - name: caller").expect("is there")..].split("    - name: greeter").next();
    let caller = caller.expect("is first").replace("target: greeter", "target: desk");
    let shared = "    - name: desk\n      type: component\n      properties: { application: { name: desk, component: greeter } }\n";
    let callers = App::of(&lattice, "visitors", [caller, shared.to_owned()]).write_as("visitors");
    let greeter =
        "    - name: greeter\n      type: component\n      properties: { image: file://greeter.signed.wasm }\n";
    let desk = App::of(&lattice, "desk", [greeter.to_owned()])
        .with("    version: v1\n", "    version: v1\n    experimental.wasmcloud.dev/shared: \"true\"\n");
    lattice.run(&["app", "deploy", path(&desk.write_as("desk")), "--wait"]);
    lattice.run(&["app", "deploy", path(&callers), "--wait"]);

    let other = lattice.data().join("other.wasm");
    std::fs::write(&other, wat::parse_str(OTHER_GREETER).expect("is text")).expect("written");
    let changed = desk.with("version: v1", "version: v2").with("greeter.signed.wasm", "other.wasm").write();
    let plan = lattice.run(&["app", "plan", path(&changed)]);
    let line = plan.lines().find(|line| line.trim().starts_with("! visitors-caller"));
    let line = line.unwrap_or_else(|| panic!("the caller runs and does not fit: {plan}"));
    assert!(line.contains("desk-greeter") && line.contains("has greet as func() -> u32"), "{plan}");
    assert!(lattice.try_run(&["app", "plan", path(&changed), "--check"]).refused().contains("would not fit"));
    let refused = lattice.try_run(&["app", "deploy", path(&changed)]).refused();
    assert!(refused.contains("visitors-caller") && refused.contains("--force"), "{refused}");
    assert!(!lattice.run(&["app", "versions", "desk"]).contains("v2"), "nothing was sent");
}
