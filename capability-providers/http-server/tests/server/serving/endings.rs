//! What becomes of requests that are wrong, fail, take too long, are left by their client, or meet a server that closes.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use trellis_provider_sdk::{Body, CallError, CallErrorKind, Caller, Provider as _};

use super::client::{Client, VERSIONS, Version, request, send, text};
use crate::support::{PATIENCE, Server, actor, answer, describing, request_of};

#[tokio::test]
async fn a_trace_is_passed_on_and_hop_by_hop_headers_are_not() {
    let (_server, address) = Server::with_link(describing(), &[]).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for version in VERSIONS {
        let mut request = request("localhost", "/");
        let hop_by_hop = [("connection", "x-private"), ("x-private", "1")];
        // HTTP/2 has none, and a client that sends them is refused.
        let fields = if version == Version::Http1 { &hop_by_hop[..] } else { &[] };
        for &(name, value) in [&[("traceparent", parent)], fields].concat().iter() {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (status, _, body) = send(version, address, request).await;
        assert_eq!(status, StatusCode::OK, "{version:?}");
        assert!(body.ends_with(parent), "{version:?}: {body}");
    }
}

#[tokio::test]
async fn a_slow_client_is_cut() {
    let server = Server::linked(describing(), &[("header_timeout", "200ms")]).await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX-"] {
        let said = server.says_to(start.as_bytes()).await;
        assert!(!said.contains("200 OK"), "{start:?} got {said:?}");
    }
    for version in VERSIONS {
        let (status, ..) = send(version, server.address(), request("localhost", "/")).await;
        assert_eq!(status, StatusCode::OK, "others are served by {version:?}");
    }
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let (server, _) = Server::with_link(describing(), &[]).await;
    for (bad, status) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
    ] {
        let said = server.says_to(bad.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{bad:?} got {said:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40 << 10));
    let said = server.says_to(long.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said:?}");
}

fn failing(error: CallError) -> Arc<dyn Caller> {
    actor(move |_| {
        let error = error.clone();
        Box::pin(async move { Err(error) })
    })
}

#[tokio::test]
async fn every_failure_has_its_status_and_no_detail() {
    for (kind, status) in [
        (CallErrorKind::NoTarget, 503),
        (CallErrorKind::Overloaded, 503),
        (CallErrorKind::Deadline, 504),
        (CallErrorKind::Denied, 403),
        (CallErrorKind::Trap, 500),
        (CallErrorKind::TooLarge, 413),
        (CallErrorKind::Contract, 502),
        (CallErrorKind::Provider, 502),
        (CallErrorKind::UnknownOutcome, 502),
        (CallErrorKind::Cancelled, 503),
    ] {
        let mut error = CallError::new(kind, "the detail");
        error.retry_after = (kind == CallErrorKind::Overloaded).then_some(Duration::from_millis(2_100));
        let (_server, address) = Server::with_link(failing(error), &[]).await;
        for version in VERSIONS {
            let (got, headers, body) = send(version, address, request("a", "/")).await;
            assert_eq!(got.as_u16(), status, "{kind:?} by {version:?}");
            assert!(!body.contains("detail") && !body.is_empty(), "{body}");
            let retry = headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
            let expected = if kind == CallErrorKind::Overloaded { "3" } else { "1" };
            assert_eq!(retry, (status == 503).then_some(expected));
        }
    }
}

