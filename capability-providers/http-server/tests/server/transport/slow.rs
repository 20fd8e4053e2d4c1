//! Peers that are slow on purpose, or many: they go, and others are served all the time.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trellis_provider_sdk::{Body, CallError, Caller};

use crate::support::{PATIENCE, Server, actor, answer, get, hello, request_of, speak, until_closed};

const LIMITS: [(&str, &str); 3] = [("header_timeout", "400ms"), ("stall_timeout", "400ms"), ("min_rate", "1KiB")];

/// Answers `/endless` without end, reads the body of any other request first.
pub(super) fn serving() -> Arc<dyn Caller> {
    actor(|call| {
        Box::pin(async move {
            if request_of(&call).uri.path() == "/endless" {
                let frames =
                    futures::stream::repeat_with(|| Ok::<_, CallError>(Frame::data(Bytes::from_static(&[0; 16_384]))));
                return Ok(answer(StatusCode::OK, Body::stream(StreamBody::new(frames))));
            }
            call.body.collect(1 << 20).await?;
            Ok(answer(StatusCode::OK, Body::Empty))
        })
    })
}

/// Writes a byte every so often until nobody takes it.
async fn drip(mut stream: TcpStream) {
    while stream.write_all(b"x").await.is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
}

async fn saying(server: &Server, head: &str) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// HTTP/2 that asks for something and takes nothing of it.
async fn takes_nothing(stream: TcpStream) {
    let (sender, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    let mut connection = tokio::spawn(connection);
    let asked = async {
        let mut sender = sender.ready().await?;
        let request = Request::get("http://localhost/endless").body(()).unwrap();
        let (response, _) = sender.send_request(request, true)?;
        let mut body = response.await?.into_body();
        while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
            data?;
        }
        Ok::<_, h2::Error>(())
    };
    tokio::select! {
        asked = asked => assert!(asked.is_err(), "an endless body has no end"),
        _ = &mut connection => {}
    }
}

/// Opens as many of each kind, and gives them back as tasks that end when the server has cut them.
async fn attack(server: &Server, each: usize) -> JoinSet<&'static str> {
    let mut slow = JoinSet::new();
    for _ in 0..each {
        let mut silent = server.connect().await;
        slow.spawn(async move {
            until_closed(&mut silent).await;
            "silent"
        });
        let head = saying(server, "GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
        slow.spawn(async move {
            drip(head).await;
            "slow head"
        });
        let body = saying(server, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        slow.spawn(async move {
            drip(body).await;
            "slow body"
        });
        let mut stalled = saying(server, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
        slow.spawn(async move {
            until_closed(&mut stalled).await;
            "half a body"
        });
        let mut idle = saying(server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        slow.spawn(async move {
            until_closed(&mut idle).await;
            "idle after a request"
        });
        let mut preface = saying(server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        slow.spawn(async move {
            until_closed(&mut preface).await;
            "HTTP/2 without a request"
        });
        let reader = saying(server, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
        slow.spawn(async move {
            // What was sent before it was cut may be there, but then it ends.
            reads_slowly(reader).await;
            "slow reader"
        });
        let stream = server.connect().await;
        slow.spawn(async move {
            takes_nothing(stream).await;
            "HTTP/2 that takes nothing"
        });
    }
    slow
}

/// Reads nothing until the server has given up, which a write shows.
async fn reads_slowly(mut stream: TcpStream) {
    loop {
        sleep(Duration::from_millis(50)).await;
        if stream.write_all(b"\r\n").await.is_err() {
            return;
        }
        let mut some = [0; 64];
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_slow_peers_are_cut_while_others_are_served() {
    let server = Server::linked(serving(), &LIMITS).await;
    let mut slow = attack(&server, 40).await;
    let started = Instant::now();
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    let good = async {
        loop {
            let asked = Instant::now();
            let mut sender = speak(server.connect().await).await;
            let response = sender.send_request(get("/")).await.expect("an answer");
            assert_eq!(response.status(), StatusCode::OK);
            slowest = slowest.max(asked.elapsed());
            answered += 1;
            sleep(Duration::from_millis(5)).await;
        }
    };
    let cut = async {
        let mut left = 320;
        while let Some(kind) = slow.join_next().await {
            kind.expect("no task panicked");
            left -= 1;
        }
        left
    };
    tokio::select! {
        () = good => {}
        left = timeout(PATIENCE, cut) => assert_eq!(left.expect("all slow peers are cut in time"), 0),
    }
    assert!(answered > 20, "{answered} answered in {:?}", started.elapsed());
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[tokio::test]
async fn a_peer_that_is_slow_but_not_too_slow_is_served() {
    let server = Server::linked(serving(), &LIMITS).await;
    let mut stream =
        saying(&server, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 12000\r\n\r\n").await;
    for _ in 0..12 {
        stream.write_all(&[b'x'; 1_000]).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    let said = until_closed(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

#[tokio::test]
async fn one_peer_cannot_have_all_connections() {
    let server = Server::linked(hello(), &[("max_connections_per_peer", "2")]).await;
    let mut first = speak(server.connect().await).await;
    let mut second = speak(server.connect().await).await;
    for sender in [&mut first, &mut second] {
        assert_eq!(sender.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(until_closed(&mut server.connect().await).await, "");
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = speak(other.connect(server.address()).await.unwrap()).await;
    assert_eq!(other.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    drop(first);
    let again = async {
        loop {
            let mut sender = speak(server.connect().await).await;
            if sender.send_request(get("/")).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("a connection that ended makes room");
}

#[tokio::test]
async fn connections_beyond_all_places_wait_for_one() {
    let server = Server::linked(hello(), &[("max_connections", "1")]).await;
    let mut first = speak(server.connect().await).await;
    assert_eq!(first.send_request(get("/")).await.unwrap().status(), StatusCode::OK);
    let mut second = speak(server.connect().await).await;
    let mut waiting = Box::pin(second.send_request(get("/")));
    assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "there is one place");
    drop(first);
    let response = timeout(PATIENCE, waiting).await.expect("its turn comes").unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
