//! Actors that ask servers outside of the lattice: as their links grant it, and not otherwise.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
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

/// A server that answers the first `GET` of a path with 503, hangs up on the second one, and answers those after it; it
/// hangs up on every `POST`. How many of each came.
fn flaky(lattice: &Lattice) -> (SocketAddr, Arc<Mutex<HashMap<String, usize>>>) {
    let listener = lattice.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let came = Arc::<Mutex<HashMap<String, usize>>>::default();
    let count = came.clone();
    lattice.runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let mut stream = BufReader::new(stream);
            let (mut request, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line).await.is_ok() && line.len() > 2 {
                request.push_str(&std::mem::take(&mut line));
            }
            let asked = request.split(" HTTP/").next().unwrap_or_default().to_owned();
            let nth = {
                let mut count = count.lock().expect("nobody panics");
                let nth = count.entry(asked.clone()).or_default();
                *nth += 1;
                *nth
            };
            let answer = match nth {
                _ if asked.starts_with("POST") => continue,
                1 => "503 Service Unavailable",
                2 => continue,
                _ => "200 OK",
            };
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nthere");
            stream.write_all(answer.as_bytes()).await.expect("it listens");
        }
    });
    (address, came)
}

/// Starts `actor`, which passes on what it is asked to `outside` over a link with the policy `careful`, below its id.
fn passing_on(lattice: &Lattice, (actor, called, handler): (&str, &str, &str)) {
    let component = lattice.signed(actor, &IMPORTS);
    let link = ["link", "put", actor, "client", called, "--target-config", "outside", "--policy", "careful"];
    lattice.run(&link);
    lattice.run(&["start", "actor", actor, path(&component), "--config", "upstream"]);
    lattice.route(&format!("/{actor}"), actor, handler);
}

#[test]
fn a_flaky_server_is_asked_again_as_the_policy_of_the_link_says() {
    let lattice = Lattice::one_box(&[]);
    let (outside, came) = flaky(&lattice);
    let counted = |asked: &str| came.lock().expect("nobody panics").get(asked).copied().unwrap_or_default();
    // By 0.2 an actor asks whom it was asked as, by 0.3 whom its config names.
    let ask = |method: Method, path: &str| {
        let body = if method == Method::POST { "pay" } else { "" };
        let request = http::Request::builder().method(method).uri(path).header("host", outside.to_string());
        let request = request.body(Full::new(Bytes::from(body))).expect("valid");
        let response = lattice.runtime.block_on(client::send(lattice.address, request));
        response.map(|response| response.status().as_u16())
    };
    lattice.run(&["config", "put", "outside", &format!("allow={outside}"), "grant_private=loopback"]);
    lattice.run(&["config", "put", "upstream", &format!("upstream=http://{outside}")]);
    lattice.run(&["policy", "put", "careful", "retries=3"]);
    lattice.run(&["start", "provider", "client", "builtin:http-client"]);
    lattice.serve_http(None, &[]);
    for actor in [
        ("relay", "wasi:http/outgoing-handler", "wasi:http/incoming-handler"),
        ("proxy", "wasi:http/client", "wasi:http/handler"),
    ] {
        passing_on(&lattice, actor);
        let (below, order) = (format!("/{}", actor.0), format!("/{}/order", actor.0));
        wait::until("the actor to be there", || match ask(Method::GET, &below) {
            Ok(200) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let asked = (ask(Method::GET, &order), counted(&format!("GET {order}")));
        assert_eq!(asked, (Ok(200), 3), "{}: 503, nothing, the answer", actor.0);
        let asked = (ask(Method::POST, &order), counted(&format!("POST {order}")));
        assert_eq!(asked, (Ok(502), 1), "{}: what may have had an effect is not sent twice", actor.0);
    }
}

#[test]
fn a_link_that_allows_nothing_is_refused_and_says_what_is_missing() {
    let lattice = Lattice::one_box(&[]);
    lattice.run(&["start", "provider", "client", "builtin:http-client"]);
    let error = lattice.try_run(&["link", "put", "proxy", "client", "wasi:http/client"]).refused();
    assert!(error.contains("\"allow\" is missing") && error.contains("api.example.com"), "{error}");
}
