//! Links: which of them a request is for, and those that cannot be.

use std::net::SocketAddr;

use http::StatusCode;
use trellis_provider_sdk::testing::{as_source, link, nobody};
use trellis_provider_sdk::{Health, LinkError, Provider as _};

use super::client::{VERSIONS, Version, request, send};
use crate::support::{Server, describing, named};

/// Status and body of a GET, which are the same by either version.
async fn ask(address: SocketAddr, host: &str, path: &str) -> (StatusCode, String) {
    let mut answers = Vec::new();
    for version in VERSIONS {
        let (status, _, body) = send(version, address, request(host, path)).await;
        answers.push((status, body));
    }
    assert_eq!(answers[0], answers[1], "{host}{path} by {VERSIONS:?}");
    answers.remove(0)
}

#[tokio::test]
async fn requests_go_to_the_link_that_fits_best() {
    let server = Server::unlinked(describing(), &[]);
    let links: [(&str, &[(&str, &str)]); 4] = [
        ("all", &[]),
        ("api", &[("path", "/api")]),
        ("shop", &[("host", "shop.example.com")]),
        ("wild", &[("host", "*.example.com"), ("path", "/w")]),
    ];
    for (name, pairs) in links {
        server.provider.link_up(&named(name, pairs)).await.unwrap();
    }
    for (host, path, expected) in [
        ("localhost", "/", "all"),
        ("localhost", "/api/x?y", "api"),
        ("shop.example.com:80", "/api", "shop"),
        ("a.example.com", "/w/1", "wild"),
        ("a.example.com", "/x", "all"),
    ] {
        let (status, body) = ask(server.address(), host, path).await;
        assert_eq!((status, body.split(' ').next()), (StatusCode::OK, Some(expected)), "{host}{path}");
    }
    server.provider.link_down(&named("all", &[])).await;
    assert_eq!(ask(server.address(), "localhost", "/").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn two_links_for_the_same_requests_are_a_conflict_that_names_both() {
    let server = Server::unlinked(describing(), &[]);
    server.provider.link_up(&named("first", &[("path", "/a")])).await.unwrap();
    let error = server.provider.link_up(&named("second", &[("path", "/a/")])).await.expect_err("conflict").to_string();
    assert!(error.contains("first") && error.contains("second") && error.contains("/a"), "{error}");
    server.provider.link_up(&named("first", &[("path", "/b")])).await.expect("the same link may change");
    server.provider.link_up(&named("second", &[("path", "/a")])).await.expect("the path is free now");

    let other = Server::sharing(server.listeners.clone(), describing(), &[]);
    other.provider.link_up(&named("third", &[])).await.expect("providers of one process share a listener");
    assert!(other.provider.link_up(&named("fourth", &[("path", "/a")])).await.is_err());
}

#[tokio::test]
async fn links_with_weights_divide_requests_exactly() {
    let server = Server::unlinked(describing(), &[]);
    let put = async |name: &str, weight: &str| {
        server.provider.link_up(&named(name, &[("path", "/a"), ("weight", weight)])).await.unwrap();
    };
    let count = async || {
        let mut stable = 0;
        for _ in 0..50 {
            let (status, _, body) = send(Version::Http1, server.address(), request("localhost", "/a")).await;
            assert_eq!(status, StatusCode::OK);
            stable += usize::from(body.starts_with("stable "));
            let others = named("other", &[("path", "/b")]);
            server.provider.link_up(&others).await.expect("what else happens does not begin the division anew");
        }
        stable
    };
    put("stable", "90").await;
    put("canary", "10").await;
    assert_eq!(count().await, 45);
    put("stable", "50").await;
    put("canary", "50").await;
    assert_eq!(count().await, 25);
    put("stable", "0").await;
    assert_eq!(count().await, 0);
    put("canary", "0").await;
    assert_eq!(send(Version::Http1, server.address(), request("localhost", "/a")).await.0, StatusCode::NOT_FOUND);
    server.provider.link_down(&named("canary", &[])).await;
    put("stable", "1").await;
    assert_eq!(count().await, 50);

    let error = server.provider.link_up(&named("third", &[("path", "/a")])).await.expect_err("no weight").to_string();
    assert!(error.contains("stable") && error.contains("`weight`"), "{error}");
    let other = Server::sharing(server.listeners.clone(), describing(), &[]);
    let error = other.provider.link_up(&named("stranger", &[("path", "/a"), ("weight", "1")])).await;
    error.expect_err("another provider is another owner");
}

#[tokio::test]
async fn a_port_in_use_fails_the_link_and_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let server = Server::unlinked(describing(), &[]);
    let wanting = named("default", &[("address", &address.to_string())]);
    let error = server.provider.link_up(&wanting).await.expect_err("in use");
    assert!(matches!(&error, LinkError::Held(text) if text.contains(&address.to_string())), "{error}");
    drop(taken);
    server.provider.link_up(&wanting).await.expect("the port is free now");
    assert_eq!(server.provider.health().await, Health::Healthy);
    server.provider.link_down(&wanting).await;
    tokio::net::TcpListener::bind(address).await.expect("the last link gives the port back");
}

#[tokio::test]
async fn a_link_that_is_not_for_http_is_refused() {
    let server = Server::unlinked(nobody(), &[]);
    let link = link("http-server", "actor", &["wasi:http/outgoing-handler"]);
    let error = server.provider.link_up(&as_source(link, &[])).await.expect_err("not callable").to_string();
    assert!(error.contains("wasi:http/incoming-handler"), "{error}");
}
