//! Many requests on one connection of HTTP/2: side by side, each with its own answer, and no more at once than are allowed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trellis_provider_sdk::{Body, Caller};

use super::client::{Client, VERSIONS, Version, post, request, send, text};
use crate::support::{PATIENCE, Server, actor, answer, echo, request_of};

/// Streams that one connection may have open.
const MAX_STREAMS: usize = 128;

/// One more sender over the connection of `client`.
fn again(client: &Client) -> Client {
    match client {
        Client::Http2(sender) => Client::Http2(sender.clone()),
        Client::Http1(_) => panic!("HTTP/1.1 has one request at a time"),
    }
}

/// Waits for `all` to be there at once, and answers with the path; and the most that were there at once.
fn meeting(all: usize) -> (Arc<dyn Caller>, Arc<AtomicUsize>) {
    let barrier = Arc::new(Barrier::new(all));
    let (there, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let actor = actor(move |call| {
        let (barrier, there, most) = (barrier.clone(), there.clone(), seen.clone());
        let path = request_of(&call).uri.path().to_owned();
        Box::pin(async move {
            most.fetch_max(there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait().await;
            there.fetch_sub(1, Ordering::SeqCst);
            Ok(answer(StatusCode::OK, Bytes::from(path).into()))
        })
    });
    (actor, most)
}

/// Asks for so many paths over one connection at once, and holds every answer against its path.
async fn ask_all(address: SocketAddr, count: usize) {
    let client = Client::connect(Version::Http2, address).await;
    let mut asked = JoinSet::new();
    for n in 0..count {
        let mut client = again(&client);
        asked.spawn(async move {
            let path = format!("/{n}");
            let response = client.send(request("a", &path)).await.unwrap();
            assert_eq!(text(response.into_body()).await, path);
        });
    }
    timeout(PATIENCE, asked.join_all()).await.expect("all answers");
}

#[tokio::test]
async fn a_connection_has_as_many_streams_at_once_as_are_allowed_and_others_wait() {
    let (actor, most) = meeting(MAX_STREAMS);
    let (_server, address) = Server::with_link(actor, &[]).await;
    ask_all(address, 8 * MAX_STREAMS).await;
    assert_eq!(most.load(Ordering::SeqCst), MAX_STREAMS);
}

#[tokio::test]
async fn a_body_that_is_not_taken_does_not_hold_up_the_others() {
    let (_server, address) = Server::with_link(echo(), &[]).await;
    let client = Client::connect(Version::Http2, address).await;
    // More than the window that this client gives to one stream.
    let large = Bytes::from(vec![7; 8 << 20]);
    let mut slow = again(&client).send(post(Body::from(large.clone()))).await.unwrap();
    for n in 0..50_u8 {
        let response = again(&client).send(post(Bytes::from(vec![n; 1_000]).into())).await.unwrap();
        let body = timeout(PATIENCE, response.collect()).await.expect("an end").unwrap().to_bytes();
        assert!(body.len() == 1_000 && body.iter().all(|byte| *byte == n));
    }
    let body = timeout(PATIENCE, slow.body_mut().collect()).await.expect("an end").unwrap().to_bytes();
    assert_eq!(body, large);
}

#[tokio::test]
async fn both_versions_are_spoken_on_one_port_at_once() {
    let (actor, _) = meeting(2);
    let (_server, address) = Server::with_link(actor, &[]).await;
    let ask = |version| async move { send(version, address, request("a", "/both")).await };
    let [one, two] = VERSIONS.map(ask);
    let (one, two) = futures::future::join(one, two).await;
    assert_eq!((one.0, one.2.as_str(), two.0, two.2.as_str()), (StatusCode::OK, "/both", StatusCode::OK, "/both"));
}
