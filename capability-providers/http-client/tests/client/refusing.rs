//! Requests that must not leave: what an actor could reach by a name, an address, a redirect or a name server that lies.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use http::{Request, Response};
use trellis_interfaces::http::ErrorCode;
use trellis_provider_sdk::{Body, CallErrorKind};

use crate::support::{Client, Server, answering, described, expect, get, read, reply};

/// Ways to say an address in a URI that leads to this machine or its neighbours.
const HOSTS: &[&str] = &[
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F.0.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[::ffff:169.254.169.254]",
    "169.254.169.254",
    "169.254.170.2",
    "0xa9fea9fe",
    "2852039166",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "192.0.0.192",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
    "127.0.0.1:80@example.com",
    "user:pass@localhost",
];

/// What a name may turn out to be.
const ADDRESSES: &[&str] = &[
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.20.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.1.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "240.0.0.1",
    "192.0.2.1",
];

#[tokio::test]
async fn no_way_to_say_an_address_reaches_this_machine() {
    let canary = Server::saying("secret").await;
    let port = canary.address.port();
    let client = Client::new(&[("allow", "*:*")]).await;
    for host in HOSTS {
        let Ok(uri) = format!("http://{host}:{port}/").parse::<http::Uri>() else { continue };
        let request = Request::get(uri).header("host", "example.com").body(Body::Empty).unwrap();
        let error = client.send(request).await.err().unwrap_or_else(|| panic!("{host} was asked"));
        assert!(matches!(error.kind, CallErrorKind::Denied | CallErrorKind::NoTarget), "{host}: {error}");
        assert_ne!(ErrorCode::of(&error.message), Some(ErrorCode::ConnectionRefused), "{host}: {error}");
    }
    assert_eq!(canary.accepted(), 0);
    assert!(HOSTS.len() + ADDRESSES.len() >= 60);
}

#[tokio::test]
async fn a_name_is_what_its_addresses_are() {
    let canary = Server::saying("secret").await;
    let uri = format!("http://innocent.example:{}/", canary.address.port());
    let prohibited = Some(ErrorCode::DestinationIpProhibited);
    for address in ADDRESSES {
        let (resolver, _) = answering(&[&[address]]);
        let client = Client::resolving(resolver, &[("allow", "*:*")]).await;
        expect(client.get(&uri).await, CallErrorKind::Denied, prohibited);
        let (resolver, _) = answering(&[&["1.1.1.1", address]]);
        let client = Client::resolving(resolver, &[("allow", "*:*")]).await;
        expect(client.get(&uri).await, CallErrorKind::Denied, prohibited);
    }
    assert_eq!(canary.accepted(), 0);
}

/// One address stands for the internet: it is granted by itself, and the canary's is not.
const INTERNET: &str = "127.0.0.2";

async fn internet_and_canary() -> (Server, Server) {
    let internet = Server::http_at(SocketAddr::new(INTERNET.parse().unwrap(), 0), |request| {
        Box::pin(async move {
            match request.headers().get("x-redirect") {
                Some(location) => {
                    let response =
                        Response::builder().status(302).header("location", location).header("connection", "close");
                    response.body(Body::Empty).unwrap()
                }
                None => {
                    let mut response = described(request).await;
                    response.headers_mut().insert("connection", "close".parse().unwrap());
                    response
                }
            }
        })
    })
    .await;
    let canary = Server::http_at(SocketAddr::new("127.0.0.1".parse().unwrap(), internet.address.port()), |_| {
        Box::pin(async { reply(200, "secret") })
    })
    .await;
    (internet, canary)
}

