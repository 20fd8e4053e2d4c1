//! Declared applications: manifests in, requests answered; on one box, and on hosts that die.

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

#[test]
fn an_application_is_deployed_changed_and_gone() {
    let lattice = Lattice::one_box(&[]);
    let manifest = App::example(&lattice, "hello", &[]).write();
    let plan = lattice.run(&["app", "plan", path(&manifest)]);
    assert!(plan.contains("+ hello") && plan.contains("http may call wasi:http/incoming-handler of hello"), "{plan}");
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    assert_eq!(lattice.get("/").0, 200, "what is deployed answers");
    let listed = lattice.run(&["app", "list"]);
    assert!(listed.contains("hello") && listed.contains("deployed"), "{listed}");
    let again = lattice.run(&["app", "plan", path(&manifest)]);
    assert!(again.contains("nothing to do"), "{again}");

    App::example(&lattice, "hello", &[])
        .with("version: v1", "version: v2")
        .with("instances: 100", "instances: 7")
        .write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    let inventory = lattice.run(&["get", "inventory"]);
    assert!(inventory.lines().any(|line| line.contains("hello-hello") && line.contains(" 7 ")), "{inventory}");
    lattice.run(&["app", "rollback", "hello", "--wait"]);
    let versions = lattice.run(&["app", "versions", "hello"]);
    assert!(versions.lines().any(|line| line.contains("v1") && line.contains("deployed")), "{versions}");

    lattice.run(&["app", "undeploy", "hello", "--wait"]);
    wait::until("nothing runs", || {
        let inventory = lattice.run(&["get", "inventory"]);
        if inventory.contains("hello") { Err(inventory) } else { Ok(()) }
    });
    lattice.run(&["app", "delete", "hello"]);
    assert!(lattice.try_run(&["app", "status", "hello"]).refused().contains("hello"));
}

#[test]
fn what_cannot_be_deployed_says_why() {
    let lattice = Lattice::one_box(&[]);
    let missing = App::example(&lattice, "hello", &[]).with("hello.signed.wasm", "absent.wasm").write();
    let refused = lattice.try_run(&["app", "deploy", path(&missing), "--wait", "--timeout", "20"]).refused();
    assert!(refused.contains("absent.wasm"), "{refused}");
    lattice.run(&["app", "undeploy", "hello", "--wait"]);

    let taken = std::net::TcpListener::bind(lattice.address).expect("a free port");
    let manifest = App::example(&lattice, "hello", &[]).with("version: v1", "version: v2").write();
    let in_use = format!("{} is in use", lattice.address);
    for _ in 0..3 {
        let refused = lattice.try_run(&["app", "deploy", path(&manifest), "--wait", "--timeout", "3"]).refused();
        assert!(refused.contains(&in_use), "{refused}");
    }
    let inventory = lattice.run(&["get", "inventory"]);
    assert!(inventory.contains("1 failed") && inventory.contains(&in_use), "{inventory}");
    drop(taken);
    wait::until("the status clears by itself", || {
        let status = lattice.run(&["app", "status", "hello", "--output", "json"]);
        if status.contains("is in use") || !status.contains("deployed") { Err(status) } else { Ok(()) }
    });
    assert_eq!(lattice.get("/").0, 200, "deployed means that it answers");
    assert!(lattice.run(&["get", "inventory"]).contains("1 up"));

    let wrong = App::example(&lattice, "hello", &[]).with("type: component", "type: componet").write();
    let refused = lattice.try_run(&["app", "validate", path(&wrong)]).refused();
    assert!(refused.contains("app.yaml:12:") && refused.contains("component"), "{refused}");
}

#[test]
fn up_deploys_what_it_is_given() {
    let prepared = Lattice::without_hosts();
    let manifest = App::example(&prepared, "counter", &["wasi:keyvalue/*"]).write();
    let server = prepared.up(&["-f", path(&manifest)]);
    server.wait_for("counter is deployed");
    assert!(prepared.until_ok("/a").contains('1'));
    assert!(prepared.until_ok("/a").contains('2'));
}

#[test]
fn an_actor_of_a_killed_host_answers_elsewhere() {
    let mut lattice = Lattice::without_hosts();
    for name in ["a", "b", "c"] {
        lattice.start_host_with(name, &["--label", &format!("name={name}")]);
    }
    lattice.wait_for_hosts(3);
    lattice.start_wadm();
    let manifest = App::example(&lattice, "counter", &["wasi:keyvalue/*"])
        .with_providers_at("name: a")
        .with("instances: 100", "instances: 1")
        .write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    lattice.until_ok("/x");
    for _ in 0..2 {
        let host = lattice.host_of("counter-counter");
        if host == "a" {
            break;
        }
        lattice.kill(&host);
        assert!(!lattice.until_ok("/x").is_empty(), "another host took over");
        wait::until("wadm knows", || {
            let now = lattice.host_of("counter-counter");
            if now == host { Err(now) } else { Ok(()) }
        });
    }
}

#[test]
fn a_killed_wadm_goes_on_where_it_was() {
    let mut lattice = Lattice::two_hosts();
    let manifest = App::example(&lattice, "hello", &[]).write();
    lattice.start_wadm();
    lattice.run(&["app", "deploy", path(&manifest)]);
    lattice.kill_wadm();
    lattice.start_wadm();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    assert!(!lattice.until_ok("/").is_empty());
    let inventory = lattice.run(&["get", "inventory"]);
    assert_eq!(inventory.matches("builtin:http-server").count(), 1, "{inventory}");
}

/// One actor as it was and one as it will be, on the same path by weights.
const CANARY: &str = "\
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: canary
  annotations: { version: v1 }
spec:
  components:
    - name: stable
      type: component
      properties: { image: file://hello.signed.wasm }
      traits:
        - { type: spreadscaler, properties: { instances: 10 } }
        - { type: routes, properties: { routes: [{ path: /shop, weight: 75 }] } }
    - name: next
      type: component
      properties: { image: file://echo.signed.wasm }
      traits:
        - { type: spreadscaler, properties: { instances: 10 } }
        - { type: routes, properties: { routes: [{ path: /shop, weight: 25 }] } }
    - name: http
      type: capability
      properties:
        image: builtin:http-server
        config: [{ name: listen, properties: { address: 127.0.0.1:8080 } }]
      traits:
        - type: link
          properties: { target: stable, name: stable, namespace: wasi, package: http, interfaces: [incoming-handler] }
        - type: link
          properties: { target: next, name: next, namespace: wasi, package: http, interfaces: [incoming-handler] }
";

#[test]
fn a_canary_takes_its_share_of_the_requests() {
    let lattice = Lattice::one_box(&[]);
    lattice.signed("hello", &[]);
    lattice.signed("echo", &[]);
    let app = App::text(&lattice, CANARY);
    let of_stable = || (0..40).filter(|_| lattice.get("/shop").1.contains("hello from Trellis")).count();
    lattice.run(&["app", "deploy", path(&app.write()), "--wait"]);
    assert_eq!(of_stable(), 30, "75 of 100");
    let app = app.with("version: v1", "version: v2").with("weight: 75", "weight: 0").with("weight: 25", "weight: 100");
    lattice.run(&["app", "deploy", path(&app.write()), "--wait"]);
    assert_eq!(of_stable(), 0, "deployed means that the new weights hold");
}
