//! Actors that send HTTP to actors: over their links, by either version of wasi:http at either end.

use bytes::Bytes;
use http::Method;

use crate::support::http as client;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

const CALLED: [(&str, &str); 2] = [("relay", "wasi:http/outgoing-handler"), ("relay-async", "wasi:http/client")];

fn lattice() -> Lattice {
    let lattice = Lattice::one_box(&[]);
    for id in ["hello", "hello-async", "echo"] {
        let component = lattice.signed(id, &[]);
        lattice.run(&["start", "actor", id, path(&component)]);
    }
    lattice.serve_http(None, &[]);
    lattice
}

/// A link leads to one target: another one needs it gone first.
fn relink(lattice: &Lattice, relay: &str, target: &str, called: &str) {
    let refused = lattice.try_run(&["link", "put", relay, target, called]).refused();
    assert!(refused.contains(relay), "{refused}");
    lattice.run(&["link", "del", relay, "wasi:http"]);
    lattice.run(&["link", "put", relay, target, called]);
}

#[test]
fn an_actor_passes_a_request_on_to_another_by_either_version() {
    let lattice = lattice();
    for (relay, called) in CALLED {
        let component = lattice.signed(relay, &["wasi:http/*"]);
        let handler = if relay == "relay" { "wasi:http/incoming-handler" } else { "wasi:http/handler" };
        lattice.run(&["link", "put", relay, "hello", called]);
        lattice.run(&["start", "actor", relay, path(&component)]);
        lattice.route(&format!("/{relay}"), relay, handler);
        let asked = format!("/{relay}/some?thing=1");
        let answer = lattice.until_ok(&asked);
        assert!(answer.contains(&asked) && !answer.replace(&asked, "").contains("async"), "{relay}: {answer}");

        // The link is what decides where it goes.
        relink(&lattice, relay, "hello-async", called);
        // A link takes effect soon after it is put, not before.
        wait::until(&format!("{relay} to reach hello-async"), || match lattice.get(&asked) {
            (200, answer) if answer.contains(&asked) && answer.replace(&asked, "").contains("async") => Ok(()),
            other => Err(format!("{other:?}")),
        });

        relink(&lattice, relay, "echo", called);
        let body = Bytes::from("0123456789".repeat(20_000));
        wait::until(&format!("{relay} to bring the body back unchanged"), || {
            let posting = client::request(lattice.address, Method::POST, &asked, body.clone());
            match lattice.runtime.block_on(posting) {
                Ok((200, answer)) if answer.as_bytes() == body => Ok(()),
                Ok((status, answer)) => Err(format!("{status} and {} bytes", answer.len())),
                Err(error) => Err(error),
            }
        });
    }
}

#[test]
fn an_actor_whose_target_does_not_run_says_so() {
    let lattice = lattice();
    for (relay, called) in CALLED {
        let component = lattice.signed(relay, &["wasi:http/*"]);
        let handler = if relay == "relay" { "wasi:http/incoming-handler" } else { "wasi:http/handler" };
        let refused = lattice.try_run(&["start", "actor", relay, path(&component)]).refused();
        assert!(refused.contains(called) && refused.contains("link"), "{refused}");
        lattice.run(&["link", "put", relay, "nobody", called]);
        lattice.run(&["start", "actor", relay, path(&component)]);
        lattice.route(&format!("/{relay}"), relay, handler);
        // 404 is what the server says until it has the route.
        wait::until(&format!("{relay} to say that its target is not there"), || {
            match lattice.runtime.block_on(client::get(lattice.address, &format!("/{relay}"))) {
                Ok((500..600, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}
