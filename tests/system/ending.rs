//! How servers end: in order when asked once, at once when asked twice.

use std::net::TcpListener;

use crate::support::http as client;
use crate::support::lattice::{Lattice, path};
use crate::support::process::Server;

fn lattice_with(actor: &str) -> Lattice {
    let lattice = Lattice::one_box(&[]);
    let component = lattice.signed(actor, &[]);
    lattice.run(&["start", "actor", actor, path(&component)]);
    lattice.serve_http(None, &[("/", actor)]);
    lattice.until_ok("/fine");
    lattice
}

#[test]
fn ctrl_c_ends_in_order_and_frees_the_port() {
    let mut lattice = lattice_with("hello");
    let server = lattice.servers.pop().expect("is there");
    server.signal("INT");
    let (status, output) = server.wait();
    assert!(status.success(), "{status}: {output}");
    assert!(output.contains("host stopped"), "{output}");
    TcpListener::bind(lattice.address).expect("the port is free again");
    let error = lattice.try_run(&["get", "hosts"]).refused();
    assert!(error.contains("no lattice runs") && error.contains("trellis up"), "{error}");
}

#[test]
fn a_second_signal_ends_the_wait_for_calls_in_flight() {
    let mut lattice = lattice_with("busy");
    let sleeper = lattice.runtime.spawn(client::get(lattice.address, "/sleep"));
    let server = lattice.servers.pop().expect("is there");
    // It is on its way when a later one was answered.
    for _ in 0..3 {
        lattice.until_ok("/fine");
    }
    server.signal("TERM");
    server.wait_for("the same signal again quits at once");
    server.signal("TERM");
    let (status, output) = server.wait();
    assert!(!status.success(), "calls were cut off: {output}");
    assert!(output.contains("quit before all calls were finished"), "{output}");
    let cut = lattice.runtime.block_on(sleeper).expect("no panic");
    assert!(cut.as_ref().map_or(true, |(status, _)| *status >= 500), "{cut:?}");
}

/// It was an error once, "ended while starting", whatever answered already.
#[test]
fn a_lattice_that_still_deploys_ends_in_order() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let manifest = data.path().join("never.yaml");
    std::fs::write(&manifest, NEVER_STANDS).expect("the directory is writable");
    let server = Server::start(data.path(), &["up", "--file", path(&manifest)]);
    server.wait_for("catalog changed");
    server.signal("TERM");
    let (status, output) = server.wait();
    assert!(status.success(), "{status}: {output}");
    assert!(output.contains("host stopped"), "{output}");
}

/// An application that is waited for as long as the lattice is up: no host has that label.
const NEVER_STANDS: &str = "\
apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: never
  annotations: { version: v1 }
spec:
  components:
    - name: hello
      type: component
      properties: { image: file://hello.signed.wasm }
      traits:
        - type: spreadscaler
          properties: { instances: 1, spread: [{ name: nowhere, requirements: { zone: nowhere } }] }
";
