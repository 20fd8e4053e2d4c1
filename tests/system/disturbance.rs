//! What goes wrong in one actor does not disturb the next request, nor another actor.

use crate::support::lattice::{Lattice, path};

#[test]
fn a_trap_a_loop_and_a_memory_storm_leave_the_next_request_alone() {
    let lattice = Lattice::one_box(&[]);
    for id in ["busy", "hello"] {
        let component = lattice.signed(id, &[]);
        lattice.run(&["start", "actor", id, path(&component)]);
    }
    lattice.serve_http(None, &[("/", "busy"), ("/hello", "hello")]);
    lattice.until_ok("/hello");
    for attack in ["trap", "allocate", "recurse"] {
        let (status, body) = lattice.get(&format!("/{attack}"));
        assert_eq!(status, 500, "{attack}: {body}");
        assert!(!body.contains("wasm"), "detail stays in the log: {body}");
        assert_eq!(lattice.get("/hello").0, 200, "after {attack}");
        assert_eq!(lattice.get("/fine").0, 200, "a fresh instance after {attack}");
    }
}
