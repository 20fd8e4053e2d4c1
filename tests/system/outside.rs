//! Actors that ask servers outside of the lattice: as their links grant it, and not otherwise.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::support::app::App;
use crate::support::http as client;
use crate::support::lattice::{Lattice, path};
use crate::support::wait;

const IMPORTS: [&str; 2] = ["wasi:http/*", "wasi:config/*"];

/// A server that answers with method, path and body of a request; and how many connections it has taken.
fn outside(lattice: &Lattice) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = lattice.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    lattice.runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            count.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let answer = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (address, connections)
}

#[test]
fn an_actor_asks_a_server_that_its_link_grants_and_no_other() {
    let lattice = Lattice::one_box(&[]);
    let (outside, connections) = outside(&lattice);
    let outside = outside.to_string();
    let manifest = App::example(&lattice, "proxy", &IMPORTS).with("127.0.0.1:8000", &outside);
    let manifest = manifest.write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    assert_eq!(lattice.until_ok("/some/path?x=y"), "GET /some/path?x=y ");
    let posting = client::request(lattice.address, Method::POST, "/post", Bytes::from_static(b"a body"));
    assert_eq!(lattice.runtime.block_on(posting), Ok((200, "POST /post a body".to_owned())));
    for _ in 0..20 {
        assert_eq!(lattice.get("/").0, 200);
    }
    assert!(connections.load(Ordering::Relaxed) < 5, "connections are kept: {connections:?}");

    let before = connections.load(Ordering::Relaxed);
    let ungranted = App::example(&lattice, "proxy", &IMPORTS)
        .with("127.0.0.1:8000", &outside)
        .with("version: v1", "version: v2")
        .with("                    grant_private: loopback\n", "");
    let ungranted = ungranted.write();
    lattice.run(&["app", "deploy", path(&ungranted), "--wait"]);
    wait::until("the grant to be gone", || match lattice.get("/") {
        (403, text) if text.contains("DestinationIpProhibited") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let allowed = format!("allow: {outside}");
    let elsewhere = App::example(&lattice, "proxy", &IMPORTS)
        .with("127.0.0.1:8000", &outside)
        .with("version: v1", "version: v3")
        .with(&allowed, "allow: api.example.com");
    let elsewhere = elsewhere.write();
    lattice.run(&["app", "deploy", path(&elsewhere), "--wait"]);
    wait::until("another host to be allowed", || match lattice.get("/") {
        (403, text) if text.contains("HttpRequestDenied") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(connections.load(Ordering::Relaxed), before, "nobody was asked any more");
}

#[test]
fn a_link_that_allows_nothing_is_refused_and_says_what_is_missing() {
    let lattice = Lattice::one_box(&[]);
    lattice.run(&["start", "provider", "client", "builtin:http-client"]);
    let error = lattice.try_run(&["link", "put", "proxy", "client", "wasi:http/client"]).refused();
    assert!(error.contains("\"allow\" is missing") && error.contains("api.example.com"), "{error}");
}
