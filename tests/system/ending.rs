//! How servers end: in order when asked once, at once when asked twice.

use std::net::TcpListener;

use crate::support::http as client;
use crate::support::lattice::{Lattice, path};

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
