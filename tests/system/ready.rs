//! Whether an HTTP server is ready, as those who spread load ask it, built in and as a process of its own.

use crate::support::http;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

/// Asks until the answer is `expected`, with `reason` in it.
fn until(lattice: &Lattice, expected: u16, reason: &str) {
    wait::until(&format!("/readyz is {expected}"), || {
        let answer = lattice.runtime.block_on(http::get(lattice.address, "/readyz"));
        match &answer {
            Ok((status, text)) if *status == expected && text.contains(reason) => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    });
}

fn follows_its_actors(reference: &str) {
    let lattice = Lattice::one_box(&[]);
    let hello = lattice.signed("hello", &[]);
    lattice.run(&["config", "put", "http", &format!("address={}", lattice.address), "health=on"]);
    lattice.run(&["start", "provider", "http", reference, "--config", "http"]);
    lattice.route("/", "hello", "wasi:http/incoming-handler");
    until(&lattice, 503, "no host runs");
    lattice.run(&["start", "actor", "hello", path(&hello)]);
    until(&lattice, 200, "ok");
    lattice.run(&["stop", "actor", "hello"]);
    until(&lattice, 503, "no host runs");
    assert_eq!(lattice.get("/livez").0, 200);
}

#[test]
fn a_server_that_is_built_in_is_ready_while_an_actor_of_its_links_runs() {
    follows_its_actors("builtin:http-server");
}

#[test]
fn a_server_that_is_a_process_is_ready_while_an_actor_of_its_links_runs() {
    follows_its_actors("process:http-server");
}

#[test]
fn an_actor_that_runs_on_another_host_is_enough() {
    let lattice = Lattice::two_hosts();
    let hello = lattice.signed("hello", &[]);
    lattice.run(&["config", "put", "http", &format!("address={}", lattice.address), "health=on"]);
    lattice.run(&["start", "provider", "http", "builtin:http-server", "--config", "http", "--host", "a"]);
    lattice.route("/", "hello", "wasi:http/incoming-handler");
    until(&lattice, 503, "no host runs");
    lattice.run(&["start", "actor", "hello", path(&hello), "--host", "b"]);
    until(&lattice, 200, "ok");
}
