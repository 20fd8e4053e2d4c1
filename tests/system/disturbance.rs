//! What goes wrong in one actor does not disturb the next request, nor another actor, and shows in the log.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};

use crate::support::http as client;
use crate::support::lattice::{Lattice, path};

/// `busy`, which misbehaves as the path says and has 700 ms for it, and `hello`, its good neighbour.
fn lattice() -> Lattice {
    let lattice = Lattice::one_box(&[]);
    for id in ["busy", "hello"] {
        let component = lattice.signed(id, &[]);
        lattice.run(&["start", "actor", id, path(&component)]);
    }
    lattice.serve_http(None, &[("/hello", "hello")]);
    lattice.route_with("busy", "wasi:http/incoming-handler", &["path=/", "timeout=700ms"]);
    lattice.until_ok("/hello");
    lattice.until_ok("/fine");
    lattice
}

fn check_neighbours(lattice: &Lattice, after: &str) {
    assert_eq!(lattice.get("/hello").0, 200, "the neighbour after {after}");
    assert_eq!(lattice.get("/fine").0, 200, "a fresh instance after {after}");
}

#[test]
fn no_attack_disturbs_the_next_request_nor_a_neighbour() {
    let lattice = lattice();
    for (attack, expected) in [
        ("trap", 500),
        ("allocate", 500),
        ("recurse", 500),
        ("silent", 500),
        ("loop", 504),
        ("sleep", 504),
        ("print", 504),
    ] {
        let (status, body) = lattice.get(&format!("/{attack}"));
        assert_eq!(status, expected, "{attack}: {body}");
        assert!(!body.contains("wasm"), "detail stays in the log: {body}");
        check_neighbours(&lattice, attack);
    }
}

#[test]
fn an_endless_answer_ends_with_its_reader() {
    let lattice = lattice();
    for _ in 0..3 {
        lattice.runtime.block_on(async {
            let request = Request::get("/flood").header(http::header::HOST, lattice.address.to_string());
            let request = request.body(Empty::<Bytes>::new()).expect("the parts are valid");
            let mut response = client::send(lattice.address, request).await.expect("an answer");
            assert_eq!(response.status(), 200);
            response.frame().await.expect("it never ends").expect("data");
        });
        check_neighbours(&lattice, "a flood");
    }
}

#[test]
fn neighbours_answer_during_a_storm() {
    let lattice = lattice();
    let storm = (0..32).map(|_| lattice.runtime.spawn(client::get(lattice.address, "/loop")));
    let storm: Vec<_> = storm.collect();
    for _ in 0..10 {
        assert_eq!(lattice.get("/hello").0, 200);
    }
    for attack in storm {
        let (status, _) = lattice.runtime.block_on(attack).expect("no panic").expect("an answer");
        assert_eq!(status, 504);
    }
    check_neighbours(&lattice, "the storm");
}

#[test]
fn what_an_actor_prints_is_in_the_log_under_its_id() {
    let lattice = lattice();
    lattice.get("/print");
    lattice.get("/trap");
    let server = &lattice.servers[0];
    server.wait_for("this is the trap that was asked for");
    let output = server.output();
    let line_of = |text: &str| output.lines().find(|line| line.contains(text)).expect("is there").to_owned();
    for (text, stream) in [("busy busy", "stdout"), ("this is the trap that was asked for", "stderr")] {
        let line = line_of(text);
        assert!(line.contains(&format!("stream=\"{stream}\"")) && line.contains("actor_id=busy"), "{line}");
    }
}

#[test]
fn a_flood_of_traps_does_not_flood_the_log() {
    let lattice = lattice();
    for _ in 0..200 {
        assert_eq!(lattice.get("/trap").0, 500);
    }
    let output = lattice.servers[0].output();
    for text in ["actor trapped", "request failed"] {
        let lines = output.lines().filter(|line| line.contains(text)).count();
        assert!((1..100).contains(&lines), "{lines} lines say {text:?}");
    }
}
