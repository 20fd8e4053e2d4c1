//! Two hosts and a real nats-server: HTTP on host a, the actor on host b, the key-value provider on host a, so that one
//! request crosses the lattice both ways.

use http::{Method, Request};

use crate::support::http as client;
use crate::support::lattice::{Lattice, path};
use crate::support::pattern::{self, Pattern};

const COUNTER_IMPORTS: &[&str] = &["wasi:keyvalue/*"];

fn lattice_with_counter_and_echo() -> Lattice {
    let lattice = Lattice::two_hosts();
    lattice.run(&["start", "provider", "kv", "builtin:keyvalue", "--host", "a"]);
    lattice.run(&["link", "put", "counter", "kv", "wasi:keyvalue/store,atomics"]);
    let counter = lattice.signed("counter", COUNTER_IMPORTS);
    lattice.run(&["start", "actor", "counter", path(&counter), "--host", "b", "--max", "200"]);
    let echo = lattice.signed("echo", &[]);
    lattice.run(&["start", "actor", "echo", path(&echo), "--host", "b"]);
    lattice.serve_http(Some("a"), &[("/count", "counter"), ("/echo", "echo")]);
    lattice
}

#[test]
fn one_request_crosses_the_lattice_both_ways() {
    let lattice = lattice_with_counter_and_echo();
    assert!(lattice.until_ok("/count/apples").contains('1'));
    assert!(lattice.until_ok("/count/apples").contains('2'));
    assert!(lattice.until_ok("/count/pears").contains('1'), "each path has a count of its own");
}

#[test]
fn a_thousand_requests_at_once_lose_no_count() {
    let lattice = lattice_with_counter_and_echo();
    lattice.until_ok("/count/warm");
    let answers = lattice.runtime.block_on(async {
        let requests = (0..1_000).map(|_| tokio::spawn(client::get(lattice.address, "/count/many")));
        let mut answers = Vec::new();
        for request in requests.collect::<Vec<_>>() {
            answers.push(request.await.expect("no panic"));
        }
        answers
    });
    let failed: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Ok((200, _)))).collect();
    assert!(failed.is_empty(), "{} of 1,000 failed, e.g. {:?}", failed.len(), failed.first());
    assert!(lattice.until_ok("/count/many").contains("1001"), "one count for each request");
}

#[test]
fn bodies_of_any_size_stream_through_both_hosts_in_flat_memory() {
    let lattice = lattice_with_counter_and_echo();
    echo(&lattice, 0);
    echo(&lattice, 64 << 10);
    let before: Vec<_> = lattice.servers.iter().map(|server| server.resident_bytes()).collect();
    echo(&lattice, 64 << 20);
    for (server, before) in lattice.servers.iter().zip(before) {
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 24 << 20, "process {} grew by {} KiB for a body of 64 MiB", server.id(), grown >> 10);
    }
}

/// Sends `bytes` through the echo actor and checks every one of them on its way back.
fn echo(lattice: &Lattice, bytes: usize) {
    lattice.until_ok("/echo");
    lattice.runtime.block_on(async {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/echo")
            .header(http::header::HOST, lattice.address.to_string())
            .body(Pattern::of(bytes))
            .expect("the parts are valid");
        let response = client::send(lattice.address, request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        pattern::check(response.into_body(), bytes).await;
    });
}
