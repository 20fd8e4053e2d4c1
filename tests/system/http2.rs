//! HTTP/2 at the real binary: by prior knowledge and over TLS, through actors of both versions of wasi:http.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::http as client;
use crate::support::lattice::{Lattice, path};
use crate::support::pattern::{self, Pattern};
use crate::support::wait;

/// These actors, each below its id.
fn lattice(actors: &[(&str, &str)]) -> Lattice {
    let lattice = Lattice::one_box(&[]);
    lattice.serve_http(None, &[]);
    for (id, handler) in actors {
        let component = lattice.signed(id, &[]);
        lattice.run(&["start", "actor", id, path(&component)]);
        lattice.route(&format!("/{id}"), id, handler);
        lattice.until_ok(&format!("/{id}"));
    }
    lattice
}

const ECHO: (&str, &str) = ("echo", "wasi:http/incoming-handler");
const HELLO_ASYNC: (&str, &str) = ("hello-async", "wasi:http/handler");

async fn connect<B>(lattice: &Lattice) -> SendRequest<B>
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    client::http2(TcpStream::connect(lattice.address).await.expect("it listens")).await
}

fn post<B>(lattice: &Lattice, path: &str, body: B) -> Request<B> {
    Request::post(format!("http://{}{path}", lattice.address)).body(body).expect("the parts are valid")
}

#[test]
fn one_connection_takes_a_thousand_requests_to_actors_of_both_versions() {
    let lattice = lattice(&[ECHO, HELLO_ASYNC]);
    lattice.runtime.block_on(async {
        let sender = connect::<Full<Bytes>>(&lattice).await;
        let ask = |n: usize| {
            let (mut sender, lattice) = (sender.clone(), &lattice);
            async move {
                let path = format!("/{}/{n}", if n.is_multiple_of(2) { "echo" } else { "hello-async" });
                let asked = post(lattice, &path, Full::from(path.clone()));
                let response = sender.send_request(asked).await.expect("answered");
                assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
                let body = response.into_body().collect().await.expect("whole").to_bytes();
                assert!(String::from_utf8_lossy(&body).contains(&path), "{path}: {body:?}");
            }
        };
        timeout(wait::SOON, join_all((0..1_000).map(ask))).await.expect("all are answered");
    });
}

#[test]
fn bodies_stream_both_ways_over_one_connection_in_flat_memory() {
    let lattice = lattice(&[ECHO]);
    let bring_back = |bytes: usize| {
        lattice.runtime.block_on(async {
            let sender = connect::<Pattern>(&lattice).await;
            let one = async || {
                let request = post(&lattice, "/echo", Pattern::of(bytes));
                let response = sender.clone().send_request(request).await.expect("answered");
                assert_eq!(response.status(), StatusCode::OK);
                pattern::check(response.into_body(), bytes).await;
            };
            timeout(wait::SOON, join_all([one(), one(), one(), one()])).await.expect("all come back");
        });
    };
    bring_back(64 << 10);
    let before = lattice.servers[0].resident_bytes();
    bring_back(16 << 20);
    let grown = lattice.servers[0].resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "grew by {} KiB for four bodies of 16 MiB", grown >> 10);
}

#[test]
fn a_stream_that_is_reset_ends_its_guest() {
    let lattice = lattice(&[]);
    let component = lattice.signed("busy", &[]);
    lattice.run(&["start", "actor", "busy", path(&component), "--max", "1"]);
    lattice.route_with("busy", "wasi:http/incoming-handler", &["path=/", "timeout=4m"]);
    lattice.until_ok("/fine");
    lattice.runtime.block_on(async {
        let mut sender = connect::<Empty<Bytes>>(&lattice).await;
        let rounds = async {
            // A guest that goes on has the only place until its time is up, which is far longer in all than is waited for.
            for _ in 0..20 {
                let flood = sender.send_request(post(&lattice, "/flood", Empty::new())).await.expect("answered");
                assert_eq!(flood.status(), StatusCode::OK);
                drop(flood);
                let fine = sender.send_request(post(&lattice, "/fine", Empty::new())).await.expect("answered");
                assert_eq!(fine.status(), StatusCode::OK);
            }
        };
        timeout(wait::SOON, rounds).await.expect("the place is free again");
    });
}

#[test]
fn trailers_pass_through_an_actor_both_ways() {
    let lattice = lattice(&[]);
    let component = lattice.signed("busy-async", &[]);
    lattice.run(&["start", "actor", "busy-async", path(&component)]);
    lattice.route("/", "busy-async", "wasi:http/handler");
    lattice.until_ok("/seen");
    let trailers = HeaderMap::from_iter([("x-sum".parse().expect("a name"), "42".parse().expect("a value"))]);
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers.clone()))];
    let body = StreamBody::new(futures::stream::iter(frames));
    lattice.runtime.block_on(async {
        let mut sender = connect(&lattice).await;
        let sent = timeout(wait::SOON, sender.send_request(post(&lattice, "/echo", body)));
        let body = sent.await.expect("soon").expect("answered").into_body().collect().await.expect("whole");
        assert_eq!(body.trailers(), Some(&trailers));
        assert_eq!(body.to_bytes(), "body");
    });
}

/// A certificate of its own for `localhost`, in two files of `directory`.
fn certify(directory: &Path) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("signed");
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| directory.join(name).display().to_string());
    std::fs::write(&cert_file, certificate.pem()).expect("written");
    std::fs::write(&key_file, key.serialize_pem()).expect("written");
    (cert_file, key_file)
}

/// A connection that offers both versions, the better one first.
async fn secure(lattice: &Lattice, cert_file: &str) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert_file).expect("a certificate")).expect("it is one");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("some");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(lattice.address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

#[test]
fn a_client_that_offers_both_versions_over_tls_gets_http2() {
    let lattice = Lattice::one_box(&[]);
    let (cert, key) = certify(lattice.data());
    let component = lattice.signed("hello", &[]);
    lattice.run(&["start", "actor", "hello", path(&component)]);
    lattice.serve_http(None, &[]);
    let files = [format!("tls_cert={cert}"), format!("tls_key={key}")];
    lattice.route_with("hello", "wasi:http/incoming-handler", &["path=/", &files[0], &files[1]]);
    wait::until("the listener", || std::net::TcpStream::connect(lattice.address).map_err(|error| error.to_string()));
    lattice.runtime.block_on(async {
        let stream = secure(&lattice, &cert).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = client::http2(stream).await;
        let request = Request::get("https://localhost/over/tls").body(Empty::<Bytes>::new()).expect("valid");
        let response = timeout(wait::SOON, sender.send_request(request)).await.expect("soon").expect("answered");
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        let body = response.into_body().collect().await.expect("whole").to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("/over/tls"), "{body:?}");
    });
}
