//! Connections: kept, and kept apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Response, StatusCode};
use trellis_provider_sdk::{Body, CallErrorKind};

use crate::support::{Client, PATIENCE, Server, expect, get, post, read, reply, serve};
use trellis_interfaces::http::ErrorCode;

const OPEN: [(&str, &str); 2] = [("allow", "*:*"), ("grant_private", "loopback")];

#[tokio::test]
async fn requests_of_a_link_share_connections_and_those_of_two_links_do_not() {
    let server = Server::saying("hello").await;
    let client = Client::on_loopback(&[]).await;
    for _ in 0..50 {
        assert_eq!(client.get(&server.uri("/")).await.unwrap().0, 200);
    }
    // A request may come before the last connection is back, and begin one more.
    assert!(server.accepted() <= 5, "{} connections", server.accepted());
    let before = server.accepted();
    client.put("other", &OPEN).await.unwrap();
    assert_eq!(client.send_from("other", get(&server.uri("/"))).await.unwrap().status(), StatusCode::OK);
    assert_eq!(server.accepted(), before + 1, "a link has connections of its own");
    client.put("actor", &OPEN).await.unwrap();
    assert_eq!(client.get(&server.uri("/")).await.unwrap().0, 200);
    assert_eq!(server.accepted(), before + 1, "a link that is put again as it was keeps them");
    client.put("actor", &[OPEN[0], OPEN[1], ("redirects", "1")]).await.unwrap();
    assert_eq!(client.get(&server.uri("/")).await.unwrap().0, 200);
    assert_eq!(server.accepted(), before + 2, "what was granted before is not granted for ever");
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_in_its_time() {
    let (ended, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |stream| {
        let ended = ended.clone();
        async move {
            serve(stream, |_| Box::pin(async { reply(200, "hello") })).await;
            // Whoever does not wait for it any more is through.
            let _ = ended.send(());
        }
    })
    .await;
    let client = Client::on_loopback(&[("keep_alive", "300ms")]).await;
    assert_eq!(client.get(&server.uri("/")).await.unwrap().0, 200);
    tokio::time::timeout(PATIENCE, seen.recv()).await.expect("it is closed").expect("by the client");
    assert_eq!((client.get(&server.uri("/")).await.unwrap().0, server.accepted()), (200, 2), "and another one made");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_even_for_a_post() {
    let server = Server::http(|_| {
        Box::pin(async { Response::builder().header("connection", "close").body(Body::Empty).unwrap() })
    })
    .await;
    let client = Client::on_loopback(&[]).await;
    for n in 1..=20 {
        let response = client.send(post(&server.uri("/"), "body")).await.unwrap();
        assert_eq!(read(response).await.unwrap().0, 200);
        assert_eq!(server.accepted(), n);
    }
}

#[tokio::test]
async fn a_server_that_is_killed_is_found_again_when_it_is_back() {
    let server = Server::saying("first").await;
    let address = server.address;
    let uri = server.uri("/");
    let client = Client::on_loopback(&[]).await;
    assert_eq!(client.get(&uri).await.unwrap().1, "first");
    drop(server);
    let refused = async || loop {
        // The connection that is open may take a moment to be seen closed.
        let error = client.get(&uri).await.expect_err("nobody is there");
        match ErrorCode::of(&error.message) {
            Some(ErrorCode::ConnectionRefused) => return error.kind,
            Some(ErrorCode::ConnectionTerminated) => {}
            _ => panic!("{error}"),
        }
    };
    let kind = tokio::time::timeout(crate::support::PATIENCE, refused()).await.expect("refused");
    assert_eq!(kind, CallErrorKind::NoTarget, "so that it may be tried again");
    let back = Server::http_at(address, |_| Box::pin(async { crate::support::reply(200, "second") })).await;
    assert_eq!(client.get(&uri).await.unwrap().1, "second");
    drop(back);
}

#[tokio::test]
async fn more_requests_than_the_link_allows_are_refused_at_once() {
    let answers = Arc::new(AtomicBool::new(false));
    let seen = answers.clone();
    let server = Server::http(move |_| {
        let answers = seen.clone();
        Box::pin(async move {
            if !answers.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            crate::support::reply(200, "free")
        })
    })
    .await;
    let client = Client::on_loopback(&[("max_requests", "1")]).await;
    let uri = server.uri("/");
    let mut hung = Box::pin(client.get(&uri));
    while server.accepted() == 0 {
        assert!(futures::poll!(&mut hung).is_pending());
        tokio::task::yield_now().await;
    }
    let error = client.get(&uri).await.expect_err("one is under way");
    assert!(error.retry_after.is_some());
    expect::<()>(Err(error), CallErrorKind::Overloaded, Some(ErrorCode::ConnectionLimitReached));
    client.put("other", &OPEN).await.unwrap();
    answers.store(true, Ordering::SeqCst);
    assert!(client.send_from("other", get(&uri)).await.is_ok(), "other links go on");
    drop(hung);
    assert_eq!(client.get(&uri).await.unwrap().1, "free", "a call that was left gives its place back");
}
