//! What goes wrong in one actor does not disturb the next request, nor another actor, and shows in the log.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::SinkExt as _;
use futures::channel::mpsc;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Incoming;

use crate::support::http as client;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

/// An actor that misbehaves as the path says, and what comes of it.
struct Attacker {
    id: &'static str,
    handler: &'static str,
    attacks: &'static [(&'static str, u16)],
}

/// A fresh instance for each request.
const BUSY: Attacker = Attacker {
    id: "busy",
    handler: "wasi:http/incoming-handler",
    attacks: &[
        ("trap", 500),
        ("allocate", 500),
        ("recurse", 500),
        ("silent", 500),
        ("loop", 504),
        ("sleep", 504),
        ("print", 504),
    ],
};

/// An instance for one request after the other.
const BUSY_ASYNC: Attacker = Attacker {
    id: "busy-async",
    handler: "wasi:http/handler",
    attacks: &[
        ("trap", 500),
        ("allocate", 500),
        ("recurse", 500),
        ("stuck", 500),
        ("refuse", 502),
        ("loop", 504),
        ("sleep", 504),
        ("print", 504),
        ("linger", 200),
    ],
};

/// The attacker, which has 700 ms for each request, and `hello`, its good neighbour.
fn lattice(attacker: &Attacker) -> Lattice {
    let lattice = Lattice::one_box(&[]);
    for id in [attacker.id, "hello"] {
        let component = lattice.signed(id, &[]);
        lattice.run(&["start", "actor", id, path(&component)]);
    }
    lattice.serve_http(None, &[("/hello", "hello")]);
    lattice.route_with(attacker.id, attacker.handler, &["path=/", "timeout=700ms"]);
    lattice.until_ok("/hello");
    lattice.until_ok("/fine");
    lattice
}

fn check_neighbours(lattice: &Lattice, after: &str) {
    assert_eq!(lattice.get("/hello").0, 200, "the neighbour after {after}");
    assert_eq!(lattice.get("/fine").0, 200, "the next request after {after}");
}

#[test]
fn no_attack_disturbs_the_next_request_nor_a_neighbour() {
    for attacker in [BUSY, BUSY_ASYNC] {
        let lattice = lattice(&attacker);
        for (attack, expected) in attacker.attacks {
            // More than once, so that it meets an instance that was used before, where there are such.
            for _ in 0..3 {
                let (status, body) = lattice.get(&format!("/{attack}"));
                assert_eq!(status, *expected, "{attack} of {}: {body}", attacker.id);
                assert!(!body.contains("wasm"), "detail stays in the log: {body}");
                check_neighbours(&lattice, attack);
            }
        }
    }
}

/// Which request of its instance one is.
fn seen(lattice: &Lattice) -> u32 {
    let (status, body) = lattice.get("/seen");
    assert_eq!(status, 200, "{body}");
    body.trim().parse().expect("a number")
}

#[test]
fn an_instance_serves_one_request_after_the_other_until_one_spoils_it() {
    let lattice = lattice(&BUSY_ASYNC);
    let until_used = || {
        wait::until("an instance that is used again", || {
            let seen = seen(&lattice);
            if seen < 10 { Err(format!("request {seen}")) } else { Ok(()) }
        });
    };
    until_used();
    for attack in ["trap", "allocate", "stuck", "sleep", "late-trap", "linger"] {
        wait::until(&format!("{attack} ends the instances that it meets"), || {
            // An answer that breaks off is an error of the client.
            let _ = lattice.runtime.block_on(client::get(lattice.address, &format!("/{attack}")));
            let seen = seen(&lattice);
            if seen > 1 { Err(format!("request {seen}")) } else { Ok(()) }
        });
        until_used();
    }
}

#[test]
fn what_an_instance_keeps_over_requests_is_bounded_and_goes_with_it() {
    let lattice = lattice(&BUSY_ASYNC);
    for _ in 0..2 {
        wait::until("an instance that has no more memory", || match lattice.get("/hoard") {
            (500, _) => Ok(()),
            (200, body) => Err(body),
            other => panic!("{other:?}"),
        });
        check_neighbours(&lattice, "an instance that was full");
    }
}

/// A request whose body is sent piece by piece, and comes back so.
struct Echo {
    pieces: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    response: Response<Incoming>,
}

impl Echo {
    async fn begin(address: SocketAddr) -> Self {
        let (pieces, body) = mpsc::channel(1);
        let request = Request::post("/echo").header(http::header::HOST, address.to_string());
        let request = request.body(StreamBody::new(body)).expect("the parts are valid");
        let response = client::send(address, request).await.expect("it answers before the body ends");
        assert_eq!(response.status(), 200);
        Self { pieces, response }
    }

    async fn bring_back(&mut self, piece: &str) {
        self.pieces.send(Ok(Frame::data(Bytes::from(piece.to_owned())))).await.expect("the client sends");
        let mut back = Vec::new();
        while back.len() < piece.len() {
            let frame = self.response.frame().await.expect("it has no end yet").expect("it does not break off");
            back.extend_from_slice(frame.data_ref().expect("data"));
        }
        assert_eq!(back, piece.as_bytes());
    }

    async fn end(mut self) {
        drop(self.pieces);
        assert!(self.response.frame().await.is_none());
    }
}

#[test]
fn requests_in_other_instances_go_on_while_one_fails() {
    let lattice = lattice(&BUSY_ASYNC);
    lattice.run(&["config", "put", "patient", "path=/echo", "timeout=4m"]);
    let link = ["link", "put", "http", BUSY_ASYNC.id, BUSY_ASYNC.handler, "--name", "patient"];
    lattice.run(&[&link[..], &["--source-config", "patient"]].concat());
    lattice.runtime.block_on(async {
        let mut echoes = Vec::new();
        for _ in 0..4 {
            echoes.push(Echo::begin(lattice.address).await);
        }
        for (attack, expected) in BUSY_ASYNC.attacks {
            let attack_it = || {
                let address = lattice.address;
                tokio::spawn(async move { client::get(address, &format!("/{attack}")).await })
            };
            let attacks: Vec<_> = (0..4).map(|_| attack_it()).collect();
            for echo in &mut echoes {
                echo.bring_back(attack).await;
            }
            for attack in attacks {
                let (status, body) = attack.await.expect("no panic").expect("an answer");
                assert_eq!(status, *expected, "{body}");
            }
            for echo in &mut echoes {
                echo.bring_back("afterwards").await;
            }
        }
        for echo in echoes {
            echo.end().await;
        }
    });
}

#[test]
fn an_endless_answer_ends_with_its_reader() {
    for attacker in [BUSY, BUSY_ASYNC] {
        let lattice = lattice(&attacker);
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
}

#[test]
fn neighbours_answer_during_a_storm() {
    for attacker in [BUSY, BUSY_ASYNC] {
        let lattice = lattice(&attacker);
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
}

#[test]
fn what_an_actor_prints_is_in_the_log_under_its_id() {
    let lattice = lattice(&BUSY);
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
    let lattice = lattice(&BUSY);
    for _ in 0..200 {
        assert_eq!(lattice.get("/trap").0, 500);
    }
    let output = lattice.servers[0].output();
    for text in ["actor trapped", "request failed"] {
        let lines = output.lines().filter(|line| line.contains(text)).count();
        assert!((1..100).contains(&lines), "{lines} lines say {text:?}");
    }
}