/// Counts its end.
struct Guard(Arc<Semaphore>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// Calls that never end: how many have begun, and how many were cancelled.
fn hung() -> (Arc<dyn Caller>, Arc<Semaphore>, Arc<Semaphore>) {
    let (begun, left) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let seen = (begun.clone(), left.clone());
    let actor = actor(move |call| {
        let (begun, left) = seen.clone();
        let is_hung = request_of(&call).uri.path() != "/fine";
        Box::pin(async move {
            if is_hung {
                let _guard = Guard(left);
                begun.add_permits(1);
                std::future::pending::<()>().await;
            }
            Ok(answer(StatusCode::OK, Body::from(Bytes::from_static(b"fine"))))
        })
    });
    (actor, begun, left)
}

/// Waits for one more, and takes it.
async fn one_more(count: &Semaphore, what: &str) {
    timeout(PATIENCE, count.acquire()).await.expect(what).unwrap().forget();
}

#[tokio::test]
async fn no_response_within_the_timeout_is_504_and_cancels_the_call() {
    let (actor, begun, left) = hung();
    let (_server, address) = Server::with_link(actor, &[("timeout", "50ms")]).await;
    for version in VERSIONS {
        let mut client = Client::connect(version, address).await;
        let response = client.send(request("a", "/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT, "{version:?}");
        text(response.into_body()).await;
        one_more(&begun, "the call begins").await;
        one_more(&left, "the call is cancelled").await;
        let fine = client.send(request("a", "/fine")).await.expect("the connection goes on");
        assert_eq!(fine.status(), StatusCode::OK, "{version:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_calls() {
    let (actor, begun, left) = hung();
    let (_server, address) = Server::with_link(actor, &[]).await;
    for version in VERSIONS {
        let asking = tokio::spawn(async move {
            let mut client = Client::connect(version, address).await;
            client.send(request("a", "/")).await
        });
        one_more(&begun, "the call begins").await;
        assert_eq!(left.available_permits(), 0);
        asking.abort();
        one_more(&left, "the call is cancelled").await;
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_cancels_its_call_and_no_other() {
    let (actor, begun, left) = hung();
    let (_server, address) = Server::with_link(actor, &[]).await;
    let (sender, connection) = h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let ask = |path: &str| Request::get(format!("http://a{path}")).body(()).unwrap();
    let (kept, _kept) = sender.send_request(ask("/kept"), true).unwrap();
    let mut sender = sender.ready().await.unwrap();
    let (gone, mut stream) = sender.send_request(ask("/gone"), true).unwrap();
    one_more(&begun, "the first call begins").await;
    one_more(&begun, "the second call begins").await;
    stream.send_reset(h2::Reason::CANCEL);
    one_more(&left, "the call is cancelled").await;
    assert!(gone.await.is_err());
    let mut sender = sender.ready().await.unwrap();
    let (fine, _) = sender.send_request(ask("/fine"), true).unwrap();
    assert_eq!(timeout(PATIENCE, fine).await.expect("an answer").unwrap().status(), StatusCode::OK);
    assert_eq!(left.available_permits(), 0, "the other call goes on");
    drop(kept);
}

#[tokio::test]
async fn a_response_that_is_not_read_on_ends_with_its_reader() {
    let left = Arc::new(Semaphore::new(0));
    let seen = left.clone();
    let endless = actor(move |_| {
        let lives_as_long = Guard(seen.clone());
        let frames = futures::stream::repeat_with(move || {
            let _body = &lives_as_long;
            Ok(Frame::data(Bytes::from_static(&[0; 4_096])))
        });
        Box::pin(async { Ok(answer(StatusCode::OK, Body::stream(StreamBody::new(frames)))) })
    });
    let (_server, address) = Server::with_link(endless, &[]).await;
    for version in VERSIONS {
        let mut client = Client::connect(version, address).await;
        let response = client.send(request("a", "/")).await.unwrap();
        assert_eq!((response.status(), left.available_permits()), (StatusCode::OK, 0), "{version:?}");
        drop(response);
        one_more(&left, "the body is dropped").await;
    }
}

/// Counts calls that come and that are answered, which they are when they are let.
struct Waiting {
    arrived: Semaphore,
    gate: Semaphore,
    served: AtomicUsize,
}

fn waiting() -> (Arc<dyn Caller>, Arc<Waiting>) {
    let waiting =
        Arc::new(Waiting { arrived: Semaphore::new(0), gate: Semaphore::new(0), served: AtomicUsize::new(0) });
    let seen = waiting.clone();
    let actor = actor(move |_| {
        let waiting = seen.clone();
        Box::pin(async move {
            waiting.arrived.add_permits(1);
            waiting.gate.acquire().await.unwrap().forget();
            waiting.served.fetch_add(1, Ordering::Relaxed);
            Ok(answer(StatusCode::OK, Body::Empty))
        })
    });
    (actor, waiting)
}

async fn until_refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {}
}

#[tokio::test]
async fn draining_finishes_what_is_there_and_takes_nothing_new() {
    for version in VERSIONS {
        let (actor, waiting) = waiting();
        let (server, address) = Server::with_link(actor, &[]).await;
        let idle = Client::connect(version, address).await;
        let in_flight = tokio::spawn(send(version, address, request("a", "/")));
        one_more(&waiting.arrived, "the request arrives").await;
        let mut drained: Pin<Box<_>> = Box::pin(server.provider.drain(PATIENCE));
        let refused = async {
            tokio::select! {
                () = &mut drained => panic!("drained with a request in flight"),
                () = until_refused(address) => {}
            }
        };
        timeout(PATIENCE, refused).await.expect("new connections are refused");
        waiting.gate.add_permits(1);
        timeout(PATIENCE, drained).await.expect("drained");
        assert_eq!(in_flight.await.unwrap().0, StatusCode::OK, "{version:?}");
        assert_eq!(waiting.served.load(Ordering::Relaxed), 1);
        drop(idle);
    }
}
