//! TLS: certificates by name, from files that change; and both versions of HTTP in it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use trellis_provider_sdk::Provider as _;

use crate::support::{PATIENCE, Server, get, hello, named, speak, until_closed};

/// A certificate of its own for `name`, in two files of `directory`.
fn certify(directory: &Path, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let [cert_file, key_file] = ["cert", "key"].map(|kind| directory.join(format!("{name}.{kind}.pem")));
    // One at a time, as most that renew certificates do.
    std::fs::write(&cert_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    (cert_file.to_str().unwrap().to_owned(), key_file.to_str().unwrap().to_owned())
}

fn certificate(file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

async fn connect(server: &Server, name: &str, roots: &[&str], protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    roots.iter().for_each(|file| store.add(certificate(file)).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, server.connect().await)).await.expect("an end")
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

async fn secure() -> (Server, tempfile::TempDir, (String, String)) {
    let directory = tempfile::tempdir().unwrap();
    let files = certify(directory.path(), "one.example");
    let pairs = [("tls_cert", files.0.as_str()), ("tls_key", files.1.as_str())];
    (Server::linked(hello(), &pairs).await, directory, files)
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let (server, _directory, (cert, _)) = secure().await;
    let stream = connect(&server, "one.example", &[&cert], "http/1.1").await.unwrap();
    let response = speak(stream).await.send_request(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let stream = connect(&server, "one.example", &[&cert], "h2").await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response =
        sender.send_request(Request::get("https://one.example/").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_2));
}

#[tokio::test]
async fn what_is_no_tls_gets_no_answer_and_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = certify(directory.path(), "one.example");
    let pairs = [("tls_cert", cert.as_str()), ("tls_key", key.as_str()), ("header_timeout", "500ms")];
    let server = Server::linked(hello(), &pairs).await;
    let said = server.says_to(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!said.contains("HTTP"), "{said:?}");
    assert_eq!(until_closed(&mut server.connect().await).await, "", "a handshake that never begins");
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_to_new_connections_and_breaks_no_old_one() {
    let (server, directory, (cert, key)) = secure().await;
    let old = certificate(&cert);
    let stream = connect(&server, "one.example", &[&cert], "h2").await.unwrap();
    assert_eq!(shown(&stream), old);
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let kept = std::fs::read(&cert).unwrap();

    // Half of a renewal: not a pair.
    let other = tempfile::tempdir().unwrap();
    let (other_cert, other_key) = certify(other.path(), "one.example");
    std::fs::copy(&other_cert, &cert).unwrap();
    let roots = directory.path().join("old.pem");
    std::fs::write(&roots, kept).unwrap();
    let roots = roots.to_str().unwrap().to_owned();
    let show = async || {
        let stream = connect(&server, "one.example", &[&roots, &other_cert], "h2").await.unwrap();
        shown(&stream)
    };
    let copied = Instant::now();
    while copied.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(show().await, old, "half of a pair is not shown");
    }
    std::fs::copy(&other_key, &key).unwrap();
    let new = certificate(&other_cert);
    let renewed = async {
        while show().await != new {
            let request = Request::get("https://one.example/").body(Full::default()).unwrap();
            assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
        }
    };
    timeout(PATIENCE, renewed).await.expect("the new one is shown");
    let request = Request::get("https://one.example/").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::OK);
    assert!(!connection.is_finished(), "the old connection lives on");
}

#[tokio::test]
async fn each_host_has_its_certificate() {
    let (server, directory, (one, _)) = secure().await;
    let two = certify(directory.path(), "a.two.example");
    let pairs = [("host", "*.two.example"), ("tls_cert", two.0.as_str()), ("tls_key", two.1.as_str())];
    server.provider.link_up(&named("two", &pairs)).await.unwrap();
    let roots = [one.as_str(), two.0.as_str()];
    let stream = connect(&server, "one.example", &roots, "h2").await.unwrap();
    assert_eq!(shown(&stream), certificate(&one));
    let stream = connect(&server, "a.two.example", &roots, "h2").await.unwrap();
    assert_eq!(shown(&stream), certificate(&two.0));
    let error = connect(&server, "three.example", &roots, "h2").await.expect_err("nobody is that");
    assert!(error.to_string().contains("one.example"), "the first one is shown: {error}");
}

#[tokio::test]
async fn an_address_has_tls_for_all_of_its_links_or_for_none() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = certify(directory.path(), "one.example");
    let server = Server::unlinked(hello(), &[]);
    let secure = [("tls_cert", cert.as_str()), ("tls_key", key.as_str())];
    server.provider.link_up(&named("first", &secure)).await.unwrap();
    let error = server.provider.link_up(&named("second", &[("path", "/b")])).await.expect_err("plain").to_string();
    assert!(error.contains("first") && error.contains("second") && error.contains("tls_cert"), "{error}");
    server.provider.link_up(&named("first", &[])).await.expect("the only link may change its mind");
    assert_eq!(server.status("/").await, 200);
    server.provider.link_up(&named("first", &secure)).await.expect("and back");
    assert!(connect(&server, "one.example", &[&cert], "h2").await.is_ok());
}

#[tokio::test]
async fn files_that_are_no_pair_fail_the_link_and_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (one, _) = certify(directory.path(), "one.example");
    let (_, two) = certify(directory.path(), "two.example");
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    let server = Server::unlinked(hello(), &[]);
    for (cert, key, named_file) in [
        (one.as_str(), two.as_str(), one.as_str()),
        (empty, &two, empty),
        (&one, empty, empty),
        ("/no/file", &two, "/no/file"),
    ] {
        let link = named("default", &[("tls_cert", cert), ("tls_key", key)]);
        let error = server.provider.link_up(&link).await.expect_err("no pair").to_string();
        assert!(error.contains(named_file), "{error}");
    }
}
