//! Declared applications: manifests in, requests answered; on one box, and on hosts that die.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::app::App;
use crate::support::lattice::{Lattice, path};
use crate::support::nats::free_port;
use crate::support::registry::Registry;
use crate::support::{http, wait};

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
fn a_deploy_that_waits_fails_when_an_image_is_missing_or_an_actor_is_not_ready() {
    let lattice = Lattice::one_box(&[]);
    let registry = Registry::start();
    let image = format!("{}/acme/hello:9", registry.host());
    let app = App::example(&lattice, "hello", &[]);
    let missing = app.with("file://hello.signed.wasm", &image);
    let deploy = |manifest: &Path| lattice.try_run(&["app", "deploy", path(manifest), "--wait", "--timeout", "10"]);
    let refused = deploy(&missing.write()).refused();
    assert!(refused.contains(&image) && refused.contains("has no artifact of that name and tag"), "{refused}");

    let scaler = "        - type: spreadscaler\n";
    let probe = "        - { type: readiness, properties: { deadline: 3s, http: { path: /ready, status: 204 } } }\n";
    let ill = App::example(&lattice, "hello", &[]).with("version: v1", "version: v2");
    let refused = deploy(&ill.with(scaler, &format!("{probe}{scaler}")).write()).refused();
    assert!(refused.contains("not ready: GET /ready answered 200"), "{refused}");
    let well = App::example(&lattice, "hello", &[]).with("version: v1", "version: v3").write();
    deploy(&well).ok();
}

/// One that misbehaves on request, with limits of its own.
const LIMITED: &str = "\
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: limited
  annotations: { version: v1 }
spec:
  components:
    - name: busy
      type: component
      properties: { image: file://busy.signed.wasm }
      traits:
        - type: resources
          properties: { requests: { cpu: 100m }, limits: { execution: 300ms, memory: 8Mi } }
    - name: http
      type: capability
      properties:
        image: builtin:http-server
        config: [{ name: listen, properties: { address: 127.0.0.1:8080 } }]
      traits:
        - type: link
          properties: { target: busy, namespace: wasi, package: http, interfaces: [incoming-handler] }
";

#[test]
fn limits_of_a_manifest_reach_the_actor() {
    let lattice = Lattice::one_box(&[]);
    lattice.signed("busy", &[]);
    let app = App::text(&lattice, LIMITED);
    lattice.run(&["app", "deploy", path(&app.write()), "--wait"]);
    let limits = || {
        let inventory = lattice.run(&["get", "inventory", "--output", "json"]);
        let hosts: serde_json::Value = serde_json::from_str(&inventory).expect("JSON");
        hosts[0]["components"][0]["limits"].clone()
    };
    assert_eq!(limits(), serde_json::json!({"max_memory_limit": "8388608", "max_execution_time": "300"}));
    assert_eq!(lattice.get("/fine").0, 200);
    let begun = Instant::now();
    assert_eq!(lattice.get("/loop").0, 504);
    println!("a call that never returns ended after {:?}, with a limit of 300 ms", begun.elapsed());
    // By itself a call may take half a minute.
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(lattice.get("/fine").0, 200);

    let tight = app.with("version: v1", "version: v2").with("memory: 8Mi", "memory: 64Ki");
    let refused = lattice.try_run(&["app", "deploy", path(&tight.write()), "--wait", "--timeout", "10"]).refused();
    assert!(refused.contains("memory") && refused.contains("busy"), "{refused}");
    let more = tight.with("version: v2", "version: v3").with("cpu: 100m", "cpu: \"4000\"");
    let refused = lattice.try_run(&["app", "deploy", path(&more.write()), "--wait", "--timeout", "3"]).refused();
    assert!(refused.contains("no room"), "{refused}");
}

#[test]
fn up_deploys_what_it_is_given() {
    let prepared = Lattice::without_hosts();
    let manifest = App::example(&prepared, "counter", &["wasi:keyvalue/*"]).write();
    let server = prepared.up(&["-f", path(&manifest)]);
    server.wait_for("counter is deployed");
    assert!(prepared.until_ok("/a").contains('1'));
    assert!(prepared.until_ok("/a").contains('2'));
    // A host that is on its way is waited for; nothing fails for want of one.
    assert!(!server.output().contains("action failed"), "{}", server.output());
}

#[test]
fn up_deploys_a_folder_of_applications() {
    let prepared = Lattice::without_hosts();
    let folder = prepared.data().join("apps");
    std::fs::create_dir(&folder).expect("made");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let moved = App::example(&prepared, "hello", &[]).with(&prepared.address.to_string(), &address.to_string());
    for (file, app) in [("1.yaml", moved), ("2.yml", App::example(&prepared, "counter", &["wasi:keyvalue/*"]))] {
        let image = format!("file://{}/", prepared.data().display());
        let manifest = app.with("file://", &image).write();
        std::fs::rename(manifest, folder.join(file)).expect("moved");
    }
    std::fs::write(folder.join("README.txt"), "no manifest").expect("written");
    let server = prepared.up(&["-f", path(&folder)]);
    server.wait_for("hello is deployed");
    server.wait_for("counter is deployed");
    assert!(prepared.until_ok("/a").contains('1'), "the counter");
    assert!(http::until_ok(&prepared.runtime, address, "/b").contains("/b"), "hello");
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

#[test]
fn a_version_that_does_not_answer_its_probe_goes_back() {
    let lattice = Lattice::one_box(&[]);
    let app = App::example(&lattice, "hello", &[]);
    let scaler = "        - type: spreadscaler\n";
    let probed = |path: &str, status: u16| {
        format!(
            "        - {{ type: rollout, properties: {{ rollback: automatic }} }}\n        - {{ type: readiness, properties: \
             {{ deadline: 3s, http: {{ path: {path}, status: {status} }} }} }}\n{scaler}"
        )
    };
    let first = app.with(scaler, &probed("/healthz", 200));
    lattice.run(&["app", "deploy", path(&first.write()), "--wait"]);
    let inventory = lattice.run(&["get", "inventory"]);
    assert!(inventory.lines().any(|line| line.contains("hello-hello") && line.contains(" ready ")), "{inventory}");

    let second = first.with("version: v1", "version: v2").with("status: 200", "status: 204");
    let manifest = second.write();
    lattice.run(&["app", "deploy", path(&manifest)]);
    wait::until("the status says why it is not ready", || {
        let status = lattice.run(&["app", "history", "hello"]) + &lattice.run(&["app", "status", "hello"]);
        if status.contains("not ready: GET /healthz answered 200") { Ok(()) } else { Err(status) }
    });
    wait::until("the version before is back", || {
        let versions = lattice.run(&["app", "versions", "hello"]);
        let is_back = versions.lines().any(|line| line.contains("v1") && line.contains("deployed"));
        if is_back { Ok(()) } else { Err(versions) }
    });
    assert_eq!(lattice.get("/").0, 200);
}
