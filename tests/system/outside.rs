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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

/// A server that hangs up on two of three `GET`s and on every `POST`, before it says anything; how many of each came.
fn flaky(lattice: &Lattice) -> (SocketAddr, Arc<[AtomicUsize; 2]>) {
    let listener = lattice.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let came: Arc<[AtomicUsize; 2]> = Arc::default();
    let count = came.clone();
    lattice.runtime.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let is_post = head.starts_with(b"POST");
            let nth = count[usize::from(is_post)].fetch_add(1, Ordering::SeqCst);
            if !is_post && nth % 3 == 2 {
                let said = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nthere";
                stream.write_all(said).await.expect("it listens");
            }
        }
    });
    (address, came)
}

#[test]
fn a_flaky_server_is_asked_again_as_the_policy_of_the_link_says() {
    const LINK: &str = "            namespace: wasi\n            package: http\n            interfaces: [client]\n";
    const CAREFUL: &str = "            source: { config: [ { name: careful, properties: { retries: \"3\" } } ] }\n";
    let lattice = Lattice::one_box(&[]);
    let (outside, came) = flaky(&lattice);
    let counted = || [0, 1].map(|kind: usize| came[kind].load(Ordering::SeqCst));
    let manifest = App::example(&lattice, "proxy", &IMPORTS)
        .with("127.0.0.1:8000", &outside.to_string())
        .with(LINK, &format!("{CAREFUL}{LINK}"))
        .write();
    lattice.run(&["app", "deploy", path(&manifest), "--wait"]);
    assert_eq!(lattice.until_ok("/"), "there");
    let [before, _] = counted();
    // Few: all retries together are at most a fifth of the calls, beyond what the link has to begin with.
    for _ in 0..2 {
        assert_eq!(lattice.get("/"), (200, "there".to_owned()));
    }
    assert_eq!(counted()[0] - before, 6, "the third try of each is answered");
    let posting = client::request(lattice.address, Method::POST, "/", Bytes::from_static(b"pay"));
    let (status, _) = lattice.runtime.block_on(posting).expect("an answer");
    assert_eq!((status, counted()[1]), (502, 1), "what may have had an effect is not sent twice");
}

#[test]
fn a_link_that_allows_nothing_is_refused_and_says_what_is_missing() {
    let lattice = Lattice::one_box(&[]);
    lattice.run(&["start", "provider", "client", "builtin:http-client"]);
    let error = lattice.try_run(&["link", "put", "proxy", "client", "wasi:http/client"]).refused();
    assert!(error.contains("\"allow\" is missing") && error.contains("api.example.com"), "{error}");
}
