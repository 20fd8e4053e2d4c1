//! What is larger than it should be, or becomes so, makes the server neither larger nor busy: both are measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trellis_provider_sdk::{Body, CallError};

use super::frames::GET;
use super::http2::asked;
use super::usage::Usage;
use crate::support::{PATIENCE, Server, actor, answer, hello, request_of};

/// What there is of what would be too much, if it were kept.
const FAR_TOO_MANY_BYTES: u64 = 512 << 20;
/// Clients at once.
const CLIENTS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_with_a_hundred_thousand_headers_is_refused_in_little_memory() {
    let server = Arc::new(Server::linked(hello(), &[]).await);
    let bomb = Bytes::from(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(100_000)));
    let before = Usage::begin();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (server, bomb) = (server.clone(), bomb.clone());
        clients.spawn(async move { server.says_to(&bomb).await });
    }
    for said in clients.join_all().await {
        assert!(said.starts_with("HTTP/1.1 431"), "{said:?}");
    }
    before.check("100,000 headers, 50 clients");
    assert_eq!(server.status("/").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_small_on_the_wire_and_huge_here_are_refused_in_little_memory() {
    let server = Arc::new(Server::linked(hello(), &[]).await);
    // A header of 3,000 bytes goes into the table once, and is taken from it 10,000 times: 30 MB each.
    let mut bomb = GET.to_vec();
    bomb.extend(b"\x40\x01a\x7f\xb9\x16");
    bomb.extend([b'x'; 3_000]);
    bomb.extend([0xbe; 10_000]);
    let before = Usage::begin();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (server, bomb) = (server.clone(), bomb.clone());
        clients.spawn(async move { asked(server.connect().await, &bomb).await });
    }
    for status in clients.join_all().await {
        // `:status 200` by its index.
        assert_ne!(status, Some(0x88));
    }
    before.check("HPACK bomb, 50 clients");
    assert_eq!(server.status("/").await, 200);
}

/// As many bytes as `total`, which are never all there.
fn large(total: u64) -> impl http_body::Body<Data = Bytes, Error = CallError> + Send + Unpin + 'static {
    static PIECE: [u8; 64 << 10] = [7; 64 << 10];
    let pieces = total / PIECE.len() as u64;
    StreamBody::new(futures::stream::iter((0..pieces).map(|_| Ok(Frame::data(Bytes::from_static(&PIECE))))))
}

async fn length(mut body: impl http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin) -> u64 {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("it comes whole").data_ref().map_or(0, |data| data.len() as u64);
    }
    length
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_larger_than_memory_may_be_pass_in_both_directions() {
    let came = Arc::new(AtomicU64::new(0));
    let seen = came.clone();
    let actor = actor(move |call| {
        let seen = seen.clone();
        Box::pin(async move {
            seen.store(length(call.body).await, Ordering::SeqCst);
            Ok(answer(StatusCode::OK, Body::stream(large(FAR_TOO_MANY_BYTES))))
        })
    });
    let server = Server::linked(actor, &[]).await;
    let before = Usage::begin();
    let (mut sender, connection) = http1::handshake(TokioIo::new(server.connect().await)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post("/").header("host", "a").body(large(FAR_TOO_MANY_BYTES)).unwrap();
    let response = timeout(6 * PATIENCE, sender.send_request(request)).await.expect("it is taken").unwrap();
    assert_eq!((response.status(), came.load(Ordering::SeqCst)), (StatusCode::OK, FAR_TOO_MANY_BYTES));
    let given = timeout(6 * PATIENCE, length(response.into_body())).await.expect("it is given");
    assert_eq!(given, FAR_TOO_MANY_BYTES);
    connection.abort();
    before.check("512 MiB in and out");
}

#[tokio::test]
async fn a_body_that_would_unpack_to_far_more_is_passed_on_as_it_is() {
    // 64 KiB of zeros as a member of a gzip file, of which there may be any number: 64 MiB come out of all.
    let zeros = [
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a".as_slice(),
        &[0; 63],
        b"\x6a\xeb\x8e\x97\xd7\x00\x00\x01\x00",
    ]
    .concat();
    let bomb = zeros.repeat(1_024);
    let bomb = Bytes::from(bomb);
    let expected = bomb.clone();
    let actor = actor(move |call| {
        let expected = expected.clone();
        Box::pin(async move {
            assert_eq!(request_of(&call).headers["content-encoding"], "gzip");
            assert_eq!(call.body.collect(1 << 20).await?, expected, "the actor has what the client sent");
            let mut answer = answer(StatusCode::OK, expected.into());
            if let trellis_provider_sdk::Args::Response(parts) = &mut answer.value {
                parts.headers.insert("content-encoding", "gzip".parse().unwrap());
            }
            Ok(answer)
        })
    });
    let server = Server::linked(actor, &[]).await;
    let before = Usage::begin();
    let (mut sender, connection) = http1::handshake(TokioIo::new(server.connect().await)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post("/").header("host", "a").header("content-encoding", "gzip");
    let request = request.body(http_body_util::Full::new(bomb.clone())).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap();
    assert_eq!((response.status(), response.headers()["content-encoding"].as_bytes()), (StatusCode::OK, &b"gzip"[..]));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), bomb);
    connection.abort();
    before.check("64 MiB in 100 KiB of gzip");
}