#[tokio::test]
async fn a_name_server_that_changes_its_mind_changes_nothing() {
    let (internet, canary) = internet_and_canary().await;
    let (resolver, asked) = answering(&[&[INTERNET], &["127.0.0.1"]]);
    let client = Client::resolving(resolver, &[("allow", "rebind.example:*"), ("grant_private", INTERNET)]).await;
    let uri = format!("http://rebind.example:{}/", internet.address.port());
    let (status, said) = client.get(&uri).await.unwrap();
    assert!(status == 200 && said.contains(&format!("host: rebind.example:{}", internet.address.port())), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "what was checked is what was connected to");
    expect(client.get(&uri).await, CallErrorKind::Denied, Some(ErrorCode::DestinationIpProhibited));
    assert_eq!((internet.accepted(), canary.accepted()), (1, 0));

    let (resolver, _) = answering(&[&[INTERNET, "127.0.0.1"]]);
    let client = Client::resolving(resolver, &[("allow", "*:*"), ("grant_private", INTERNET)]).await;
    expect(client.get(&uri).await, CallErrorKind::Denied, Some(ErrorCode::DestinationIpProhibited));
    assert_eq!((internet.accepted(), canary.accepted()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_a_request_like_any_other() {
    let (internet, canary) = internet_and_canary().await;
    let port = internet.address.port();
    let (resolver, _) = answering(&[&[INTERNET]]);
    let allow = "*.example:*, 127.0.0.1:*, localhost:*, 169.254.169.254";
    let client =
        Client::resolving(resolver, &[("allow", allow), ("grant_private", INTERNET), ("redirects", "5")]).await;
    let redirected = |location: String| {
        let request = Request::get(format!("http://a.example:{port}/")).header("x-redirect", location);
        request.header("authorization", "secret").header("cookie", "secret").body(Body::Empty).unwrap()
    };
    for (location, code) in [
        (format!("http://127.0.0.1:{port}/"), ErrorCode::DestinationIpProhibited),
        ("http://169.254.169.254/latest/meta-data".to_owned(), ErrorCode::DestinationIpProhibited),
        (format!("//127.0.0.1:{port}/"), ErrorCode::DestinationIpProhibited),
        (format!("http://0x7f.1:{port}/"), ErrorCode::DestinationIpProhibited),
        (format!("http://evil.org:{port}/"), ErrorCode::HttpRequestDenied),
        (format!("http://a@a.example:{port}/"), ErrorCode::HttpRequestUriInvalid),
        (format!("ftp://a.example:{port}/"), ErrorCode::HttpRequestUriInvalid),
    ] {
        expect(client.send(redirected(location)).await, CallErrorKind::Denied, Some(code));
    }
    assert_eq!(canary.accepted(), 0);

    // `x-redirect` goes along, so that the second server redirects as well, until they are too many.
    let looping = redirected(format!("http://b.example:{port}/"));
    expect(client.send(looping).await, CallErrorKind::Provider, Some(ErrorCode::LoopDetected));
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_host() {
    let landing = Server::http(described).await;
    let to = format!("http://b.example:{}/", landing.address.port());
    let first = Server::http(move |_| {
        let head = Response::builder().status(302).header("location", &to);
        let response = head.body(Body::Empty).unwrap();
        Box::pin(async move { response })
    })
    .await;
    let (resolver, _) = answering(&[&["127.0.0.1"]]);
    let pairs = [("allow", "*.example:*"), ("grant_private", "loopback"), ("redirects", "1")];
    let client = Client::resolving(resolver, &pairs).await;
    let request = Request::get(format!("http://a.example:{}/", first.address.port()));
    let request = request.header("authorization", "canary").header("cookie", "canary").header("x-kept", "1");
    let (status, said) = read(client.send(request.body(Body::Empty).unwrap()).await.unwrap()).await.unwrap();
    assert!(status == 200 && said.contains("x-kept: 1") && !said.contains("canary"), "{said}");
}

#[tokio::test]
async fn only_hosts_that_the_link_names_are_asked() {
    let server = Server::saying("hello").await;
    let port = server.address.port();
    let (resolver, asked) = answering(&[&["127.0.0.1"]]);
    let allow = format!("api.example:{port}");
    let client = Client::resolving(resolver, &[("allow", &allow), ("grant_private", "loopback")]).await;
    for other in ["api.example:1", "sub.api.example", "api.example.evil", "127.0.0.1", "localhost"] {
        let other = if other.contains(':') { other.to_owned() } else { format!("{other}:{port}") };
        let result = client.send(get(&format!("http://{other}/"))).await;
        expect(result, CallErrorKind::Denied, Some(ErrorCode::HttpRequestDenied));
    }
    assert_eq!((asked.load(Ordering::SeqCst), server.accepted()), (0, 0), "nobody is asked where they are");
    assert_eq!(client.get(&format!("http://API.example.:{port}/")).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_target_is_never_taken_from_a_header() {
    let canary = Server::saying("secret").await;
    let client = Client::on_loopback(&[]).await;
    let request = Request::get("/").header("host", canary.address.to_string()).body(Body::Empty).unwrap();
    expect(client.send(request).await, CallErrorKind::Denied, Some(ErrorCode::HttpRequestUriInvalid));
    assert_eq!(canary.accepted(), 0);
}
