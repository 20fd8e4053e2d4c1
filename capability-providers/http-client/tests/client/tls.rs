//! TLS: who is believed, and HTTP/2 where both sides speak it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::CallErrorKind;

use crate::support::{Client, Server, answering, described, expect, serve};

/// A server whose certificate is for `name`, and the authority's certificate in a file.
async fn secure(name: &str, protocols: &[&str]) -> (Server, tempfile::NamedTempFile) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), root.pem()).unwrap();

    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, |request| {
                    let version = format!("{:?}", request.version());
                    Box::pin(async move {
                        let mut response = described(request).await;
                        response.headers_mut().insert("x-version", version.parse().unwrap());
                        response
                    })
                })
                .await;
            }
        }
    })
    .await;
    (server, file)
}

async fn trusting(roots: &str) -> Client {
    let (resolver, _) = answering(&[&["127.0.0.1"]]);
    Client::resolving(resolver, &[("allow", "*:*"), ("grant_private", "loopback"), ("tls_roots", roots)]).await
}

fn at(name: &str, server: &Server) -> String {
    format!("https://{name}:{}/", server.address.port())
}

#[tokio::test]
async fn a_server_is_believed_by_the_roots_of_the_link() {
    let (server, roots) = secure("one.example", &["http/1.1"]).await;
    let client = trusting(roots.path().to_str().unwrap()).await;
    assert_eq!(client.get(&at("one.example", &server)).await.unwrap().0, 200);
    let wrong = Some(ErrorCode::TlsCertificateError);
    expect(client.get(&at("two.example", &server)).await, CallErrorKind::Provider, wrong);
    for others in ["webpki", "system"] {
        let client = trusting(others).await;
        expect(client.get(&at("one.example", &server)).await, CallErrorKind::Provider, wrong);
    }
    let plain = Server::saying("hello").await;
    let result = client.get(&at("one.example", &plain)).await;
    expect(result, CallErrorKind::Provider, Some(ErrorCode::TlsProtocolError));
}

/// Where the machine's roots are is a matter of the environment, which a process cannot safely change for itself: the
/// test starts itself again with another.
#[tokio::test]
async fn the_roots_of_the_machine_are_believed_when_the_link_says_so() {
    const OWN: &str = "TRELLIS_TEST_SYSTEM_ROOTS";
    const NAME: &str = "tls::the_roots_of_the_machine_are_believed_when_the_link_says_so";
    let Some(address) = std::env::var(OWN).ok() else {
        let (server, roots) = secure("one.example", &["http/1.1"]).await;
        let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
        again.args([NAME, "--exact"]).env("SSL_CERT_FILE", roots.path()).env(OWN, at("one.example", &server));
        let output = again.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    };
    assert_eq!(trusting("system").await.get(&address).await.unwrap().0, 200);
    let wrong = Some(ErrorCode::TlsCertificateError);
    expect(trusting("webpki").await.get(&address).await, CallErrorKind::Provider, wrong);
}

#[tokio::test]
async fn http2_takes_all_requests_over_one_connection() {
    let (server, roots) = secure("two.example", &["h2", "http/1.1"]).await;
    let client = trusting(roots.path().to_str().unwrap()).await;
    let uri = at("two.example", &server);
    for round in 0..3 {
        let responses = join_all((0..50).map(|_| client.send(crate::support::get(&uri)))).await;
        for response in responses {
            let response = response.unwrap();
            assert_eq!(response.headers()["x-version"], "HTTP/2.0", "round {round}");
        }
    }
    // Requests that come before the first connection is there may open one each.
    let before = server.connections.load(Ordering::SeqCst);
    join_all((0..50).map(|_| client.get(&uri))).await;
    assert_eq!(server.connections.load(Ordering::SeqCst), before);

    let (server, roots) = secure("old.example", &["http/1.1"]).await;
    let client = trusting(roots.path().to_str().unwrap()).await;
    let response = client.send(crate::support::get(&at("old.example", &server))).await.unwrap();
    assert_eq!(response.headers()["x-version"], "HTTP/1.1");
}

#[tokio::test]
async fn a_server_that_says_nothing_to_tls_is_given_up() {
    let server = Server::raw(|stream| async move {
        let _stream = stream;
        std::future::pending().await
    })
    .await;
    let (resolver, _) = answering(&[&["127.0.0.1"]]);
    let pairs = [("allow", "*:*"), ("grant_private", "loopback"), ("connect_timeout", "200ms")];
    let client = Client::resolving(resolver, &pairs).await;
    let result = client.get(&at("one.example", &server)).await;
    expect(result, CallErrorKind::NoTarget, Some(ErrorCode::ConnectionTimeout));
}

#[tokio::test]
async fn roots_that_cannot_be_read_fail_the_link_and_are_named() {
    let client = trusting("webpki").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in ["/nowhere/ca.pem", file.path().to_str().unwrap()] {
        let error =
            client.put("actor", &[("allow", "*"), ("tls_roots", path)]).await.expect_err("no roots").to_string();
        assert!(error.contains(path) && error.contains("tls_roots"), "{error}");
        expect(client.get("https://one.example/").await, CallErrorKind::NoTarget, None);
    }
}
