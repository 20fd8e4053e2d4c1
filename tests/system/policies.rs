//! Policies of links from outside: put once, named by links, followed live, and shown.

use std::path::Path;

use serde_json::Value;

use crate::support::lattice::{Lattice, path};
use crate::support::wait;

/// The link from `http` to `hello` as `trellis get links` shows it, once it is so.
fn until_shown(lattice: &Lattice, what: &str, is_so: impl Fn(&Value) -> bool) {
    wait::until(what, || {
        // A refused request counts as well.
        lattice.get("/");
        let shown = lattice.run(&["get", "links", "http", "--output", "json"]);
        let links: Value = serde_json::from_str(&shown).expect("JSON");
        if is_so(&links[0]) { Ok(()) } else { Err(shown) }
    });
}

#[test]
fn a_policy_is_named_by_links_shown_with_them_and_followed() {
    let lattice = Lattice::one_box(&[]);
    let hello = lattice.signed("hello", &[]);
    lattice.run(&["policy", "put", "careful", "breaker_failures=3", "breaker_pause=1h", "concurrency=8"]);
    lattice.serve_http(None, &[]);
    lattice.run(&["link", "put", "http", "hello", "wasi:http/incoming-handler", "--policy", "careful"]);
    let table = lattice.run(&["get", "links"]);
    assert!(table.contains("POLICY") || table.contains("policy"), "{table}");
    assert!(table.contains("careful") && !table.contains("POLICY_careful"), "{table}");
    until_shown(&lattice, "an open breaker", |link| {
        let breakers = link["breakers"].as_object();
        link["policies"][0] == "careful" && breakers.is_some_and(|all| all.values().any(|state| state == "open"))
    });
    let (status, body) = lattice.get("/");
    assert_eq!((status, body.as_str()), (503, "the target keeps failing, try again later\n"));

    lattice.run(&["start", "actor", "hello", path(&hello)]);
    lattice.run(&["policy", "put", "careful", "retries=1"]);
    lattice.until_ok("/");
    until_shown(&lattice, "no breaker", |link| link["breakers"].is_null());

    let error = lattice.try_run(&["policy", "del", "careful"]).refused();
    assert!(error.contains("named by 1 links") && error.contains("http"), "{error}");
    lattice.run(&["link", "put", "http", "hello", "wasi:http/incoming-handler"]);
    lattice.run(&["policy", "del", "careful"]);
    let error = lattice.try_run(&["policy", "get", "careful"]).refused();
    assert!(error.contains("no policy careful") && error.contains("breaker_failures"), "{error}");
}

#[test]
fn a_policy_that_is_wrong_says_everything_at_once() {
    let lattice = Lattice::one_box(&[]);
    let error = lattice.try_run(&["policy", "put", "p", "timeout=5", "retrys=1", "breaker_pause=1s"]).refused();
    for part in ["\"timeout\" is \"5\"", "\"retrys\" is not known", "\"breaker_failures\" is missing", "e.g. \"30s\""] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = lattice.try_run(&["link", "put", "a", "b", "demo:x/y", "--policy", "absent"]).refused();
    assert!(error.contains("POLICY_absent"), "{error}");
}

/// The manifest with a policy, whose actor is `component`.
fn manifest(component: &Path, address: &str, policy: &str) -> String {
    format!(
        r#"
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {{ name: shop }}
spec:
  policies:
    - name: careful
      type: policy.resilience.trellis.dev/v1alpha1
      properties: {policy}
  components:
    - name: hello
      type: component
      properties: {{ image: "file://{}" }}
      traits: [{{ type: spreadscaler, properties: {{ instances: 1 }} }}]
    - name: http
      type: capability
      properties: {{ image: "builtin:http-server" }}
      traits:
        - type: link
          properties:
            target: {{ name: hello }}
            namespace: wasi
            package: http
            interfaces: [incoming-handler]
            source: {{ config: [{{ name: listen, properties: {{ address: "{address}" }} }}] }}
        - type: resilience
          properties: {{ policy: careful, retry_on: [no-target] }}
"#,
        path(component)
    )
}

#[test]
fn a_policy_of_an_application_is_written_for_its_links() {
    let lattice = Lattice::one_box(&[]);
    let hello = lattice.signed("hello", &[]);
    let file = lattice.data().join("app.yaml");
    let address = lattice.address.to_string();
    std::fs::write(&file, manifest(&hello, &address, r#"{ timeout: soon, concurrency: "0" }"#)).expect("written");
    let error = lattice.try_run(&["app", "deploy", path(&file)]).refused();
    for part in ["app.yaml:9:30", "`timeout` of policy `careful` is \"soon\"", "`concurrency`", "1 to 1000000"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    std::fs::write(&file, manifest(&hello, &address, r#"{ timeout: 5s, concurrency: "64" }"#)).expect("written");
    lattice.run(&["app", "deploy", path(&file)]);
    lattice.until_ok("/");
    let links = lattice.run(&["get", "links"]);
    assert!(links.contains("shop-careful"), "{links}");
    let policy = lattice.run(&["policy", "get", "shop-careful"]);
    assert!(policy.contains("timeout") && policy.contains("5s") && policy.contains("shop-http"), "{policy}");
}
